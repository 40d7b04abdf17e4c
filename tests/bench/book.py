"""`make bench-book`: durable charges of the book, each a hold and a six-way split with an outbox row."""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path

from relaybot.clock import SystemClock
from relaybot.db.migrations import load_migrations
from relaybot.db.sqlite import open_sqlite
from tests.bench.rounds import Figures, run, seconds
from wallet.accounts import NODE_LIGHTNING, hold, user
from wallet.book import Book, invariants, running
from wallet.ledger import Insert, Plan, Transfer, Values
from wallet.money import Msat


async def measure_sqlite() -> Figures:
    """Return charges per second by 1, 16 and 128 callers."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as directory:
        database = await open_sqlite(Path(directory) / "book.sqlite3", load_migrations(), now=0)
        async with running(Book(database, SystemClock())) as book:
            payer = "a" * 64
            topup = Transfer(NODE_LIGHTNING, user(payer), Msat(10**15), "topup")
            await book.apply(Plan("bench/topup", (topup,)))
            for callers in (1, 16, 128):
                each = 400 if callers == 1 else 6_400 // callers
                taken = await seconds(partial(_charge_together, book, payer, callers, each))
                figures[f"charges/s, {callers} callers"] = callers * each / taken
        assert await invariants(database) == []
        await database.close()
    return figures


async def _charge_together(book: Book, payer: str, callers: int, each: int) -> None:
    async def call(number: int) -> None:
        for index in range(each):
            await _charge(book, payer, f"{callers}-{number}-{index}")

    await asyncio.gather(*map(call, range(callers)))


async def _charge(book: Book, payer: str, name: str) -> None:
    escrow = hold(f"job/{name}")
    held = Transfer(user(payer), escrow, Msat(6_000), "hold")
    shares = tuple(Transfer(escrow, user(f"{index:064x}"), Msat(1_000), "share") for index in range(6))
    row: Values = {
        "event": "x" * 600,
        "about": name,
        "place": 0,
        "relays": "[]",
        "state": "sent",
        "tries": 0,
        "next_at": 0,
        "note": "",
        "created_at": 0,
    }
    answer = await book.apply(Plan(f"job/{name}/charge", (held, *shares), (Insert("outbox", name, row),)))
    assert answer.done, answer


if __name__ == "__main__":
    run(__doc__, {"SQLite": measure_sqlite})
