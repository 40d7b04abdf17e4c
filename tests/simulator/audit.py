"""What must be true after every commit, and what an outsider can prove when all is quiet.

The audit believes only what happened outside: what arrived at the node and left it, what relays were given, what
was asked. From that it reckons by itself (`cast.dues`) what every balance must be.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from relaybot.errors import Rejected
from relaybot.nostr import nip47, nip57, nip59, nip90
from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.keys import KeyPair
from relaybot.simulator.network import SERVICE_NODE
from tests.simulator.cast import ACME, KEYRING, OWNER, Delivered, key_of, name_of, names
from tests.simulator.disk import now
from tests.simulator.facts import Request
from wallet.accounts import NODE_LIGHTNING, NODE_ONCHAIN
from wallet.audit import lots_unsound
from wallet.book import invariants, loose_ends

if TYPE_CHECKING:
    from tests.simulator.world import World

WHOLE_EVERY = 12  # commits: then all is added up anew; sums and floors are looked at after each
INVOICE = re.compile(r"lnbcrt\w+")
JOB_SAID = re.compile(r"\w+, job ([0-9a-f]{8})(?:, \d of \d)?: (.*)", re.DOTALL)
RESULT = re.compile(r"\w+ \d+ [0-9a-f]{64} \d+")  # what compute nodes deliver
GOES_ON = ("paid", "it waits for the company", "a compute node has begun")
PAYMENT_HASH = re.compile(r"[0-9a-f]{64}")
_SUMS = (
    "SELECT COALESCE(SUM(balance_msat), 0), COALESCE(SUM(balance_msat < floor_msat OR balance_msat < 0 AND"
    " (id LIKE 'user/%' OR id LIKE 'hold/%') AND id NOT LIKE '%/owed'), 0),"  # whatever floor the book gives it
    " (SELECT MAX(seq) FROM transfers) FROM accounts"
)
_LEGS = "SELECT plan FROM transfers WHERE seq > ? AND ? IN (debit, credit)"
_LEG_SUM = (
    "SELECT SUM(CASE WHEN debit = :node THEN amount_msat ELSE -amount_msat END) FROM transfers"
    " WHERE :node IN (debit, credit) AND plan LIKE :like"
)
_MOVED = "SELECT SUM(credit_msat - debit_msat) FROM moves WHERE node = ? AND payment_hash = ? AND tag <> 'routed'"


class Auditor:
    """Watches the book's file, the node's records and the relays, from outside."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.broken: list[str] = []
        self.answers: dict[str, list[str]] = defaultdict(list)  # to commands, by rumor id
        self.results: dict[str, list[Event]] = defaultdict(list)  # those that are published, by request
        self.contents: dict[str, list[str]] = defaultdict(list)  # of results, as their customers read them, by request
        self.letters: dict[str, list[str]] = defaultdict(list)  # that answer no command, by whom they are to
        self.asked_to_pay: dict[str, str] = {}  # invoices of jobs by message, by rumor id
        self.ended_by_message: dict[str, str] = {}  # `success` or `error`, by rumor id
        self.deliveries: dict[str, list[str]] = defaultdict(list)  # by assignment
        self.receipts: Counter[str] = Counter()  # of zaps, by invoice
        self.app_answers: Counter[str] = Counter()  # by request
        self._said: dict[str, nip90.Feedback | None] = {}
        self._ends: dict[str, list[str]] = defaultdict(list)  # `success` or `error`, by request
        self._plain: sqlite3.Connection | None = None
        self._commits = 0
        self._last_seq = 0

    def found(self, text: str) -> None:
        """Take note of something that must never be."""
        self._world.tell(f"BROKEN: {text}")
        self.broken.append(text)

    # ---- after every commit

    def after_commit(self) -> None:
        """Look at the book as it is now on the disk."""
        self._commits += 1
        total, below, seq = self._row(_SUMS)
        if total != 0:
            self.found(f"all balances sum to {total} msat")
        if below:
            self.found("an account is below its floor")
        if seq is not None and seq > self._last_seq:
            for (plan,) in self.rows(_LEGS, self._last_seq, NODE_LIGHTNING):
                self._check_leg(plan)
            for (plan,) in self.rows(_LEGS, self._last_seq, NODE_ONCHAIN) if self._world.coins.there else ():
                self._check_coins(plan)
            self._last_seq = seq
        if self._commits % WHOLE_EVERY == 0:
            self.whole()

    def whole(self) -> None:
        """Add everything up."""
        for text in (*now(invariants(self)), *now(lots_unsound(self)), *now(loose_ends(self))):
            self.found(text)

    def _check_leg(self, plan: str) -> None:
        """Compare what the book says about one payment with what the node has done."""
        match = PAYMENT_HASH.search(plan)
        if plan.startswith("node/"):  # what was there before
            return None
        if match is None:
            return self.found(f"{plan} moves the node's money and names no payment")
        values = {"node": NODE_LIGHTNING, "like": f"%{match[0]}%"}
        booked, moved = self._row(_LEG_SUM, values)[0], self.moved(match[0])
        if booked != moved:
            self.found(f"{plan}: the book says {booked} msat, the node {moved} msat")
        return None

    def _check_coins(self, plan: str) -> None:
        match = PAYMENT_HASH.search(plan)
        why = self._world.coins.too_early(match[0]) if match is not None else ""
        if why:
            self.found(f"{plan} is {why}")

    def moved(self, payment_hash: str) -> int:
        """Return what came in less what went out under this hash at our node."""
        return self._world.network._store.number(_MOVED, (SERVICE_NODE, payment_hash))

    # ---- what is asked and said

    def asked(self, request: Request) -> None:
        """Take note of a request before it is sent."""
        self._world.facts.requests[request.event.id] = request

    def heard(self, event: Event) -> None:
        """Look at what a relay was given."""
        facts, about = self._world.facts, event.tag("e") or ""
        if event.id in facts.requests:
            facts.requests[event.id].asked_at = self._world.loop.time()
        elif event.kind == nip57.ZAP_RECEIPT_KIND:
            self.receipts[event.tag("bolt11") or ""] += 1
        elif event.kind == nip47.RESPONSE_KIND:
            self.app_answers[about] += 1
            if self.app_answers[about] > 1:
                self.found(f"an app is answered twice: {about[:6]}")
        elif event.kind in nip90.REQUEST_KINDS:  # an assignment of the bot's
            facts.leases[event.id] = event.tag("p") or "", int(event.tag("expiration") or 0)
        elif event.kind == nip59.WRAP_KIND:
            self._heard_wrap(event)
        elif event.kind in nip90.RESULT_KINDS and event.tag("p") == KEYRING.key("service").pubkey:
            self.deliveries[about].append(event.id)
        elif about in facts.requests and event.pubkey in names():
            self._heard_answer(event, facts.requests[about])

    def _heard_answer(self, event: Event, request: Request) -> None:
        """Look at what the bot says of a job: it ends once, and its result is there before."""
        request_id = request.event.id
        if event.kind in nip90.RESULT_KINDS:
            self.results[request_id].append(event)
            self._heard_result(request_id, nip90.parse_result(event, key_of(request.customer)).content)
            return
        said = self.feedback(event, key_of(request.customer)) if event.kind == nip90.FEEDBACK_KIND else None
        if said is None or said.status not in {"success", "error"}:
            return
        self._ended(request, said.status, said.text)

    def _heard_result(self, request_id: str, content: str) -> None:
        self.contents[request_id].append(content)
        if len(self.contents[request_id]) > 1:
            self.found(f"job {request_id[:6]} has two results")

    def _ended(self, request: Request, status: str, text: str) -> None:
        request_id = request.event.id
        self._ends[request_id].append(status)
        request.ended_at = self._world.loop.time()
        self._world.tell(f"job {request_id[:6]} ends: {status} {text}")
        if status == "success" and not self.contents[request_id]:
            self.found(f"job {request_id[:6]} is called done before its result is there")
        if text == "cancelled by the customer" and request_id not in self._world.facts.cancelled:
            self.found(f"job {request_id[:6]} was cancelled by somebody else")
        if len(self._ends[request_id]) > 1:
            self.found(f"job {request_id[:6]} ended twice: {self._ends[request_id]}")

    def feedback(self, event: Event, key: KeyPair) -> nip90.Feedback | None:
        """Read a 7000 to the holder of `key`."""
        if event.id not in self._said:
            try:
                self._said[event.id] = nip90.parse_feedback(event, key)
            except Rejected:
                self._said[event.id] = None
        return self._said[event.id]

    def _heard_wrap(self, event: Event) -> None:
        name = names().get(event.tag("p") or "")
        if name is None or name == "the service":
            return
        rumor = nip59.unwrap(event, key_of(name))
        asked = rumor.tag("e")
        of_job = JOB_SAID.fullmatch(rumor.content)
        if asked is None or asked not in self._world.facts.commands:
            self.letters[name].append(rumor.content)
        elif of_job is not None:
            self._heard_of_job(asked, of_job[1], of_job[2])
        else:
            self.answers[asked].append(rumor.content)
            if len(self.answers[asked]) > 1:
                self.found(f"{name}'s command is answered twice: {self._world.facts.commands[asked][1]}")

    def ends(self, request_id: str) -> list[str]:
        """Return how a job ended, as its customer heard it."""
        return self._ends[request_id]

    def _heard_of_job(self, rumor: str, digits: str, text: str) -> None:
        """Look at what a message says of a job that was asked for by one."""
        found = self.rows("SELECT id, event FROM inbox WHERE source = 'message' AND event LIKE ?", f"%{rumor}%")
        if len(found) != 1 or not found[0][0].startswith(digits):
            return self.found(f"a message tells of job {digits}, and its command asked for {found}")
        request_id, facts = found[0][0], self._world.facts
        if request_id not in facts.requests:
            customer, agent, payer = facts.by_message[rumor]
            request = parse_event(found[0][1])
            self.asked(
                Request(request, customer, agent, payer, "usual", by_message=True, asked_at=self._world.loop.time())
            )
        if RESULT.fullmatch(text):
            self._heard_result(request_id, text)
        invoice = INVOICE.search(text)
        if invoice is not None:
            self.asked_to_pay[rumor] = invoice[0]
        elif not text.startswith(GOES_ON):
            self.ended_by_message[rumor] = "success" if RESULT.fullmatch(text) else "error"
            self._ended(facts.requests[request_id], self.ended_by_message[rumor], text)
        return None

    def delivered(self) -> list[tuple[str, str]]:
        """Return the jobs that have results, and what the first says."""
        return [(request_id, contents[0]) for request_id, contents in self.contents.items() if contents]

    def delivery(self, request_id: str, content: str) -> Delivered:
        """Return what an outsider knows of a delivered job."""
        request = self._world.facts.requests[request_id]
        worker, tokens, *_ = content.split()
        introduced = OWNER if request.payer == ACME else request.customer  # a company, by who referred its founder
        return Delivered(request.agent, introduced, worker, int(tokens), request.bid_msat)

    # ---- reading

    async def fetch(self, sql: str, **values: Any) -> Sequence[Mapping[str, Any]]:
        """Be the `Reader` that the product's own checks want."""
        cursor = self._connection().execute(sql, values)
        columns = [column[0] for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor]

    async def rows_by_id(self, table: str, ids: object) -> dict[str, Mapping[str, Any]]:
        """Be a `Reader`; nobody asks this of us."""
        raise AssertionError(f"{table}: {ids}")

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return rows of the book."""
        return self._connection().execute(sql, values).fetchall()

    def richest(self, who: Sequence[str]) -> str:
        """Return which of these has the most that can be paid away."""
        return self.richest_first(who)[0]

    def richest_first(self, who: Sequence[str]) -> list[str]:
        """Return these in the order of what they can pay away."""
        sql = "SELECT balance_msat FROM accounts WHERE id = ?"
        has = {name: sum(msat for (msat,) in self.rows(sql, f"user/{key_of(name).pubkey}/sats")) for name in who}
        return sorted(who, key=lambda name: -has[name])

    def spent_of(self, payment: str) -> int:
        """Return how much of a card payment is no card money any more, in msat: it was spent."""
        sql = (
            "SELECT amount_msat - (SELECT COALESCE(SUM(amount_msat), 0) FROM lots WHERE deposit = paid.id AND"
            " account LIKE '%/card') FROM card_deposits AS paid WHERE id = ?"
        )
        return sum(msat for (msat,) in self.rows(sql, payment))

    def taken_of(self, payment: str) -> int:
        """Return how much of a card payment the card company has taken back, in msat."""
        sql = (
            "SELECT COALESCE(SUM(CASE WHEN credit = 'card/receivable' THEN amount_msat ELSE -amount_msat END), 0)"
            " FROM transfers WHERE plan LIKE ? AND plan <> ? AND 'card/receivable' IN (debit, credit)"
        )
        return int(self._row(sql, (f"card/{payment}/%", f"card/{payment}/bought"))[0])

    def _row(self, sql: str, values: Mapping[str, Any] | tuple[Any, ...] = ()) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._connection().execute(sql, values).fetchone()
        return row

    def _connection(self) -> sqlite3.Connection:
        if self._plain is None:
            self._plain = sqlite3.connect(f"file:{self._world.disk.path}?mode=ro", uri=True, isolation_level=None)
        return self._plain

    def close(self) -> None:
        """Let go of the file."""
        if self._plain is not None:
            self._plain.close()


def who(counter: Counter[str]) -> str:
    """Return sums by name, for the story."""
    return ", ".join(f"{name_of(name)} {msat}" for name, msat in sorted(counter.items()) if msat)
