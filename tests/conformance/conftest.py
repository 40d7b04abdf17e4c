"""The relay that is asked: ours, on a free port, or the one that RELAY_URL names."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import connect

from relaybot.clock import SystemClock
from relaybot.relay.events import EventStore
from relaybot.relay.hub import Hub
from relaybot.relay.server import RelayServer
from relaybot.relay.settings import RelayLimits, RelaySettings
from tests.conformance.guest import Guest

GIVEN = os.environ.get("RELAY_URL", "")
Information = dict[str, Any]
USUAL = RelayLimits()


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@asynccontextmanager
async def ours(path: Path, limits: RelayLimits = USUAL) -> AsyncIterator[str]:
    """Run our relay; return its address."""
    settings = RelaySettings(name="ours", self_pubkey="0a" * 32, contact="mailto:operator@relay.test", limits=limits)
    async with AsyncExitStack() as stack:
        store = await EventStore.open(path, settings.limits)
        stack.push_async_callback(store.close)
        hub = Hub(store, settings.limits, SystemClock())
        stack.push_async_callback(hub.close)
        server = RelayServer(hub, settings)
        stack.push_async_callback(server.close)
        host, port = await server.start("127.0.0.1", 0)
        yield f"ws://{host}:{port}"


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    if GIVEN:
        yield GIVEN
        return
    async with ours(tmp_path / "events.db") as address:
        yield address


def told(url: str) -> tuple[Mapping[str, str], Information]:
    """Return headers and body of the NIP-11 document."""
    request = urllib.request.Request("http" + url[2:], headers={"Accept": "application/nostr+json"})  # noqa: S310 - ws(s) became http(s)
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        return {name.lower(): value for name, value in answer.headers.items()}, json.loads(answer.read())


@pytest.fixture
async def headers_and_information(url: str) -> tuple[Mapping[str, str], Information]:
    return await asyncio.to_thread(told, url)


@pytest.fixture
async def information(url: str) -> Information:
    """Return the document; empty if the relay has none."""
    try:
        return (await asyncio.to_thread(told, url))[1]
    except (OSError, ValueError):
        return {}


@pytest.fixture(autouse=True)
async def _asked_of_this_relay(request: pytest.FixtureRequest) -> None:
    """Skip what a foreign relay does not say it supports."""
    marks = [number for mark in request.node.iter_markers("nip") for number in mark.args]
    if GIVEN and marks:
        information = await asyncio.to_thread(_information_or_nothing, GIVEN)
        supported = information.get("supported_nips") or []
        missing = [number for number in marks if number != 1 and number not in supported]
        if missing:
            pytest.skip(f"not in the relay's supported_nips: {', '.join(f'NIP-{one:02}' for one in missing)}")


def _information_or_nothing(url: str) -> Information:
    try:
        return told(url)[1]
    except (OSError, ValueError):
        return {}


@asynccontextmanager
async def visiting(url: str) -> AsyncIterator[Guest]:
    """Connect to the relay."""
    async with connect(url, compression=None, max_size=2**24, ping_interval=None) as socket:
        yield Guest(socket, url)


@pytest.fixture
async def client(url: str) -> AsyncIterator[Guest]:
    async with visiting(url) as guest:
        yield guest


@pytest.fixture
async def other(url: str) -> AsyncIterator[Guest]:
    async with visiting(url) as guest:
        yield guest
