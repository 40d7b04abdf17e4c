"""Attack I8: who never speaks, or comes too often, is let go of; and a good end."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode

from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.relay import connection as connection_module
from relaybot.relay.server import RelayServer
from relaybot.relay.settings import RelaySettings
from tests.relay.authors import NOW, note, obj, raw
from tests.relay.client import Client
from tests.relay.conftest import Relay, limited, running
from tests.relay.test_queries import answer
from tests.relay.wire import masked, open_connections, opened, until, wire


async def to_the_end(client: Client) -> tuple[list[list[Any]], tuple[int, str]]:
    """Return what the relay still says, and its goodbye."""
    heard = []
    try:
        while True:
            heard.append(await client.hear())
    except ConnectionClosed as closed:
        goodbye = closed.rcvd
        return heard, (goodbye.code, goodbye.reason) if goodbye is not None else (CloseCode.ABNORMAL_CLOSURE, "")


# ---- time


async def test_who_does_not_finish_the_request_is_disconnected(path: Path) -> None:
    async with running(path, limited(handshake_seconds=0.05)) as relay, wire(relay) as one:
        one.writer.write(b"GET / HTTP/1.1\r\n")
        assert await one.ended()


async def test_an_endless_request_is_refused(path: Path) -> None:
    async with running(path, limited(request_bytes_max=100)) as relay, wire(relay) as one:
        one.writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 200)
        assert (await one.reader.readline()).startswith(b"HTTP/1.1 431")


async def test_a_silent_client_is_asked_and_stays_if_it_answers(path: Path) -> None:
    async with running(path, limited(ping_seconds=0.01, idle_seconds=0.1)) as relay, wire(relay) as one:
        await opened(one)
        started = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < started + 0.3:
            assert await one.reader.readexactly(2) == PING
            one.writer.write(PONG)
        one.writer.write(masked(b'["REQ","s",{}]'))
        assert (await one.reader.readuntil(b"]]")).endswith(b'["EOSE","s",["finish"]]')


async def test_a_client_that_does_not_answer_is_let_go_of(path: Path) -> None:
    settings = limited(ping_seconds=0.02, idle_seconds=0.1, close_seconds=0.1)
    async with running(path, settings) as relay, wire(relay) as one:
        await opened(one)
        with capture_logs() as logs:
            said = await one.reader.read()  # it never closes: the relay ends it after close_seconds
        assert said.startswith(PING)
        assert said.endswith(b"silent for too long")
        assert [(line["event"], line["reason"]) for line in logs] == [
            ("relay_connection_dropped", "silent for too long")
        ]


PING, PONG = b"\x89\x00", b"\x8a\x80\0\0\0\0"


async def test_a_client_we_do_not_listen_to_is_not_called_silent(path: Path) -> None:
    working = asyncio.Event()

    async def work(_event: Event) -> None:
        await working.wait()

    settings = limited(unanswered_max=1, ping_seconds=0.02, idle_seconds=0.05)
    async with running(path, settings, before_ok=work) as relay, wire(relay) as one:
        await relay.hub.subscribe([Filter()], list[Event]().append, durable=True)
        await opened(one)
        event = note("much work")
        one.writer.write(masked(b'["EVENT",' + raw(event) + b"]"))
        await until(lambda: any(connection._deaf for connection in open_connections(relay.server)))
        started = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > started + 0.2)
        working.set()
        assert (await one.reader.readuntil(b'true,""]')).endswith(event.id.encode() + b'",true,""]')


# ---- many, and the end


async def test_no_more_connections_than_allowed(path: Path) -> None:
    async with running(path, limited(connections_max=1)) as relay:
        async with relay.client():
            with pytest.raises(InvalidStatus) as raised:
                await connect(relay.url)
            assert raised.value.response.status_code == 503
        await until(lambda: not open_connections(relay.server))
        async with relay.client() as client:
            await client.hears_nothing_more()


async def test_far_too_many_connections_are_not_even_answered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "CONNECTIONS_SPARE", 0)
    async with running(path, limited(connections_max=1)) as relay, relay.client(), wire(relay) as one:
        assert await one.ended()


async def test_a_client_that_leaves_is_forgotten(relay: Relay) -> None:
    async with relay.client() as client:
        await client.subscribe({}, sub="s")
        await client.until_eose("s")
        assert len(relay.hub._subscriptions) == 1
    await until(lambda: not open_connections(relay.server))
    assert len(relay.hub._subscriptions) == 0


async def test_half_a_connection_is_no_connection(relay: Relay) -> None:
    async with wire(relay) as one:
        await opened(one)
        one.writer.write_eof()
        assert await one.ended()
    async with wire(relay) as one:
        one.writer.write(b"GET / HT")
        one.writer.write_eof()
        assert await one.ended()


async def test_a_subscription_the_store_cannot_answer_is_closed_with_the_reason(path: Path) -> None:
    async with running(path) as relay, relay.client() as client:
        vandal = sqlite3.connect(path)
        vandal.execute("DROP TABLE tag")
        vandal.close()
        with capture_logs():
            await client.subscribe({"#t": ["x"]}, sub="s")
            assert await client.hear() == ["CLOSED", "s", "error: the events cannot be read now"]
        assert len(relay.hub._subscriptions) == 0


async def test_the_end_answers_what_was_sent_and_says_goodbye(path: Path) -> None:
    async with running(path) as relay, relay.client() as client, relay.client() as idle, wire(relay) as half:
        half.writer.write(b"GET / HTTP/1.1\r\n")
        await idle.hears_nothing_more()
        events = [note(str(number), at=NOW - number) for number in range(50)]
        for event in events:
            await client.send("EVENT", obj(event))
        await until(lambda: any(connection._unanswered for connection in open_connections(relay.server)))
        closing = asyncio.create_task(relay.server.close())
        answered, goodbye = await to_the_end(client)
        await closing
        assert goodbye == (1001, "the relay is stopping")
        assert (await to_the_end(idle))[1] == (1001, "the relay is stopping")
        assert await half.ended()
        stored = {event.id for event in await answer(relay.store, [Filter()])}
        assert {message[1] for message in answered} == stored
        with pytest.raises(OSError, match=r"Connect|refused|111"):
            await asyncio.open_connection(relay.host, relay.port)


async def test_a_client_that_does_not_say_goodbye_does_not_hold_up_the_end(path: Path) -> None:
    async with running(path, limited(close_seconds=0.05)) as relay, wire(relay) as rude:
        await opened(rude)
        await relay.server.close()
        assert b"the relay is stopping" in await rude.reader.read()


async def test_an_event_that_is_never_answered_does_not_hold_up_the_end(path: Path) -> None:
    forever = asyncio.Event()

    async def wait(_event: Event) -> None:
        await forever.wait()

    async with running(path, limited(close_seconds=0.05), before_ok=wait) as relay, relay.client() as client:
        await relay.hub.subscribe([Filter()], list[Event]().append, durable=True)
        await client.send("EVENT", obj(note("stuck")))
        await until(lambda: bool(relay.hub._tasks))
        await relay.server.close()
        assert (await to_the_end(client))[1][0] == 1001
        forever.set()


async def test_a_server_that_was_never_started_can_be_closed(path: Path) -> None:
    async with running(path) as relay:
        await RelayServer(relay.hub, RelaySettings()).close()
