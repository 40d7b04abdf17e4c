"""A job's money in words of transfers: held, captured, given back; what is held is what comes out, to the msat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splits.compute import Part, compute
from splits.resolved import ResolvedSplit
from tests.splits.written import PEOPLE, pubkey, random_agent, resolved, story
from wallet.accounts import REVENUE, Account, Class, floor_msat, hold, maturing, person, user
from wallet.charges import Terms, charged_of, plan_capture, plan_hold, plan_release, referrers_are_paid
from wallet.ledger import Insert, Journal, State, Transfer, Verdict, judge
from wallet.lots import Escrow, Lot, Mix, Piece, Purse, cut, taken_from
from wallet.money import Msat

CAUSE, PAYER, ALICE, CAROL = "job/" + "ab" * 32, PEOPLE["bob"], PEOPLE["alice"], PEOPLE["carol"]
BOB = person(PAYER)
TERMS = Terms(matures_at=120, own=frozenset({PAYER}))
SATS = Class.SATS


def part(to: str | None, msat: int, number: int = 0) -> Part:
    return Part(f"shares[{number}]", "compute", to, Msat(msat))


def lot(msat: int, deposit: str = "d1", *, at: int = 1, lot_id: str = "") -> Lot:
    name = lot_id or f"card/{deposit}"
    amount = Msat(msat)
    return Lot(name, 1, user(PAYER, Class.CARD), deposit, name, amount, amount, Msat(0), None, at)


def purse(*, promo: int = 0, card: int = 0, sats: int = 0) -> Purse:
    """Return a purse whose card money stems from three payments."""
    first, second = card // 3, card // 2
    cuts = (("d1", first), ("d2", second), ("d3", card - first - second))
    lots = tuple(lot(msat, name, at=number) for number, (name, msat) in enumerate(cuts) if msat)
    return Purse(BOB, Mix(Msat(promo), Msat(card), Msat(sats)), lots)


def escrow(journal: Journal, mix: Mix) -> Escrow:
    """Return what a hold has left in escrow."""
    rows = [change for change in journal.changes if isinstance(change, Insert)]
    lots = tuple(Lot.of_row({"id": row.id, "version": 1, **row.values}) for row in rows)
    return Escrow(CAUSE, BOB, mix, lots)


# ---- one class


def test_a_hold_moves_the_price_into_the_escrow() -> None:
    held = plan_hold(CAUSE, Purse(BOB), Mix(sats=Msat(12)))
    assert held == Journal((Transfer(user(PAYER), hold(CAUSE), Msat(12), "hold"),))


def test_a_capture_says_of_each_part_why_and_gives_the_rest_back() -> None:
    parts = [part(ALICE, 5), part(None, 4, 1), part(CAROL, 0, 2)]
    captured = plan_capture(Escrow(CAUSE, BOB, Mix(sats=Msat(12))), parts, TERMS)
    assert captured.transfers == (
        Transfer(hold(CAUSE), user(ALICE), Msat(5), "compute:shares[0]"),
        Transfer(hold(CAUSE), REVENUE[SATS], Msat(4), "compute:shares[1]"),
        Transfer(hold(CAUSE), user(PAYER), Msat(3), "unused"),
    )


def test_a_charge_of_everything_gives_nothing_back() -> None:
    [only] = plan_capture(Escrow(CAUSE, BOB, Mix(sats=Msat(12))), [part(ALICE, 12)], TERMS).transfers
    assert only.credit == user(ALICE)


def test_a_charge_of_nothing_is_a_release() -> None:
    [back] = plan_capture(Escrow(CAUSE, BOB, Mix(sats=Msat(12))), [], TERMS).transfers
    assert (back.credit, back.amount_msat) == (user(PAYER), 12)


def test_more_than_was_held_is_never_charged() -> None:
    with pytest.raises(AssertionError, match="13 msat charged of 12 held"):
        plan_capture(Escrow(CAUSE, BOB, Mix(sats=Msat(12))), [part(ALICE, 13)], TERMS)


def test_a_charge_that_promo_would_have_to_pay_to_people_is_never_made() -> None:
    with pytest.raises(AssertionError, match="pays for 11 of it"):
        plan_capture(Escrow(CAUSE, BOB, Mix(promo=Msat(4), sats=Msat(8))), [part(ALICE, 9), part(None, 3)], TERMS)


@pytest.mark.parametrize(("held", "count"), [(12, 1), (0, 0)])
def test_a_release_gives_everything_back_and_nothing_if_nothing_was_held(held: int, count: int) -> None:
    released = plan_release(Escrow(CAUSE, BOB, Mix(sats=Msat(held))))
    assert [transfer.amount_msat for transfer in released.transfers] == [held] * count


# ---- what is drawn


def test_a_job_draws_promo_then_card_then_sats() -> None:
    drawn = purse(promo=5, card=4, sats=10).draw(Msat(12), promo_max=Msat(7))
    assert drawn == Mix(promo=Msat(5), card=Msat(4), sats=Msat(3))


def test_no_more_promo_is_drawn_than_the_platform_s_part() -> None:
    assert purse(promo=9, sats=9).draw(Msat(10), promo_max=Msat(7)) == Mix(promo=Msat(7), sats=Msat(3))
    assert purse(promo=9, sats=2).draw(Msat(10), promo_max=Msat(7)) is None


def test_who_owes_draws_nothing() -> None:
    assert replace(purse(sats=100), owed_msat=Msat(1)).draw(Msat(1), promo_max=Msat(0)) is None


def test_the_platform_s_part_of_the_story_s_split_is_what_nobody_else_can_have() -> None:
    assert story().platform_part_min(12_000_000) == 7_660_000


def test_the_oldest_card_money_is_spent_first() -> None:
    changes, pieces = taken_from([lot(5, "new", at=9), lot(3, "old", at=1), lot(1, "old", at=1, lot_id="z")], Msat(6))
    assert pieces == (Piece("old", 1, Msat(4)), Piece("new", 9, Msat(2)))
    assert [change.values["amount_msat"] for change in changes] == [0, 0, 3]


def test_lots_that_do_not_reach_and_heaps_that_leave_something_are_faults() -> None:
    with pytest.raises(AssertionError, match="2 msat of 7 are in no lot"):
        taken_from([lot(5)], Msat(7))
    with pytest.raises(AssertionError, match="1 msat are in no heap"):
        cut([Piece("d1", 1, Msat(3))], [Msat(2)])


def test_a_mix_of_less_than_nothing_is_a_fault() -> None:
    with pytest.raises(AssertionError, match="less than nothing"):
        Mix(sats=Msat(1)).less(Mix(sats=Msat(2)))


# ---- any mix, any split

mixes = st.builds(Mix, *(st.integers(0, 3_000).map(Msat) | st.integers(0, 10**10).map(Msat) for _ in range(3)))


@dataclass(frozen=True)
class Played:
    """One job, held and captured: any mix of money, any split, any charge."""

    payer: Purse
    mix: Mix
    held: Journal
    captured: Journal
    parts: Sequence[Part]
    referrers: frozenset[str]  # empty if they were not paid
    state: State

    def goes_to(self, cls: Class) -> set[Account]:
        """Return the accounts to which money of a class went."""
        return {one.credit for one in self.captured.transfers if one.debit == hold(CAUSE, cls)}


def random_split(chance: Random) -> ResolvedSplit:
    written = random_agent(chance) | {"rest": chance.choice(("$platform", "bob", "carol"))}
    for share in written["shares"]:
        if "to" in share and chance.random() < 0.3:
            share["to"] = "$platform"
            share.pop("referrer", None)
    return resolved(written)


@st.composite
def played(draw: st.DrawFn) -> Played:
    chance = draw(st.randoms(use_true_random=False))
    split, mix = random_split(chance), draw(mixes)
    payer = purse(promo=mix.promo, card=mix.card, sats=mix.sats + split.price_max)
    drawn = payer.draw(split.price_max, promo_max=split.platform_part_min(split.price_max))
    assert drawn is not None
    facts: dict[str, Any] = {
        "charge_msat": chance.randint(split.price_min, split.price_max),
        "worker": chance.choice((None, ALICE, PAYER)),
        "usage": {"tokens": chance.choice((0, 1, 10**9))},
        "now": 1_800_000_000,
    }
    everybody = {name: pubkey(f"who referred {name}") for name in PEOPLE.values()}
    parts = compute(split, **facts, referrers=everybody, payer_referrer=everybody[PAYER])
    paid = referrers_are_paid(drawn, parts)
    if not paid:
        parts = compute(split, **facts, referrers={}, payer_referrer=None)
    held = plan_hold(CAUSE, payer, drawn)
    captured = plan_capture(escrow(held, drawn), parts, TERMS)
    state = State(balances={user(PAYER, cls): amount for cls, amount in payer.has.by_class()})
    for number, journal in enumerate((held, captured)):
        assert judge(state, Journal(journal.transfers).plan(f"plan/{number}")).verdict is Verdict.APPLIED
    return Played(payer, drawn, held, captured, parts, frozenset(everybody.values()) if paid else frozenset(), state)


@settings(max_examples=50, deadline=None)
@given(played())
def test_h1_the_sums_are_exact_the_escrows_empty_and_nobody_is_below_their_floor(job: Played) -> None:
    balances = job.state.balances
    assert {balances.get(hold(CAUSE, cls), 0) for cls in Class} == {0}
    assert all(balance >= 0 for account, balance in balances.items() if floor_msat(account) == 0)
    earned: Counter[str | None] = Counter()
    for share in job.parts:
        earned[share.to] += share.amount_msat
    assert sum(balances.get(REVENUE[cls], 0) for cls in Class) == earned[None]
    for to in earned.keys() - {None, PAYER}:
        assert balances.get(user(str(to)), 0) + balances.get(maturing(str(to)), 0) == earned[to]


@settings(max_examples=50, deadline=None)
@given(played())
def test_g5_promo_reaches_nobody_but_the_platform(job: Played) -> None:
    assert job.goes_to(Class.PROMO) <= {REVENUE[Class.PROMO], user(PAYER, Class.PROMO)}


@settings(max_examples=50, deadline=None)
@given(played())
def test_g5_card_money_becomes_sats_at_once_for_nobody_and_never_for_whoever_paid(job: Played) -> None:
    to = job.goes_to(Class.CARD)
    assert not {account for account in to if account.endswith("/sats")}
    assert maturing(PAYER) not in to
    assert job.state.balances.get(user(PAYER), 0) <= job.payer.has.sats


@settings(max_examples=50, deadline=None)
@given(played())
def test_referrers_are_paid_in_sats_or_not_at_all(job: Played) -> None:
    assert not {account for account in job.goes_to(Class.CARD) if account.split("/")[1] in job.referrers}


@settings(max_examples=50, deadline=None)
@given(played())
def test_every_msat_of_card_money_is_in_a_lot(job: Played) -> None:
    lots, booked = Counter[str](), Counter[str]()
    for row in (*job.held.changes, *job.captured.changes):
        if isinstance(row, Insert) and not str(row.values["account"]).startswith("hold/"):
            lots[str(row.values["account"])] += int(row.values["amount_msat"] or 0)
    for one in job.captured.transfers:
        if one.debit == hold(CAUSE, Class.CARD) and one.credit != REVENUE[Class.CARD]:
            booked[one.credit] += one.amount_msat
    assert lots == booked


@given(st.permutations(range(5)), st.integers(0, 40), st.integers(0, 60))
def test_nobody_s_place_in_the_list_counts(order: list[int], card: int, sats: int) -> None:
    shares = [
        (PEOPLE[name], msat) for name, msat in zip(("alice", "carol", "dave", "grace"), (7, 7, 3, 1), strict=True)
    ]
    written = [*(part(to, msat, number) for number, (to, msat) in enumerate(shares)), part(None, 10, 4)]
    mix = Mix(card=Msat(card), sats=Msat(max(sats, 28 - card)))
    payer = purse(card=card)
    box = escrow(plan_hold(CAUSE, payer, Mix(card=Msat(card))), mix)

    def result(parts: list[Part]) -> set[tuple[str, str, int]]:
        return {(one.debit, one.credit, one.amount_msat) for one in plan_capture(box, parts, TERMS).transfers}

    assert result(written) == result([written[place] for place in order])


def test_the_msat_that_rounding_leaves_go_to_whoever_lost_most_by_it() -> None:
    held = plan_hold(CAUSE, purse(card=5), Mix(card=Msat(5)))
    box = escrow(held, Mix(card=Msat(5), sats=Msat(4)))
    captured = plan_capture(box, [part(ALICE, 4), part(CAROL, 5, 1)], TERMS)
    assert {(one.credit, one.amount_msat) for one in captured.transfers} == {
        (maturing(ALICE), 2),
        (user(ALICE), 2),
        (maturing(CAROL), 3),
        (user(CAROL), 2),
    }


@given(mixes, st.integers(0, 100))
def test_what_a_job_has_cost_is_read_back_from_the_book_by_class(mix: Mix, percent: int) -> None:
    payer = purse(promo=mix.promo, card=mix.card, sats=mix.sats)
    held = plan_hold(CAUSE, payer, mix)
    box = escrow(held, mix)
    charge = mix.promo + (mix.total - mix.promo) * percent // 100
    captured = plan_capture(box, [part(None, mix.promo), part(ALICE, charge - mix.promo, 1)], TERMS)
    rows = [change for change in (*held.changes, *captured.changes) if isinstance(change, Insert)]
    booked = [{"debit": one.debit, "amount_msat": one.amount_msat, "reason": one.reason} for one in captured.transfers]
    lots = [Lot.of_row({"id": row.id, "version": 1, **row.values}) for row in rows]
    cost, pieces = charged_of(box, booked, lots)
    assert cost.total == charge
    assert sum(piece.amount_msat for piece in pieces) == cost.card
