"""What left in a day, on every database: `wallet/obstacles.py` asks it in SQL of its own."""

from __future__ import annotations

from typing import Any

import pytest

from relaybot.clock import SetClock
from tests.book.stores import NOW, blank, person, top_up
from tests.payouts.desk import RULES
from wallet.accounts import NODE_LIGHTNING, user
from wallet.book import Book
from wallet.ledger import Insert, Plan, Transfer
from wallet.money import Msat, from_sat
from wallet.obstacles import Obstacles
from wallet.opening import DAY_SECONDS

DAY_MAX = RULES.day_msat_max
ROWS: list[tuple[str, str, dict[str, Any]]] = [  # table, id, and what is not blank
    ("payouts", "1", {"pubkey": "bob", "state": "paid", "paid_msat": DAY_MAX, "updated_at": NOW}),
    ("payouts", "2", {"pubkey": "bob", "state": "paid", "paid_msat": 9, "updated_at": NOW - DAY_SECONDS}),
    ("payouts", "3", {"pubkey": "alice", "state": "paying", "amount_msat": 4_000, "next_at": NOW}),
    ("payouts", "4", {"pubkey": "alice", "state": "waiting", "amount_msat": 7, "next_at": NOW}),
    ("invoices", "1", {"owner": "bob", "payment_hash": "aa", "created_at": NOW}),
    ("invoices", "2", {"owner": "alice", "payment_hash": "bb", "created_at": NOW - DAY_SECONDS}),
    ("deposits", "1", {"owner": "bob", "amount_msat": 1_000, "state": "credited", "created_at": NOW}),
    ("deposits", "2", {"owner": "bob", "amount_msat": 500, "state": "reversed", "created_at": NOW}),
]


@pytest.fixture
async def filled(book: Book) -> Book:
    for table, row_id, said in ROWS:
        values = {**await blank(book.database, table), **said}
        values |= {column: person(values[column]) for column in ("pubkey", "owner") if column in said}
        await book.apply(Plan(f"test/{table}/{row_id}", changes=(Insert(table, row_id, values),)))
    for payment_hash, name, msat in (("aa", "bob", from_sat(20)), ("bb", "alice", from_sat(30))):
        moved = Transfer(NODE_LIGHTNING, user(person(name)), Msat(msat), "topup")
        await book.apply(Plan(f"invoice/{payment_hash}/settled", (moved,)))
    await book.apply(top_up("bob", 90))  # under another key: it was no invoice of bob's
    return book


async def test_of_each_user_counts_what_they_did_not_bring_once_the_whole_would_be_too_much(filled: Book) -> None:
    obstacles = Obstacles(filled, None, SetClock(NOW), RULES)  # type: ignore[arg-type]  # the node is not asked
    assert await obstacles.room_today() == max(0, from_sat(20) + 1_000 - 4_000)


async def test_as_long_as_there_is_room_whatever_left_counts(filled: Book) -> None:
    later = SetClock(NOW + DAY_SECONDS)
    assert await Obstacles(filled, None, later, RULES)._lost_msat(1) == 4_000  # type: ignore[arg-type]
