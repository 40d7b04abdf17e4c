"""One port: websockets and HTTP, time limits, slow readers, and a good end."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from relaybot.nostr.filters import Filter
from relaybot.relay.server import RelayServer
from relaybot.relay.settings import RelayLimits, RelaySettings
from tests.relay.authors import ALICE, NOW, note, obj, raw
from tests.relay.client import Client
from tests.relay.conftest import Relay, limited, running
from tests.relay.test_queries import written_to

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


async def closed_with(client: Client) -> tuple[int, str]:
    """Read to the end; return the relay's goodbye."""
    with pytest.raises(ConnectionClosed) as raised:
        while True:
            await client.hear()
    assert raised.value.rcvd is not None
    return raised.value.rcvd.code, raised.value.rcvd.reason


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
    async with aiohttp.ClientSession() as http, http.get(f"http://{relay.host}:{relay.port}/", headers=INFORMATION) as got:
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
        head, _ = await one.ask("OPTIONS / HTTP/1.1\nHost: x\nOrigin: https://a\nAccess-Control-Request-Method: GET\n\n")
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


async def test_a_keep_alive_client_that_used_the_relays_path_opens_a_new_connection_for_a_websocket(relay: Relay) -> None:
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
        frame = b"\x81\x8d\0\0\0\0" + b'["REQ","s",{}]'[:13]
        frame = b"\x81\x8e\0\0\0\0" + b'["REQ","s",{}]'
        one.writer.write(HANDSHAKE.replace("\n", "\r\n").encode() + frame)
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


QUICK = {"close_seconds": 0.1}


async def test_who_does_not_finish_the_request_is_disconnected(path: Path) -> None:
    async with running(path, limited(handshake_seconds=0.05)) as relay, wire(relay) as one:
        one.writer.write(b"GET / HTTP/1.1\r\n")
        assert await one.ended()


async def test_an_endless_request_is_refused(path: Path) -> None:
    async with running(path, limited(request_bytes_max=100)) as relay, wire(relay) as one:
        one.writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 200)
        assert (await one.reader.readline()).startswith(b"HTTP/1.1 431")


async def test_a_silent_client_is_asked_and_stays_if_it_answers(path: Path) -> None:
    settings = limited(ping_seconds=0.02, idle_seconds=0.2)
    async with running(path, settings) as relay, relay.client() as client:
        pings = 0
        answer = client.socket.protocol.send_pong
        asked_often = asyncio.Event()

        def count(data: bytes) -> None:
            nonlocal pings
            pings += 1
            if pings == 15:
                asked_often.set()
            answer(data)

        client.socket.protocol.recv_frame = _counting(client, count)  # type: ignore[method-assign]
        await asked_often.wait()
        await client.accepted(note("still here"))
