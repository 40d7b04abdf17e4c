"""The service, wired by hand: what is made, in which order, and which tasks keep it going.

All tasks live in one TaskGroup. If one fails by a fault of ours, all stop and the process
ends; it is safe to start again at any moment, for nothing is remembered outside the book.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import structlog

from handlers import announcements
from handlers.bot import Bot
from handlers.market import Market
from handlers.names import check_names
from relaybot.clock import Clock, SystemClock
from relaybot.config import Config
from relaybot.connection import RelayConnection
from relaybot.db.database import SharedDatabase
from relaybot.db.migrations import load_migrations
from relaybot.db.sqlite import open_sqlite
from relaybot.desk import open_cards
from relaybot.doors import connections, open_doors
from relaybot.errors import BadConfig, Rejected
from relaybot.inbox import Inbox
from relaybot.keyring import Keyring, open_keyring
from relaybot.loops import repeat
from relaybot.nostr.event import Event, encode_event
from relaybot.nostr.filters import Filter
from relaybot.nostr.flow_of_funds import KIND as SUMMARY_KIND
from relaybot.nostr.messages import Ok
from relaybot.outbox import Publish
from relaybot.probe import Probe, no_probe, probed
from relaybot.processes import ALONE, Process, join
from relaybot.reader import OWN_RELAY, Reader
from relaybot.relay.events import EventStore
from relaybot.relay.hub import Hub
from relaybot.relay.removals import Retention
from relaybot.relay.server import RelayServer
from relaybot.relay.settings import RelayLimits, RelaySettings
from relaybot.relay.upkeep import Upkeep
from relaybot.simulator.network import SimulatedNetwork
from relaybot.web.account.desk import Desk, origins_of
from relaybot.web.addresses import address_routes
from relaybot.web.api.door import Tokens
from relaybot.web.app import build_app
from relaybot.web.cards import card_routes
from relaybot.web.metrics import Latencies, Metrics, metrics_routes, relay_figures
from relaybot.web.offered import site_of
from relaybot.web.published import PublishedAccounts
from relaybot.web.rates import Rate
from relaybot.web.self_service import self_service_routes
from relaybot.web.site import Site
from relaybot.workings import Role, build_bot, build_inbox, standing_tasks
from wallet.book import Book
from wallet.chain import Chain
from wallet.cln import CoreLightning
from wallet.cln_chain import CoreLightningChain
from wallet.lightning import Lightning

log = structlog.get_logger()

CURSOR_SECONDS = 60  # how often it is noted up to when the embedded relay was read
DAY_SECONDS = 86_400
MARKET_SECONDS = 1  # how often it is looked whether the operator has approved something
UPKEEP_SECONDS = 1  # how often it is looked for events that have expired
STOP_SECONDS = 10  # for each part to end by itself


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the running service is found; '' for what another process has."""

    relay: str
    web: str
    service: str  # hex pubkey
    books: str
    agents: Mapping[str, str]  # agent id → hex pubkey


@dataclass(frozen=True, slots=True)
class Share:
    """What this process does of the whole."""

    process: Process
    roles: Collection[Role]


Ready = Callable[[Addresses], None]


async def serve(
    config: Config,
    env: Mapping[str, str],
    *,
    ready: Ready,
    probe: Probe = no_probe,
    clock: Clock | None = None,
    roles: Collection[Role] = tuple(Role),
) -> None:
    """Run the service, or these roles of it, until it is cancelled; `ready` is called once everything answers."""
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        database = await open_book_database(config, clock, probe)
        stack.push_async_callback(database.close)
        process = await join(database, secrets.token_hex(8))
        stack.push_async_callback(process.leave)
        keyring = open_keyring(config.keys.file, env, secrets.token_bytes(32))
        lightning, chain = await stack.enter_async_context(open_node(config, clock, probe))
        book, latencies = Book(database, clock), Latencies()
        cards = await stack.enter_async_context(open_cards(config, clock, probe))
        bot = build_bot(
            config,
            keyring,
            book,
            latencies.timed(lightning),
            clock,
            chain=latencies.timed(chain),
            chance=secrets.token_bytes,
            cards=cards,
        )
        await check_names(bot)
        share = Share(process, frozenset(roles))
        async with asyncio.TaskGroup() as foundation:  # the book goes last: whatever stops may still have to commit
            committing = foundation.create_task(book.run(), name="book")
            await _run(config, bot, keyring, share, Metrics(bot, latencies), ready=ready, probe=probe)
            committing.cancel()


async def open_book_database(config: Config, clock: Clock, probe: Probe = no_probe) -> SharedDatabase:
    """Open the database of the book, brought up to date."""
    where, migrations = config.database, load_migrations()
    if isinstance(where, Path):
        return await open_sqlite(where, migrations, now=clock.now(), probe=probe)
    from relaybot.db.postgres import open_postgres  # noqa: PLC0415  its driver is loaded where there is a PostgreSQL

    return await open_postgres(where.get_secret_value(), migrations, now=clock.now(), probe=probe)


@contextlib.asynccontextmanager
async def open_node(config: Config, clock: Clock, probe: Probe = no_probe) -> AsyncIterator[tuple[Lightning, Chain]]:
    """Connect to the node and its wallet; start the simulated one inside this process if the config says so."""
    settings = config.lightning
    async with contextlib.AsyncExitStack() as stack:
        if settings.backend == "simulated":
            log.warning("lightning_simulated", note="no real money moves; set lightning.backend for a real node")
            if settings.embedded:
                network = SimulatedNetwork(settings.data, clock=clock, http_port=settings.simulator_port)
                await network.start()
                stack.push_async_callback(network.close)
        private = {"auto": None, "always": True, "never": False}[settings.private_channels]
        node, chain = CoreLightning(settings.socket, private_channels=private), CoreLightningChain(settings.socket)
        stack.push_async_callback(node.close)
        stack.push_async_callback(chain.close)
        yield (node, chain) if probe is no_probe else (probed(node, probe), probed(chain, probe))


async def _run(
    config: Config, bot: Bot, keyring: Keyring, share: Share, metrics: Metrics, *, ready: Ready, probe: Probe
) -> None:
    inbox = build_inbox(bot, share.process if Role.BOT in share.roles else ALONE)
    is_ready = asyncio.Event()

    def is_fit() -> bool:
        return is_ready.is_set() and not bot.alarms.is_stopped

    others = connections(bot, jitter=random.random)
    async with contextlib.AsyncExitStack() as stack:
        own = None
        if Role.RELAY in share.roles:
            if not await share.process.does("relay"):
                raise BadConfig("--roles", "relay", "other roles: another process of this book has the embedded relay")
            own = await _open_relay(
                config,
                bot,
                keyring,
                inbox,
                stack,
                metrics=metrics,
                is_ready=is_fit,
                probe=probe,
            )
        reader, market = own.reader if own is not None else Reader(bot, inbox, None), Market(bot, keyring.key)
        await market.refresh()
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        relays: dict[str, Publish] = {OWN_RELAY: partial(_publish, own.hub)} if own is not None else {}
        relays |= {url: connection.publish for url, connection in others.items()}
        store = own.store if own is not None else None
        doors = open_doors(bot, relays, reader, store, list(others.values()), probe=probe)
        standing = standing_tasks(bot, keyring, inbox, doors, process=share.process, roles=share.roles)
        standing |= {f"relay {url}": connection.run() for url, connection in others.items()}
        for name, work in standing.items():
            tasks.create_task(work, name=name)
        if own is not None:
            summaries = Filter(kinds=frozenset({SUMMARY_KIND}), authors=frozenset({keyring.key("books").pubkey}))
            await own.hub.subscribe([summaries], partial(_show_day, own.published))
            await reader.read_own(own.hub)
            upkeep = repeat("upkeep", own.upkeep.step, wake=asyncio.Event(), seconds=UPKEEP_SECONDS)
            tasks.create_task(upkeep, name="upkeep")
            progress = repeat("progress", reader.keep_up_own, wake=asyncio.Event(), seconds=CURSOR_SECONDS)
            tasks.create_task(progress, name="progress")  # not before: the note would pass over what is still unread
        if Role.BOT in share.roles:
            for connection in others.values():
                await reader.read_other(connection)
            await announcements.announce(bot, config.relay.public_url)
        follow = partial(_follow, market, reader, own, others.values() if Role.BOT in share.roles else None, bot)
        changed = bot.book.watch("listings", "namings")  # by this process; others are looked for every second
        tasks.create_task(repeat("market", follow, wake=changed, seconds=MARKET_SECONDS), name="market")
        is_ready.set()
        ready(_addresses(bot, keyring.key("books").pubkey, own))


async def _follow(
    market: Market, reader: Reader, own: _OwnRelay | None, others: Iterable[RelayConnection] | None, bot: Bot
) -> bool:
    """Take agents of others into service and out of it: read what is for them, and say that they are there."""
    if not await market.refresh():
        return False
    if own is not None:
        await reader.read_own(own.hub)
    if others is not None:
        for connection in others:
            await reader.read_other(connection)
        await announcements.announce(bot, bot.config.relay.public_url)
        for agent, keypair in await market.retired():
            await announcements.retire(bot, keypair, agent)
    market.followed()
    return False


@dataclass(frozen=True, slots=True)
class _OwnRelay:
    """The embedded relay, listening."""

    reader: Reader
    store: EventStore
    hub: Hub
    published: PublishedAccounts
    upkeep: Upkeep
    address: str  # host:port


async def _open_relay(
    config: Config,
    bot: Bot,
    keyring: Keyring,
    inbox: Inbox,
    stack: contextlib.AsyncExitStack,
    *,
    metrics: Metrics,
    is_ready: Callable[[], bool],
    probe: Probe,
) -> _OwnRelay:
    """Have the embedded relay and the pages listen until `stack` is left."""
    settings, published = _relay_settings(config, keyring), PublishedAccounts(keyring.key("books").pubkey)
    store = await EventStore.open(config.relay.database, settings.limits, probe)
    stack.push_async_callback(store.close)
    reader = Reader(bot, inbox, store)
    hub = Hub(store, settings.limits, bot.clock, before_ok=reader.take, has_account=partial(_has_account, bot.book))
    stack.push_async_callback(_in_time, hub.close)
    site = site_of(bot)
    routes = [*address_routes(bot), *card_routes(bot, site)]
    if site.account:
        desk = _desk(bot, site, keyring, inbox, hub)
        stack.callback(desk.live.closing.set)
        routes += self_service_routes(desk, Tokens(bot.clock))
    if config.web.metrics_token is not None:
        routes += metrics_routes(metrics, config.web.metrics_token.get_secret_value())
    pages = build_app(published, site, ready=is_ready, more=routes) if config.web.enabled else None
    if pages is not None:
        pages.middlewares.insert(0, metrics.latencies.measure)
    server = RelayServer(hub, settings, pages)
    metrics.of_relay = partial(relay_figures, hub, server)
    host, port = await _listen(server, config)
    stack.push_async_callback(_in_time, server.close)
    upkeep = Upkeep(store, _retention(config), bot.clock)
    return _OwnRelay(reader, store, hub, published, upkeep, f"{host}:{port}")


def _desk(bot: Bot, site: Site, keyring: Keyring, inbox: Inbox, hub: Hub) -> Desk:
    return Desk(
        bot=bot,
        site=site,
        secret=keyring.secret("web/challenge"),
        process=inbox.process_name,
        wake=inbox.look,
        publish=partial(_publish, hub),
        origins=origins_of(bot.config),
        rate=Rate(bot.config.web.requests_per_minute),
    )


async def _listen(server: RelayServer, config: Config) -> tuple[str, int]:
    try:
        return await server.start(config.relay.host, config.relay.port)
    except OSError as error:
        found = f"{config.relay.host}:{config.relay.port} ({error.strerror})"
        raise BadConfig("relay.port", found, "a port of this machine that nobody else listens on") from None


def _addresses(bot: Bot, books: str, own: _OwnRelay | None) -> Addresses:
    return Addresses(
        relay=f"ws://{own.address}" if own is not None else "",
        web=f"http://{own.address}/" if own is not None else "",
        service=bot.service.pubkey,
        books=books,
        agents={agent.id: pubkey for pubkey, agent in bot.agents.items()},
    )


async def _in_time(close: Callable[[], Awaitable[None]]) -> None:
    """Close something, but do not wait for ever: nothing is lost by a hard end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await close()


def _show_day(published: PublishedAccounts, event: Event) -> None:
    """Take a published day onto the page."""
    try:
        published.add(event)
    except Rejected as refusal:  # an event of an older version of ours, say
        log.warning("summary_not_shown", event_id=event.id, reason=str(refusal))


async def _publish(hub: Hub, event: Event) -> Ok:
    """Publish what this process has signed, or what was signed for it and checked by it, on the embedded relay."""
    return await hub.publish(encode_event(event).encode(), event, signed=True)


async def _has_account(book: Book, pubkey: str) -> bool:
    return await book.row("users", pubkey) is not None


def _relay_settings(config: Config, keyring: Keyring) -> RelaySettings:
    relay = config.relay
    return RelaySettings(
        name=config.service.name,
        description=relay.description,
        contact=relay.contact,
        self_pubkey=keyring.key("relay").pubkey,
        icon=f"http{relay.url[2:].rstrip('/')}/icon.svg" if relay.url and config.web.enabled else "",
        url=relay.public_url,
        limits=relay_limits(config),
    )


def relay_limits(config: Config) -> RelayLimits:
    """Return what the configuration says a stranger may make the relay hold or do."""
    relay = config.relay
    limits = {one.name: getattr(relay, one.name) for one in fields(RelayLimits) if hasattr(relay, one.name)}
    for name in ("kinds_allowed", "kinds_refused", "kinds_of_members"):
        limits[name] = frozenset().union(*limits[name])
    limits["kinds_refused"] |= RelayLimits().kinds_refused
    for name in ("authors_allowed", "authors_denied"):
        limits[name] = frozenset(limits[name])
    return RelayLimits(**limits)


def _retention(config: Config) -> list[Retention]:
    return [
        Retention(rule.kinds, rule.days * DAY_SECONDS if rule.days is not None else None, rule.events_max)
        for rule in config.relay.retention
    ]
