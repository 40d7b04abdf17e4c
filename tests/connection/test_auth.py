"""NIP-42 from the client's side: a connection with a key shows it to relays that ask for it, and to no others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.server import ServerConnection, serve

from relaybot.clock import SetClock
from relaybot.connection import ConnectionLimits, RelayConnection
from relaybot.errors import Unavailable
from relaybot.nostr.event import Event, event_from
from relaybot.nostr.filters import Filter
from relaybot.nostr.messages import Ok
from tests.connection.conftest import ALICE, MALLORY, NOW, Pauses, ScriptedRelay, Seen, note, until
from tests.relay.authors import NOW as RELAY_NOW
from tests.relay.conftest import running

WRAPS = Filter(kinds=frozenset({1059}), tags={"p": frozenset({ALICE.pubkey})})
REQUIRED = "auth-required: who are you"


@asynccontextmanager
async def as_alice(
    url: str, *, now: int = NOW, limits: ConnectionLimits | None = None
) -> AsyncIterator[RelayConnection]:
    connection = RelayConnection(
        url, jitter=lambda: 1.0, keypair=ALICE, clock=SetClock(now), limits=limits, pause=Pauses()
    )
    running_ = asyncio.create_task(connection.run())
    await connection.next_connection()
    try:
        yield connection
    finally:
        running_.cancel()
        await asyncio.wait([running_])


class Suspicious(ScriptedRelay):
    """A relay that refuses everything until it has seen an AUTH that it believes."""

    def __init__(self, *, believes: bool) -> None:
        super().__init__()
        self.believes = believes
        self.answers = True
        self.shown: list[Event] = []

    async def on_frame(self, socket: ServerConnection, frame: list[object]) -> None:
        match frame:
            case ["AUTH", body]:
                event = event_from(body)
                self.shown.append(event)
                if self.answers:
                    await socket.send(
                        json.dumps(["OK", event.id, self.believes, "" if self.believes else "restricted: no"])
                    )
            case ["REQ", str(sub_id), *_] if not (self.shown and self.believes):
                self.frames.append(frame)
                await self.refuse(socket, "CLOSED", sub_id)
            case ["EVENT", body] if not (self.shown and self.believes):
                self.frames.append(frame)
                await self.refuse(socket, "OK", event_from(body).id, False)
            case _:
                await super().on_frame(socket, frame)

    async def refuse(self, socket: ServerConnection, *answer: object) -> None:
        await socket.send('["AUTH","a challenge"]')
        await socket.send(json.dumps([*answer, REQUIRED]))


@asynccontextmanager
async def suspicious(*, believes: bool = True) -> AsyncIterator[Suspicious]:
    relay = Suspicious(believes=believes)
    async with serve(relay.on_connection, "127.0.0.1", 0, close_timeout=1) as server:
        relay.port = next(iter(server.sockets)).getsockname()[1]
        yield relay


async def test_our_own_relay_serves_gift_wraps_to_a_connection_with_the_recipients_key(tmp_path: Path) -> None:
    wrap = MALLORY.sign(kind=1059, content="", tags=[["p", ALICE.pubkey]], created_at=RELAY_NOW)
    seen = Seen()
    async with running(tmp_path / "events.db") as relay, as_alice(relay.url, now=RELAY_NOW) as connection:
        assert (await connection.publish(wrap)).accepted
        await connection.subscribe("wraps", lambda: [WRAPS], seen.on_event, seen.on_eose)
        await seen.wait(2)
    assert seen.events == [wrap]


async def test_a_subscription_that_needs_auth_is_asked_for_again_at_once() -> None:
    seen = Seen()
    async with suspicious() as relay, as_alice(relay.url) as connection:
        for name in ("one", "two"):
            await connection.subscribe(name, lambda: [WRAPS], seen.on_event, seen.on_eose)
        await seen.wait(2)
        (shown,) = relay.shown
        assert (shown.pubkey, shown.kind, shown.created_at) == (ALICE.pubkey, 22_242, NOW)
        assert shown.tags == (("relay", relay.url), ("challenge", "a challenge"))


async def test_an_event_that_needs_auth_is_published_again_once() -> None:
    async with suspicious() as relay, as_alice(relay.url) as connection:
        event = note("mine")
        assert await connection.publish(event) == Ok(event.id, True, "")
        assert len(relay.shown) == 1
        assert relay.published == [event]


async def test_a_relay_that_does_not_believe_us_is_not_asked_without_end() -> None:
    async with suspicious(believes=False) as relay, as_alice(relay.url) as connection:
        seen = Seen()
        with capture_logs() as logs:
            await connection.subscribe("wraps", lambda: [WRAPS], seen.on_event)
            await until(lambda: len(relay.requests()) > 2)
            assert (await connection.publish(note("x"))).message == REQUIRED
        assert len(relay.shown) == 1
        assert [line["reason"] for line in logs if line["event"] == "relay_auth_refused"] == ["restricted: no"]


async def test_a_relay_that_does_not_answer_our_auth_keeps_us_from_publishing() -> None:
    limits = ConnectionLimits(publish_seconds=0.2)
    async with suspicious() as relay, as_alice(relay.url, limits=limits) as connection:
        relay.answers = False
        await connection.subscribe("wraps", lambda: [WRAPS], Seen().on_event)
        with pytest.raises(Unavailable, match="no OK in time"):
            await connection.publish(note("x"))
        await until(lambda: len(relay.requests()) > 1)


async def test_a_connection_without_a_key_shows_none() -> None:
    async with suspicious() as relay:
        connection = RelayConnection(relay.url, jitter=lambda: 0.0, pause=Pauses())
        task = asyncio.create_task(connection.run())
        await connection.next_connection()
        assert (await connection.publish(note("x"))).message == REQUIRED
        assert relay.shown == []
        task.cancel()
        await asyncio.wait([task])


async def test_a_relay_that_only_sends_a_challenge_learns_nothing(relay: ScriptedRelay) -> None:
    async with as_alice(relay.url) as connection:
        await relay.sockets[0].send('["AUTH","tell me"]')
        assert (await connection.publish(note("x"))).accepted
        assert [frame[0] for frame in relay.frames] == ["EVENT"]
