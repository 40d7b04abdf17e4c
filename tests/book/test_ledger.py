"""The pure rules: random Plans against a plain model, keys, floors, limits and guards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.book.model import BATCHES, FLOORED, PLANS, Model
from tests.book.stores import payment, sats_of, top_up
from wallet.accounts import CAPITAL, NODE_LIGHTNING, Account, hold, owed, user
from wallet.ledger import Answer, Change, Expect, Insert, Plan, Put, State, Transfer, Update, Verdict, judge, keys_of
from wallet.money import MAX_MSAT, Msat

ALICE, BOB, ESCROW = sats_of("alice"), sats_of("bob"), hold("job/1")
DONE = Answer(Verdict.APPLIED)
QUIETLY = settings(deadline=None, max_examples=50)


def judged(plans: Sequence[Plan]) -> State:
    """Return what `plans` leave of an empty ledger."""
    state = State()
    for plan in plans:
        judge(state, plan)
    return state


def transfer(debit: Account, credit: Account, msat: int) -> Transfer:
    return Transfer(debit, credit, Msat(msat), "test")


# By chance


@QUIETLY
@given(BATCHES, PLANS)
def test_a_plan_that_is_not_applied_leaves_the_state_as_it_was(plans: list[Plan], plan: Plan) -> None:
    state = judged(plans)
    before = deepcopy(state)
    if judge(state, plan).verdict is not Verdict.APPLIED:
        assert state == before


@QUIETLY
@given(BATCHES)
def test_random_plans_fare_as_in_a_plain_dictionary(plans: list[Plan]) -> None:
    state, model = State(), Model()
    for plan in plans:
        assert judge(state, plan).verdict is model.apply(plan)
    assert state.plans == model.keys
    assert state.balances == model.balances
    assert {row_id: row for (_, row_id), row in state.rows.items()} == model.rows


@QUIETLY
@given(BATCHES)
def test_running_balances_are_the_sums_of_the_transfers_so_far(plans: list[Plan]) -> None:
    state, sums = judged(plans), Counter[Account]()
    for entry in state.entries:
        sums[entry.transfer.debit] -= entry.transfer.amount_msat
        sums[entry.transfer.credit] += entry.transfer.amount_msat
        assert (entry.debit_after, entry.credit_after) == (sums[entry.transfer.debit], sums[entry.transfer.credit])
        assert all(sums[account] >= 0 for account in FLOORED)
    assert sum(state.balances.values()) == 0
    assert {account: balance for account, balance in state.balances.items() if balance} == {
        account: balance for account, balance in sums.items() if balance
    }


@QUIETLY
@given(BATCHES, PLANS)
def test_an_applied_plan_is_known_for_ever_and_changes_nothing_more(plans: list[Plan], plan: Plan) -> None:
    state = judged([*plans, plan])
    before = deepcopy(state)
    for known in before.applied:
        assert judge(state, known) == Answer(Verdict.ALREADY)
    assert state == before
    assert len({(entry.plan, entry.place) for entry in state.entries}) == len(state.entries)


@QUIETLY
@given(BATCHES, st.lists(PLANS, min_size=1, max_size=3))
def test_what_keys_of_names_is_all_that_is_needed_to_judge(history: list[Plan], batch: list[Plan]) -> None:
    whole = judged(history)
    keys, accounts, rows = keys_of(batch)
    part = State(
        plans={key: digest for key, digest in whole.plans.items() if key in keys},
        balances={account: balance for account, balance in whole.balances.items() if account in accounts},
        rows={key: row for key, row in whole.rows.items() if key in rows},
    )
    assert [judge(part, plan) for plan in batch] == [judge(whole, plan) for plan in batch]


# Keys


def test_a_known_key_is_answered_before_anything_is_compared() -> None:
    state = judged([Plan("a", changes=(Insert("cursors", "c", {"value": 1}),))])
    hopeless = Plan("a", (transfer(BOB, ALICE, 1),), (Insert("cursors", "c", {"value": 2}),))
    assert judge(state, hopeless) == Answer(Verdict.ALREADY)


@pytest.mark.parametrize(("first", "second"), [("x", "y"), ("x", None), (None, "x")])
def test_a_known_key_with_other_content_is_refused(first: str | None, second: str | None) -> None:
    state = judged([Plan("a", digest=first)])
    answer = judge(state, Plan("a", digest=second))
    assert answer == Answer(Verdict.REFUSED, "a was used before with other content")
    assert not answer.done


def test_a_refused_key_is_free_again() -> None:
    state = State()
    spend = payment("a", debit=BOB, credit=ALICE, msat=5)
    assert judge(state, spend).verdict is Verdict.REFUSED
    assert judge(state, top_up("bob", 1)) == DONE
    assert judge(state, spend) == DONE


# Floors


def test_who_lacks_money_is_told_how_much() -> None:
    state = judged([top_up("bob", 1)])
    answer = judge(state, payment("a", debit=BOB, credit=ALICE, msat=1_001))
    assert answer == Answer(Verdict.REFUSED, f"{BOB} lacks 1 msat")


def test_nobody_pays_more_than_they_owe() -> None:
    alice, debt = user("aa" * 32), owed("aa" * 32)
    state = judged([Plan("lend", (transfer(debt, CAPITAL, 5_000), transfer(NODE_LIGHTNING, alice, 9_000)))])
    too_much = judge(state, Plan("repay", (transfer(alice, debt, 6_000),)))
    assert too_much == Answer(Verdict.REFUSED, f"{debt} would be paid 1000 msat too much")
    assert judge(state, Plan("repay", (transfer(alice, debt, 5_000),))).verdict is Verdict.APPLIED


def test_an_escrow_is_never_overdrawn_by_a_capture_and_a_release_together() -> None:
    state = judged([top_up("bob", 1), payment("hold", debit=BOB, credit=ESCROW, msat=1_000)])
    both = Plan("end", (transfer(ESCROW, ALICE, 1_000), transfer(ESCROW, BOB, 1)))
    assert judge(state, both) == Answer(Verdict.REFUSED, f"{ESCROW} lacks 1 msat")
    assert state.balances[ESCROW] == 1_000


def test_money_cannot_be_spent_before_the_same_plan_brought_it() -> None:
    forth_and_back = Plan("a", (transfer(ALICE, BOB, 5), transfer(NODE_LIGHTNING, ALICE, 5)))
    assert judge(State(), forth_and_back).verdict is Verdict.REFUSED
    in_order = Plan("a", (transfer(NODE_LIGHTNING, ALICE, 5), transfer(ALICE, BOB, 5)))
    assert judge(State(), in_order) == DONE


def test_transfers_of_one_plan_see_each_other_and_are_numbered_by_place() -> None:
    plan = Plan("a", (transfer(NODE_LIGHTNING, BOB, 5), transfer(BOB, ALICE, 2), transfer(BOB, ALICE, 3)))
    entries = judged([plan]).entries
    assert [(entry.place, entry.debit_after, entry.credit_after) for entry in entries] == [
        (0, -5, 5),
        (1, 3, 2),
        (2, 0, 5),
    ]


# Limits


@pytest.mark.parametrize(
    "amount", [0, -1, MAX_MSAT + 1, 2**63, 1.0, 0.5, float("nan"), True, "1000", "1e3", None], ids=repr
)
def test_b5_what_is_no_amount_is_no_transfer(amount: object) -> None:
    with pytest.raises(AssertionError, match="transfer of"):
        Transfer(BOB, ALICE, cast("Msat", amount), "test")


def test_no_transfer_leads_back_to_its_own_account() -> None:
    with pytest.raises(AssertionError, match="to itself"):
        transfer(BOB, BOB, 1)


@pytest.mark.parametrize(("debit", "credit"), [(NODE_LIGHTNING, BOB), (BOB, NODE_LIGHTNING)])
def test_h4_int64_limits_are_kept_by_what_is_added_up_too(debit: Account, credit: Account) -> None:
    state = judged([payment("a", debit=NODE_LIGHTNING, credit=BOB, msat=MAX_MSAT)])
    if credit is NODE_LIGHTNING:
        assert judge(state, payment("b", debit=debit, credit=credit, msat=MAX_MSAT)) == DONE
        assert judge(state, top_up("alice", 1)) == DONE
    before = deepcopy(state)
    answer = judge(state, payment("c", debit=NODE_LIGHTNING, credit=BOB, msat=MAX_MSAT))
    assert answer == Answer(Verdict.REFUSED, "c/0 leaves more than there is bitcoin on one account")
    assert state == before


# Guards

ROW = {"value": 7}
HERE = Insert("cursors", "c", ROW)
GUARDS: list[tuple[str, tuple[Change, ...], Change, str | None]] = [
    ("insert of a new row", (), Insert("cursors", "c", ROW), None),
    ("insert of a row that is there", (HERE,), Insert("cursors", "c", ROW), "is there already"),
    ("update as expected", (HERE,), Update("cursors", "c", ROW, {"version": 1, "value": 7}), None),
    ("update of another version", (HERE,), Update("cursors", "c", ROW, {"version": 2}), "version has moved"),
    ("update of another value", (HERE,), Update("cursors", "c", ROW, {"version": 1, "value": 8}), "value has moved"),
    ("update of a row that is not there", (), Update("cursors", "c", ROW, {"version": 1}), "is not there"),
    ("update without a guard of a row that is not there", (), Update("cursors", "c", ROW, {}), "is not there"),
    ("update of a column that was left out", (HERE,), Update("cursors", "c", ROW, {"note": None}), None),
    ("update that takes a column for empty", (HERE,), Update("cursors", "c", ROW, {"value": None}), "value has moved"),
    ("put of a new row", (), Put("cursors", "c", ROW), None),
    ("put of a row that is there", (HERE,), Put("cursors", "c", ROW), None),
    ("expect a row", (HERE,), Expect("cursors", "c", {"value": 7}), None),
    ("expect a moved row", (HERE,), Expect("cursors", "c", {"value": 6}), "value has moved"),
    ("expect a missing row", (), Expect("cursors", "c", {"value": 7}), "is not there"),
    ("expect any row", (), Expect("cursors", "c", {}), "is not there"),
    ("expect no row", (), Expect("cursors", "c", None), None),
    ("expect no row where one is", (HERE,), Expect("cursors", "c", None), "is there"),
    ("a row of the same id elsewhere", (HERE,), Insert("users", "c", ROW), None),
]


@pytest.mark.parametrize("together", [False, True], ids=["in two plans", "in one plan"])
@pytest.mark.parametrize(
    ("before", "change", "broken"), [guard[1:] for guard in GUARDS], ids=[guard[0] for guard in GUARDS]
)
def test_a_guard_holds_or_nothing_of_its_plan_happens(
    before: tuple[Change, ...], change: Change, broken: str | None, *, together: bool
) -> None:
    money = (transfer(NODE_LIGHTNING, BOB, 1),)
    state = State() if together else judged([Plan("before", changes=before)])
    kept = deepcopy(state)
    answer = judge(state, Plan("a", money, (*before, change) if together else (change,)))
    if broken is None:
        assert answer == DONE
    else:
        assert answer == Answer(Verdict.CONFLICT, f"{change.table} c: {broken}")
        assert state == kept


def test_every_change_raises_the_version_by_one_whatever_it_says_itself() -> None:
    plan = Plan("a", changes=(Insert("cursors", "c", {"value": 1, "version": 99}), Put("cursors", "c", {"version": 5})))
    state = judged([plan, Plan("b", changes=(Update("cursors", "c", {"value": 2}, {"version": 2}),))])
    assert state.rows["cursors", "c"] == {"id": "c", "value": 2, "version": 3}


def test_a_guard_alone_changes_no_row() -> None:
    state = judged([Plan("a", changes=(HERE,))])
    state.changed.clear()
    assert judge(state, Plan("b", changes=(Expect("cursors", "c", {"version": 1}),))) == DONE
    assert not state.changed
    assert state.rows["cursors", "c"] == {"id": "c", "value": 7, "version": 1}


def test_fresh_values_complete_a_new_row_only() -> None:
    put = Put("cursors", "c", {"value": 1}, fresh={"value": 0, "note": "new"})
    assert judged([Plan("a", changes=(put,))]).rows["cursors", "c"] == {
        "id": "c",
        "value": 1,
        "note": "new",
        "version": 1,
    }
    state = judged([Plan("a", changes=(Insert("cursors", "c", {"note": "old"}),)), Plan("b", changes=(put,))])
    assert state.rows["cursors", "c"] == {"id": "c", "value": 1, "note": "old", "version": 2}


def test_a_conflict_or_a_refusal_leaves_the_neighbours_alone() -> None:
    state = State()
    batch = [
        top_up("bob", 1),
        Plan("conflict", (transfer(BOB, ALICE, 1_000),), (Update("cursors", "c", ROW, {"version": 1}),)),
        Plan("refused", (transfer(BOB, ALICE, 500), transfer(BOB, ALICE, 501)), (HERE,)),
        Plan("good", (transfer(BOB, ALICE, 1_000),), (HERE,)),
    ]
    verdicts = [judge(state, plan).verdict for plan in batch]
    assert verdicts == [Verdict.APPLIED, Verdict.CONFLICT, Verdict.REFUSED, Verdict.APPLIED]
    assert state.balances == {NODE_LIGHTNING: -1_000, BOB: 0, ALICE: 1_000}
    assert [plan.key for plan in state.applied] == ["topup/bob/1", "good"]


def test_conflict_comes_before_refusal_for_it_may_go_away_by_deciding_again() -> None:
    plan = Plan("a", (transfer(BOB, ALICE, 1),), (Expect("cursors", "c", {}),))
    assert judge(State(), plan).verdict is Verdict.CONFLICT


def test_a_row_without_a_version_is_our_bug() -> None:
    state = State(rows={("plans", "x"): {"id": "x", "version": None}})
    with pytest.raises(AssertionError, match="plans x has no version"):
        judge(state, Plan("a", changes=(Put("plans", "x", {}),)))


@pytest.mark.parametrize(
    ("verdict", "done"),
    [(Verdict.APPLIED, True), (Verdict.ALREADY, True), (Verdict.CONFLICT, False), (Verdict.REFUSED, False)],
)
def test_a_plan_stands_in_the_book_if_it_was_applied_now_or_before(verdict: Verdict, *, done: bool) -> None:
    assert Answer(verdict).done is done
