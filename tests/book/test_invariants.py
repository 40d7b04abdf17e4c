"""The book must see what is broken in it, and the work whose money does not fit."""

from __future__ import annotations

import pytest

from tests.book.stores import Store, blank, opened, person, sats_of, tamper, top_up
from wallet.accounts import NODE_LIGHTNING, Account
from wallet.book import Book, invariants, loose_ends
from wallet.ledger import Answer, Insert, Plan, Transfer, Update, Verdict
from wallet.money import Msat

ALICE, BOB = sats_of("alice"), sats_of("bob")
DONE = Answer(Verdict.APPLIED)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE accounts SET balance_msat = balance_msat + 1 WHERE id LIKE 'user/%'", "all balances sum to 1 msat"),
        ("UPDATE accounts SET balance_msat = -1 WHERE id LIKE 'user/%'", "is below its floor: -1 msat"),
        ("UPDATE entries SET amount_msat = 999", "says 1000 msat, its transfers say 999"),
        ("DELETE FROM entries", "says 1000 msat, its transfers say 0"),
        ("DELETE FROM accounts WHERE id LIKE 'user/%'", "all balances sum to -1000 msat"),
    ],
)
async def test_a_book_that_was_tampered_with_is_not_sound(store: Store, sql: str, words: str) -> None:
    async with opened(store) as book:
        await book.apply(top_up("bob", 1))
        assert await invariants(book.database) == []
    await tamper(store, sql)
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
    row = await blank(book.database, table)
    under_way = Plan("under way", changes=(Insert(table, row_id, {**row, "state": "held"}),))
    money = Plan("hold", (Transfer(NODE_LIGHTNING, Account(account), Msat(5), "hold"),))
    assert [await book.apply(under_way), await book.apply(money)] == [DONE] * 2
    assert await invariants(book.database) == []
    await book.apply(Plan("over", changes=(Update(table, row_id, finished, {}),)))
    assert await invariants(book.database) == [f"{account} still holds 5 msat, but its work is finished"]


WORK: list[tuple[str, dict[str, str | int | None], int, list[str]]] = [
    ("jobs", {"state": "held", "price_msat": 5, "due_at": 9}, 5, []),
    ("jobs", {"state": "working", "price_msat": 5, "due_at": 9}, 5, []),
    ("jobs", {"state": "awaiting_payment", "due_at": 9}, 0, []),
    ("jobs", {"state": "captured", "due_at": None}, 0, []),
    ("payouts", {"state": "paying", "next_at": 9}, 5, []),
    ("payouts", {"state": "paid", "next_at": None}, 0, []),
    ("jobs", {"state": "captured", "due_at": None}, 5, ["hold/job/w1/sats holds 5 msat for no work under way"]),
    ("payouts", {"state": "paid", "next_at": None}, 5, ["hold/payout/w1/sats holds 5 msat for no work under way"]),
    (
        "jobs",
        {"state": "held", "price_msat": 7, "due_at": 9},
        5,
        ["job w1 is held at 7 msat, but 5 msat are held for it"],
    ),
    (
        "jobs",
        {"state": "assigned", "price_msat": 7, "due_at": 9},
        0,
        ["job w1 is assigned at 7 msat, but 0 msat are held for it"],
    ),
    ("jobs", {"state": "working", "price_msat": 5, "due_at": None}, 5, ["job w1 is working, but nothing will end it"]),
    ("jobs", {"state": "awaiting_payment", "due_at": None}, 0, ["job w1 is awaiting_payment, but nothing will end it"]),
    ("payouts", {"state": "waiting", "next_at": None}, 0, ["payout w1 is waiting, but nothing will end it"]),
]


@pytest.mark.parametrize(("table", "values", "held", "words"), WORK)
async def test_work_and_the_money_held_for_it_fit_or_are_named(
    book: Book, table: str, values: dict[str, str | int | None], held: int, words: list[str]
) -> None:
    row = await blank(book.database, table)
    await book.apply(Plan("work", changes=(Insert(table, "w1", {**row, **values}),)))
    if held:
        escrow = Account(f"hold/{table.removesuffix('s')}/w1/sats")
        await book.apply(Plan("hold", (Transfer(NODE_LIGHTNING, escrow, Msat(held), "hold"),)))
    assert await loose_ends(book.database) == words


async def test_money_held_for_work_nobody_knows_is_named(book: Book) -> None:
    assert await loose_ends(book.database) == []
    await book.apply(Plan("hold", (Transfer(NODE_LIGHTNING, Account("hold/job/lost/card"), Msat(5), "hold"),)))
    assert await loose_ends(book.database) == ["hold/job/lost/card holds 5 msat for no work under way"]
