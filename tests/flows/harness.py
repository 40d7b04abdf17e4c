"""A whole service in this process, with its node, and people who talk to it over websockets."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relaybot.app import Addresses, serve
from relaybot.config import Config, load_config
from relaybot.connection import RelayConnection
from relaybot.db.sqlite import SqliteDatabase
from relaybot.demo.people import Person
from relaybot.demo.stage import AGENTS, HOST, SKILLS, free_port
from relaybot.nostr import nip89, nip90
from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from relaybot.probe import Probe, no_probe
from relaybot.simulator.network import SimulatedNetwork
from tests.book.empty import lay_book
from tests.book.stores import SqliteStore, book_file, tamper
from wallet.book import invariants, loose_ends

PRICE = 12_000_000
LOOK_SECONDS = 0.05
NAMES = ("alice", "bob", "carol", "dave", "eve", "frank", "grace", "heidi", "mallory")


class MovedClock:
    """The machine's clock, set forward by as much as a test says: nobody waits for a deadline."""

    def __init__(self) -> None:
        self._ahead = 0

    def now(self) -> int:
        """Return the service's Unix time in seconds."""
        return int(time.time()) + self._ahead

    def advance(self, seconds: int) -> None:
        """Set it forward by so many more seconds."""
        self._ahead += seconds


@dataclass(slots=True)
class World:
    """One service and its people. `people` are connected on demand by `join`."""

    data: Path
    port: int
    config: Config
    network: SimulatedNetwork
    tasks: asyncio.TaskGroup
    keys: Mapping[str, KeyPair]
    addresses: Addresses | None = None
    people: dict[str, Person] = field(default_factory=dict)
    service: asyncio.Task[None] | None = None
    clock: MovedClock = field(default_factory=MovedClock)  # the service's
    moved: asyncio.Event = field(default_factory=asyncio.Event)  # the service has committed, or called somebody

    @property
    def agent(self) -> str:
        assert self.addresses is not None
        return self.addresses.agents["autodev"]

    @property
    def bot(self) -> str:
        assert self.addresses is not None
        return self.addresses.service

    async def start(self, probe: Probe = no_probe) -> None:
        """Start the service and wait until it is ready."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[Addresses] = loop.create_future()

        def told(border: str) -> None:  # in the thread that passes it
            probe(border)
            if border.endswith(":after"):
                loop.call_soon_threadsafe(self.moved.set)

        running = serve(self.config, {}, ready=ready.set_result, clock=self.clock, probe=told)
        self.service = self.tasks.create_task(running)
        async with asyncio.timeout(30):
            self.addresses = await ready

    async def stop(self) -> None:
        """Stop the service as SIGTERM does."""
        if self.service is not None:
            self.service.cancel()
            await asyncio.wait({self.service})
            self.service = None

    async def join(self, name: str) -> Person:
        """Return the person of this name, connected."""
        if name not in self.people:
            relay = RelayConnection(f"ws://{HOST}:{self.port}", jitter=random.random, keypair=self.keys[name])
            self.tasks.create_task(relay.run())
            person = Person(name, "", self.keys[name], relay, self.network.running.url)
            await person.listen()
            await relay.next_connection()
            self.people[name] = person
        return self.people[name]

    async def request(self, customer: str, text: str = "Fix issue 42", **more: Any) -> Event:
        """Let `customer` ask AutoDev for a job."""
        person = await self.join(customer)
        tags = [["i", text, "text"], ["p", self.agent], *more.get("tags", ())]
        return await person.publish(more.get("kind", 5050), "", tags)

    async def feedback(self, customer: str, request: Event, status: str) -> nip90.Feedback:
        """Wait for the agent's 7000 of this status."""
        person = await self.join(customer)
        event = await person.wait_for(f"7000 {status}", lambda one: is_feedback(one, request, status))
        return nip90.parse_feedback(event, person.keypair)

    async def result(self, customer: str, request: Event) -> Event:
        """Wait for the job's result."""
        person = await self.join(customer)
        return await person.wait_for(
            "a result", lambda one: one.kind == request.kind + 1000 and one.tag("e") == request.id
        )

    async def fund(self, name: str, sats: int) -> None:
        """Let somebody top up over a private message and pay from their wallet."""
        person = await self.join(name)
        before = await self.balance(name)
        answer = await person.ask(self.bot, f"topup {sats}")
        await person.pay(answer.split()[-1])
        await self.until(lambda: self._has(name, before + sats * 1000))

    async def _has(self, name: str, msat: int) -> bool:
        return await self.balance(name) == msat

    async def node_joins(self, name: str = "carol", kinds: Sequence[int] = (5050,)) -> Person:
        """Let a compute node announce itself; what it says about its jobs is up to the test."""
        person, now = await self.join(name), int(time.time())
        announcement = nip89.build_worker_announcement(
            person.keypair,
            identifier="bee",
            service=self.bot,
            kinds=kinds,
            name="a node",
            about="",
            expiration=now + 3600,
            now=now,
        )
        await person.send(announcement)
        await self.beat(name)
        return person

    async def beat(self, name: str, status: nip89.WorkerStatus = "idle") -> None:
        """Send a heartbeat."""
        person, now = await self.join(name), int(time.time())
        await person.send(
            nip89.build_heartbeat(person.keypair, service=self.bot, status=status, expiration=now + 900, now=now)
        )

    async def assignment(self, name: str = "carol", *, after: int = 0) -> Event:
        """Wait for this node's assignment number `after` (from 0)."""
        person = await self.join(name)
        await person.wait_for("an assignment", lambda _: len(assignments(person)) > after)
        return assignments(person)[after]

    async def claim(
        self, child: Event, name: str = "carol", status: nip90.Status = "processing", text: str = ""
    ) -> Event:
        """Let a node say something about its assignment."""
        person = await self.join(name)
        event = nip90.build_feedback(person.keypair, request=child, status=status, text=text, now=int(time.time()))
        await person.send(event)
        return event

    async def deliver(self, child: Event, content: str = "done", name: str = "carol") -> Event:
        """Let a node deliver."""
        person = await self.join(name)
        event = nip90.build_result(
            person.keypair,
            request=child,
            content=content,
            encrypt=Encryption(NIP44, secrets.token_bytes(32)),
            now=int(time.time()),
        )
        await person.send(event)
        return event

    async def balance(self, name: str) -> int:
        """Return somebody's withdrawable balance in msat."""
        return await self.account(f"user/{self.keys[name].pubkey}/sats")

    async def account(self, account: str) -> int:
        """Return an account's balance in msat."""
        rows = await self.rows("SELECT balance_msat FROM accounts WHERE id = :id", id=account)
        return int(rows[0]["balance_msat"]) if rows else 0

    async def job(self, request: Event) -> Mapping[str, Any]:
        """Return the job's row."""
        return (await self.rows("SELECT * FROM jobs WHERE id = :id", id=request.id))[0]

    async def rows(self, sql: str, **values: str | int) -> list[Mapping[str, Any]]:
        """Read the book from outside, as an operator would."""
        with closing(sqlite3.connect(book_file(self.config))) as book:
            book.row_factory = sqlite3.Row
            book.execute("PRAGMA query_only = ON")
            return [dict(row) for row in book.execute(sql, values)]

    async def handled(self, event: Event) -> str:
        """Wait until an event was handled, and return what became of it."""
        note = ""

        async def done() -> bool:
            nonlocal note
            rows = await self.rows("SELECT state, note FROM inbox WHERE id = :id", id=event.id)
            note = rows[0]["note"] if rows else ""
            return bool(rows) and rows[0]["state"] != "new"

        await self.until(done)
        return note

    async def until(self, true: Callable[[], Any]) -> None:
        """Wait until something holds; look again when the service has moved, and now and then for all else."""
        async with asyncio.timeout(20):
            while not await true():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.moved.wait(), LOOK_SECONDS)
                self.moved.clear()

    async def sound(self) -> None:
        """Assert every invariant of the book."""
        async with self.database() as database:
            assert [*await invariants(database), *await loose_ends(database)] == []

    async def tamper(self, sql: str) -> None:
        """Change the service's book past everything that keeps it sound."""
        await tamper(SqliteStore(book_file(self.config)), sql)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[SqliteDatabase]:
        """Open the service's book beside it."""
        database = await SqliteStore(book_file(self.config)).open()
        try:
            yield database
        finally:
            await database.close()


@asynccontextmanager
async def world(start: bool = True, **overrides: Any) -> AsyncIterator[World]:  # noqa: FBT001, FBT002  reads well in a test
    """Set up a network and a service with the worked example's agent; `overrides` are sections of the config."""
    async with AsyncExitStack() as stack:
        data = Path(tempfile.mkdtemp(prefix="rb-"))
        stack.callback(shutil.rmtree, data, ignore_errors=True)
        network = SimulatedNetwork(data / "ln")
        await network.start()
        stack.push_async_callback(network.close)
        keys = {name: KeyPair(secrets.token_bytes(32)) for name in NAMES}
        port = free_port()
        written = data / "config.yaml"
        written.write_text(json.dumps(_config(data, port, network, keys, overrides)))  # YAML, too
        config = load_config(written, {})
        if start:  # else the test may be about a first start
            lay_book(book_file(config))
        try:
            async with asyncio.TaskGroup() as tasks:
                made = World(data, port, config, network, tasks, keys)
                if start:
                    await made.start()
                try:
                    yield made
                finally:
                    await made.stop()
                raise _Over  # noqa: TRY301  nothing else ends a TaskGroup of tasks that run for ever
        except* _Over:
            pass


class _Over(Exception):
    """The test is over: ends the TaskGroup with all connections."""


def is_feedback(event: Event, request: Event, status: str) -> bool:
    """Tell whether `event` is a 7000 of this status on `request`."""
    return event.kind == 7000 and event.tag("e") == request.id and event.tag("status") == status


def assignments(person: Person) -> list[Event]:
    """Return the assignments that reached a node, oldest first."""
    return [event for event in person.seen() if 5000 <= event.kind < 6000]


def _config(
    data: Path, port: int, network: SimulatedNetwork, keys: Mapping[str, KeyPair], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    people = {name: keys[name].pubkey for name in ("alice", "carol", "dave", "grace", "heidi")}
    config: dict[str, Any] = {
        "service": {"data_dir": str(data)},
        "relay": {"host": HOST, "port": port},
        "lightning": {"embedded": False, "socket": str(network.sockets["service"])},
        "outgoing": {"hosts": {"wallets.test": network.running.url}},
        "people": people,
        "skills": SKILLS,
        "agents": AGENTS,
        "workers": {"admission": "closed", "allowed": ["carol", "dave"]},
        "payouts": {"retry_seconds": 1, "poll_seconds": 1, "confirm_seconds": 1},
        "accounting": {"k": 1, "dominance_percent": 100, "allow_open_day": True, "delay_seconds": 0, "publish": False},
    }
    for section, values in overrides.items():
        config[section] = {**config.get(section, {}), **values} if isinstance(values, dict) else values
    return config
