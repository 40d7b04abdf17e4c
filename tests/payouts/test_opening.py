"""Who is paid, when, how much of it, and what is kept back for the route."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.payouts.desk import NOW, RULES, Desk, Life, person
from wallet import payout_checks as module
from wallet.accounts import CAPITAL, owed, user
from wallet.ledger import Plan, Transfer, Update
from wallet.money import Msat, from_sat
from wallet.opening import opened, reserve_msat
from wallet.states import PayoutKind, Rail
from wallet.switches import CLOSED, OPEN, plan_withdrawals
from wallet.targets import KEEP, targets_of


async def count(life: Life) -> int:
    rows = await life.book.database.fetch("SELECT COUNT(*) AS payouts FROM payouts")
    return int(rows[0]["payouts"])


@pytest.mark.parametrize(
    ("sat", "fee_minimum_sat", "reserve"),
    [
        (2_000, 5, 20_000),  # 1 %
        (100, 5, 5_000),  # the least, for small payments need it
        (501, 5, 5_010),
        (501, 0, 5_010),
    ],
)
def test_the_reserve_is_the_larger_of_percentage_and_minimum(sat: int, fee_minimum_sat: int, reserve: int) -> None:
    assert reserve_msat(replace(RULES, fee_minimum_msat=from_sat(fee_minimum_sat)), from_sat(sat)) == reserve


def test_c11_the_reserve_is_rounded_up_in_msat() -> None:
    rules = replace(RULES, fee_minimum_msat=Msat(0), fee_ppm_max=1)
    assert [reserve_msat(rules, Msat(total)) for total in (0, 1, 1_000_000, 1_000_001)] == [0, 1, 1, 2]


async def test_c3_the_whole_balance_is_paid_and_the_reserve_is_taken_from_it(life: Life) -> None:
    await life.open("alice", 2_000)
    payout = await life.payout()
    assert (payout["state"], payout["amount_msat"], payout["reserve_msat"]) == ("open", 1_980_000, 20_000)
    assert (await life.balance(), await life.held()) == (0, 2_000_000)


async def test_what_is_no_whole_sat_stays_balance(life: Life) -> None:
    await life.earn("alice", 1_234, msat=567)
    await life.checks.open_due()
    payout = await life.payout()
    assert (payout["amount_msat"], payout["reserve_msat"]) == (1_221_000, 12_340)  # 1,234 - 12.34 sat, in whole sats
    assert await life.balance() == 567 + 660
    assert await life.held() == 1_221_000 + 12_340


@pytest.mark.parametrize(("sat", "msat", "opened"), [(99, 999, 0), (100, 0, 1)])
async def test_a_balance_below_the_threshold_waits(life: Life, sat: int, msat: int, opened: int) -> None:
    await life.earn("alice", sat, msat=msat)
    await life.checks.open_due()
    assert await count(life) == opened


@pytest.mark.parametrize(("own_sat", "opened"), [(2_001, 0), (2_000, 1), (0, 1)])
async def test_a_threshold_of_ones_own_counts_instead(life: Life, own_sat: int, opened: int) -> None:
    await life.earn("alice", 2_000)
    await life.set_user("alice", threshold_msat=from_sat(own_sat))
    await life.checks.open_due()
    assert await count(life) == opened


async def test_a_balance_that_the_reserve_would_eat_stays(life: Life) -> None:
    await life.earn("alice", 5, msat=999)
    await life.set_user("alice", threshold_msat=0)
    await life.checks.open_due()
    assert await count(life) == 0
    assert await life.balance() == 5_999


async def test_keep_means_that_it_stays_balance(life: Life) -> None:
    await life.earn("alice", 2_000, target=KEEP)
    await life.target("alice", "alice@wallets.test", "10133")
    await life.checks.open_due()
    assert await count(life) == 0


@pytest.mark.parametrize(
    ("said", "targets"),
    [
        ({"registered": "a@x.test", "10133": "b@x.test", "profile": "c@x.test"}, ["a@x.test", "b@x.test", "c@x.test"]),
        ({"10133": "b@x.test", "profile": "c@x.test"}, ["b@x.test", "c@x.test"]),
        ({"registered": "", "10133": "", "profile": "c@x.test"}, ["c@x.test"]),
        ({"registered": KEEP, "profile": "c@x.test"}, []),
        ({"registered": "a@x.test", "profile": KEEP}, ["a@x.test"]),
        ({"10133": ""}, []),
        ({}, []),
    ],
)
async def test_targets_are_obeyed_in_their_order(life: Life, said: dict[str, str], targets: list[str]) -> None:
    for source, value in said.items():
        await life.target("alice", value, source)
    assert await targets_of(life.book, person("alice")) == targets


async def test_without_a_target_the_relays_are_asked_and_the_money_stays(life: Life) -> None:
    await life.earn("alice", 2_000, target="")
    await life.checks.open_due()
    assert life.looked_up == [person("alice")]
    assert await count(life) == 0
    await life.target("alice", "alice@wallets.test", "profile")  # it came in, and asks for another look
    await life.checks.open_due()
    assert (await life.payout())["state"] == "open"
    assert life.looked_up == [person("alice")]


async def test_a_look_up_that_fails_stops_nobody_else_and_is_made_again(life: Life, desk: Desk) -> None:
    life.look_up_fails = True
    await life.earn("alice", 2_000, target="")
    desk.clock.advance(1)
    await life.earn("bob", 2_000)
    await life.checks.open_due()
    assert (await life.payout("bob"))["state"] == "open"
    life.look_up_fails = False
    await life.checks.open_due()
    assert life.looked_up == [person("alice")]


async def test_closed_withdrawals_open_nothing(life: Life) -> None:
    await life.earn("alice", 2_000)
    await life.set_user("alice", withdrawals="closed")
    await life.checks.open_due()
    assert await count(life) == 0


async def test_a_user_has_one_open_payout_at_a_time(life: Life) -> None:
    await life.open("alice", 2_000)
    await life.earn("alice", 3_000)
    await life.checks.open_due()
    assert await count(life) == 1
    assert await life.balance() == 3_000_000
    await life.looks_until("paid")
    await life.checks.open_due()  # being paid asks for the next look
    assert (await life.payout())["id"] == f"{person('alice')}/2"
    assert await count(life) == 2


async def test_a_user_is_looked_at_once_for_each_reason_to_look(life: Life) -> None:
    await life.earn("alice", 50)
    assert await life.checks.open_due() is False
    row = await life.book.row("users", person("alice"))
    assert row is not None
    assert row["payout_check_at"] is None
    await life.checks.open_due()
    again = await life.book.row("users", person("alice"))
    assert again == row


async def test_more_users_than_one_round_looks_at_are_told(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKS_MAX", 2)
    for name in ("alice", "bob", "carol"):
        await life.earn(name, 2_000)
    assert await life.checks.open_due() is True
    assert await life.checks.open_due() is False
    assert await count(life) == 3


async def test_a1_money_that_is_spent_meanwhile_is_not_held(life: Life) -> None:
    """The balance is read, and then another Plan takes it: the payout is decided again on what is left."""
    await life.earn("alice", 2_000)
    real = life.checks._has_open_payout

    async def spend_first(pubkey: str) -> bool:
        if await life.balance() == 2_000_000:
            spent = Transfer(user(pubkey), CAPITAL, from_sat(1_500), "spent")
            await life.book.apply(Plan("test/spent", (spent,)))
        return await real(pubkey)

    life.checks._has_open_payout = spend_first  # type: ignore[method-assign]
    await life.checks.open_due()
    payout = await life.payout()
    assert payout["amount_msat"] + payout["reserve_msat"] == 500_000
    assert await life.balance() == 0


async def test_c15_two_processes_that_look_at_once_open_one_payout(desk: Desk) -> None:
    async with desk.life() as one, desk.life() as other:
        for name in ("alice", "bob", "carol"):
            await one.earn(name, 2_000)
        await asyncio.gather(one.checks.open_due(), other.checks.open_due())
        assert await count(one) == 3
        assert [await one.balance(name) for name in ("alice", "bob", "carol")] == [0, 0, 0]


async def test_a_payout_is_open_from_the_second_it_was_due(life: Life) -> None:
    await life.open("alice")
    payout = await life.payout()
    assert (payout["next_at"], payout["created_at"], payout["attempts"], payout["attempt"]) == (NOW, NOW, 0, "")


async def test_whoever_owes_for_money_that_was_taken_back_is_paid_out_nothing(life: Life) -> None:
    await life.earn("alice", 2_000)
    debt = Transfer(owed(person("alice")), CAPITAL, from_sat(1), "test")
    await life.book.apply(Plan("test/debt", (debt,)))
    await life.checks.open_due()
    assert await count(life) == 0


async def test_what_one_user_is_paid_in_a_day_has_a_limit_and_the_rest_goes_the_next_day(desk: Desk) -> None:
    async with desk.life(rules=replace(RULES, user_day_msat_max=from_sat(1_500))) as life:
        await life.open("alice", 2_000)
        assert (await life.payout())["amount_msat"] == from_sat(1_500)
        await life.looks_until("paid")
        await life.checks.open_due()
        assert (await life.payout())["state"] == "paid"  # and no second one
        desk.clock.advance(86_400)
        await life.checks.open_due()
        assert (await life.payout())["state"] == "open"


async def test_c12_whoever_has_enough_under_way_is_paid_nothing_more_by_itself(desk: Desk) -> None:
    async with desk.life(rules=replace(RULES, open_per_user_max=1)) as life:
        await life.earn("alice", 4_000)
        owner = await life.book.row("users", person("alice"))
        assert owner is not None
        held, changes = opened(
            owner,
            "ab" * 32,
            "lnbc1",
            kind=PayoutKind.WITHDRAWAL,
            rail=Rail.LIGHTNING,
            amount=from_sat(1_000),
            reserve=from_sat(10),
            now=NOW,
        )
        assert (await life.book.apply(Plan("test/withdrawal", (held,), changes))).done
        await life.checks.open_due()
        assert await count(life) == 1
        after = await life.book.row("users", person("alice"))
        assert after is not None
        assert after["payout_check_at"] == NOW + 3_600


def test_what_was_earned_while_withdrawals_were_closed_is_looked_at_when_they_are_opened() -> None:
    owner = {"id": "a" * 64, "version": 3}
    [on] = plan_withdrawals(owner, state=OPEN, reason="", now=5).changes
    [off] = plan_withdrawals(owner, state=CLOSED, reason="a question", now=5).changes
    assert isinstance(on, Update)
    assert isinstance(off, Update)
    assert (on.values.get("payout_check_at"), off.values.get("payout_check_at")) == (5, None)
