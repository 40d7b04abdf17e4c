"""Earnings from card payments become sats when they may; what is taken back is collected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wallet.accounts import CAPITAL, CARD_LOSSES, CARD_RECEIVABLE, NODE_LIGHTNING, maturing, person, user
from wallet.deposits import CardDeposit, Debt, plan_cleared, plan_collected, plan_disputed, plan_written_off
from wallet.journals import Output, plan_card_settlement, plan_onchain_batch
from wallet.ledger import Plan, Update, Value
from wallet.lots import Lot
from wallet.maturing import Cover, next_advanced, next_matured
from wallet.money import Msat
from wallet.states import DepositState

ALICE, BOB = "a1" * 32, "b0" * 32
ROOM = Cover(Msat(1_000), Msat(0))


def lot(msat: int = 100, *, matures_at: int | None = 10, number: int = 1) -> Lot:
    amount = Msat(msat)
    return Lot(f"job/1/capture/{number}", 3, maturing(ALICE), "d1", "job/1", amount, amount, Msat(0), matures_at, 0)


def row(value: int) -> dict[str, Value]:
    return {"version": 7, "value": value}


# ---- maturing


def test_a_lot_that_is_due_and_covered_becomes_sats() -> None:
    plan = next_matured([lot()], Cover(Msat(500), Msat(400)), None, now=10)
    assert plan is not None
    assert [(one.debit, one.credit, one.amount_msat) for one in plan.transfers] == [(maturing(ALICE), user(ALICE), 100)]
    assert plan.key == "lot/job/1/capture/1/matured"


@pytest.mark.parametrize(
    ("one", "cover"),
    [
        (lot(matures_at=11), ROOM),
        (lot(matures_at=None), ROOM),
        (lot(0), ROOM),
        (lot(), Cover(Msat(500), Msat(401))),  # the node would hold less than we owe
    ],
)
def test_what_is_not_due_not_there_or_not_covered_waits(one: Lot, cover: Cover) -> None:
    assert next_matured([one], cover, None, now=10) is None


def test_a_small_lot_is_not_held_up_by_one_that_is_not_covered() -> None:
    plan = next_matured([lot(900), lot(100, number=2)], Cover(Msat(100), Msat(0)), None, now=10)
    assert plan is not None
    assert plan.key == "lot/job/1/capture/2/matured"


def test_two_plans_at_once_do_not_spend_the_same_cover() -> None:
    first = next_matured([lot()], ROOM, row(40), now=10)
    second = next_matured([lot(number=2)], ROOM, row(40), now=10)
    assert first is not None
    assert second is not None
    assert first.changes[-1] == second.changes[-1]  # the same counter, from the same version


# ---- advances


def advanced(*lots: Lot, per_day: int, spent: int | None = None, cover: Cover = ROOM) -> Plan | None:
    today = None if spent is None else row(spent)
    return next_advanced(lots, cover, row(0), today, day="2026-11-22", per_day=Msat(per_day))


def test_a_lot_is_advanced_out_of_capital_up_to_what_the_day_allows() -> None:
    plan = advanced(lot(100), per_day=130, spent=60)
    assert plan is not None
    assert [(one.debit, one.credit, one.amount_msat) for one in plan.transfers] == [
        (maturing(ALICE), CAPITAL, 70),
        (CAPITAL, user(ALICE), 70),
    ]
    assert plan.key == "lot/job/1/capture/1/advanced/3"


def test_nothing_is_advanced_beyond_the_day_or_without_cover() -> None:
    assert advanced(lot(), per_day=100, spent=100) is None
    assert advanced(lot(), per_day=100, cover=Cover(Msat(5), Msat(5))) is None
    assert advanced(per_day=100) is None


# ---- taken back

GOOD = CardDeposit("d1", 1, user(BOB), BOB, Msat(100), DepositState.GOOD, Msat(0), 0)


def test_a_dispute_takes_card_money_before_what_was_earned_and_leaves_what_is_used_up() -> None:
    own = replace(lot(30, matures_at=None, number=2), account=user(BOB))
    journal = plan_disputed(GOOD, [lot(50), own, lot(0, number=3)], now=5)
    assert [(one.debit, one.credit, one.amount_msat) for one in journal.transfers] == [
        (user(BOB), CARD_RECEIVABLE, 30),
        (maturing(ALICE), CARD_RECEIVABLE, 50),
        (f"user/{BOB}/owed", CARD_RECEIVABLE, 20),
    ]


def test_a_dispute_takes_no_more_than_was_paid() -> None:
    journal = plan_disputed(GOOD, [lot(80), lot(80, number=2)], now=5)
    assert [one.amount_msat for one in journal.transfers] == [80, 20]


def test_no_more_is_collected_than_is_owed() -> None:
    taken = replace(GOOD, disputed_msat=Msat(100))
    assert [one.amount_msat for one in plan_collected(taken, [lot(80), lot(80)], Debt(Msat(90))).transfers] == [80, 10]
    assert plan_collected(taken, [lot(80)], Debt(Msat(0))).transfers == ()


def test_no_more_is_collected_or_written_off_than_the_payment_itself_is_owed_for() -> None:
    deposit = replace(GOOD, state=DepositState.DISPUTED, disputed_msat=Msat(60))
    lots = [replace(lot(80), taken_msat=Msat(45))]  # the payer owes 15 for it, and 75 for others
    assert [one.amount_msat for one in plan_collected(deposit, lots, Debt(Msat(90))).transfers] == [15]
    assert [one.amount_msat for one in plan_written_off(deposit, lots, Debt(Msat(90))).transfers] == [15]


def test_what_was_written_off_is_made_good_after_the_debt() -> None:
    deposit = replace(GOOD, state=DepositState.LOST, disputed_msat=Msat(100), written_off_msat=Msat(70))
    journal = plan_collected(deposit, [lot(80)], Debt(Msat(30)))
    assert [(one.credit, one.amount_msat) for one in journal.transfers] == [(f"user/{BOB}/owed", 30), (CARD_LOSSES, 50)]
    made_good = journal.changes[-1]
    assert isinstance(made_good, Update)
    assert made_good.values == {"written_off_msat": 20}


def test_a_top_up_pays_no_more_than_is_owed_and_no_more_than_it_is() -> None:
    assert [one.amount_msat for one in plan_cleared(BOB, Debt(Msat(90)), Msat(50)).transfers] == [50]
    assert [one.amount_msat for one in plan_cleared(BOB, Debt(Msat(30)), Msat(50)).transfers] == [30]
    assert plan_cleared(BOB, Debt(Msat(0)), Msat(50)).transfers == ()


# ---- the rest


def test_what_rounding_a_batch_s_fee_up_is_over_is_the_platform_s() -> None:
    outputs = [Output(f"payout/{number}", person(BOB), Msat(1_000), 1, Msat(10)) for number in range(3)]
    journal = plan_onchain_batch(outputs, fee_msat=Msat(10))
    assert sum(one.amount_msat for one in journal.transfers if one.reason == "fee") == 10
    assert [one.amount_msat for one in journal.transfers if one.reason == "fee rounded up"] == [2]


def test_a_fee_above_what_was_reserved_is_a_fault() -> None:
    with pytest.raises(AssertionError, match="20 msat of fee, 10 reserved"):
        plan_onchain_batch([Output("payout/1", person(BOB), Msat(1_000), 1, Msat(10))], fee_msat=Msat(20))


def test_an_exchange_that_brought_less_is_a_loss() -> None:
    journal = plan_card_settlement(gross_msat=Msat(100), fee_msat=Msat(3), bank_msat=Msat(90))
    assert [(one.debit, one.amount_msat) for one in journal.transfers][-1] == ("platform/expense/fx", 7)
    assert NODE_LIGHTNING not in {one.debit for one in journal.transfers}
