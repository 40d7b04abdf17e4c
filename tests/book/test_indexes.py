"""What a user or an operator looks for is found by an index, however large the book has grown, on SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from relaybot.db.sqlite import SqliteDatabase
from relaybot.operator.explaining import _OF_ESCROW
from tests.book.stores import SqliteStore, connected
from wallet.reconcile import _LEGS
from wallet.statements import _ONE_SIDE

DEBITS = _ONE_SIDE.format(side="debit", other="credit", sign="-", name="account")


@pytest.mark.parametrize(
    ("sql", "indexes"),
    [
        (DEBITS, {"transfers_by_debit"}),
        (DEBITS.replace("debit", "credit"), {"transfers_by_credit"}),
        (_LEGS, {"transfers_by_debit", "transfers_by_credit"}),
        (_OF_ESCROW, {"transfers_by_debit", "transfers_by_credit", "sqlite_autoindex_transfers_1"}),
    ],
)
async def test_nothing_is_found_by_reading_the_whole_book(tmp_path: Path, sql: str, indexes: set[str]) -> None:
    async with connected(SqliteStore(tmp_path / "book.db")) as database:
        assert isinstance(database, SqliteDatabase)
        names = ("account", "before", "limit", "lightning", "onchain", "sats", "card", "promo", "first", "behind")
        plan = await database.fetch(f"EXPLAIN QUERY PLAN {sql}", **dict.fromkeys(names, ""))
    steps = [row["detail"] for row in plan]
    assert not [step for step in steps if step.startswith("SCAN transfers")]
    assert {index for index in indexes if any(index in step for step in steps)} == indexes
