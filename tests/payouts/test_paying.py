"""What a payment costs, and who bears it: to the msat, and as the node's books have it."""

from __future__ import annotations

import pytest

from relaybot.simulator.memory import FORGOTTEN_SECONDS
from relaybot.simulator.scripts import Ending, Outcome
from tests.payouts.desk import GRANTED, Desk, Life, person, said
from wallet.accounts import EXPENSE_LIGHTNING, NODE_LIGHTNING, hold, user
from wallet.book import Book
from wallet.lightning import PaymentState
from wallet.money import from_sat

FEE = 1_198  # the hub's, for 1,980 sat: 1 sat and 100 ppm


async def legs(book: Book) -> list[tuple[str, str, int, str]]:
    """Return the transfers of the payouts, in order."""
    rows = await book.database.fetch(
        "SELECT * FROM transfers WHERE debit LIKE 'hold/payout/%' OR credit = 'node/lightning' ORDER BY seq"
    )
    return [(row["debit"], row["credit"], row["amount_msat"], row["reason"]) for row in rows]


async def test_a_payout_reaches_its_wallet_and_both_books_agree(life: Life, desk: Desk) -> None:
    await life.open("alice", 2_000)
    assert (await life.step())["state"] == "paying"
    assert (await life.attempt())["state"] == "prepared"
    payout = await life.step()
    assert (payout["state"], payout["paid_msat"], payout["fee_msat"]) == ("paid", 1_980_000, FEE)
    assert (payout["next_at"], payout["reason"]) == (None, "")
    assert (await life.attempt())["state"] == "paid"
    assert desk.received("alice") == [1_980_000]
    assert await life.differences() == []


async def test_c3_the_unused_part_of_the_reserve_comes_back(life: Life) -> None:
    await life.open("alice", 2_000)
    await life.looks_until("paid")
    assert await life.held() == 0
    assert await life.balance() == 20_000 - FEE
    escrow = hold(f"payout/{person('alice')}/1")
    assert await legs(life.book) == [
        (escrow, NODE_LIGHTNING, 1_980_000, "payout"),
        (escrow, NODE_LIGHTNING, FEE, "fee"),
        (escrow, user(person("alice")), 20_000 - FEE, "reserve not needed"),
    ]


async def test_c1_amount_and_maxfee_are_held_before_the_one_call_that_carries_them(life: Life) -> None:
    await life.open("alice", 2_000)
    assert await life.held() == 2_000_000
    await life.step()
    await life.step()
    [call] = life.node.calls
    assert (call.bolt11, call.maxfee_msat) == ((await life.attempt())["bolt11"], 20_000)
    assert call.label == f"payout/{person('alice')}/1"


@pytest.mark.parametrize("sat", [105, 2_000, 1_234_567])
async def test_c1_a_last_hop_that_takes_the_whole_maxfee_costs_no_more_than_the_reserve(
    life: Life, desk: Desk, sat: int
) -> None:
    desk.script(Outcome.WHOLE_MAXFEE)
    await life.open("alice", sat)
    payout = await life.looks_until("paid")
    assert payout["fee_msat"] == payout["reserve_msat"]
    assert desk.received("alice") == [payout["amount_msat"]]
    assert await life.balance() == from_sat(sat) - payout["amount_msat"] - payout["reserve_msat"]
    assert await life.book.balance(EXPENSE_LIGHTNING) == 0
    assert await life.differences() == []


async def test_c2_a_route_that_takes_the_reserve_again_and_again_takes_nothing_of_ours(life: Life, desk: Desk) -> None:
    desk.script(Outcome.WHOLE_MAXFEE, times=5)
    for _ in range(5):
        await life.earn("alice", 1_000)
        await life.go_on()
    assert await life.balance() + await life.book.balance(NODE_LIGHTNING) == from_sat(5_000)
    assert await life.book.balance(EXPENSE_LIGHTNING) == 0
    assert sum(desk.received("alice")) < from_sat(5_000)
    assert await life.differences() == []


async def test_c11_the_fee_is_charged_to_the_msat_and_change_is_never_rounded_up(life: Life, desk: Desk) -> None:
    await life.earn("alice", 12_345, msat=678)
    await life.checks.open_due()
    payout = await life.looks_until("paid")
    fee = 1_000 + payout["amount_msat"] * 100 // 1_000_000  # what the hub asked
    assert payout["fee_msat"] == fee
    assert payout["amount_msat"] % 1_000 == 0
    assert await life.balance() == 12_345_678 - payout["amount_msat"] - fee
    assert desk.received("alice") == [payout["amount_msat"]]


async def test_more_than_the_reserve_is_borne_by_the_platform(life: Life) -> None:
    """The node broke the limit it was given; its books are the truth, and the user pays no more than was held."""
    await life.open("alice", 2_000)
    life.node.answers.append(said(PaymentState.SETTLED, sent=1_980_000 + 20_000 + 7))
    payout = await life.looks_until("paid")
    assert (payout["paid_msat"], payout["fee_msat"]) == (1_980_000, 20_000)
    assert await life.book.balance(EXPENSE_LIGHTNING) == -7
    assert await life.book.balance(NODE_LIGHTNING) == 2_000_007
    assert (await life.balance(), await life.held()) == (0, 0)


@pytest.mark.parametrize("sent", [0, 1, 1_000_000, 1_979_999])
async def test_a_payee_that_takes_a_part_of_the_parts_gets_the_rest_as_balance(life: Life, sent: int) -> None:
    """It gave the preimage for one part and let the other fail: the node calls that complete."""
    await life.open("alice", 2_000)
    life.node.answers.append(said(PaymentState.SETTLED, sent=sent))
    payout = await life.looks_until("paid")
    assert (payout["paid_msat"], payout["fee_msat"]) == (sent, 0)
    assert await life.book.balance(NODE_LIGHTNING) == sent
    assert (await life.balance(), await life.held()) == (2_000_000 - sent, 0)


@pytest.mark.parametrize(
    ("over", "fee", "back"), [(0, 0, ["reserve not needed"]), (1, 1, ["reserve not needed"]), (20_000, 20_000, [])]
)
async def test_nothing_of_size_zero_is_booked(life: Life, over: int, fee: int, back: list[str]) -> None:
    await life.open("alice", 2_000)
    life.node.answers.append(said(PaymentState.SETTLED, sent=1_980_000 + over))
    payout = await life.looks_until("paid")
    assert payout["fee_msat"] == fee
    reasons = [leg[3] for leg in await legs(life.book)]
    assert reasons == ["payout", *(["fee"] if fee else []), *back]


async def test_c12_a_held_payment_is_shown_as_held_and_never_refunded_by_the_clock(life: Life, desk: Desk) -> None:
    desk.script(Outcome.LOST_CONNECTION, seconds=86_400)
    await life.sent("alice", 2_000)
    for _ in range(10):
        await life.look(after=86_400)
    assert (await life.payout())["state"] == "paying"
    assert (await life.balance(), await life.held()) == (0, 2_000_000)
    assert len(life.node.calls) == 1


async def test_a_payment_that_goes_out_after_its_caller_heard_nothing_is_found(life: Life, desk: Desk) -> None:
    desk.script(Outcome.LOST_CONNECTION)
    await life.open("alice", 2_000)
    payout = await life.looks_until("paid")
    assert payout["fee_msat"] == FEE
    assert desk.received("alice") == [1_980_000]
    assert desk.network.people.balance_msat("alice") == GRANTED + 1_980_000
    assert len(life.node.calls) == 1
    assert await life.differences() == []


async def test_c5_a_call_that_answers_an_error_while_a_part_is_pending_is_neither_paid_nor_failed(
    life: Life, desk: Desk
) -> None:
    desk.script(Outcome.ERROR_WHILE_PENDING)
    attempt = await life.sent()
    for _ in range(5):
        await life.look()
    assert (await life.attempt())["state"] == "sent"
    assert await life.held() == 2_000_000
    assert (await life.payout())["reason"] == "an attempt failed, parts may be pending"
    desk.network.payments.release(payment_hash=attempt["id"], ending=Ending.SETTLE)
    await life.look()
    assert (await life.payout())["state"] == "paid"
    assert (await life.payout())["reason"] == ""
    assert await life.differences() == []


async def test_c18_a_way_that_the_node_thinks_too_narrow_is_waited_for_until_it_has_forgotten(
    patient: Life, desk: Desk
) -> None:
    desk.script(Outcome.REMEMBERED)
    began = desk.clock.now()
    await patient.open("alice")
    while (await patient.payout())["state"] != "paid":
        payout = await patient.look()
        assert payout["state"] == "paid" or await patient.held() == 2_000_000
    assert desk.clock.now() - began >= FORGOTTEN_SECONDS
    assert desk.received("alice") == [1_980_000]
    assert await patient.differences() == []
