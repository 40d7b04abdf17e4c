"""What somebody may see of their money: by class, held, in order, with why; and each by an index."""

from __future__ import annotations

from pathlib import Path

import pytest

from relaybot.db.database import Write
from tests.book.names import account, owner_of
from tests.book.scenario import Scenario
from tests.book.stores import SqliteStore, connected, person
from wallet.accounts import NODE_ONCHAIN, Account
from wallet.book import Book
from wallet.lots import Mix
from wallet.money import Msat, from_sat
from wallet.statements import HELD, balance_of, history_of, history_sql
from wallet.wording import told

STORY = """
    bonus bob 5000 sat / card bob 4000 sat as d1 / top-up bob 10000 sat
    hold bob 12000 sat for job1 promo 7660
    capture job1 alice 2000 carol 1000 dave 500 grace 300 heidi 300 platform 7900
"""


async def test_a_balance_is_told_by_class(book: Book) -> None:
    await Scenario(book).play(STORY)
    bob, alice = await balance_of(book.database, person("bob")), await balance_of(book.database, person("alice"))
    assert (bob.has, bob.maturing_msat, bob.owed_msat) == (Mix(sats=from_sat(7_000)), 0, 0)
    assert (alice.has.sats, alice.maturing_msat) == (1_463_415, 536_585)
    await Scenario(book).play("dispute d1")
    assert (await balance_of(book.database, person("bob"))).owed_msat == 2_900_000


async def test_the_history_tells_every_entry_of_every_class_newest_first_with_why(book: Book) -> None:
    await Scenario(book).play(STORY)
    entries = await history_of(book.database, owner_of("bob"), limit=100)
    found = [(entry.account, entry.amount_msat, entry.balance_msat, entry.reason) for entry in entries]
    assert found == [
        (account("bob"), -3_000_000, 7_000_000, "hold"),
        (account("bob:card"), -4_000_000, 0, "hold"),
        (account("bob:promo"), -5_000_000, 0, "hold"),
        (account("bob"), 10_000_000, 10_000_000, "topup"),
        (account("bob:card"), 4_000_000, 4_000_000, "card"),
        (account("bob:promo"), 5_000_000, 5_000_000, "bonus"),
    ]
    assert entries[0].cause == "job/job1"


async def test_the_history_goes_on_where_it_was_left(book: Book) -> None:
    await Scenario(book).play(STORY)
    first = await history_of(book.database, owner_of("bob"), limit=2)
    rest = await history_of(book.database, owner_of("bob"), limit=100, before=first[-1].seq)
    assert len(first) == 2
    assert len(rest) == 4
    assert {entry.id for entry in first}.isdisjoint(entry.id for entry in rest)


async def test_a_company_s_history_is_told_too(book: Book) -> None:
    await Scenario(book).play("top-up acme 5 sat / bonus acme 2 sat")
    entries = await history_of(book.database, owner_of("acme"), limit=10)
    assert [(entry.account, entry.amount_msat) for entry in entries] == [
        ("org/acme/promo", 2_000),
        ("org/acme/sats", 5_000),
    ]


async def test_every_look_at_somebody_s_money_uses_an_index(tmp_path: Path) -> None:
    sql, accounts = history_sql(owner_of("bob"))
    queries = ((sql, {**accounts, "before": 2**62, "limit": 10}), (HELD, {"pubkey": person("bob")}))
    async with connected(SqliteStore(tmp_path / "book.db")) as database:
        for query, values in queries:
            plan = [row["detail"] for row in await database.fetch(f"EXPLAIN QUERY PLAN {query}", **values)]
            assert any("INDEX" in step for step in plan)
            scanned = [step.split()[1] for step in plan if step.startswith("SCAN")]
            assert {"entries", "accounts", "plans", "jobs", "payouts"}.isdisjoint(scanned), plan


BOB, ALICE = account("bob"), account("alice")


@pytest.mark.parametrize(
    ("plan", "on", "other", "reason", "words"),
    [
        ("job/12345678aa/hold", BOB, account("hold:job1"), "hold", "held for job 12345678"),
        ("payout/ff/3/open", BOB, account("hold:1"), "hold", "held for payout 3"),
        ("job/12345678aa/capture", ALICE, BOB, "algorithm:a.b", "earned as algorithm in job 12345678"),
        ("job/1/capture", account("alice:maturing"), BOB, "api:a", "earned as api in job 1, from card money"),
        ("lot/job/1/capture/3/matured", ALICE, BOB, "matured", "earned from card money: now sats"),
        ("card/d1/dispute", BOB, account("receivable"), "disputed:d1", "taken back by the card company (d1)"),
        ("zap/77/settled", BOB, account("node"), "zap", "zap, from outside"),
        ("dm/77", BOB, ALICE, "zap", "zap, between users of this service"),
        ("transaction/ab/settled", BOB, NODE_ONCHAIN, "fee", "part of the transaction's fee"),
        ("move/1", BOB, ALICE, "gift", "gift (move 1)"),
        ("odd", BOB, ALICE, "gift", "gift (odd)"),
        ("lot/job/1/x", BOB, ALICE, "release", "back from job 1, which was not charged"),
    ],
)
def test_every_entry_is_told_in_words(plan: str, on: Account, other: Account, reason: str, words: str) -> None:
    assert told(plan=plan, account=on, other=other, reason=reason) == words


FLOORED = [
    "bob",
    "bob:card",
    "bob:promo",
    "bob:maturing",
    "acme",
    "acme:card",
    "hold:job1",
    "hold:job1:promo",
    "hold:1",
]


@pytest.mark.parametrize("name", FLOORED)
async def test_every_floor_is_kept_twice_by_the_judge_and_by_the_database(book: Book, name: str) -> None:
    await Scenario(book).play(f"refused move {name} node 1 sat")

    overdrawn = Write("accounts", ("id", "balance_msat", "floor_msat"), [(account(name), -1, 0)], new=True)
    with pytest.raises(Exception, match=r"(?i)check"):
        await book.database.change({}, lambda _: [overdrawn])


async def test_what_has_no_floor_may_stand_below_zero(book: Book) -> None:
    await Scenario(book).play("move node bob 1 sat / move bob:owed bob 1 sat / expect bob:owed -1 node -1 bob 2")
    assert Msat(await book.balance(account("bob"))) == 2_000
