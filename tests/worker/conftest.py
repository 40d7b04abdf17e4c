"""A compute node at a relay, and the service that gives it work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from relaybot.clock import SetClock
from relaybot.nostr import nip90
from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from relaybot.worker.node import run_worker
from relaybot.worker.settings import WorkerSettings
from relaybot.worker.work import Done, Say
from tests.connection.conftest import NOW, ScriptedRelay, scripted_relay, until

SERVICE = KeyPair(bytes([3]) * 32)
CAROL = KeyPair(bytes([4]) * 32)
LEASE_SECONDS = 600


def counting_chance() -> Callable[[int], bytes]:
    calls = 0

    def chance(size: int) -> bytes:
        nonlocal calls
        calls += 1
        return calls.to_bytes(size, "big")

    return chance


_CHANCE = counting_chance()


def assignment(
    text: str = "issue 1",
    *,
    kind: int = 5050,
    lease: int | None = LEASE_SECONDS,
    created_at: int = NOW,
    author: KeyPair = SERVICE,
    node: KeyPair = CAROL,
) -> Event:
    return nip90.build_job_request(
        author,
        kind=kind,
        inputs=[nip90.Input(text, "text")],
        params=[("model", "small")],
        bid_msat=1_000_000,
        provider=node.pubkey,
        encrypt=Encryption(NIP44, _CHANCE(32)),
        expiration=None if lease is None else created_at + lease,
        now=created_at,
    )


async def unheard(_piece: str) -> None:
    """Hear a piece of a result, and do nothing with it."""


class Works:
    """Work that notes what it was given, and waits for `release` if it is told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done: list[str] = []
        self.running = 0
        self.most = 0
        self.release = asyncio.Event()
        self.release.set()
        self.pieces: list[str] = []
        self.usage: dict[str, int] = {}

    async def __call__(self, job: nip90.JobRequest, say: Say) -> Done:
        self.begun.append(job.inputs[0].data)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.release.wait()
        finally:
            self.running -= 1
        self.done.append(job.inputs[0].data)
        for piece in self.pieces:
            await say(piece)
        return Done(f"done: {job.inputs[0].data}", self.usage)


@dataclass
class Office:
    """The service's side: gives assignments through the relays and reads what comes back."""

    relays: list[ScriptedRelay]
    settings: WorkerSettings
    works: Works
    clock: SetClock = field(default_factory=lambda: SetClock(NOW))
    pauses: list[float] = field(default_factory=list)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def node(self, **changed: object) -> None:
        settings = replace(self.settings, **changed)  # type: ignore[arg-type]  # each test names a setting and its value
        await run_worker(settings, clock=self.clock, chance=_CHANCE, jitter=lambda: 1.0, pause=self.pause)

    @asynccontextmanager
    async def open(self, **changed: object) -> AsyncIterator[None]:
        """Run the node for the length of the block; what breaks in it breaks the test."""
        running = asyncio.create_task(self.node(**changed))
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])
            if not running.cancelled():
                running.result()

    def asked(self) -> list[list[object]]:
        """Return how the first relay was asked for assignments, each time."""
        return [request for request in self.relays[0].requests() if request[1] == "assignments"]

    async def give(self, *events: Event) -> None:
        """Send assignments on the newest connection of the first relay, once it has asked for them."""
        relay = self.relays[0]
        await until(lambda: bool(self.asked()) and bool(relay.sockets))
        for event in events:
            await relay.send(relay.sockets[-1], "assignments", event)

    async def say(self, kind: int, tags: list[list[str]], later: int = 0) -> None:
        """Send a word of the service to the node."""
        event = SERVICE.sign(kind=kind, content="", tags=[*tags, ["p", CAROL.pubkey]], created_at=NOW + later)
        await self.relays[0].send(self.relays[0].sockets[-1], "words", event)

    def said(self, kind: int, relay: int = 0) -> list[Event]:
        return [event for event in self.relays[relay].published if event.kind == kind]

    async def hear(self, kind: int, count: int = 1, relay: int = 0) -> list[Event]:
        """Return the events of a kind when there are as many as that."""
        await until(lambda: len(self.said(kind, relay)) >= count)
        return self.said(kind, relay)

    async def hear_errors(self, count: int = 1) -> list[str]:
        await until(lambda: len(self.errors()) >= count)
        return self.errors()

    def errors(self) -> list[str]:
        said = [nip90.parse_feedback(event, SERVICE) for event in self.said(7000)]
        return [one.text for one in said if one.status == "error"]


@pytest.fixture
async def relay() -> AsyncIterator[ScriptedRelay]:
    async with scripted_relay() as scripted:
        yield scripted


@pytest.fixture
async def office(relay: ScriptedRelay, tmp_path: Path) -> Office:
    works = Works()
    settings = WorkerSettings(
        relay_urls=(relay.url,),
        service_pubkey=SERVICE.pubkey,
        kinds=frozenset({5050, 5100}),
        keypair=CAROL,
        name="carol",
        about="One graphics card",
        lud16="carol@wallets.test",
        claim_after_seconds=0,
        state_dir=tmp_path / "state",
        work=works,
    )
    return Office([relay], settings, works)
