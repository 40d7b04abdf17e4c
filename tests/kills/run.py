"""One run: customers top up and ask for jobs without end, a node works, shares are paid out; meanwhile processes die.

After the last kill nothing new is asked for. When everything has ended, what is there is
compared with what was asked: by the book itself, by the node's records, and by the
wallets of everybody who paid or was paid.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections import Counter, defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from relaybot.app import open_book_database
from relaybot.clock import SystemClock
from relaybot.config import Config, load_config
from relaybot.connection import RelayConnection
from relaybot.db.database import Database
from relaybot.demo.people import Person, until
from relaybot.demo.work import resolve_issue
from relaybot.keyring import open_keyring
from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip90 import FEEDBACK_KIND
from relaybot.operator.checking import check_books
from relaybot.worker.node import run_worker
from relaybot.worker.settings import WorkerSettings
from tests.crash.ending import AT_WORK
from tests.kills.stage import BOTS, Stage
from wallet.accounts import user

PRICE_MSAT, TOP_UP_SAT = 120_000, 200_000
SHARE = {"alice": 30, "carol": 30, "dave": 20, "grace": 20}  # sat; the platform keeps the rest
CUSTOMERS = ("bob", "eve", "frank")
LANES = 3  # jobs that each customer has open at a time
ENDED_MAX = 8  # jobs that end between two kills, at most


@dataclass(slots=True)
class Facts:
    """How it went: `wrong` is empty if nothing was lost, doubled or left."""

    kills: int = 0
    jobs: Counter[str] = field(default_factory=Counter)
    payouts: int = 0
    transfers: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Tell it, and how it is known."""
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.jobs.items()))
        known = (
            f"{self.kills} kills; jobs: {states}; {self.payouts} payouts; {self.transfers} transfers.\n"
            "Every job ended once; each captured one has one result and one success and cost its price, each released\n"
            "one cost nothing; every wallet got each payout of its owner once, and the customers' wallets paid what\n"
            "the book credited; no escrow, event, payout or job is left; all balances sum to zero; the node's own\n"
            "movements equal the book's, payment by payment."
        )
        return "\n".join(["NOT AS IT MUST BE:", *self.wrong, known]) if self.wrong else known


class Run:
    """The driver: the people, and the hand that kills."""

    def __init__(self, data: Path, kills: int, chance: random.Random, database: str = "book.sqlite3") -> None:
        self._stage = Stage(data)
        self._kills = kills
        self._chance = chance
        self._database = database
        self._keys = {name: KeyPair(secrets.token_bytes(32)) for name in (*SHARE, *CUSTOMERS)}
        self._people: dict[str, Person] = {}
        self._asked: dict[str, list[Event]] = {name: [] for name in CUSTOMERS}
        self._ended = asyncio.Semaphore(0)  # one for each job that has ended
        self._over = False

    async def play(self) -> Facts:
        """Play it to the end."""
        facts = Facts()
        try:
            await self._stage.start(self._config())
            config = load_config(self._stage.config, {})
            keyring = open_keyring(config.keys.file, {}, b"")
            service, agent = keyring.key("service").pubkey, keyring.key("agent/agent").pubkey
            async with asyncio.TaskGroup() as clients:
                running = [clients.create_task(work) for work in await self._clients(service)]
                running.append(clients.create_task(self._broken()))
                await asyncio.gather(*(self._fund(name, service, config) for name in CUSTOMERS))
                await self._ask_and_kill(agent)
                facts = await self._facts(config)
                for task in running:
                    task.cancel()
        finally:
            await self._stage.stop()
        return facts

    async def _broken(self) -> None:
        await self._stage.broken

    def _config(self) -> dict[str, Any]:
        shares = [
            {"to": "$worker" if name == "carol" else name, "role": "compute", "amount": f"{sat} sat"}
            for name, sat in SHARE.items()
        ]
        return {
            "database": self._database,
            "people": {name: key.pubkey for name, key in self._keys.items()},
            "skills": {"work": {"name": "Work", "shares": shares}},
            "agents": {"agent": {"name": "Agent", "kinds": [5050], "price": "120 sat", "skills": ["work"]}},
            "workers": {"admission": "closed", "allowed": ["carol"], "open_jobs_max": 64},
            "jobs": {"open_per_customer_max": 100},
            "payouts": {"threshold": "100 sat", "retry_seconds": 1, "poll_seconds": 1, "confirm_seconds": 1},
        }

    async def _clients(self, service: str) -> list[Coroutine[Any, Any, None]]:
        """Make everybody known, and return what has to run for that."""
        work: list[Coroutine[Any, Any, None]] = []
        for name, key in self._keys.items():
            if name == "carol":
                continue
            relay = RelayConnection(self._stage.relay_url, jitter=random.random, keypair=key)
            work.append(relay.run())
            self._people[name] = Person(name, "", key, relay, self._stage.wallets_url)
        settings = WorkerSettings(
            relay_urls=(self._stage.relay_url,),
            service_pubkey=service,
            kinds=frozenset({5050}),
            keypair=self._keys["carol"],
            name="carol",
            lud16="carol@wallets.test",
            state_dir=self._stage.data / "worker",
            work=resolve_issue,
            concurrency=64,
        )
        work.append(run_worker(settings, clock=SystemClock(), chance=secrets.token_bytes, jitter=random.random))
        return work

    async def _fund(self, name: str, service: str, config: Config) -> None:
        person = self._people[name]
        await person.listen()
        answer = await person.ask(service, f"topup {TOP_UP_SAT}")
        await person.pay(answer.split()[-1])

        async def has_it() -> bool:
            return await _balance(config, person.pubkey) == TOP_UP_SAT * 1_000

        await until(f"{name} has the money", has_it)

    async def _ask_and_kill(self, agent: str) -> None:
        for name in SHARE.keys() & self._people.keys():
            await self._people[name].publish(0, json.dumps({"name": name, "lud16": f"{name}@wallets.test"}))
        asking = [asyncio.create_task(self._ask(name, agent)) for name in CUSTOMERS for _ in range(LANES)]
        for _ in range(self._kills):
            for _ in range(self._chance.randint(1, ENDED_MAX)):
                await self._ended.acquire()
            # Mostly a bot; now and then the relay, with everything that is on its way through it.
            await self._stage.kill(self._chance.choice([*BOTS, *BOTS, *BOTS, "relay"]))
        self._over = True
        await asyncio.gather(*asking)

    async def _ask(self, name: str, agent: str) -> None:
        """Ask for one job after the other, and wait for the end of each."""
        person = self._people[name]
        while not self._over:
            request = await person.publish(5050, "", [["i", secrets.token_hex(8), "text"], ["p", agent]])
            self._asked[name].append(request)
            await person.wait_for("the end of a job", partial(_ends, request))
            self._ended.release()

    async def _facts(self, config: Config) -> Facts:
        """Wait until nothing is left to do, and compare everything with everything."""
        database = await open_book_database(config, SystemClock())

        async def is_quiet() -> bool:
            return not await database.fetch(AT_WORK)

        try:
            await until("nothing is left to do", is_quiet)
            facts = Facts(self._stage.kills)
            await self._check_jobs(database, facts)
            await self._check_people(database, facts)
            facts.transfers = (await database.fetch("SELECT COUNT(*) AS transfers FROM transfers"))[0]["transfers"]
        finally:
            await database.close()
        books = await check_books(config)
        facts.wrong += [*books["broken"], *books["differences"]]
        facts.wrong += [] if books["node"] == "agrees" else [f"the node {books['node']}"]
        return facts

    async def _check_jobs(self, database: Database, facts: Facts) -> None:
        """Check that each job ended once, and that its customer was told so once."""
        states = {row["id"]: row["state"] for row in await database.fetch("SELECT id, state FROM jobs")}
        facts.jobs.update(states.values())
        asked = {request.id for requests in self._asked.values() for request in requests}
        if states.keys() != asked:
            facts.wrong.append(f"{len(asked ^ states.keys())} jobs are not those that were asked for")
        told: dict[str, Counter[str]] = defaultdict(Counter)
        for row in await database.fetch("SELECT event FROM outbox"):
            event = parse_event(row["event"])
            told[event.tag("e") or ""][event.tag("status") or str(event.kind)] += 1
        for job, state in states.items():
            ends = {word: told[job][word] for word in ("6050", "success", "error")}
            captured = {"6050": 1, "success": 1, "error": 0}
            wanted = captured if state == "captured" else {"6050": 0, "success": 0, "error": 1}
            if ends != wanted:
                facts.wrong.append(f"job {job} is {state}, its customer was told {ends}")

    async def _check_people(self, database: Database, facts: Facts) -> None:
        """Check what everybody has, was paid, and finds in their wallet."""
        rows = await database.fetch("SELECT id, balance_msat FROM accounts")
        balances = {row["id"]: row["balance_msat"] for row in rows}
        payouts = await database.fetch("SELECT pubkey, state, amount_msat, paid_msat, fee_msat FROM payouts")
        facts.payouts = len(payouts)
        async with aiohttp.ClientSession() as http:
            for name, sat in SHARE.items():
                mine = [row for row in payouts if row["pubkey"] == self._keys[name].pubkey]
                paid = sum(row["paid_msat"] + row["fee_msat"] for row in mine)
                has = balances.get(user(self._keys[name].pubkey), 0)
                _compare(facts, f"{name} earned", has + paid, sat * 1_000 * facts.jobs["captured"])
                async with http.get(f"{self._stage.wallets_url}/wallets/{name}") as answer:
                    received = sorted(one["amount_msat"] for one in (await answer.json())["received"])
                _compare(
                    facts, f"{name}'s wallet", received, sorted(row["paid_msat"] for row in mine if row["paid_msat"])
                )
            for name in CUSTOMERS:
                asked = ",".join(f"'{request.id}'" for request in self._asked[name])
                done = await database.fetch(f"SELECT id FROM jobs WHERE state = 'captured' AND id IN ({asked})")  # noqa: S608  hex
                left = TOP_UP_SAT * 1_000 - PRICE_MSAT * len(done)
                _compare(facts, f"{name}'s balance", balances[user(self._keys[name].pubkey)], left)
                async with http.get(f"{self._stage.wallets_url}/wallets/{name}") as answer:
                    sent = [one["status"] for one in (await answer.json())["sent"]]
                _compare(facts, f"{name}'s wallet", sent, ["complete"])


def _compare(facts: Facts, what: str, found: object, wanted: object) -> None:
    if found != wanted:
        facts.wrong.append(f"{what}: {found}, not {wanted}")


def _ends(request: Event, event: Event) -> bool:
    return event.kind == FEEDBACK_KIND and event.tag("e") == request.id and event.tag("status") in {"success", "error"}


async def _balance(config: Config, pubkey: str) -> int:
    database = await open_book_database(config, SystemClock())
    try:
        rows = await database.fetch("SELECT balance_msat FROM accounts WHERE id = :id", id=user(pubkey))
        return int(rows[0]["balance_msat"]) if rows else 0
    finally:
        await database.close()
