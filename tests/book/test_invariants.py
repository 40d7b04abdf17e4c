from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from relaybot.db.database import Reader
from tests.book.stores import SqliteStore, opened, person, sats_of, top_up
from wallet.accounts import NODE_LIGHTNING, Account
from wallet.book import Book, invariants
from wallet.ledger import Answer, Insert, Plan, Transfer, Update, Verdict
from wallet.money import Msat

ALICE, BOB = sats_of("alice"), sats_of("bob")
DONE = Answer(Verdict.APPLIED)


async def _tamper(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute(sql)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE accounts SET balance_msat = balance_msat + 1 WHERE id LIKE 'user/%'", "all balances sum to 1 msat"),
        ("UPDATE accounts SET balance_msat = -1 WHERE id LIKE 'user/%'", "is below its floor: -1 msat"),
        ("UPDATE transfers SET amount_msat = 999", "says 1000 msat, its transfers say 999"),
        ("DELETE FROM transfers", "says 1000 msat, its transfers say 0"),
        ("DELETE FROM accounts WHERE id LIKE 'user/%'", "all balances sum to -1000 msat"),
    ],
)
async def test_a_book_that_was_tampered_with_is_not_sound(tmp_path: Path, sql: str, words: str) -> None:
    store = SqliteStore(tmp_path / "book.db")
    async with opened(store) as book:
        await book.apply(top_up("bob", 1))
        assert await invariants(book.database) == []
    await _tamper(store.path, sql)
    async with opened(store) as book:
        assert any(words in sentence for sentence in await invariants(book.database))


FINISHED = [
    ("jobs", "j1", "hold/job/j1/sats", {"state": "captured"}),
    ("jobs", "j1", "hold/job/j1/card", {"state": "released"}),
    ("jobs", "j1", "hold/job/j1/promo", {"state": "awaiting_payment"}),
    ("payouts", f"{person('alice')}/1", f"hold/payout/{person('alice')}/1/sats", {"next_at": None}),
]


@pytest.mark.parametrize(("table", "row_id", "account", "finished"), FINISHED)
async def test_money_held_for_work_that_is_over_is_found(
    book: Book, table: str, row_id: str, account: str, finished: dict[str, str | None]
) -> None:
    columns = await _columns(book.database, table)
    row = {name: 0 if kind == "INTEGER" else "" for name, kind in columns.items() if name not in {"id", "version"}}
    under_way = Plan("under way", changes=(Insert(table, row_id, {**row, "state": "held"}),))
    money = Plan("hold", (Transfer(NODE_LIGHTNING, Account(account), Msat(5), "hold"),))
    assert [await book.apply(under_way), await book.apply(money)] == [DONE] * 2
    assert await invariants(book.database) == []
    await book.apply(Plan("over", changes=(Update(table, row_id, finished, {}),)))
    assert await invariants(book.database) == [f"{account} still holds 5 msat, but its work is finished"]


async def _columns(reader: Reader, table: str) -> dict[str, str]:
    rows = await reader.fetch("SELECT name, type FROM pragma_table_info(:table)", table=table)
    return {row["name"]: row["type"] for row in rows}
