"""A small relay whose every answer a test can change, and a connection to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from relaybot.connection import ConnectionLimits, RelayConnection
from relaybot.nostr.event import Event, encode_event, parse_event
from relaybot.nostr.filters import matches, parse_filter
from relaybot.nostr.keys import KeyPair

ALICE = KeyPair(bytes([1]) * 32)
MALLORY = KeyPair(bytes([2]) * 32)
NOW = 1_790_000_000


def note(text: str, *, author: KeyPair = ALICE, kind: int = 1, created_at: int = NOW) -> Event:
    return author.sign(kind=kind, content=text, tags=[], created_at=created_at)


async def until(condition: Callable[[], bool]) -> None:
    """Let everybody else run until the condition holds."""
    while not condition():  # noqa: ASYNC110 - what a condition looks at belongs to others and sets no event
        await asyncio.sleep(0)


@dataclass
class ScriptedRelay:
    """Keeps events, answers REQ and EVENT as NIP-01 says; a test replaces `on_req` or `on_event` where it may not."""

    events: list[Event] = field(default_factory=list)
    frames: list[list[object]] = field(default_factory=list)  # what clients sent
    published: list[Event] = field(default_factory=list)
    sockets: list[ServerConnection] = field(default_factory=list)
    port: int = 0
    on_req: Callable[[ServerConnection, str], Awaitable[None]] | None = None
    on_event: Callable[[ServerConnection, Event], Awaitable[None]] | None = None
    ended: list[int | None] = field(default_factory=list)  # close codes

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def requests(self) -> list[list[object]]:
        return [frame for frame in self.frames if frame[0] == "REQ"]

    async def on_connection(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        try:
            async for text in socket:
                await self.on_frame(socket, json.loads(text))
        except ConnectionClosed:
            pass  # a rude end is noted like a polite one
        self.ended.append(socket.close_code)

    async def on_frame(self, socket: ServerConnection, frame: list[object]) -> None:
        self.frames.append(frame)
        match frame:
            case ["REQ", str(sub_id), *filters] if self.on_req is None:
                asked = [parse_filter(one) for one in filters]
                for event in self.events:
                    if any(matches(one, event) for one in asked):
                        await self.send(socket, sub_id, event)
                await socket.send(json.dumps(["EOSE", sub_id]))
            case ["REQ", str(sub_id), *_] if self.on_req is not None:
                await self.on_req(socket, sub_id)
            case ["EVENT", body]:
                event = parse_event(json.dumps(body))
                self.published.append(event)
                if self.on_event is not None:
                    await self.on_event(socket, event)
                else:
                    await socket.send(json.dumps(["OK", event.id, True, ""]))
            case _:
                assert frame[0] == "CLOSE", f"unexpected {frame[0]}"

    async def send(self, socket: ServerConnection, sub_id: str, event: Event) -> None:
        await socket.send(f'["EVENT","{sub_id}",{encode_event(event)}]')


@asynccontextmanager
async def scripted_relay() -> AsyncIterator[ScriptedRelay]:
    scripted = ScriptedRelay()
    async with serve(scripted.on_connection, "127.0.0.1", 0, close_timeout=1) as server:
        scripted.port = next(iter(server.sockets)).getsockname()[1]
        yield scripted


@pytest.fixture
async def relay() -> AsyncIterator[ScriptedRelay]:
    async with scripted_relay() as scripted:
        yield scripted


class Pauses:
    """Notes how long the connection would have waited, and waits for nothing."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def connected(
    url: str, *, limits: ConnectionLimits | None = None, pauses: Pauses | None = None, jitter: float = 1.0
) -> AsyncIterator[RelayConnection]:
    """Run a connection for the length of the block."""
    connection = RelayConnection(url, jitter=lambda: jitter, limits=limits, pause=pauses or Pauses())
    running = asyncio.create_task(connection.run())
    try:
        yield connection
    finally:
        running.cancel()
        await asyncio.wait([running])


class Seen:
    """Collects what a subscription hands on."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.order: list[str] = []
        self._news = asyncio.Event()

    async def on_event(self, event: Event) -> None:
        self.events.append(event)
        self.order.append(event.content)
        self._news.set()

    async def on_eose(self) -> None:
        self.order.append("EOSE")
        self._news.set()

    async def wait(self, count: int) -> None:
        """Return when `count` events and EOSEs have come."""
        while len(self.order) < count:
            self._news.clear()
            await self._news.wait()
