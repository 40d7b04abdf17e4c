"""A job's money in words of transfers: held, captured, given back; what is held is what comes out, to the msat."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splits.compute import Part
from wallet.accounts import REVENUE, Class, hold, user
from wallet.charges import plan_capture, plan_hold, plan_release
from wallet.ledger import Plan, State, Transfer, Verdict, judge
from wallet.money import Msat

CAUSE, PAYER = "job/" + "ab" * 32, "cd" * 32
PEOPLE = tuple(f"{number:064x}" for number in range(1, 8))

parts = st.lists(
    st.tuples(st.sampled_from((*PEOPLE, PAYER, None)), st.integers(min_value=0, max_value=10**12)), max_size=12
)


def part(to: str | None, msat: int, number: int = 0) -> Part:
    return Part(f"shares[{number}]", "compute", to, Msat(msat))


def test_a_hold_moves_the_price_into_the_escrow() -> None:
    assert plan_hold(CAUSE, payer=PAYER, price_msat=Msat(12)) == (Transfer(user(PAYER), hold(CAUSE), Msat(12), "hold"),)


def test_a_capture_says_of_each_part_why_and_gives_the_rest_back() -> None:
    captured = plan_capture(
        CAUSE, payer=PAYER, held_msat=Msat(12), parts=[part(PEOPLE[0], 5), part(None, 4, 1), part(PEOPLE[1], 0, 2)]
    )
    assert captured == (
        Transfer(hold(CAUSE), user(PEOPLE[0]), Msat(5), "compute:shares[0]"),
        Transfer(hold(CAUSE), REVENUE[Class.SATS], Msat(4), "compute:shares[1]"),
        Transfer(hold(CAUSE), user(PAYER), Msat(3), "unused"),
    )


def test_a_charge_of_everything_gives_nothing_back() -> None:
    [only] = plan_capture(CAUSE, payer=PAYER, held_msat=Msat(12), parts=[part(PEOPLE[0], 12)])
    assert only.credit == user(PEOPLE[0])


def test_a_charge_of_nothing_is_a_release() -> None:
    [back] = plan_capture(CAUSE, payer=PAYER, held_msat=Msat(12), parts=[])
    assert (back.credit, back.amount_msat) == (user(PAYER), 12)


def test_more_than_was_held_is_never_charged() -> None:
    with pytest.raises(AssertionError):
        plan_capture(CAUSE, payer=PAYER, held_msat=Msat(12), parts=[part(PEOPLE[0], 13)])


@pytest.mark.parametrize(("held", "count"), [(12, 1), (0, 0)])
def test_a_release_gives_everything_back_and_nothing_if_nothing_was_held(held: int, count: int) -> None:
    released = plan_release(CAUSE, payer=PAYER, held_msat=Msat(held))
    assert [transfer.amount_msat for transfer in released] == [held] * count


@given(parts, st.integers(min_value=1, max_value=10**12))
def test_h1_whatever_the_parts_the_escrow_is_empty_and_nothing_is_made_or_lost(
    shares: list[tuple[str | None, int]], unused: int
) -> None:
    held = Msat(sum(msat for _, msat in shares) + unused)
    state = State(balances={user(PAYER): held})
    for plan in (
        Plan("hold", plan_hold(CAUSE, payer=PAYER, price_msat=held)),
        Plan(
            "capture",
            plan_capture(
                CAUSE,
                payer=PAYER,
                held_msat=held,
                parts=[part(to, msat, number) for number, (to, msat) in enumerate(shares)],
            ),
        ),
    ):
        assert judge(state, plan).verdict is Verdict.APPLIED
    assert state.balances[hold(CAUSE)] == 0
    assert sum(state.balances.values()) == held
    for person in (*PEOPLE, None):
        account = user(person) if person is not None else REVENUE[Class.SATS]
        assert state.balances.get(account, 0) == sum(msat for to, msat in shares if to == person)
    assert state.balances[user(PAYER)] == unused + sum(msat for to, msat in shares if to == PAYER)
