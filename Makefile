# Every command a contributor needs. `make demo` and `make test` set everything up by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.runs
DEVELOPS := $(VENV)/.develops
PEERS := build/peers
LNBITS := build/lnbits
NPM := build/npm
NODE := $(and $(shell command -v node),$(shell command -v npm))
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
COMPILE := uv pip compile --universal --generate-hashes --python-version 3.11 --no-header pyproject.toml

# A process that compiles nothing starts in half the time: even where the machine's owner keeps no bytecode, we do.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo run test test-cln test-relay sim sim-mutants check format bench bench-relay bench-book bench-jobs bench-payouts bench-zap bench-web kills crash fuzz soak lock clean

setup: $(DEVELOPS)  ## make the virtual environment with all locked dependencies

$(RUNS): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) with the locked dependencies: a minute, once."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes --no-deps -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@

$(DEVELOPS): requirements-dev.lock $(RUNS)
	@echo "Adding what tests and checks need: a minute, once."
	$(INSTALL) --require-hashes --no-deps -r requirements-dev.lock
	touch $@

demo: $(RUNS)  ## play the worked example with real events, and leave everything running
	$(BIN)/relaybot demo

run: $(RUNS)  ## run the service with config.yaml as it is
	$(BIN)/relaybot run

# Words and rules (floors 0 and 1 of docs/architecture.md): every line and branch is tested.
PURE := relaybot/errors.py,relaybot/lifecycle.py,relaybot/nostr/*,splits/*,wallet/money.py,wallet/rates.py,wallet/accounts.py,wallet/ledger.py,wallet/charges.py,wallet/internal.py,wallet/onchain.py,wallet/lots.py,wallet/maturing.py,wallet/deposits.py,wallet/debts.py,wallet/companies.py,wallet/journals.py,wallet/wording.py,wallet/feed.py,wallet/chain_address.py,wallet/transaction.py,wallet/batch_rules.py,wallet/batch_plans.py,wallet/bolt12_offer.py,wallet/states.py,wallet/cards.py,wallet/card_rules.py,wallet/card_signature.py,handlers/states.py,handlers/nodes.py,relaybot/relay/session.py,relaybot/relay/policies.py,relaybot/relay/reading.py,relaybot/relay/rates.py,relaybot/relay/proxies.py,relaybot/accounting/carry.py,relaybot/accounting/closing.py

test: setup $(if $(NODE),$(NPM)/.installed)  ## run all tests; words and rules must be covered whole, everything else to 95 %
	$(BIN)/python -m pytest -n 4 --dist=worksteal --cov --cov-report= --cov-fail-under=0
	$(BIN)/coverage report --fail-under=95
	$(BIN)/coverage report --fail-under=100 --include='$(PURE)'

# Clients of others for Node, locked; where they cannot be had, their tests are skipped and say so (-rs).
$(NPM)/.installed: tests/npm/package.json tests/npm/package-lock.json
	mkdir -p $(NPM)
	cp $^ $(NPM)
	-cd $(NPM) && npm ci --ignore-scripts --no-audit --no-fund --silent && touch .installed

test-cln: setup  ## the contract suite and the money flows on three real Core Lightning nodes, where there is a lightningd
	$(BIN)/python -m pytest -rs --real-nodes tests/lightning tests/regtest

SEEDS ?= 0:200
STEPS ?= 24

sim: setup  ## play stories of the whole bot: SEED=… tells one, SEEDS=first:end plays many, STEPS=… makes them longer
	$(BIN)/python -m tests.simulator --steps $(STEPS) $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

sim-mutants: setup  ## plant faults one at a time, and see that the stories find each
	$(BIN)/python -m tests.simulator.mutants

test-relay: setup  ## ask any relay what the NIPs want of it: make test-relay URL=ws://127.0.0.1:7777
	RELAY_URL=$(URL) $(BIN)/python -m pytest -rs tests/conformance

check: setup  ## format, lint, types, the order of the floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## put the code into its one form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: bench-relay bench-book bench-jobs bench-payouts bench-zap bench-web  ## measure everything on this machine, one after the other

bench-relay: setup $(PEERS)/.installed  ## our relay and others under the same load; then our own, with ever more in it
	$(BIN)/python -m tests.bench.relay $(BENCH)
	$(BIN)/python -m tests.bench.relay.flat $(filter --json --markdown,$(BENCH))

# Peers to be compared with: in an environment of their own, outside the lock.
$(PEERS)/.installed:
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check nostr-relay==1.14 nostr-sdk==0.45.1
	touch $@

bench-book: setup $(LNBITS)/.installed  ## the book on both databases, empty and full, beside LNbits
	$(BIN)/python -m tests.bench.book $(BENCH)

$(LNBITS)/.installed:
	$(PYTHON) -m venv $(LNBITS)
	-$(LNBITS)/bin/python -m pip install --quiet --disable-pip-version-check lnbits==1.6.2 'bitstring<5' || rm -rf $(LNBITS)/bin/python
	touch $@

bench-jobs: setup  ## whole jobs a second
	$(BIN)/python -m tests.bench.jobs $(BENCH)

bench-zap: setup  ## from a settled invoice to its zap receipt, beside the node alone
	$(BIN)/python -m tests.bench.zaps $(BENCH)

bench-payouts: setup  ## payouts a second beside the node alone, and what a payment that hangs costs the others
	$(BIN)/python -m tests.bench.payouts $(BENCH)

bench-web: setup  ## how long pages take under 50 requests a second, while jobs run and while none do
	$(BIN)/python -m tests.bench.web $(BENCH)

kills: setup  ## two service processes on one book, killed at random a hundred times under load
	$(BIN)/python -m tests.kills $(KILLS)

crash: setup  ## kill the service at every single border of a story (make test: every thirteenth)
	CRASH_EVERY=1 $(BIN)/python -m pytest -q -n 3 tests/crash

FUZZ ?= 150000

fuzz: setup  ## random frames, messages, filters, payments and conversations, many of them: FUZZ=… examples of each
	FUZZ=$(FUZZ) $(BIN)/python -m pytest -q --timeout=0 tests/fuzz

soak: setup  ## a relay under a mixed load for minutes: its memory must stay flat (SOAK='--seconds 3600')
	$(BIN)/python -m tests.soak $(SOAK)

lock:  ## write the lock files anew from pyproject.toml (needs uv)
	$(COMPILE) --group build -o requirements.lock
	$(COMPILE) --group dev -c requirements.lock -o requirements-dev.lock

clean:  ## remove what the commands above made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* build *.egg-info
