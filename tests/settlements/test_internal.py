"""Invoices of ours that our own users pay: inside the book, at no fee, once; and the node takes no payment of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from handlers.settlements import cancel_paid, pay_internally
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.keys import KeyPair
from relaybot.simulator.params import Fault
from relaybot.simulator.signing import InvoiceText, build_bolt11
from tests.book.stores import KINDS, Store, store_of
from tests.settlements.conftest import ALICE, BOB, PRICE, Street, Till
from wallet.bolt11_invoice import parse_bolt11
from wallet.ledger import Plan, Verdict
from wallet.lightning import Lightning
from wallet.money import Msat, from_sat


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return store_of(request.param, tmp_path / "book.sqlite3")


async def paid(till: Till, bolt11: str, payer: KeyPair = BOB, *, key: str = "test/pay", sat: int | None = None) -> None:
    """Let a user pay an invoice out of their balance, as a command does."""

    async def decide() -> Plan:
        amount = None if sat is None else from_sat(sat)
        payment = await pay_internally(till.bot, payer.pubkey, bolt11, amount)
        assert payment is not None, "it is one of ours"
        return payment.journal.plan(key)

    answer = await till.book.decide(decide)
    assert answer.done, answer.reason


async def test_an_invoice_of_ours_is_paid_inside_the_book_at_no_fee_and_cancelled_at_the_node(till: Till) -> None:
    await till.funded(5_000, BOB)
    bolt11 = await till.top_up(2_000, ALICE, number=7)
    await paid(till, bolt11)
    assert (await till.balance(BOB), await till.balance(ALICE)) == (from_sat(3_000), from_sat(2_000))
    assert await till.told(ALICE) == ["2,000 sat arrived: your balance is topped up."]
    assert await cancel_paid(till.bot) is True
    assert await cancel_paid(till.bot) is False
    with pytest.raises(Fault):
        await till.pay(bolt11)
    await till.agrees()


async def test_looking_at_what_a_payment_would_do_is_not_logged_as_its_settlement(till: Till) -> None:
    await till.funded(5_000)
    bolt11 = await till.top_up(2_000, ALICE, number=7)
    with structlog.testing.capture_logs() as logged:
        assert await pay_internally(till.bot, BOB.pubkey, bolt11) is not None  # and nothing is applied
        assert await cancel_paid(till.bot) is False
        assert [line for line in logged if line["event"].startswith("settled")] == []
        await paid(till, bolt11)
        assert await cancel_paid(till.bot) is True
    told = {"event": "settled_inside", "label": "topup/7", "owner": ALICE.pubkey, "amount_msat": from_sat(2_000)}
    assert [line for line in logged if line["event"].startswith("settled")] == [told | {"log_level": "info"}]


async def test_b1_paying_oneself_nets_zero(till: Till) -> None:
    await till.funded(5_000)
    await paid(till, await till.top_up(2_000, BOB, number=7))
    assert await till.balance() == from_sat(5_000)
    rows = await till.book.database.fetch("SELECT id FROM transfers WHERE plan = 'test/pay'")
    assert rows == []
    await till.agrees()


async def test_b1_paying_one_s_own_job_holds_its_price_and_no_more(till: Till) -> None:
    job = await till.ask_for_job()
    await till.funded(20_000)
    await paid(till, await till.invoice_of(job))
    assert (await till.balance(), await till.held(job)) == (from_sat(8_000), PRICE)
    assert (await till.again(job))["state"] == "held"


async def test_b1_whoever_has_too_little_cannot_pay_themselves_either(till: Till) -> None:
    await till.funded(1_000)
    with pytest.raises(Rejected, match="your balance is 1,000 sat"):
        await pay_internally(till.bot, BOB.pubkey, await till.top_up(2_000, BOB, number=7))


async def test_a_job_of_somebody_else_is_paid_and_goes_on(till: Till) -> None:
    job = await till.ask_for_job(ALICE)
    await till.funded(20_000, BOB)
    await paid(till, await till.invoice_of(job))
    assert (await till.balance(BOB), await till.balance(ALICE), await till.held(job)) == (from_sat(8_000), 0, PRICE)
    assert (await till.again(job))["state"] == "held"
    await till.agrees()


async def test_b2_an_invoice_that_is_paid_inside_and_over_lightning_in_the_same_moment_is_credited_for_both(
    till: Till,
) -> None:
    """The cancellation comes too late: both payments are real, neither is lost, neither is doubled."""
    await till.funded(5_000, BOB)
    bolt11 = await till.top_up(2_000, ALICE, number=7)
    await paid(till, bolt11)
    await till.pay(bolt11)  # before the node was told
    assert await cancel_paid(till.bot) is True
    await till.follow()
    await till.rewind()
    await till.follow()
    assert (await till.balance(BOB), await till.balance(ALICE)) == (from_sat(3_000), from_sat(4_000))
    invoice = await till.book.row("invoices", "topup/7")
    assert invoice is not None
    assert (invoice["received_msat"], invoice["cancel_at"]) == (from_sat(4_000), None)
    await till.agrees()


async def test_b2_an_invoice_that_was_paid_over_lightning_is_not_paid_inside(till: Till) -> None:
    await till.funded(5_000, BOB)
    bolt11 = await till.top_up(2_000, ALICE, number=7)
    await till.pay(bolt11)
    await till.follow()
    with pytest.raises(Rejected, match="has been paid"):
        await pay_internally(till.bot, BOB.pubkey, bolt11)
    assert await till.balance(BOB) == from_sat(5_000)


async def test_b2_a_crash_before_the_cancellation_leaves_it_to_the_next_start(street: Street) -> None:
    async with street.till() as till:
        await till.funded(5_000, BOB)
        bolt11 = await till.top_up(2_000, ALICE, number=7)
        await paid(till, bolt11)
    async with street.till() as till:
        assert await cancel_paid(till.bot) is True
        with pytest.raises(Fault):
            await till.pay(bolt11)


async def test_b2_a_node_that_is_away_is_told_when_it_is_back(till: Till) -> None:
    await till.funded(5_000, BOB)
    await paid(till, await till.top_up(2_000, ALICE, number=7))

    class Away:
        async def cancel_invoice(self, label: str) -> None:
            raise Unavailable(f"no node to cancel {label}")

    away: Lightning = Away()  # type: ignore[assignment]  # the one method that is called
    with pytest.raises(Unavailable):
        await cancel_paid(replace(till.bot, lightning=away))
    assert await cancel_paid(till.bot) is True


async def test_a2_one_invoice_paid_by_twenty_users_at_once_is_paid_by_one(till: Till) -> None:
    payers = [KeyPair(bytes([number]) * 32) for number in range(10, 30)]
    for payer in payers:
        await till.funded(1_000, payer)
    bolt11 = await till.top_up(1_000, ALICE, number=99)
    payments = (paid(till, bolt11, payer, key=f"test/pay/{payer.pubkey}") for payer in payers)
    outcomes = await asyncio.gather(*payments, return_exceptions=True)
    assert outcomes.count(None) == 1
    assert sum([await till.balance(payer) for payer in payers]) == from_sat(19_000)
    assert await till.balance(ALICE) == from_sat(1_000)


async def test_b3_a_foreign_invoice_with_our_payment_hash_is_not_ours(till: Till) -> None:
    ours = parse_bolt11(await till.top_up(2_000, ALICE, number=7))
    text = InvoiceText(
        payment_hash=ours.payment_hash,
        payment_secret="33" * 32,
        amount_msat=1_000,
        description="the same hash, another payee and sum",
        only_hash=False,
        created_at=till.bot.clock.now(),
        expiry_seconds=600,
    )
    foreign = build_bolt11(text, secret=b"\x09" * 32)
    await till.funded(5_000, BOB)
    assert await pay_internally(till.bot, BOB.pubkey, foreign) is None
    assert (await till.balance(BOB), await till.balance(ALICE)) == (from_sat(5_000), 0)


async def test_b3_our_own_text_is_ours_however_it_is_written(till: Till) -> None:
    await till.funded(5_000, BOB)
    bolt11 = await till.top_up(2_000, ALICE, number=7)
    payment = await pay_internally(till.bot, BOB.pubkey, f"lightning:{bolt11.upper()}")
    assert payment is not None
    assert payment.amount_msat == from_sat(2_000)


async def test_b4_the_debit_and_the_credit_are_one_plan(till: Till) -> None:
    await till.funded(5_000, BOB)
    payment = await pay_internally(till.bot, BOB.pubkey, await till.top_up(2_000, ALICE, number=7))
    assert payment is not None
    assert (await till.book.apply(payment.journal.plan("test/pay"))).verdict is Verdict.APPLIED
    assert (await till.book.apply(payment.journal.plan("test/pay"))).verdict is Verdict.ALREADY
    assert await till.balance(ALICE) == from_sat(2_000)


@pytest.mark.parametrize(("said", "refusal"), [(1_999, "over 2,000 sat"), (2_001, "over 2,000 sat")])
async def test_b5_an_invoice_with_a_sum_is_paid_exactly(till: Till, said: int, refusal: str) -> None:
    await till.funded(5_000, BOB)
    with pytest.raises(Rejected, match=refusal):
        await pay_internally(till.bot, BOB.pubkey, await till.top_up(2_000, ALICE, number=7), from_sat(said))


async def test_b5_an_invoice_without_a_sum_is_paid_with_what_is_said(till: Till) -> None:
    await till.funded(5_000, BOB)
    bolt11 = await till.any_sum(ALICE)
    for nothing in (None, Msat(0)):
        with pytest.raises(Rejected, match="names no amount"):
            await pay_internally(till.bot, BOB.pubkey, bolt11, nothing)
    await paid(till, bolt11, sat=1_234)
    assert await till.balance(ALICE) == from_sat(1_234)


async def test_an_expired_invoice_is_not_paid(till: Till, street: Street) -> None:
    await till.funded(5_000, BOB)
    bolt11 = await till.top_up(2_000, ALICE, number=7)
    street.clock.advance(600)
    with pytest.raises(Rejected, match="expired"):
        await pay_internally(till.bot, BOB.pubkey, bolt11)
