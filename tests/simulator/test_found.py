"""What the stories found in the product, each told once more without a story."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, cast

from handlers import assignments, jobs, workers
from handlers.assigning import Assigning
from handlers.bot import Bot
from relaybot.clock import SetClock
from relaybot.db.database import Row
from relaybot.nostr import nip89, nip90
from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import Event, parse_event
from relaybot.reader import OVERLAP_SECONDS, Reader
from relaybot.workings import build_bot
from tests.simulator.borders import Borders
from tests.simulator.cast import KEYRING, METER_KIND, config, key_of
from tests.simulator.disk import Disk, InlineDatabase, fresh_book
from tests.simulator.timeline import START, Chance
from wallet.accounts import CAPITAL, user
from wallet.book import Book, running
from wallet.ledger import Plan, Transfer
from wallet.money import from_sat

NOBODY = cast("Any", None)  # what is not needed here


def test_a_clock_that_was_ahead_hides_no_events_once_it_is_right_again() -> None:
    bot = build_bot(config(), KEYRING, NOBODY, NOBODY, SetClock(START), chain=NOBODY, chance=bytes)
    filters = Reader(bot, NOBODY, NOBODY).filters(since=START + 7_200)
    assert max(one.since or 0 for one in filters) == START - OVERLAP_SECONDS


class Interrupted(InlineDatabase):
    """A database on which somebody else is faster, once, just before balances are read."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def rows_by_id(self, table: str, ids: Iterable[str]) -> dict[str, Row]:
        if table == "accounts" and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return await super().rows_by_id(table, ids)


async def test_a_result_whose_job_is_captured_by_another_while_it_is_read_pays_nobody(tmp_path: Path) -> None:
    fresh_book(tmp_path / "book")
    database = Interrupted(Disk(tmp_path / "book", Chance(0, "disk")), Borders(Chance(0, "borders"), lambda _: None))
    async with running(Book(database, SetClock(START))) as book:
        bot = build_bot(
            config(), KEYRING, book, NOBODY, SetClock(START), chain=NOBODY, chance=Chance(0, "bot").randbytes
        )
        child = await assigned(bot)

        async def captured() -> None:
            await decided(bot, await assignments.on_result(bot, result_of(child, "first")))

        database.meanwhile = captured
        said = await assignments.on_result(bot, result_of(child, "second"))
    await database.close()
    assert said == "pays nobody: the job is finished or was given to another node"


async def assigned(bot: Bot) -> Event:
    """Bring a job of bob's as far as carol's node; return the assignment."""
    carol, bob, now = key_of("carol"), key_of("bob"), START
    service = bot.service.pubkey
    given = Transfer(CAPITAL, user(bob.pubkey), from_sat(1_000), "given")
    assert (await bot.book.apply(Plan("given", (given,)))).done
    announced = nip89.build_worker_announcement(
        carol, identifier="b", service=service, kinds=[METER_KIND], name="", about="", expiration=now + 900, now=now
    )
    await decided(bot, await workers.on_announcement(bot, announced))
    beat = nip89.build_heartbeat(carol, service=service, status="idle", expiration=now + 900, now=now)
    await decided(bot, await workers.on_heartbeat(bot, beat))
    asked = bob.sign(kind=METER_KIND, content="", tags=[["i", "x", "text"]], created_at=now)
    await decided(bot, await jobs.on_request(bot, asked))
    await Assigning(bot).step()
    rows = await bot.book.database.fetch("SELECT event FROM outbox")
    events = [parse_event(row["event"]) for row in rows]
    return next(event for event in events if event.kind == METER_KIND)


async def decided(bot: Bot, plan: Plan | str) -> None:
    """Apply what a handler has decided."""
    assert isinstance(plan, Plan), plan
    assert (await bot.book.apply(plan)).done


def result_of(child: Event, content: str) -> Event:
    """Return a result of carol's node."""
    secret = Encryption(NIP44, bytes(31) + b"\x01")
    return nip90.build_result(key_of("carol"), request=child, content=content, encrypt=secret, now=START)
