"""What a user or an operator looks for is found by an index, however large the book has grown, on SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from relaybot.db.sqlite import SqliteDatabase
from relaybot.operator.explaining import _OF_ESCROW
from tests.book.stores import SqliteStore, connected
from wallet.purses import _OF_DEBTS
from wallet.reconcile import _LEGS

OF_PLAN = "SELECT * FROM transfers WHERE plan = :plan ORDER BY seq"
ON_EITHER_SIDE = {"entries_by_debit", "entries_by_credit"}


@pytest.mark.parametrize(
    ("sql", "indexes"),
    [
        (OF_PLAN, {"entries_by_plan"}),
        (_LEGS, ON_EITHER_SIDE),
        (_OF_ESCROW, ON_EITHER_SIDE),
        (_OF_DEBTS, ON_EITHER_SIDE),
    ],
)
async def test_nothing_is_found_by_reading_the_whole_book(tmp_path: Path, sql: str, indexes: set[str]) -> None:
    async with connected(SqliteStore(tmp_path / "book.db")) as database:
        assert isinstance(database, SqliteDatabase)
        names = ("plan", "number", "after", "owed", "sats", "card", "promo")
        plan = await database.fetch(f"EXPLAIN QUERY PLAN {sql}", **dict.fromkeys(names, ""))
    steps = [row["detail"] for row in plan]
    assert not [step for step in steps if step.startswith(("SCAN entries", "SCAN accounts", "SCAN plans"))]
    assert {index for index in indexes if any(index in step for step in steps)} == indexes
