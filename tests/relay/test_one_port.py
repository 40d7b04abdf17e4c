"""Websockets and HTTP on one port: who gets which connection, and NIP-11."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from relaybot.relay.settings import RelayLimits, RelaySettings
from tests.relay.authors import ALICE
from tests.relay.conftest import Relay, running
from tests.relay.wire import HANDSHAKE, masked, open_connections, wire

INFORMATION = {"Accept": "application/nostr+json"}


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
            assert await ws.receive_json() == ["EOSE", "s", ["finish"]]


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
        one.writer.write(HANDSHAKE + masked(b'["REQ","s",{}]'))
        assert b" 101 " in await one.reader.readuntil(b"\r\n\r\n")
        assert await one.reader.readuntil(b"]]") == b'\x81\x17["EOSE","s",["finish"]]'


async def test_small_writes_are_not_held_back(relay: Relay) -> None:
    async with relay.client() as client:
        await client.hears_nothing_more()
        (connection,) = open_connections(relay.server)
        ours = connection._transport.get_extra_info("socket")
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
