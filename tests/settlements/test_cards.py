"""Card payments as a card company tells of them: each word once, in any order, with what everybody hears of it."""

from __future__ import annotations

from functools import partial

import pytest

from handlers import cards
from handlers.cards import CardPayment, DisputeState
from handlers.credits import require_no_debt
from handlers.lots import follow_lots
from relaybot.errors import Rejected
from tests.settlements.conftest import ALICE, BOB, Till
from tests.settlements.test_card_money import asks, delivered, has, paying_carol
from wallet.accounts import (
    BANK,
    CARD_LOSSES,
    CARD_RECEIVABLE,
    EXPENSE_CARD,
    EXPENSE_FX,
    PROMOTIONS,
    REVENUE,
    Class,
    company,
    maturing,
    of,
    owed,
    person,
    user,
)
from wallet.feed import Sums, opening_journal
from wallet.ledger import Insert, Plan, Put, Transfer, Values, Verdict
from wallet.money import Msat, from_sat
from wallet.states import DepositState

MAILBOX: Values = {"relays": "[]", "event": "", "stated_at": 0}


async def buys(till: Till, name: str = "pi_1", sat: int = 20_000, **more: str) -> Verdict:
    """Let Bob buy by card; return what the book says."""
    payment = CardPayment(name, BOB.pubkey, from_sat(sat), till.bot.clock.now(), **more)
    return (await till.book.decide(partial(cards.plan_card_bought, till.bot, payment))).verdict


async def reachable(till: Till) -> None:
    """Let everybody have said where private messages reach them."""
    for key in (BOB, ALICE):
        assert (
            await till.book.apply(Plan(f"test/{key.pubkey}", changes=(Put("dm_relays", key.pubkey, MAILBOX),)))
        ).done


async def worked(till: Till, sat: int = 20_000) -> Till:
    """Let Bob buy by card, and pay half of a job's price of 12,000 sat to Carol."""
    till = paying_carol(till)
    await buys(till, sat=sat)
    await delivered(till, await asks(till))
    return till


async def test_a_payment_is_credited_once_whatever_arrives_again(till: Till) -> None:
    assert await buys(till) is Verdict.APPLIED
    assert await buys(till) is Verdict.ALREADY
    assert await has(till, user(BOB.pubkey, Class.CARD), CARD_RECEIVABLE) == [20_000_000, -20_000_000]
    assert await till.told() == ["You bought 20,000 sat by card: money for jobs."]
    assert (await till.row("users", BOB.pubkey))["first_funded_at"] == till.bot.clock.now()
    with pytest.raises(Rejected, match="1 to 100 letters"):
        await buys(till, "../../job")


async def test_a_member_buys_for_a_company(till: Till) -> None:
    with pytest.raises(Rejected, match="no company has this id"):
        await buys(till, company="acme")
    acme: Values = {"name": "Acme", "owner": BOB.pubkey, "founder": BOB.pubkey, "state": "open", "limit_msat": None}
    assert (
        await till.book.apply(Plan("test/acme", changes=(Insert("companies", "acme", {**acme, "created_at": 0}),)))
    ).done
    await buys(till, company="acme")
    assert await has(till, of(company("acme"), Class.CARD), user(BOB.pubkey, Class.CARD)) == [20_000_000, 0]


async def test_a_dispute_is_told_to_who_paid_and_to_who_had_earned(till: Till) -> None:
    till = await worked(till)
    await reachable(till)
    assert await cards.follow_dispute(till.bot, "pi_1", DisputeState.OPEN) is DepositState.DISPUTED
    assert await cards.follow_dispute(till.bot, "pi_1", DisputeState.OPEN) is DepositState.DISPUTED
    assert await has(till, user(BOB.pubkey, Class.CARD), maturing(ALICE.pubkey), owed(BOB.pubkey)) == [0, 0, -6_000_000]
    assert (await till.told())[-1].endswith(
        "You owe 6,000 sat; the next top-up pays it, and until then your account rests."
    )
    assert (await till.told(ALICE))[-1] == (
        "A card payment was disputed: 6,000 sat of what you earned from it are taken back."
    )


async def test_what_was_about_to_leave_is_decided_again_when_a_dispute_comes_between(till: Till) -> None:
    till = await worked(till)
    stays, goes = [await require_no_debt(till.bot, BOB.pubkey) for _ in range(2)]
    assert (await till.book.apply(Plan("test/before", changes=(goes,)))).verdict is Verdict.APPLIED
    await cards.follow_dispute(till.bot, "pi_1", DisputeState.OPEN)
    assert (await till.book.apply(Plan("test/after", changes=(stays,)))).verdict is Verdict.CONFLICT
    with pytest.raises(Rejected, match="owes for a payment"):
        await require_no_debt(till.bot, BOB.pubkey)


async def test_a_dispute_that_is_lost_leaves_the_debt_until_it_is_written_off(till: Till) -> None:
    till = await worked(till)
    assert await cards.follow_dispute(till.bot, "pi_1", DisputeState.LOST) is DepositState.LOST
    assert await has(till, owed(BOB.pubkey), CARD_LOSSES) == [-6_000_000, 0]
    assert (await till.book.decide(partial(cards.plan_written_off, till.bot, "pi_1"))).done
    assert await has(till, owed(BOB.pubkey), CARD_LOSSES) == [0, -6_000_000]
    with pytest.raises(Rejected, match="nothing is owed for this card payment"):
        await cards.plan_written_off(till.bot, "pi_1")


async def test_a_dispute_that_was_opened_and_won_between_two_looks_changes_nothing(till: Till) -> None:
    till = await worked(till)
    assert await cards.follow_dispute(till.bot, "pi_1", DisputeState.WON) is DepositState.GOOD
    assert await has(till, user(BOB.pubkey, Class.CARD), maturing(ALICE.pubkey)) == [8_000_000, 6_000_000]


async def test_a_dispute_that_is_won_gives_everything_back_also_after_it_was_lost(till: Till) -> None:
    till = await worked(till)
    await cards.follow_dispute(till.bot, "pi_1", DisputeState.LOST)
    await reachable(till)
    assert await cards.follow_dispute(till.bot, "pi_1", DisputeState.WON) is DepositState.GOOD
    assert await has(till, user(BOB.pubkey, Class.CARD), maturing(ALICE.pubkey), owed(BOB.pubkey)) == [
        8_000_000,
        6_000_000,
        0,
    ]
    assert "what was taken back was given back" in (await till.told())[-1]


async def test_a_part_of_a_payment_is_refunded_and_the_rest_matures(till: Till) -> None:
    till = await worked(till)
    assert (await till.book.apply(opening_journal(Sums(from_sat(50_000))).plan("fund"))).done
    await cards.follow_dispute(till.bot, "pi_1", DisputeState.LOST, from_sat(9_000))
    assert await has(till, user(BOB.pubkey, Class.CARD), maturing(ALICE.pubkey), owed(BOB.pubkey)) == [0, 5_000_000, 0]
    till.bot.clock.advance(121 * 86_400)  # type: ignore[attr-defined]  # a SetClock
    await follow_lots(till.bot)
    assert await has(till, user(ALICE.pubkey), maturing(ALICE.pubkey)) == [5_000_000, 0]


async def test_what_was_earned_from_a_lost_payment_matures_when_its_payer_has_paid(till: Till) -> None:
    till = paying_carol(till)
    assert (await till.book.apply(opening_journal(Sums(from_sat(50_000))).plan("fund"))).done
    await buys(till, sat=12_000)
    job = await asks(till)
    await cards.follow_dispute(till.bot, "pi_1", DisputeState.LOST)
    await till.funded(12_000)  # before the job that holds the money is done
    await delivered(till, job)
    await follow_lots(till.bot)
    assert await has(till, owed(BOB.pubkey), maturing(ALICE.pubkey)) == [0, 6_000_000]
    till.bot.clock.advance(121 * 86_400)  # type: ignore[attr-defined]  # a SetClock
    await follow_lots(till.bot)
    assert await has(till, user(ALICE.pubkey), maturing(ALICE.pubkey)) == [6_000_000, 0]


async def test_g5_card_money_that_paid_a_debt_comes_back_as_card_money_whatever_was_paid_in_sats_before(
    till: Till,
) -> None:
    till = await worked(till, 12_000)
    await cards.follow_dispute(till.bot, "pi_1", DisputeState.LOST)
    await till.funded(6_000)  # a debt of 6,000 sat, paid in sats
    till.bot.clock.advance(60)  # type: ignore[attr-defined]  # a SetClock
    await buys(till, "pi_2", 12_000)
    await delivered(till, await asks(till))
    await cards.follow_dispute(till.bot, "pi_2", DisputeState.OPEN)
    await buys(till, "pi_3", 6_000)  # another, paid by card
    await cards.follow_dispute(till.bot, "pi_2", DisputeState.WON)
    assert await has(till, user(BOB.pubkey), user(BOB.pubkey, Class.CARD), owed(BOB.pubkey)) == [0, 6_000_000, 0]


async def test_g5_sats_that_paid_another_debt_bring_no_sats_back_for_a_dispute_that_is_won(till: Till) -> None:
    till = await worked(till, 12_000)
    await cards.follow_dispute(till.bot, "pi_1", DisputeState.OPEN)
    await buys(till, "pi_2", 6_000)  # what is owed for it, paid by card
    back = Transfer(owed(BOB.pubkey), REVENUE[Class.SATS], from_sat(5_000), "referral taken back")
    assert (await till.book.apply(Plan("test/back", (back,)))).done
    await till.funded(5_000)  # another debt, paid in sats
    await cards.follow_dispute(till.bot, "pi_1", DisputeState.WON)
    assert await has(till, user(BOB.pubkey), user(BOB.pubkey, Class.CARD), owed(BOB.pubkey)) == [0, 6_000_000, 0]


async def test_a_second_refund_of_a_part_takes_what_it_adds_and_one_that_failed_gives_its_part_back(till: Till) -> None:
    till = await worked(till)
    await reachable(till)
    has_now = partial(has, till, user(BOB.pubkey, Class.CARD), maturing(ALICE.pubkey), owed(BOB.pubkey))
    for total, left in (
        (3_000, [5_000_000, 6_000_000, 0]),
        (10_000, [0, 4_000_000, 0]),
        (17_000, [0, 0, -3_000_000]),
        (9_000, [0, 5_000_000, 0]),  # what was taken last comes back first
        (2_000, [6_000_000, 6_000_000, 0]),
    ):
        assert await cards.follow_dispute(till.bot, "pi_1", DisputeState.LOST, from_sat(total)) is DepositState.LOST
        assert await has_now() == left
        assert await has(till, CARD_RECEIVABLE) == [-(20_000 - total) * 1_000]
    assert "a part of what was taken back was given back" in (await till.told())[-1]
    assert await cards.follow_dispute(till.bot, "pi_1", DisputeState.OPEN, from_sat(4_000)) is DepositState.DISPUTED
    assert await cards.follow_dispute(till.bot, "pi_1", DisputeState.LOST) is DepositState.LOST
    assert await has_now() == [4_000_000, 6_000_000, 0]
    assert await cards.follow_dispute(till.bot, "pi_1", DisputeState.WON) is DepositState.GOOD
    assert await has_now() == [8_000_000, 6_000_000, 0]


async def test_what_was_never_credited_or_is_too_much_is_refused(till: Till) -> None:
    with pytest.raises(Rejected, match="no card payment has this id"):
        await cards.follow_dispute(till.bot, "pi_9", DisputeState.OPEN)
    await buys(till, sat=10)
    with pytest.raises(Rejected, match="no part of this card payment"):
        await cards.follow_dispute(till.bot, "pi_1", DisputeState.OPEN, from_sat(11))


async def test_the_card_company_s_payout_is_booked_once(till: Till) -> None:
    await buys(till)
    settle = partial(
        cards.plan_card_settled, "po_1", gross_msat=20_000_000, fee_msat=Msat(650_000), bank_msat=19_400_000
    )
    assert [(await till.book.decide(settle)).verdict for _ in range(2)] == [Verdict.APPLIED, Verdict.ALREADY]
    assert await has(till, CARD_RECEIVABLE, BANK, EXPENSE_CARD, EXPENSE_FX) == [0, -19_400_000, -650_000, 50_000]


async def test_a_bonus_is_given_once_under_each_name(till: Till) -> None:
    await reachable(till)
    for name in ("welcome", "welcome", "easter"):
        give = partial(cards.plan_bonus_given, till.bot, person(BOB.pubkey), from_sat(500), name)
        assert (await till.book.decide(give)).done
    assert (await till.book.decide(partial(cards.plan_bonus_given, till.bot, company("acme"), from_sat(9), "x"))).done
    assert await has(till, user(BOB.pubkey, Class.PROMO), PROMOTIONS) == [1_000_000, -1_009_000]
    assert (await till.told())[-1] == "You were given a bonus of 500 sat: money for jobs."
