"""Handlers over a real book, on each kind of database, with a clock that stands still; nothing goes over a socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from handlers.bot import Bot
from handlers.conversation import Asked
from handlers.market import Market, plan_approved, plan_refused
from handlers.shares import share
from relaybot.clock import SetClock
from relaybot.config import parse_config
from relaybot.errors import Rejected
from relaybot.keyring import Keyring
from relaybot.nostr import nip17, nip59
from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.listings import LISTING_KIND
from relaybot.workings import build_bot, build_inbox
from tests.book.stores import NOW, PostgresStore, SqliteStore, Store, opened
from tests.documents.cast import MASTER, Chance, key_of
from tests.documents.scripted import ScriptedChain, ScriptedNode
from tests.postgres import new_book, unavailable
from wallet.ledger import Plan, Verdict

SKILL = {"name": "Read", "shares": [{"to": key_of("dave").pubkey, "role": "api", "amount": "100 sat"}]}
AGENT = {
    "name": "Translator",
    "kinds": [5002],
    "price": "1000 sat",
    "skills": ["read"],
    "shares": [
        {"to": "$worker", "percent": "50%"},
        {"to": key_of("grace").pubkey, "role": "model", "amount": "50 sat"},
    ],
    "rest": "$owner",
}


class Stall:
    """One service's handlers for the market, and what they say to whom."""

    def __init__(self, bot: Bot, clock: SetClock) -> None:
        self.bot = bot
        self.clock = clock
        self.market = Market(bot, Keyring(MASTER).key)
        self._inbox = build_inbox(bot)
        self._seen: set[str] = set()  # messages that were read

    def listing(self, name: str, written: object, *, author: str = "heidi", at: int = 0) -> Event:
        """Return a listing as its author signs it, so many seconds from now."""
        content = written if isinstance(written, str) else json.dumps(written)
        return key_of(author).sign(
            kind=LISTING_KIND, content=content, tags=[("d", name)], created_at=self.clock.now() + at
        )

    async def hear(self, event: Event) -> str:
        """Handle an event; return what its author is told, or the note if that is nothing."""
        await self.told()
        decision = await self._inbox._handler(event.kind)(event)
        if isinstance(decision, Plan):
            await self.apply(decision)
            return (await self.told()).get(event.pubkey, "")
        return (await self.told()).get(event.pubkey, decision)

    async def apply(self, plan: Plan) -> None:
        """Apply a Plan that must stand."""
        answer = await self.bot.book.apply(plan)
        assert answer.verdict is Verdict.APPLIED, f"{plan.key}: {answer}"

    async def approve(self, *events: Event) -> None:
        """Approve these versions, and have them in service."""
        for event in events:
            await self.apply(await plan_approved(self.bot, event.id))
        await self.market.refresh()

    async def refuse(self, event: Event, reason: str = "") -> None:
        """Refuse a version, or take it out of service."""
        await self.apply(await plan_refused(self.bot, event.id, reason))
        await self.market.refresh()

    async def ask(self, name: str, *words: str) -> str:
        """Let somebody write `share …`; return the answer."""
        rumor = f"{self.clock.now():064d}"
        self.clock.advance(1)
        try:
            reply = await share(self.bot, Asked(key_of(name).pubkey, rumor, self.clock.now(), words))
        except Rejected as refusal:
            return refusal.reason
        if reply.changes:
            await self.apply(Plan(f"dm/{rumor}", changes=reply.changes))
            await self.market.refresh()
        return reply.text

    async def told(self) -> dict[str, str]:
        """Return the last private message to each since the last look, by hex pubkey."""
        rows = await self.bot.book.database.fetch("SELECT id, event FROM outbox ORDER BY created_at, id")
        found: dict[str, str] = {}
        for row in rows:
            wrap = parse_event(row["event"])
            if row["id"] in self._seen or wrap.kind != nip59.WRAP_KIND:
                continue
            self._seen.add(row["id"])
            reader = next(key for key in map(key_of, NAMES) if key.pubkey == wrap.tag("p"))
            found[reader.pubkey] = nip17.parse_message(nip59.unwrap(wrap, reader)).text
        return found


NAMES = ("alice", "bob", "dave", "grace", "heidi")


def store_of(kind: str, directory: Path) -> Store:
    """Return an empty database of one kind."""
    if kind == "sqlite":
        return SqliteStore(directory / "book.db")
    if why := unavailable():
        pytest.skip(why)
    return PostgresStore(new_book())


@asynccontextmanager
async def stall_on(store: Store, directory: Path, **sections: Any) -> AsyncIterator[Stall]:
    """Set up a service that takes listings."""
    clock = SetClock(NOW)
    given = {"marketplace": "approved", "skills": {"fetch": {"name": "Fetch"}}, **sections}
    config = parse_config(given, config_dir=directory)
    async with opened(store, clock=clock) as book:
        node = ScriptedNode(clock)
        bot = build_bot(config, Keyring(MASTER), book, node, clock, chain=ScriptedChain(), chance=Chance())
        yield Stall(bot, clock)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty database of one kind."""
    return store_of(request.param, tmp_path)


@pytest.fixture
async def stall(store: Store, tmp_path: Path) -> AsyncIterator[Stall]:
    """A service that takes listings, on each kind of database."""
    async with stall_on(store, tmp_path) as made:
        yield made


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Stall]:
    """A service with small limits."""
    limits = {"listing_versions_per_day_max": 4, "listings_per_author_max": 2, "listings_waiting_max": 3}
    async with stall_on(store_of("sqlite", tmp_path), tmp_path, limits={**limits, "listing_bytes_max": 1_000}) as made:
        yield made
