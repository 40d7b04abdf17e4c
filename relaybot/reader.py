"""What the bot reads from relays: one set of filters, the same for the embedded relay and any other.

After every start and reconnect a relay is read again from where we left it, with an
overlap, and each event is handled once by its id (the inbox). Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from handlers.bot import TWO_DAYS, Bot
from handlers.targets import is_followed
from relaybot.inbox import Inbox
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from wallet.ledger import Plan, Put

OVERLAP_SECONDS = 15 * 60
WRAP_OVERLAP_SECONDS = TWO_DAYS + 3_600  # NIP-59: wraps are dated up to two days back

CANCEL, FEEDBACK, WRAP = 5, 7000, 1059
ANNOUNCEMENTS = frozenset({31990, 11998})
TARGETS = frozenset({0, 10133})
RESULT_OFFSET = 1000

Wanted = Callable[[Event], Awaitable[bool]]


class Reader:
    """Read relays into the inbox."""

    def __init__(self, bot: Bot, inbox: Inbox) -> None:
        self._bot = bot
        self._inbox = inbox

    def filters(self, since: int) -> list[Filter]:
        """Return what we want of a relay that was read up to `since` before."""
        bot, since = self._bot, max(0, since - OVERLAP_SECONDS)
        kinds = frozenset(kind for agent in bot.agents.values() for kind in agent.kinds)
        open_kinds = frozenset(kind for a in bot.agents.values() if a.takes_open_requests for kind in a.kinds)
        service = frozenset({bot.service.pubkey})
        answers = frozenset(kind + RESULT_OFFSET for kind in kinds) | {FEEDBACK}
        followed = bot.contributors | bot.workers_allowed
        wanted = [
            Filter(kinds=kinds, tags={"p": frozenset(bot.agents)}, since=since),
            Filter(kinds=open_kinds, since=since),
            Filter(kinds=frozenset({CANCEL}), since=since),
            Filter(kinds=answers, tags={"p": service}, since=since),
            Filter(kinds=ANNOUNCEMENTS, tags={"p": service}),
            Filter(kinds=TARGETS, authors=followed),
            Filter(kinds=TARGETS, since=since),
        ]
        if bot.config.dm.enabled:
            since = max(0, since - WRAP_OVERLAP_SECONDS)
            wanted.append(Filter(kinds=frozenset({WRAP}), tags={"p": service}, since=since))
        return [one for one in wanted if one.kinds and one.authors != frozenset()]

    async def receive(self, event: Event, relay: str) -> None:
        """Take one event of `relay`: it is in the inbox, durably, when this returns, if it concerns us."""
        if await self._concerns_us(event):
            await self._inbox.receive(event, relay)

    async def read_until(self, relay: str) -> int:
        """Return the time up to which `relay` was read; 0 if never."""
        row = await self._bot.book.row("cursors", f"reader/{relay}")
        return row["value"] if row is not None else 0

    async def remember(self, relay: str, until: int) -> None:
        """Remember that `relay` was read up to `until`."""
        cursor = Put("cursors", f"reader/{relay}", {"value": until})
        await self._bot.book.apply(Plan(f"cursors/reader/{relay}/{until}", changes=(cursor,)))

    async def _concerns_us(self, event: Event) -> bool:
        if event.pubkey == self._bot.service.pubkey:
            return False  # our own assignments are job requests too
        if event.kind == CANCEL:
            return await self._names_our_work(event)
        if event.kind in TARGETS:
            return await is_followed(self._bot, event.pubkey)
        return True

    async def _names_our_work(self, event: Event) -> bool:
        named = [tag[1] for tag in event.tags_named("e") if len(tag) > 1]
        # The request itself may still be waiting in the inbox.
        return bool(await self._bot.book.database.rows_by_id("inbox", named))
