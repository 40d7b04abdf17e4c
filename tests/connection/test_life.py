"""Publishing over a connection, and its life: pauses, pings, redirects, certificates, good-bye."""

from __future__ import annotations

import asyncio
import http
import json
import ssl

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from relaybot.connection import ConnectionLimits, RelayConnection
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from tests.connection.conftest import ALICE, Pauses, ScriptedRelay, Seen, connected, note, until

NOTES = Filter(kinds=frozenset({1}), authors=frozenset({ALICE.pubkey}))


def notes() -> list[Filter]:
    return [NOTES]


# --- publishing


async def test_publishing_returns_the_relays_word_whichever_it_is(relay: ScriptedRelay) -> None:
    async def on_event(socket: ServerConnection, event: Event) -> None:
        accepted = event.content == "good"
        await socket.send(json.dumps(["OK", event.id, accepted, "" if accepted else "blocked: no"]))

    relay.on_event = on_event
    async with connected(relay.url) as connection:
        await connection.next_connection()
        good, bad = await asyncio.gather(connection.publish(note("good")), connection.publish(note("bad")))
    assert (good.accepted, bad.accepted, bad.message) == (True, False, "blocked: no")


async def test_two_publishers_of_one_event_both_hear(relay: ScriptedRelay) -> None:
    async with connected(relay.url) as connection:
        await connection.next_connection()
        answers = await asyncio.gather(connection.publish(note("one")), connection.publish(note("one")))
    assert [answer.accepted for answer in answers] == [True, True]


async def test_publishing_without_a_connection_is_unavailable() -> None:
    connection = RelayConnection("ws://127.0.0.1:1", jitter=lambda: 0.0)
    with pytest.raises(Unavailable, match="is not connected"):
        await connection.publish(note("one"))


async def test_no_ok_in_time_is_unavailable(relay: ScriptedRelay) -> None:
    async def on_event(_socket: ServerConnection, _event: Event) -> None:
        return

    relay.on_event = on_event
    async with connected(relay.url) as connection:
        await connection.next_connection()
        with pytest.raises(Unavailable, match="no OK in time"):
            await connection.publish(note("one"), 0.02)
        assert connection._answers == {}


async def test_a_connection_that_ends_before_the_ok_is_unavailable_at_once(relay: ScriptedRelay) -> None:
    async def on_event(socket: ServerConnection, _event: Event) -> None:
        await socket.close()

    relay.on_event = on_event
    async with connected(relay.url, limits=ConnectionLimits(publish_seconds=100)) as connection:
        await connection.next_connection()
        with pytest.raises(Unavailable, match="closed the connection before its OK"):
            await connection.publish(note("one"))


async def test_an_ok_for_a_publisher_that_has_gone_hurts_nobody(relay: ScriptedRelay) -> None:
    async def on_event(socket: ServerConnection, event: Event) -> None:
        if event.content == "gone":
            going.cancel()
        await socket.send(json.dumps(["OK", event.id, True, ""]))

    relay.on_event = on_event
    async with connected(relay.url) as connection:
        await connection.next_connection()
        going = asyncio.create_task(connection.publish(note("gone")))
        await asyncio.wait([going])
        assert going.cancelled()
        assert (await connection.publish(note("here"))).accepted


async def test_a_publisher_cancelled_in_the_moment_of_the_ok_is_passed_over(relay: ScriptedRelay) -> None:
    connection = RelayConnection(relay.url, jitter=lambda: 0.0)
    answer = asyncio.get_running_loop().create_future()
    answer.cancel()
    connection._answers["id"] = [answer]
    connection._lose()
    assert connection._answers == {}


async def test_sending_on_an_ended_connection_is_unavailable(relay: ScriptedRelay) -> None:
    async with connected(relay.url) as connection:
        await connection.next_connection()
        socket = connection._socket
        assert socket is not None
        await socket.close()
        connection._socket = socket  # as if the reading loop had not noticed yet
        with pytest.raises(Unavailable, match="closed the connection before its OK"):
            await connection.publish(note("one"))


# --- connecting


async def test_pauses_grow_to_a_limit_while_nobody_answers_and_chance_halves_them_at_most() -> None:
    for jitter, first, last in ((1.0, 0.5, 60.0), (0.0, 0.25, 30.0)):
        pauses = Pauses()
        async with connected("ws://127.0.0.1:1", pauses=pauses, jitter=jitter):
            await until(lambda pauses=pauses: len(pauses.seconds) >= 9)  # type: ignore[misc]
        assert (pauses.seconds[0], pauses.seconds[1], pauses.seconds[8]) == (first, 2 * first, last)


async def test_a_relay_that_worked_is_tried_again_soon(relay: ScriptedRelay) -> None:
    pauses, seen = Pauses(), Seen()
    async with connected(relay.url, pauses=pauses) as connection:
        await connection.subscribe("notes", notes, seen.on_event, seen.on_eose)
        for rounds in range(1, 5):
            await seen.wait(rounds)
            await relay.sockets[-1].close()
    assert set(pauses.seconds) == {0.5}


async def test_a_relay_that_hangs_up_on_everybody_is_tried_ever_more_rarely(relay: ScriptedRelay) -> None:
    async def on_req(socket: ServerConnection, _sub_id: str) -> None:
        await socket.close()

    relay.on_req, pauses = on_req, Pauses()
    async with connected(relay.url, pauses=pauses) as connection:
        await connection.subscribe("notes", notes, Seen().on_event)
        await connection.next_connection(after=3)
    assert pauses.seconds[:3] == [0.5, 1.0, 2.0]


async def test_a_relay_that_no_longer_answers_pings_is_left(relay: ScriptedRelay) -> None:
    seen = Seen()
    async with connected(relay.url, limits=ConnectionLimits(ping_seconds=0.05, close_seconds=0.05)) as connection:
        await connection.subscribe("notes", notes, seen.on_event, seen.on_eose)
        await seen.wait(1)
        relay.sockets[0].transport.pause_reading()
        await seen.wait(2)
        relay.sockets[0].transport.resume_reading()
    assert len(relay.sockets) >= 2


async def test_a_redirect_is_not_followed(relay: ScriptedRelay) -> None:
    asked = 0

    def elsewhere(_socket: ServerConnection, _request: Request) -> Response:
        nonlocal asked
        asked += 1
        return Response(http.HTTPStatus.FOUND, "Found", Headers(Location=relay.url))

    pauses = Pauses()
    async with serve(relay.on_connection, "127.0.0.1", 0, process_request=elsewhere) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connected(f"ws://127.0.0.1:{port}", pauses=pauses):
            await until(lambda: asked >= 2)
    assert relay.sockets == []
    assert pauses.seconds[0] == 0.5


async def test_proxies_of_the_environment_are_not_used(relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ws_proxy", "http_proxy", "all_proxy", "socks_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:1")
    async with connected(relay.url) as connection:
        assert await connection.next_connection() == 1


async def test_cancelling_says_goodbye(relay: ScriptedRelay) -> None:
    async with connected(relay.url) as connection:
        await connection.next_connection()
    await until(lambda: relay.ended != [])
    assert relay.ended == [1001]


@pytest.mark.parametrize("url", ["", "relay.example", "http://relay.example", "ws://", "ws://relay.example/#x"])
def test_what_is_no_relay_url_is_refused(url: str) -> None:
    with pytest.raises(Rejected, match="relay must be a ws:// or wss:// URL"):
        RelayConnection(url, jitter=lambda: 0.0)


def test_the_certificate_of_a_wss_relay_is_checked() -> None:
    connection = RelayConnection("wss://relay.example", jitter=lambda: 0.0)
    assert connection._tls is not None
    assert connection._tls.verify_mode is ssl.CERT_REQUIRED
    assert connection._tls.check_hostname
