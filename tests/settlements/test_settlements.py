"""What arrives is credited once, as it arrived, in the order in which the node got it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from handlers import settlements
from handlers.jobs import cause_of, plan_released
from relaybot.errors import Unavailable
from tests.payouts.desk import NOW
from tests.settlements.conftest import ALICE, BOB, PRICE, Street, Till
from wallet.accounts import CAPITAL, NODE_LIGHTNING, hold, user
from wallet.book import invariants
from wallet.lightning import Lightning, Settlement
from wallet.money import Msat, from_sat


class Feed:
    """The node's port, with a feed of settlements a test writes down."""

    def __init__(self, *settled: Settlement) -> None:
        self.settled = settled

    async def invoice_changes(self) -> int:
        return 1_000

    async def next_settlement(self, *, after_index: int, timeout_seconds: int) -> Settlement | None:
        del timeout_seconds
        return next((one for one in self.settled if one.pay_index > after_index), None)


def fed(till: Till, *settled: Settlement) -> Till:
    """Return the same till with a feed in front of its node."""
    feed: Lightning = Feed(*settled)  # type: ignore[assignment]  # the methods that are called
    return Till(replace(till.bot, lightning=feed), till.network, till.committing)


async def test_a_top_up_is_credited_and_its_owner_is_told(till: Till) -> None:
    await till.pay(await till.top_up(5_000))
    await till.follow()
    assert await till.balance() == from_sat(5_000)
    assert await till.owed_kinds() == [1059]
    invoice = await till.book.row("invoices", "topup/1")
    assert invoice is not None
    assert invoice["received_msat"] == from_sat(5_000)
    await till.agrees()


async def test_nothing_new_changes_nothing_and_asks_to_be_called_again(till: Till) -> None:
    assert await till.settlements.follow() is True
    assert await till.cursor() == 0
    assert await till.book.database.fetch("SELECT id FROM plans") == []


async def test_a_node_that_is_away_is_said_to_be(till: Till) -> None:
    await till.network.close()
    with pytest.raises(Unavailable):
        await till.settlements.follow()
    await till.network.start()


async def test_d1_the_feed_replayed_from_index_0_credits_once(till: Till) -> None:
    for number in range(1, 4):
        await till.pay(await till.top_up(1_000, number=number))
    await till.follow()
    await till.rewind()
    await till.follow()
    assert await till.balance() == from_sat(3_000)
    assert await till.cursor() == 3
    await till.agrees()


async def test_d1_the_feed_replayed_twice_does_not_stop_at_what_was_replayed_before(till: Till) -> None:
    for number in range(1, 4):
        await till.pay(await till.top_up(1_000, number=number))
    await till.follow()
    for _ in range(2):
        await till.rewind()
        await till.follow()
        assert await till.cursor() == 3
    await till.pay(await till.top_up(1_000, number=4))
    await till.rewind(1)
    await till.follow()
    assert (await till.cursor(), await till.balance()) == (4, from_sat(4_000))
    await till.agrees()


async def test_d1_a_settlement_under_a_new_index_is_credited_once(till: Till) -> None:
    """The node renumbered: the hash is what counts."""
    await till.top_up(1_000)
    row = await till.book.row("invoices", "topup/1")
    assert row is not None
    first = Settlement("topup/1", row["payment_hash"], from_sat(1_000), 1, NOW)
    feed = fed(till, first, replace(first, pay_index=7))
    await feed.follow()
    assert (await till.cursor(), await till.balance()) == (7, from_sat(1_000))


async def test_d1_two_processes_that_follow_credit_once(street: Street) -> None:
    async with street.till() as one, street.till() as other:
        for number in range(1, 6):
            await one.pay(await one.top_up(1_000, number=number))
        await asyncio.gather(one.follow(), other.follow())
        await one.follow()
        assert (await one.cursor(), await one.balance()) == (5, from_sat(5_000))
        await other.agrees()


async def test_d1_a_process_that_is_behind_does_not_set_the_cursor_back(street: Street) -> None:
    """It read the cursor, was overtaken, and then sees that its settlement is in the book already."""
    async with street.till() as one, street.till() as slow:
        for number in (1, 2):
            await one.pay(await one.top_up(1_000, number=number))
        settled = await slow.bot.lightning.next_settlement(after_index=0, timeout_seconds=0)
        assert settled is not None
        real, overtaken = slow.book.row, False

        async def row(table: str, row_id: str) -> object:
            nonlocal overtaken
            found = await real(table, row_id)
            if table == "cursors" and not overtaken:
                overtaken = True
                await one.follow()
            return found

        slow.book.row = row  # type: ignore[method-assign, assignment]
        await slow.book.decide(lambda: settlements._decide(slow.bot, settled))
        assert overtaken
        assert (await one.cursor(), await one.balance()) == (2, from_sat(2_000))


async def test_d2_what_settled_while_we_were_away_is_credited_at_the_start_in_order(street: Street) -> None:
    async with street.till() as till:
        texts = [await till.top_up(sat, number=sat) for sat in (3_000, 1_000, 2_000)]
    for text in texts:
        await till.pay(text)
    async with street.till() as till:
        assert await till.follow() == 3
        rows = await till.book.database.fetch("SELECT amount_msat FROM transfers ORDER BY seq")
        assert [row["amount_msat"] for row in rows] == [from_sat(3_000), from_sat(1_000), from_sat(2_000)]
        assert await till.cursor() == 3
        await till.agrees()


async def test_d3_an_overpaid_top_up_is_credited_as_it_arrived(till: Till) -> None:
    await till.pay(await till.top_up(1_000), 1_500)
    await till.follow()
    assert await till.balance() == from_sat(1_500)
    await till.agrees()


async def test_d3_what_a_job_was_overpaid_is_balance(till: Till) -> None:
    job = await till.ask_for_job()
    await till.pay(await till.invoice_of(job), 15_000)
    await till.follow()
    assert await till.held(job) == PRICE
    assert await till.balance() == from_sat(3_000)
    assert (await till.again(job))["state"] == "held"
    await till.agrees()


async def test_a_job_that_waits_is_held_from_exactly_that_money_in_the_same_plan(till: Till) -> None:
    await till.pay(await till.top_up(5_000))
    await till.follow()
    job = await till.ask_for_job()
    await till.pay(await till.invoice_of(job))
    await till.follow()
    row = await till.book.row("invoices", job["invoice"])
    assert row is not None
    legs = await till.book.database.fetch(
        "SELECT debit, credit, amount_msat FROM transfers WHERE plan = :plan ORDER BY seq",
        plan=f"invoice/{row['payment_hash']}/settled",
    )
    bob = user(BOB.pubkey)
    assert [tuple(leg.values()) for leg in legs] == [
        (NODE_LIGHTNING, bob, PRICE),
        (bob, hold(cause_of(job["id"])), PRICE),
    ]
    assert await till.balance() == from_sat(5_000)
    assert (await till.again(job))["state"] == "held"
    assert (await till.owed_kinds())[-2:] == [7000, 7000]  # payment-required, processing; no message beside them
    await till.agrees()


async def test_anybody_may_pay_for_a_job_and_its_customer_is_credited(till: Till) -> None:
    job = await till.ask_for_job(ALICE)
    await till.pay(await till.invoice_of(job))
    await till.follow()
    assert await till.held(job) == PRICE
    assert await till.balance(BOB) == 0


async def test_d4_what_is_paid_after_the_job_expired_is_balance_and_a_message_says_so(
    till: Till, street: Street
) -> None:
    job = await till.ask_for_job()
    text = await till.invoice_of(job)
    await till.pay(text)  # the node has it, we have not heard of it yet
    street.clock.advance(street.config.jobs.payment_seconds)
    await till.release_due()
    assert (await till.again(job))["state"] == "released"
    await till.follow()
    assert (await till.balance(), await till.held(job)) == (PRICE, 0)
    assert (await till.again(job))["state"] == "released"
    assert await till.owed_kinds() == [7000, 7000, 1059]
    await till.agrees()


async def test_d4_what_is_paid_after_a_cancel_is_balance(till: Till) -> None:
    job = await till.ask_for_job()
    await till.book.apply(await plan_released(till.bot, job, "cancelled by the customer"))
    await till.pay(await till.invoice_of(job))
    await till.follow()
    assert (await till.balance(), await till.held(job)) == (PRICE, 0)


async def test_d4_a_job_that_expires_in_the_very_moment_of_its_payment_holds_nothing(
    till: Till, street: Street
) -> None:
    """It waits when it is read, and is released when the Plan is judged: decided again, the money is balance."""
    job = await till.ask_for_job()
    await till.pay(await till.invoice_of(job))
    street.clock.advance(street.config.jobs.payment_seconds)
    real, released = till.book.row, False

    async def row(table: str, row_id: str) -> object:
        nonlocal released
        found = await real(table, row_id)
        if table == "jobs" and not released:
            released = True
            await till.release_due()
        return found

    till.book.row = row  # type: ignore[method-assign, assignment]
    await till.follow()
    assert released
    assert (await till.balance(), await till.held(job)) == (PRICE, 0)
    assert (await till.again(job))["state"] == "released"
    await till.agrees()


async def test_less_than_the_price_never_starts_a_job(till: Till) -> None:
    """The node refuses to be underpaid; should it say otherwise, the money is balance and the job waits."""
    job = await till.ask_for_job()
    row = await till.book.row("invoices", job["invoice"])
    assert row is not None
    await fed(till, Settlement(job["invoice"], row["payment_hash"], Msat(PRICE - 1), 1, NOW)).follow()
    assert (await till.balance(), await till.held(job)) == (PRICE - 1, 0)
    assert (await till.again(job))["state"] == "awaiting_payment"


@pytest.mark.parametrize("label", ["keysend-1795438000.1", "shop/17"])
async def test_an_invoice_we_do_not_know_and_a_keysend_are_the_operator_s_capital(till: Till, label: str) -> None:
    await till.pay(await till.by_hand(label, 700))
    await till.follow()
    assert await till.book.balance(CAPITAL) == from_sat(700)
    assert await till.cursor() == 1
    assert await till.owed_kinds() == []
    await till.agrees()


async def test_the_first_funding_is_dated_once_and_a_stranger_becomes_a_user(till: Till, street: Street) -> None:
    assert await till.book.row("users", BOB.pubkey) is None
    for number in (1, 2):
        await till.pay(await till.top_up(1_000, number=number))
        await till.follow()
        street.clock.advance(100)
    row = await till.book.row("users", BOB.pubkey)
    assert row is not None
    assert (row["first_funded_at"], row["withdrawals"], row["created_at"]) == (NOW, "open", NOW)


async def test_a_settlement_that_cannot_be_booked_is_a_fault_of_ours_and_moves_nothing(till: Till) -> None:
    await till.top_up(1_000)
    row = await till.book.row("invoices", "topup/1")
    assert row is not None
    everything = Msat(2_100_000_000_000_000_000)
    feed = fed(
        till,
        Settlement("topup/1", row["payment_hash"], from_sat(1_000), 1, NOW),
        Settlement("topup/1", "cc" * 32, everything, 2, NOW),
    )
    await feed.settlements.follow()
    with pytest.raises(AssertionError):
        await feed.settlements.follow()
    assert (await till.cursor(), await till.balance()) == (1, from_sat(1_000))
    assert await invariants(till.book.database) == []
