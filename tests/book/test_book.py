"""What a Plan leaves in the book, how its neighbours fare, deciding again, and waking who watches."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relaybot.clock import SetClock
from relaybot.errors import Unavailable
from tests.book.model import BATCHES, Model
from tests.book.stores import NOW, Store, broken, contents, mark, opened, payment, sats_of, top_up
from wallet.accounts import NODE_LIGHTNING
from wallet.book import DECISIONS_MAX, Book, invariants, transfers_of
from wallet.ledger import Answer, Expect, Insert, Plan, Put, Transfer, Update, Values, Verdict
from wallet.money import Msat

ALICE, BOB = sats_of("alice"), sats_of("bob")
DONE = Answer(Verdict.APPLIED)
NEW_USER: Values = {"withdrawals": "open", "payouts": 0, "created_at": NOW}


# What a Plan leaves


async def test_a_plan_stands_whole_in_the_book(book: Book) -> None:
    plan = Plan(
        "topup/1",
        (Transfer(NODE_LIGHTNING, BOB, Msat(1_500), "top-up"), Transfer(BOB, ALICE, Msat(500), "share")),
        (Insert("cursors", "c", {"value": 7}),),
    )
    assert await book.apply(plan) == DONE
    assert await book.balance(BOB) == 1_000
    assert await book.balance(NODE_LIGHTNING) == -1_500
    assert dict(await book.row("cursors", "c") or {}) == {"id": "c", "version": 1, "value": 7, "mark": ""}
    found = await contents(book.database)
    assert found["plans"] == [{"id": "topup/1", "digest": None, "applied_at": NOW}]
    second = {"seq": 2, "id": "topup/1/1", "plan": "topup/1", "debit": BOB, "credit": ALICE, "amount_msat": 500}
    after = {"debit_after": 1_000, "credit_after": 500, "reason": "share", "created_at": NOW}
    assert found["transfers"][1] == second | after
    assert {row["id"]: row["floor_msat"] for row in found["accounts"]} == {NODE_LIGHTNING: None, BOB: 0, ALICE: 0}
    assert await broken(book) == []


async def test_what_was_never_written_reads_as_nothing(book: Book) -> None:
    assert await book.balance(BOB) == 0
    assert await book.row("cursors", "c") is None
    assert await invariants(book.database) == []


async def test_a_plan_that_is_not_applied_leaves_nothing_in_the_database(book: Book) -> None:
    await book.apply(top_up("bob", 1))
    await book.apply(mark("first"))
    before = await contents(book.database)
    refused = Plan("a", (Transfer(BOB, ALICE, Msat(1_001), ""),), (Put("cursors", "c", {"value": 9}),))
    conflict = Plan("b", (Transfer(BOB, ALICE, Msat(1), ""),), (Insert("cursors", "c", {"value": 9}),))
    assert (await book.apply(refused)).verdict is Verdict.REFUSED
    assert (await book.apply(conflict)).verdict is Verdict.CONFLICT
    assert (await book.apply(top_up("bob", 1))).verdict is Verdict.ALREADY
    assert await contents(book.database) == before


async def test_a_plan_that_is_applied_twice_at_once_is_applied_once(book: Book) -> None:
    answers = await asyncio.gather(*(book.apply(top_up("bob", 1)) for _ in range(20)))
    assert Counter(answer.verdict for answer in answers) == {Verdict.APPLIED: 1, Verdict.ALREADY: 19}
    assert await book.balance(BOB) == 1_000


async def test_a_key_is_known_after_opening_again(store: Store) -> None:
    async with opened(store) as book:
        assert await book.apply(top_up("bob", 1)) == DONE
    async with opened(store) as book:
        assert (await book.apply(top_up("bob", 1))).verdict is Verdict.ALREADY
        assert await book.balance(BOB) == 1_000


async def test_the_order_of_the_book_is_the_order_of_arrival_even_if_the_clock_jumps_back(store: Store) -> None:
    clock = SetClock(NOW)
    async with opened(store, clock=clock) as book:
        for number, jump in enumerate((0, -86_400 * 365, 10**9, -(10**9))):
            clock.advance(jump)
            assert await book.apply(top_up("bob", 1, str(number))) == DONE
        found = await book.database.fetch("SELECT plan, credit_after FROM transfers ORDER BY seq")
        assert [tuple(row.values()) for row in found] == [(f"topup/bob/{n}", 1_000 * (n + 1)) for n in range(4)]
        assert await broken(book) == []


@settings(max_examples=12, deadline=None, suppress_health_check=[*HealthCheck])
@given(batches=st.lists(BATCHES, max_size=3))
def test_random_plans_fare_in_the_book_as_in_a_plain_dictionary(
    new_store: Callable[[], Store], batches: list[list[Plan]]
) -> None:
    store = new_store()

    async def compare() -> None:
        model = Model()
        async with opened(store) as book:
            for batch in batches:
                answers = await asyncio.gather(*(book.apply(plan) for plan in batch))
                assert [answer.verdict for answer in answers] == [model.apply(plan) for plan in batch]
            found = await contents(book.database)
            assert {row["id"]: row["digest"] for row in found["plans"]} == model.keys
            assert {row["id"]: row["balance_msat"] for row in found["accounts"]} == model.balances
            assert {row["id"]: row for row in found["cursors"]} == {
                key: {**row, "mark": ""} for key, row in model.rows.items()
            }
            assert await broken(book) == []

    asyncio.run(compare())


async def test_a_text_with_a_nul_is_kept_without_it(book: Book) -> None:
    plan = Plan("quoted", changes=(Put("users", "u", {"withdrawals": "o\0pen"}, {**NEW_USER, "referrer": "a\0"}),))
    assert await book.apply(plan) == DONE
    row = await book.row("users", "u")
    assert row is not None
    assert (row["withdrawals"], row["referrer"]) == ("o\ufffdpen", "a\ufffd")


async def test_what_a_plan_moved_is_found_by_its_key_and_no_other_plans(book: Book) -> None:
    keys = ["job/1/capture", "job/1/capture/again", "job/10/capture", "job/1"]
    await book.apply(top_up("bob", 1))
    for key in keys:
        pair = (Transfer(BOB, ALICE, Msat(2), "a"), Transfer(BOB, ALICE, Msat(1), "b"))
        assert await book.apply(Plan(key, pair)) == DONE
    for key in keys:
        assert [row["id"] for row in await transfers_of(book.database, key)] == [f"{key}/0", f"{key}/1"]
    assert await transfers_of(book.database, "job") == []


# Neighbours in one commit


async def test_plans_of_one_commit_see_what_their_predecessors_left(book: Book) -> None:
    spends = [payment(f"spend/{number}", debit=BOB, credit=ALICE, msat=400) for number in range(4)]
    guarded = [Plan(f"guarded/{n}", changes=(Update("cursors", "c", {"value": n}, {"version": 1}),)) for n in range(3)]
    answers = await asyncio.gather(*(book.apply(plan) for plan in (top_up("bob", 1), mark("c"), *spends, *guarded)))
    verdicts = [answer.verdict for answer in answers]
    assert verdicts[2:6] == [Verdict.APPLIED, Verdict.APPLIED, Verdict.REFUSED, Verdict.REFUSED]
    assert verdicts[6:] == [Verdict.APPLIED, Verdict.CONFLICT, Verdict.CONFLICT]
    assert await book.row("cursors", "c") == {"id": "c", "version": 2, "value": 0, "mark": ""}
    assert await broken(book) == []


async def test_rows_of_one_table_may_be_written_with_different_columns(book: Book) -> None:
    await book.apply(Plan("old", changes=(Insert("users", "old", {**NEW_USER, "referrer": "frank"}),)))
    answers = await asyncio.gather(
        book.apply(Plan("short", changes=(Insert("users", "a", NEW_USER),))),
        book.apply(Plan("long", changes=(Insert("users", "b", {**NEW_USER, "threshold_msat": 5}),))),
        book.apply(Plan("update", changes=(Update("users", "old", {"payout_check_at": 9}, {"version": 1}),))),
        book.apply(Plan("guard", changes=(Update("users", "a", {"payouts": 1}, {"referrer": None}),))),
    )
    assert set(answers) == {DONE}
    users = {str(row["id"]): row for row in (await contents(book.database))["users"]}
    assert (users["a"]["threshold_msat"], users["a"]["payouts"]) == (None, 1)
    assert users["b"]["threshold_msat"] == 5
    assert (users["old"]["payout_check_at"], users["old"]["referrer"]) == (9, "frank")


async def test_a_plan_that_cannot_be_written_fails_its_own_caller_and_no_neighbour(book: Book) -> None:
    faulty = [
        Plan("no such column", changes=(Insert("cursors", "x", {"value": 1, "nonsense": 1}),)),
        Plan("a column missing", changes=(Insert("cursors", "y", {}),)),
        Plan("no such table", changes=(Put("nonsense", "z", {}),)),
        Plan(
            "too big a number", (Transfer(NODE_LIGHTNING, BOB, Msat(5), ""),), (Put("cursors", "v", {"value": 2**63}),)
        ),
        Plan("half a character", changes=(Insert("cursors", "\ud800", {"value": 1}),)),
    ]
    good = [top_up("bob", 1), mark("mark"), payment("spend", debit=BOB, credit=ALICE, msat=1_000)]
    batch = [good[0], *faulty[:3], good[1], *faulty[3:], good[2]]
    answers = await asyncio.gather(*(book.apply(plan) for plan in batch), return_exceptions=True)
    found = {plan.key: answer for plan, answer in zip(batch, answers, strict=True)}
    assert [found[plan.key] for plan in good] == [DONE] * 3
    for plan in faulty:
        assert isinstance(found[plan.key], Exception), plan.key
        assert not isinstance(found[plan.key], Unavailable), plan.key
    assert {row["id"] for row in (await contents(book.database))["plans"]} == {plan.key for plan in good}
    assert await broken(book) == []
    assert await book.apply(mark("afterwards")) == DONE


# Deciding again


async def test_a_decision_is_made_again_while_guarded_rows_keep_moving(book: Book) -> None:
    await book.apply(mark("start"))
    seen: list[int] = []

    async def decide() -> Plan:
        row = await book.row("cursors", "c")
        assert row is not None
        seen.append(row["version"])
        if len(seen) < DECISIONS_MAX:
            await book.apply(mark(f"somebody else/{len(seen)}"))
        return Plan("mine", changes=(Update("cursors", "c", {"value": 9}, {"version": row["version"]}),))

    assert await book.decide(decide) == DONE
    assert seen == [1, 2, 3, 4, 5]
    assert await book.row("cursors", "c") == {"id": "c", "version": 6, "value": 9, "mark": ""}


@pytest.mark.parametrize(
    ("plan", "verdict"),
    [
        (Plan("mine", changes=(Expect("cursors", "c", {}),)), Verdict.CONFLICT),
        (payment("mine", debit=BOB, credit=ALICE, msat=1), Verdict.REFUSED),
    ],
)
async def test_a_decision_that_never_holds_is_given_up_after_five_times(
    book: Book, plan: Plan, verdict: Verdict
) -> None:
    tries: list[int] = []

    async def decide() -> Plan:
        tries.append(1)
        return plan

    answer = await book.decide(decide)
    assert answer.verdict is verdict
    assert not answer.done
    assert len(tries) == DECISIONS_MAX == 5


async def test_a_decision_for_nothing_is_already_done_and_a_known_key_ends_it_too(book: Book) -> None:
    async def nothing() -> None:
        return None

    async def known() -> Plan:
        return top_up("bob", 1)

    assert (await book.decide(nothing)).verdict is Verdict.ALREADY
    assert await book.decide(known) == DONE
    assert (await book.decide(known)).verdict is Verdict.ALREADY
    assert await book.balance(BOB) == 1_000


async def test_a_decision_that_fails_fails_its_caller(book: Book) -> None:
    async def decide() -> Plan:
        raise Unavailable("node")

    with pytest.raises(Unavailable, match="node"):
        await book.decide(decide)
    assert await book.apply(mark("m")) == DONE


# Watching


async def test_who_watches_a_table_is_woken_by_a_commit_that_changed_it(book: Book) -> None:
    first, second, both, other = (
        book.watch("cursors"),
        book.watch("cursors"),
        book.watch("jobs", "cursors"),
        book.watch("users"),
    )
    await book.apply(mark("m"))
    assert [event.is_set() for event in (first, second, both, other)] == [True, True, True, False]


async def test_who_watches_is_not_woken_by_what_changed_nothing(book: Book) -> None:
    await book.apply(mark("m"))
    watching = book.watch("cursors")
    await book.apply(mark("m"))
    await book.apply(Plan("conflict", changes=(Insert("cursors", "c", {"value": 1}),)))
    await book.apply(Plan("guard", changes=(Expect("cursors", "c", {"value": 1}),)))
    await book.apply(top_up("bob", 1))
    assert not watching.is_set()
