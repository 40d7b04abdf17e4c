"""What the bot reads from relays: one set of filters, the same for the embedded relay and any other.

After every start and reconnect a relay is read again from where we left it, with an
overlap, and each event is handled once by its id (the inbox). Nothing is decided here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from handlers.bot import TWO_DAYS, Bot
from handlers.jobs import cancelled
from handlers.listings import CLOSED, has_registered
from handlers.targets import is_followed
from handlers.wallet_connect import is_ours
from relaybot.connection import OnEose, OnEvent
from relaybot.errors import Unavailable
from relaybot.inbox import Inbox
from relaybot.nostr import nip04, nip47, nip90
from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.filters import Filter
from relaybot.nostr.listings import LISTING_KIND, deleted_listings
from wallet.ledger import Plan, Put

log = structlog.get_logger()

OWN_RELAY = "own"  # the embedded relay's name among the relays we read and write
RETRY_SECONDS = 1.0  # before an event that could not be taken is taken again
OVERLAP_SECONDS = 15 * 60
WRAP_OVERLAP_SECONDS = TWO_DAYS + 3_600  # NIP-59: wraps are dated up to two days back

CANCEL, WRAP = 5, 1059
ANNOUNCEMENTS = frozenset({31990, 11998})
TARGETS = frozenset({0, 10050, 10133})  # where somebody is paid, and where private messages reach them
ANSWERS = frozenset({nip90.FEEDBACK_KIND, *nip90.RESULT_KINDS})  # of every kind: a job outlives its agent


class Stored(Protocol):
    """What the embedded relay has stored (`relaybot.relay.events`)."""

    def query(self, filters: Sequence[Filter]) -> AsyncIterator[list[bytes]]:
        """Yield the JSON of what meets any of `filters`, page by page. Unavailable if it cannot be read."""
        ...


class Listening(Protocol):
    """How a part of this process listens to the embedded relay (`relaybot.relay.hub`)."""

    async def subscribe(
        self, filters: Sequence[Filter], callback: Callable[[Event], None], *, durable: bool = False
    ) -> object:
        """Have `callback` called with what is stored, then with what comes."""
        ...

    def end(self, feed: Any) -> None:
        """End what `subscribe` returned."""
        ...


class Connected(Protocol):
    """Another relay, as its client (`relaybot.connection`)."""

    url: str

    async def subscribe(
        self, name: str, filters: Callable[[], Sequence[Filter]], on_event: OnEvent, on_eose: OnEose | None = None
    ) -> None:
        """Ask for events, now and after every reconnect."""
        ...

    async def unsubscribe(self, name: str) -> None:
        """End a subscription."""
        ...


class Reader:
    """Read the embedded relay and others into the inbox."""

    def __init__(self, bot: Bot, inbox: Inbox, store: Stored | None) -> None:
        self._bot = bot
        self._inbox = inbox
        self._store = store  # of the embedded relay, if this process has it
        self._own: Any = None  # our subscription there
        self._missed = False  # something of the embedded relay could not be taken when it came

    async def take(self, event: Event) -> None:
        """Take one event of the embedded relay before its sender hears OK. Unavailable: it is read again later."""
        try:
            await self._receive(event, OWN_RELAY)
        except Unavailable:
            self._missed = True
            raise

    async def read_own(self, hub: Listening) -> None:
        """Have what is new of the embedded relay come by `take`, without a socket, and read what it has stored.

        Asked again, it reads by what we want now.
        """
        filters, before = self.filters(await self._read_until(OWN_RELAY)), self._own
        # The subscription says what is taken from now on, however old it is; it hands over nothing itself.
        wanted = [replace(one, since=None, limit=0) for one in filters]
        self._own = await hub.subscribe(wanted, _taken, durable=True)
        if before is not None:  # we want other things now: what came between the two is stored, and read below
            hub.end(before)
        await self._read_stored(filters)

    async def keep_up_own(self) -> bool:
        """Note up to when the embedded relay was read; what was missed is read again first."""
        now = self._bot.clock.now()
        if self._missed:
            self._missed = False  # before reading: what is missed meanwhile is read in the next round
            try:
                await self._read_stored(self.filters(await self._read_until(OWN_RELAY)))
            except Unavailable:
                self._missed = True
                raise
        await self._remember(OWN_RELAY, now)
        return False

    async def read_other(self, connection: Connected) -> None:
        """Read another relay, from where we left it, now and after every reconnect."""
        since = await self._read_until(connection.url)

        async def caught_up() -> None:
            nonlocal since
            since = self._bot.clock.now()
            await self._remember(connection.url, since)

        receive = partial(self._receive_patiently, relay=connection.url)
        await connection.subscribe("bot", lambda: self.filters(since), receive, on_eose=caught_up)

    async def look_up_target(self, others: Iterable[Connected], pubkey: str) -> None:
        """Ask all relays where `pubkey` wants to be paid: it may have said so before we knew of it."""
        wanted = Filter(kinds=TARGETS, authors=frozenset({pubkey}))
        await self._read_stored([wanted])
        for other in others:
            name, receive = f"target {pubkey[:16]}", partial(self._receive_patiently, relay=other.url)
            await other.subscribe(name, lambda: [wanted], receive, on_eose=partial(other.unsubscribe, name))

    def filters(self, since: int) -> list[Filter]:
        """Return what we want of a relay that was read up to `since` before; a clock that was ahead hides nothing."""
        bot = self._bot
        since = max(0, min(since, bot.clock.now()) - OVERLAP_SECONDS)
        kinds = frozenset(kind for agent in bot.agents.values() for kind in agent.kinds)
        open_kinds = frozenset(kind for a in bot.agents.values() if a.takes_open_requests for kind in a.kinds)
        service = frozenset({bot.service.pubkey})
        followed = bot.contributors | bot.workers_allowed
        wanted = [
            Filter(kinds=kinds, tags={"p": frozenset(bot.agents)}, since=since),
            Filter(kinds=open_kinds, since=since),
            Filter(kinds=frozenset({CANCEL}), since=since),
            Filter(kinds=ANSWERS, tags={"p": service}, since=since),
            Filter(kinds=ANNOUNCEMENTS, tags={"p": service}),
            Filter(kinds=frozenset({nip47.REQUEST_KIND}), since=since),
            Filter(kinds=TARGETS, authors=followed),
            Filter(kinds=TARGETS, since=since),
        ]
        if bot.config.marketplace != CLOSED:
            wanted.append(Filter(kinds=frozenset({LISTING_KIND}), since=since))
        if bot.config.dm.nip04:
            wanted.append(Filter(kinds=frozenset({nip04.MESSAGE_KIND}), tags={"p": service}, since=since))
        if bot.config.dm.enabled:
            since = max(0, since - WRAP_OVERLAP_SECONDS)
            wanted.append(Filter(kinds=frozenset({WRAP}), tags={"p": service}, since=since))
        return [one for one in wanted if one.kinds and one.authors != frozenset()]

    async def _read_stored(self, filters: Sequence[Filter]) -> None:
        if self._store is None:
            return
        async for raws in self._store.query(filters):
            for raw in raws:
                await self._receive_patiently(parse_event(raw), OWN_RELAY)

    async def _receive(self, event: Event, relay: str) -> None:
        """Take one event: it is in the inbox, durably, when this returns, if it concerns us."""
        if await self._concerns_us(event):
            await self._inbox.receive(event, relay)

    async def _receive_patiently(self, event: Event, relay: str) -> None:
        """Take one event, however long it takes: meanwhile nothing more of this relay is read."""
        while True:
            try:
                return await self._receive(event, relay)
            except Unavailable as error:
                log.warning("reading_waits", relay=relay, reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _read_until(self, relay: str) -> int:
        row = await self._bot.book.row("cursors", f"reader/{relay}")
        return row["value"] if row is not None else 0

    async def _remember(self, relay: str, until: int) -> None:
        cursor = Put("cursors", f"reader/{relay}", {"value": until})
        try:
            await self._bot.book.apply(Plan(f"cursors/reader/{relay}/{until}", changes=(cursor,)))
        except Unavailable as error:  # then more is read again than needed
            log.warning("progress_not_noted", relay=relay, reason=str(error))

    async def _concerns_us(self, event: Event) -> bool:
        if event.pubkey == self._bot.service.pubkey:
            return False  # our own assignments are job requests too
        if event.kind == nip47.REQUEST_KIND:
            return await is_ours(self._bot, event)
        if event.kind == CANCEL:
            return await self._names_our_work(event)
        if event.kind == LISTING_KIND:
            return self._bot.config.marketplace != CLOSED
        if event.kind in TARGETS:
            return await is_followed(self._bot, event.pubkey)
        return True

    async def _names_our_work(self, event: Event) -> bool:
        for request_id in cancelled(event):  # the request itself may still be waiting in the inbox
            if await self._bot.book.database.fetch("SELECT 1 FROM inbox WHERE id = :id", id=request_id):
                return True
        return bool(deleted_listings(event)[0]) and await has_registered(self._bot, event.pubkey)


def _taken(_event: Event) -> None:
    """Do nothing: the inbox had this event before the subscription."""
