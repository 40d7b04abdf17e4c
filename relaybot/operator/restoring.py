"""A backup of the book, the way back, and what must be true before money leaves again.

A restored book may be older than the node: what was paid since then is not in it, and would
be paid again. So a restore closes a switch, in the file, before the book has its name; every
payout, withdrawal and app guards it. `agree` opens it when the books agree with the node and
nothing is on its way that the book does not know, or where the operator accepts what is left
by name.

What came since the backup is taken in by the service: it reads settlements from the node and
events from the relays, and books payments to their payouts. So `agree` refuses until a service
has read every relay since the restore, and has handled what it read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from relaybot.clock import SystemClock
from relaybot.config import Config
from relaybot.db.backups import copy_file, copy_out, load, sync
from relaybot.db.file_lock import lock_file
from relaybot.db.migrations import load_migrations
from relaybot.db.sqlite import open_sqlite
from relaybot.errors import Rejected
from relaybot.operator.checking import node_of
from relaybot.operator.opening import Answer, opened
from relaybot.reader import OWN_RELAY
from wallet.book import Book, running
from wallet.chain import Chain
from wallet.ledger import Plan, Put, Values
from wallet.lightning import Lightning
from wallet.reconcile import book_by_rule, reconcile
from wallet.switches import OPEN, PAUSED, RESTORE, RESTORED, plan_resume

_SENT = "SELECT id FROM attempts WHERE state IN ('sent', 'paid')"
_INVOICES = "SELECT payment_hash FROM invoices"


async def backup(config: Config, target: Path) -> Answer:
    """Write the book as it is at this moment to a new file. Rejected if there is no book, or already such a file."""
    if await asyncio.to_thread(target.exists):
        raise Rejected("invalid", "there is a file of this name already", found=str(target))
    growing = target.with_name(f"{target.name}.part")
    growing.unlink(missing_ok=True)
    try:
        if isinstance(config.database, Path):
            if not config.database.exists():
                raise Rejected("invalid", f"no book at {config.database}; the first start of the service makes it")
            await asyncio.to_thread(copy_file, config.database, growing)
        else:
            url = config.database.get_secret_value()
            await copy_out(url, growing, load_migrations(), SystemClock().now())
        size = growing.stat().st_size
        growing.rename(target)
    finally:
        growing.unlink(missing_ok=True)
    sync(target)
    return {"file": str(target), "bytes": size}


async def restore(config: Config, source: Path) -> Answer:
    """Make the book out of a backup, with all that goes out closed. Rejected if there is a book already."""
    if not await asyncio.to_thread(source.exists):
        raise Rejected("invalid", "there is no such file", found=str(source))
    where = config.database
    if isinstance(where, Path):
        _require_free(where)
        fresh = where.with_name(f"{where.name}.restoring")
        fresh.parent.mkdir(parents=True, exist_ok=True)
    else:
        fresh = source.with_name(f"{source.name}.restoring")
    fresh.unlink(missing_ok=True)
    try:
        await asyncio.to_thread(copy_file, source, fresh)
        await _close(fresh)
        if isinstance(where, Path):
            fresh.rename(where)
            sync(where)
        else:
            await load(fresh, where.get_secret_value(), load_migrations(), SystemClock().now())
    finally:
        fresh.unlink(missing_ok=True)
    return {"restored": str(source), "what_goes_out": "closed", "next": "relaybot run, then relaybot books agree"}


def _require_free(where: Path) -> None:
    if any(where.with_name(f"{where.name}{end}").exists() for end in ("", "-wal", "-shm")):
        raise Rejected("invalid", "there is a book already: stop the service and move it away first", found=str(where))
    locks = where.with_name(f"{where.name}.locks")
    for path in locks.glob("process*") if locks.exists() else ():
        if lock_file(locks, path.name.replace("%2F", "/")) is None:
            raise Rejected("invalid", "a service is still running on the book that was here: stop it first")


async def _close(fresh: Path) -> None:
    """Close what goes out, in a copy that nobody uses yet. WrongSchema if it is a newer version's."""
    clock = SystemClock()
    database = await open_sqlite(fresh, load_migrations(), now=clock.now())
    try:
        async with running(Book(database, clock)) as book:
            row = await book.row("pauses", RESTORED)
            assert row is not None, "no switch of a restore"
            closed: Values = {
                "state": PAUSED,
                "reason": "the books are compared",
                "paused_by": RESTORE,
                "since": clock.now(),
            }
            plan = Plan(f"pauses/{RESTORED}/{row['version']}", changes=(Put("pauses", RESTORED, closed),))
            assert (await book.apply(plan)).done, "the switch of a restore was not closed"
    finally:
        await database.close()


async def agree(config: Config, accepted: Sequence[str]) -> Answer:
    """Open what a restore has closed, if nothing is left but what the operator accepts by its key."""
    async with opened(config) as book, node_of(config) as (lightning, chain):
        row = await book.row("pauses", RESTORED)
        assert row is not None, "no switch of a restore"
        if row["state"] == OPEN:
            return {"agreed": True, "what_goes_out": OPEN, "differences": [], "in_flight": [], "not_read": []}
        unread = [name for name in await _unread(book, config, since=row["since"]) if name not in accepted]
        differences, in_flight = await _unexplained(book, lightning, chain)
        left = {key: said for key, said in differences.items() if key not in accepted}
        flying = [key for key in in_flight if key not in accepted]
        agreed = not left and not flying and not unread
        plan = plan_resume(row, by=RESTORE, now=SystemClock().now())
        if agreed and (plan is None or not (await book.apply(plan)).done):
            raise Rejected("error", "the book did not take it")
    shown = {"differences": [*left.values()], "in_flight": flying, "not_read": unread}
    return {"agreed": agreed, "what_goes_out": OPEN if agreed else "closed", **shown}


async def _unread(book: Book, config: Config, *, since: int) -> list[str]:
    """Return what a service has not taken in since the restore: relays, by name, and `inbox` if events wait there.

    Commands and cancellations since the backup are among them: done after `agree`, they would
    be done a second time.
    """
    rows = await book.database.fetch("SELECT id, value FROM cursors WHERE id LIKE 'reader/%'")
    until = {row["id"].removeprefix("reader/"): row["value"] for row in rows}
    wanted = [name for name in until if name == OWN_RELAY or name in config.relays]
    wanted += [name for name in config.relays if name not in until]
    unread = [name for name in wanted or [OWN_RELAY] if until.get(name, 0) < since]
    waiting = await book.database.fetch("SELECT 1 FROM inbox WHERE state = 'new' LIMIT 1")
    return [*sorted(unread), *(["inbox"] if waiting else [])]


async def _unexplained(book: Book, lightning: Lightning, chain: Chain) -> tuple[dict[str, str], list[str]]:
    """Return what the books differ on, and which payments are on their way that the book never sent or asked for.

    Unavailable if the node lags behind the chain: what it says proves nothing.
    """
    if not (await lightning.info()).synced:
        raise Rejected("invalid", "the node lags behind the chain: what it says proves nothing")
    await book_by_rule(book, lightning, chain)
    async with book.database.snapshot() as reader:
        known = {row["id"] for row in await reader.fetch(_SENT)}
        known |= {row["payment_hash"] for row in await reader.fetch(_INVOICES)}
        in_flight = sorted(await lightning.htlc_hashes() - known)  # before its books: what ends now is found there
        found = await reconcile(reader, lightning, chain)
    return {one.key: str(one) for one in found.differences}, in_flight
