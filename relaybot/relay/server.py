"""The relay's TCP port: websockets on `/`, everything else for the HTTP application.

Here connections are accepted, watched over time, and ended in good order. What happens on
one of them is connection.py's; what it says over HTTP is nip11.py's and the application's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from websockets.frames import CloseCode

from relaybot.nostr.nip42 import relay_name
from relaybot.relay.connection import Connection
from relaybot.relay.connections import Connections
from relaybot.relay.hub import Hub
from relaybot.relay.nip11 import information_middleware
from relaybot.relay.proxies import named_address
from relaybot.relay.settings import RelayLimits, RelaySettings

log = structlog.get_logger()

CHECKS_PER_LIMIT = 4  # times are checked that often within the shortest of the limits, so they are kept to 25 %
BACKLOG = 1_024  # connections the kernel accepts for us while we are busy
HTTP_KEEPALIVE_SECONDS = 75.0  # longer than the 60 s after which proxies give up an idle connection


class RelayServer:
    """Serves one hub, and an optional HTTP application, on one port."""

    def __init__(self, hub: Hub, settings: RelaySettings, app: web.Application | None = None) -> None:
        """Take a hub, which the caller closes after this, and an application that was not started."""
        self._hub = hub
        self._url = settings.url
        self._limits = settings.limits
        app = app if app is not None else web.Application()
        app.middlewares.insert(0, information_middleware(settings))
        app.middlewares.insert(0, _behind_proxies(self._limits))
        self._http = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            keepalive_timeout=HTTP_KEEPALIVE_SECONDS,
            max_line_size=self._limits.request_bytes_max,
            max_field_size=self._limits.request_bytes_max,
            shutdown_timeout=self._limits.close_seconds,
        )
        self._connections: Connections | None = None
        self._listening: asyncio.Server | None = None
        self._checks: asyncio.TimerHandle | None = None

    @property
    def connections_open(self) -> int:
        """Return how many connections are open."""
        return len(self._connections.open) if self._connections is not None else 0

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; return the address, with the port the system chose if `port` is 0."""
        await self._http.setup()
        http = self._http.server
        assert http is not None, "the HTTP side was set up"
        self._connections = connections = Connections(self._hub, self._limits, http)
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: Connection(connections), host, port, backlog=BACKLOG)
        self._check_times(connections)
        bound_host, bound_port = self._listening.sockets[0].getsockname()[:2]
        connections.known_as = relay_names(self._url, bound_host, bound_port)
        log.info("relay_listening", host=bound_host, port=bound_port)
        return bound_host, bound_port

    async def close(self) -> None:
        """Stop listening, answer what has been sent to us, say goodbye (1001), let go of everything."""
        if self._listening is not None:
            self._listening.close()
        if self._checks is not None:
            self._checks.cancel()
        if self._connections is not None:
            await self._close_connections(self._connections)
        await self._http.cleanup()

    async def _close_connections(self, connections: Connections) -> None:
        connections.stopping = True
        for connection in list(connections.open):
            connection.stop_reading()
        await _wait(self._hub.all_answered(), self._limits.close_seconds)
        for connection in list(connections.open):
            connection.close(CloseCode.GOING_AWAY, "the relay is stopping")
        await _wait(connections.all_gone.wait(), self._limits.close_seconds)
        for connection in list(connections.open):
            connection.abort()
        await connections.all_gone.wait()

    def _check_times(self, connections: Connections) -> None:
        now = connections.time()
        connections.forget_closed()
        for connection in list(connections.open):
            connection.check_times(now)
        limits = self._limits
        silences = (limits.ping_seconds, limits.idle_seconds, limits.stalled_seconds)
        shortest = min(limits.handshake_seconds, limits.close_seconds, *silences)
        loop = asyncio.get_running_loop()
        self._checks = loop.call_later(shortest / CHECKS_PER_LIMIT, self._check_times, connections)


def _behind_proxies(limits: RelayLimits) -> Middleware:
    """Return the middleware that gives a request the address of whom a trusted proxy speaks for."""

    @web.middleware
    async def name_remote(request: web.Request, handler: Handler) -> web.StreamResponse:
        if limits.trusted_proxies and request.remote:
            forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
            request = request.clone(remote=named_address(forwarded, request.remote, limits.trusted_proxies))
        return await handler(request)

    return name_remote


def relay_names(url: str, host: str, port: int) -> frozenset[str]:
    """Return by which names this relay answers (NIP-42, NIP-62): its public one, and those on this machine.

    What a client says in its Host header is no such name: a relay between could have written it.
    """
    local = [
        f"ws://{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host)
    ]
    return frozenset(relay_name(one) for one in (url, *local)) - {""}


async def _wait(done: Coroutine[None, None, object], seconds: float) -> None:
    """Wait for `done`, but not longer than `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done
