"""`/metrics`: the figures of the running service, as Prometheus reads them, for whoever has the operator's token.

They tell what we owe and own, so a stranger never sees them: without a token in the
configuration there is no such path. No address, no key and no id of anybody is a label, and
every label has few values. What a figure says stands in `relaybot/figures.py`.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from handlers.bot import Bot
from relaybot.errors import Unavailable
from relaybot.figures import NAMES, Figure, gauge
from relaybot.relay.hub import Hub
from relaybot.relay.server import RelayServer
from wallet.figures import figures_of_book, figures_of_node

PREFIX = "relaybot_"
KEPT_SECONDS = 5.0  # figures are read anew after so long, however many ask
NODE_SECONDS = 5.0  # for the node to answer; else it counts as down
HTTP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
NODE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 120.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})  # what strangers send beside is one label

Port = TypeVar("Port")


class Latencies:
    """How long things take, counted as they happen; and what the process itself uses."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._http = Histogram(
            f"{PREFIX}http_seconds",
            "Time to answer an HTTP request, by path, method and status",
            ("path", "method", "status"),
            registry=self.registry,
            buckets=HTTP_BUCKETS,
        )
        self._node = Histogram(
            f"{PREFIX}node_seconds",
            "Time of one call to the node, by call; failed: it did not answer, or refused",
            ("call", "outcome"),
            registry=self.registry,
            buckets=NODE_BUCKETS,
        )

    @web.middleware
    async def measure(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Time one HTTP request."""
        began, status = time.monotonic(), 500
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as error:
            status = error.status
            raise
        else:
            return response
        finally:
            resource = request.match_info.route.resource
            path = resource.canonical if resource is not None else "none"
            method = request.method if request.method in METHODS else "other"
            self._http.labels(path, method, str(status)).observe(time.monotonic() - began)

    def timed(self, port: Port) -> Port:
        """Return `port` with each call of its methods timed."""
        return cast("Port", _Timed(port, self._observe))

    def _observe(self, call: str, outcome: str, seconds: float) -> None:
        self._node.labels(call, outcome).observe(seconds)


class _Timed:
    def __init__(self, port: object, observe: Callable[[str, str, float], None]) -> None:
        self._port = port
        self._observe = observe

    def __getattr__(self, name: str) -> object:
        method = getattr(self._port, name)

        async def call(*args: object, **kwargs: object) -> object:
            began, outcome = time.monotonic(), "failed"
            try:
                answer = await method(*args, **kwargs)
                outcome = "answered"
                return answer
            finally:
                self._observe(name, outcome, time.monotonic() - began)

        return call


class Metrics:
    """All figures as one text, read anew every few seconds at most."""

    def __init__(self, bot: Bot, latencies: Latencies) -> None:
        self._bot = bot
        self.latencies = latencies
        self._reading = asyncio.Lock()
        self._read_at = -KEPT_SECONDS
        self._figures: list[Figure] = []
        self.of_relay: Callable[[], Iterable[Figure]] = tuple  # of an embedded relay, if there is one

    async def text(self) -> bytes:
        """Return all figures; Unavailable if the book cannot be read."""
        async with self._reading:
            if time.monotonic() - self._read_at >= KEPT_SECONDS:
                self._figures = await self._read()
                self._read_at = time.monotonic()
            return exposition(self._figures) + generate_latest(self.latencies.registry)

    async def _read(self) -> list[Figure]:
        bot = self._bot
        book, node = await asyncio.gather(
            figures_of_book(
                bot.book,
                now=bot.clock.now(),
                stuck_seconds=bot.config.payouts.stuck_seconds,
                heartbeat_seconds=bot.config.workers.heartbeat_seconds_max,
            ),
            figures_of_node(bot.lightning, bot.chain, limit_seconds=NODE_SECONDS),
        )
        found = [one for figures in bot.alarms.figures.values() for one in figures]
        alarms = [gauge("alarm", 1, alarm=name) for name in sorted(bot.alarms.standing)]
        return [*book, *node, *found, *alarms, *self.of_relay()]


def relay_figures(hub: Hub, server: RelayServer) -> list[Figure]:
    """Return the figures of the embedded relay."""
    answers = [gauge("relay_events_total", n, answer=answer) for answer, n in sorted(hub.answered.items())]
    return [gauge("relay_connections", server.connections_open), *answers]


def metrics_routes(metrics: Metrics, token: str) -> list[web.RouteDef]:
    """Return the route of the figures, for those who send `token` (RFC 6750, section 2.1)."""
    wanted = f"Bearer {token}".encode()

    async def answer(request: web.Request) -> web.Response:
        sent = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(sent, wanted):
            return web.Response(status=401, text="These figures are the operator's.\n", headers=_CHALLENGE)
        try:
            text = await metrics.text()
        except Unavailable:
            return web.Response(status=503, text="The book does not answer.\n")
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/metrics", answer)]


_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="metrics"'}


def exposition(figures: Iterable[Figure]) -> bytes:
    """Return figures as Prometheus reads them, each name with what it says."""
    return generate_latest(cast("CollectorRegistry", _Given(figures)))


class _Given:
    """Figures that were read already, in the shape of what prometheus-client collects."""

    def __init__(self, figures: Iterable[Figure]) -> None:
        self._figures = list(figures)

    def collect(self) -> Iterator[Metric]:
        by_name: dict[str, list[Figure]] = {}
        for figure in self._figures:
            by_name.setdefault(figure.name, []).append(figure)
        for name, ones in by_name.items():
            sort, said = NAMES[name]
            labels = tuple(ones[0].labels)
            made = GaugeMetricFamily if sort == "gauge" else CounterMetricFamily
            family = made(f"{PREFIX}{name}", said, labels=labels)
            for one in ones:
                family.add_metric([one.labels[label] for label in labels], one.value)
            yield family
