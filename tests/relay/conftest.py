"""A relay on a free port, with a clock that stands still, and clients for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop
from aiohttp import web
from websockets.asyncio.client import connect

from relaybot.clock import SetClock
from relaybot.relay.events import EventStore
from relaybot.relay.hub import BeforeOk, Hub
from relaybot.relay.server import RelayServer
from relaybot.relay.settings import RelayLimits, RelaySettings
from tests.relay.authors import NOW
from tests.relay.client import Client


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay that runs, and its parts."""

    host: str
    port: int
    store: EventStore
    hub: Hub
    server: RelayServer

    @property
    def url(self) -> str:
        return f"ws://{self.host}:{self.port}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with connect(self.url, compression=None, max_size=2**24, ping_interval=None) as socket:
            yield Client(socket)


@asynccontextmanager
async def running(
    path: Path,
    settings: RelaySettings | None = None,
    *,
    app: web.Application | None = None,
    before_ok: BeforeOk | None = None,
) -> AsyncIterator[Relay]:
    """Run a relay on the file at `path`."""
    settings = settings or RelaySettings()
    async with AsyncExitStack() as stack:
        store = await EventStore.open(path, settings.limits)
        stack.push_async_callback(store.close)
        hub = Hub(store, settings.limits, SetClock(NOW), before_ok=before_ok)
        stack.push_async_callback(hub.close)
        server = RelayServer(hub, settings, app)
        stack.push_async_callback(server.close)
        host, port = await server.start("127.0.0.1", 0)
        yield Relay(host, port, store, hub, server)


def limited(**limits: float) -> RelaySettings:
    """Return settings with other limits."""
    return RelaySettings(limits=RelayLimits(**limits))  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[EventStore]:
    store = await EventStore.open(path, RelayLimits())
    yield store
    await store.close()


@pytest.fixture
async def hub(store: EventStore) -> AsyncIterator[Hub]:
    hub = Hub(store, RelayLimits(), SetClock(NOW))
    yield hub
    await hub.close()


@pytest.fixture
async def relay(path: Path) -> AsyncIterator[Relay]:
    async with running(path) as relay:
        yield relay


@pytest.fixture
async def client(relay: Relay) -> AsyncIterator[Client]:
    async with relay.client() as client:
        yield client


@pytest.fixture
async def other(relay: Relay) -> AsyncIterator[Client]:
    async with relay.client() as client:
        yield client
