"""One port: websockets and HTTP, time limits, slow readers, and a good end."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode

from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.relay import connection as connection_module
from relaybot.relay.connection import Connection
from relaybot.relay.server import RelayServer
from relaybot.relay.settings import RelayLimits, RelaySettings
from tests.relay.authors import ALICE, NOW, note, obj, raw
from tests.relay.client import Client
from tests.relay.conftest import Relay, limited, running
from tests.relay.test_queries import answer, written_to

INFORMATION = {"Accept": "application/nostr+json"}


class Wire:
    """A plain TCP connection to the relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: str) -> tuple[str, bytes]:
        """Send an HTTP request; return head and body of the answer."""
        self.writer.write(request.replace("\n", "\r\n").encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = next((line for line in head.splitlines() if line.lower().startswith("content-length:")), ":0")
        return head, await self.reader.readexactly(int(length.partition(":")[2]))

    async def ended(self) -> bool:
        """Wait until the relay has nothing more to say."""
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True


@asynccontextmanager
async def wire(relay: Relay) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(relay.host, relay.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


HANDSHAKE = """GET / HTTP/1.1
Host: relay.test
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==

"""


async def to_the_end(client: Client) -> tuple[list[list[Any]], tuple[int, str]]:
    """Return what the relay still says, and its goodbye."""
    heard = []
    try:
        while True:
            heard.append(await client.hear())
    except ConnectionClosed as closed:
        goodbye = closed.rcvd
        return heard, (goodbye.code, goodbye.reason) if goodbye is not None else (CloseCode.ABNORMAL_CLOSURE, "")


# ---- one port for everything


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"hello {await request.text()}")


def pages() -> web.Application:
    app = web.Application()
    app.router.add_get("/", hello)
    app.router.add_route("*", "/hello", hello)
    return app


@pytest.fixture
async def relay(path: Path) -> AsyncIterator[Relay]:
    async with running(path, RelaySettings(name="test", pubkey=ALICE.pubkey), app=pages()) as relay:
        yield relay


async def test_nip_11_tells_the_true_limits(relay: Relay) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://{relay.host}:{relay.port}/", headers=INFORMATION) as got,
    ):
        assert got.status == 200
        assert got.content_type == "application/nostr+json"
        assert got.headers["Access-Control-Allow-Origin"] == "*"
        document = await got.json(content_type=None)
    assert document["name"] == "test"
    assert document["pubkey"] == ALICE.pubkey
    assert "contact" not in document
    assert {1, 9, 11} <= set(document["supported_nips"])
    limits = RelayLimits()
    limitation = document["limitation"]
    assert limitation["max_message_length"] == limits.message_bytes_max
    assert limitation["max_limit"] == limits.limit_max
    assert limitation["max_subscriptions"] == limits.subscriptions_max
    assert limitation["created_at_upper_limit"] == limits.future_seconds


@pytest.mark.parametrize("accept", ["text/html, Application/Nostr+JSON;q=0.9", "application/nostr+json"])
async def test_nip_11_is_asked_for_by_accept(relay: Relay, accept: str) -> None:
    async with wire(relay) as one:
        head, body = await one.ask(f"GET /?x=1 HTTP/1.1\nHost: x\nAccept: {accept}\n\n")
        assert "application/nostr+json" in head
        assert json.loads(body)["name"] == "test"


async def test_browsers_may_ask_first(relay: Relay) -> None:
    async with wire(relay) as one:
        head, _ = await one.ask(
            "OPTIONS / HTTP/1.1\nHost: x\nOrigin: https://a\nAccess-Control-Request-Method: GET\n\n"
        )
        assert head.startswith("HTTP/1.1 204")
        assert "Access-Control-Allow-Headers: *" in head
        assert "Access-Control-Allow-Methods: GET" in head


async def test_a_browser_gets_the_page(relay: Relay) -> None:
    async with wire(relay) as one:
        head, body = await one.ask("GET / HTTP/1.1\nHost: x\nAccept: text/html\n\n")
        assert head.startswith("HTTP/1.1 200")
        assert body == b"hello "


async def test_without_an_application_there_is_only_the_relay(path: Path) -> None:
    async with running(path) as relay, wire(relay) as one:
        head, _ = await one.ask("GET / HTTP/1.1\nHost: x\n\n")
        assert head.startswith("HTTP/1.1 404")
        assert "Connection: close" in head
        assert await one.ended()


async def test_a_request_that_comes_byte_by_byte_with_a_body_is_served(relay: Relay) -> None:
    async with wire(relay) as one:
        request = b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nworld"
        for byte in request:
            one.writer.write(bytes([byte]))
            await one.writer.drain()
        _, body = await one.ask("")
        assert body == b"hello world"


async def test_a_keep_alive_client_opens_a_new_connection_for_a_websocket(relay: Relay) -> None:
    """As a proxy does: any idle connection is used for the next request, upgrades too."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http:
        url = f"http://{relay.host}:{relay.port}/"
        for headers in ({}, INFORMATION):
            async with http.get(url, headers=headers) as got:
                assert got.headers["Connection"] == "close"
                await got.read()
        async with http.ws_connect(url) as ws:
            await ws.send_json(["REQ", "s", {}])
            assert await ws.receive_json() == ["EOSE", "s"]


async def test_other_paths_keep_their_connection(relay: Relay) -> None:
    async with wire(relay) as one:
        for _ in range(2):
            head, body = await one.ask("GET /hello HTTP/1.1\nHost: x\n\n")
            assert "close" not in head
            assert body == b"hello "


async def test_a_websocket_on_another_path_is_the_applications_matter(relay: Relay) -> None:
    with pytest.raises(InvalidStatus) as raised:
        await connect(f"{relay.url}/nowhere")
    assert raised.value.response.status_code == 404


async def test_frames_right_behind_the_handshake_are_read(relay: Relay) -> None:
    async with wire(relay) as one:
        one.writer.write(HANDSHAKE.replace("\n", "\r\n").encode() + masked(b'["REQ","s",{}]'))
        assert b" 101 " in await one.reader.readuntil(b"\r\n\r\n")
        assert await one.reader.readuntil(b"]") == b'\x81\x0c["EOSE","s"]'


async def test_small_writes_are_not_held_back(relay: Relay) -> None:
    async with relay.client() as client:
        await client.hears_nothing_more()
        (connection,) = _open(relay.server)
        ours = connection._transport.get_extra_info("socket")
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def _open(server: RelayServer) -> list[Connection]:
    assert server._connections is not None
    return list(server._connections.open)


# ---- time


async def test_who_does_not_finish_the_request_is_disconnected(path: Path) -> None:
    async with running(path, limited(handshake_seconds=0.05)) as relay, wire(relay) as one:
        one.writer.write(b"GET / HTTP/1.1\r\n")
        assert await one.ended()


async def test_an_endless_request_is_refused(path: Path) -> None:
    async with running(path, limited(request_bytes_max=100)) as relay, wire(relay) as one:
        one.writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 200)
        assert (await one.reader.readline()).startswith(b"HTTP/1.1 431")


async def opened(one: Wire) -> None:
    one.writer.write(HANDSHAKE.replace("\n", "\r\n").encode())
    assert b" 101 " in await one.reader.readuntil(b"\r\n\r\n")


async def test_a_silent_client_is_asked_and_stays_if_it_answers(path: Path) -> None:
    async with running(path, limited(ping_seconds=0.01, idle_seconds=0.1)) as relay, wire(relay) as one:
        await opened(one)
        started = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < started + 0.3:
            assert await one.reader.readexactly(2) == PING
            one.writer.write(PONG)
        one.writer.write(masked(b'["REQ","s",{}]'))
        assert (await one.reader.readuntil(b"]")).endswith(b'["EOSE","s"]')


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


def masked(text: bytes) -> bytes:
    """Return a client's text frame (masked with zeroes)."""
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text


# ---- slow readers


LARGE = [note("x" * 60_000, at=NOW - number) for number in range(100)]


@asynccontextmanager
async def full(path: Path, **limits: float) -> AsyncIterator[Relay]:
    """Run a relay with 6 MB of events, more than the buffers of a connection."""
    async with running(path, limited(**limits)) as relay:
        await written_to(relay.store, LARGE)
        yield relay


def small_buffers(relay: Relay) -> socket.socket:
    """Return a connection that reads nothing by itself and takes little."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    one.connect((relay.host, relay.port))
    one.setblocking(False)
    return one


async def test_stored_events_wait_for_a_slow_reader_and_all_arrive(path: Path) -> None:
    async with full(path, unsent_bytes_max=1_000_000) as relay:
        with small_buffers(relay) as slow:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(slow, HANDSHAKE.replace("\n", "\r\n").encode() + masked(b'["REQ","s",{}]'))
            await until(lambda: any(connection._room is not None for connection in _open(relay.server)))
            received = b""
            while not received.endswith(b'["EOSE","s"]'):
                received += await loop.sock_recv(slow, 1_000_000)
        assert received.count(b'["EVENT","s",') == len(LARGE)
        assert [received.count(raw(event)) for event in LARGE] == [1] * len(LARGE)


async def test_a_reader_that_takes_nothing_is_dropped_in_the_end(path: Path) -> None:
    async with full(path, stalled_seconds=0.1, close_seconds=0.1) as relay:
        with small_buffers(relay) as one, capture_logs() as logs:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(one, HANDSHAKE.replace("\n", "\r\n").encode() + masked(b'["REQ","s",{}]'))
            await until(lambda: bool(_open(relay.server)))
            await until(lambda: not _open(relay.server))
        assert [(line["event"], line["reason"]) for line in logs] == [("relay_connection_dropped", "too slow a reader")]
        assert len(relay.hub._subscriptions) == 0


async def test_a_reader_that_lets_new_events_pile_up_is_dropped_and_others_are_served(path: Path) -> None:
    async with running(path, limited(unsent_bytes_max=1_000_000, close_seconds=0.1)) as relay:
        with small_buffers(relay) as slow, capture_logs() as logs:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(slow, HANDSHAKE.replace("\n", "\r\n").encode() + masked(b'["REQ","s",{}]'))
            await until(lambda: len(relay.hub._subscriptions) == 1)
            async with relay.client() as quick, relay.client() as writer:
                await quick.subscribe({"limit": 0}, sub="q")
                assert await quick.until_eose("q") == []
                for event in LARGE:
                    await writer.accepted(event)
                    assert await quick.hear() == ["EVENT", "q", obj(event)]
                await until(lambda: len(_open(relay.server)) == 2)
        (dropped,) = logs
        assert dropped["event"] == "relay_connection_dropped"
        assert dropped["unsent"] > 1_000_000


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until something is true; the test's time limit ends it otherwise."""
    while not true():
        await asyncio.to_thread(lambda: None)


async def test_who_sends_faster_than_we_work_is_not_read_from(path: Path) -> None:
    async with running(path, limited(unanswered_max=4)) as relay, relay.client() as client:
        events = [note(str(number), at=NOW - number) for number in range(60)]
        for event in events:
            await client.send("EVENT", obj(event))
        (connection,) = _open(relay.server)
        answers = []
        for _ in events:
            answers.append((await client.hear())[1])
            assert connection._unanswered <= 60
        assert sorted(answers) == sorted(event.id for event in events)
        await client.hears_nothing_more()


async def test_a_client_we_do_not_listen_to_is_not_called_silent(path: Path) -> None:
    working = asyncio.Event()

    async def work(_event: Event) -> None:
        await working.wait()

    settings = limited(unanswered_max=1, ping_seconds=0.02, idle_seconds=0.05)
    async with running(path, settings, before_ok=work) as relay, wire(relay) as one:
        await relay.hub.subscribe([Filter()], list[Event]().append, durable=True)
        await opened(one)
        event = note("much work")
        one.writer.write(b"\x81\xfe" + len(raw(event) + b'["EVENT",]').to_bytes(2, "big") + b"\0\0\0\0")
        one.writer.write(b'["EVENT",' + raw(event) + b"]")
        await until(lambda: any(connection._deaf for connection in _open(relay.server)))
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
        await until(lambda: not _open(relay.server))
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
    await until(lambda: not _open(relay.server))
    assert len(relay.hub._subscriptions) == 0


async def test_a_client_that_vanishes_in_the_middle_of_an_answer_is_forgotten(path: Path) -> None:
    async with full(path) as relay:
        async with relay.client() as client:
            await client.subscribe({}, sub="s")
            await client.hear()
            client.socket.transport.abort()
        await until(lambda: not _open(relay.server) and not relay.hub._tasks)
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
        await until(lambda: any(connection._unanswered for connection in _open(relay.server)))
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
