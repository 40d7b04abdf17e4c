"""A top-up by card from the message to the balance: the ways it may go, and the ways it may fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from handlers.card_offers import take_offer
from relaybot.errors import Rejected
from tests.cards.counter import Counter
from tests.settlements.conftest import ALICE, BOB
from wallet.rates import NoRates
from wallet.states import OfferState


async def test_a_card_pays_a_quote_after_its_terms_were_taken(counter: Counter) -> None:
    offer = await counter.quoted(20_000)
    assert offer.minor == 1_976  # 19.00 EUR at 95,000 EUR, and 4 %
    text = await counter.read(offer)
    assert "20,000 sat" in text
    assert "19.76 EUR" in text
    assert "It cannot be withdrawn" in text
    where = await counter.take(offer)
    assert await counter.take(offer) == where  # a second click
    assert len(counter.company.world.sessions) == 1
    assert await counter.give(where, "4000 0000 0000 0002") == 200  # declined
    assert await counter.give(where, challenge="failed") == 200
    assert await counter.has() == (0, 0)
    assert await counter.give(where, challenge=None) == 200  # the first time, the cardholder is always asked
    assert await counter.give(where) == 303
    assert "We wait for the card company" in await counter.read(offer, "?back")
    assert (await counter.settled(offer)).state is OfferState.CREDITED
    assert await counter.has() == (20_000, 0)
    assert await counter.receivable() == -20_000
    assert "It is on your balance" in await counter.read(offer)
    assert "20,000 sat" in (await counter.till.told())[-1]
    assert await counter.give(where) == 200  # it is over: nobody pays twice
    async with counter.http.post(counter.page_of(offer), allow_redirects=False) as again:
        assert again.status == 409


async def test_limits_are_of_the_first_time_of_one_user_and_of_all(counter: Counter) -> None:
    await counter.configured(
        first_max="50000 sat", topup_max="60000 sat", user_day_max="100000 sat", day_max="150000 sat"
    )
    for sat, words in (
        (4_999, "at least 5,000"),
        (60_001, "at most 60,000"),
        (50_001, "first top-up by card is at most"),
    ):
        with pytest.raises(Rejected, match=words):
            await counter.quoted(sat)
    await counter.paid(50_000)
    together = [await counter.quoted(30_000) for _ in range(2)]
    await take_offer(counter.bot, together[0].id)
    with pytest.raises(Rejected, match="all your top-ups by card are at most 100,000"):
        await take_offer(counter.bot, together[1].id)
    await take_offer(counter.bot, (await counter.quoted(50_000, ALICE)).id)
    with pytest.raises(Rejected, match="of everybody are at most 150,000"):
        await counter.quoted(20_001, ALICE)
    counter.clock.advance(7 * 86_400)
    later = await counter.quoted(50_000)
    assert (await counter.offer(later.id)).challenge == 0
    await take_offer(counter.bot, later.id)
    assert (await counter.offer(later.id)).challenge == 0  # known for a week, and below the limit
    above = await counter.quoted(50_000)
    await counter.configured(three_d_secure_above="40000 sat")
    await take_offer(counter.bot, above.id)
    assert (await counter.offer(above.id)).challenge == 1


async def test_whoever_must_be_verified_waits_for_the_operator(counter: Counter) -> None:
    await counter.configured(verification="operator")
    offer = await counter.paid(20_000)
    assert (offer.state, offer.doubts) == (OfferState.HELD, "verification")
    assert "is held for now" in (await counter.till.told())[-1]
    assert "Paid, and held" in await counter.read(offer)
    assert await counter.has() == (0, 0)
    await counter.till.set_row("card_customers", BOB.pubkey, verified_at=counter.clock.now())
    assert (await counter.later(offer)).state is OfferState.CREDITED
    assert await counter.has() == (20_000, 0)
    assert (await counter.paid(20_000)).state is OfferState.CREDITED  # once is enough


async def test_a_review_and_a_warning_hold_the_credit_and_the_operator_may_take_it(counter: Counter) -> None:
    reviewed = await counter.paid(20_000, card="4000 0000 0000 9235")
    assert (reviewed.state, reviewed.doubts) == (OfferState.HELD, "review")
    assert reviewed.payment is not None
    counter.company.world.review(reviewed.payment, is_open=False)
    assert (await counter.settled(reviewed)).state is OfferState.CREDITED
    warned = await counter.paid(20_000, ALICE, card="4000 0000 0000 5423")
    assert (warned.state, warned.doubts) == (OfferState.HELD, "warning")
    await counter.till.set_row("card_offers", warned.id, approved_at=counter.clock.now())
    assert (await counter.later(warned)).state is OfferState.CREDITED
    assert await counter.has(ALICE) == (20_000, 0)


async def test_a_warning_after_the_credit_ends_further_top_ups(counter: Counter) -> None:
    offer = await counter.paid(20_000)
    counter.company.world.warn(offer.payment or "")
    await counter.settled(offer)
    assert await counter.has() == (20_000, 0)
    with pytest.raises(Rejected, match="no further top-up by card"):
        await counter.quoted(20_000)


async def test_what_is_given_back_before_it_was_credited_is_never_credited(counter: Counter) -> None:
    await counter.configured(verification="operator")
    refunded, disputed = await counter.paid(20_000), await counter.paid(20_000, ALICE)
    assert refunded.payment
    assert disputed.payment
    await counter.bot.cards.provider.refund(refunded.payment)  # type: ignore[union-attr]  # there is one
    await counter.bot.cards.provider.refund(refunded.payment)  # type: ignore[union-attr]  # once
    counter.company.world.dispute(disputed.payment, "needs_response")
    assert (await counter.settled(refunded)).state is OfferState.RETURNED
    assert (await counter.settled(disputed)).state is OfferState.RETURNED
    assert "went back" in (await counter.till.told())[-1]
    assert "The payment went back" in await counter.read(await counter.offer(refunded.id))
    assert await counter.has() == await counter.has(ALICE) == (0, 0)
    assert await counter.receivable() == 0


async def test_a_dispute_from_before_the_credit_that_is_won_credits_after_all(counter: Counter) -> None:
    await counter.configured(verification="operator")
    offer = await counter.paid(20_000)
    assert offer.payment
    counter.company.world.dispute(offer.payment, "needs_response")
    assert (await counter.settled(offer)).state is OfferState.RETURNED
    assert (await counter.later(offer)).state is OfferState.RETURNED
    counter.company.world.dispute(offer.payment, "won")
    assert (await counter.settled(offer)).state is OfferState.HELD  # what stood against it before still does
    await counter.configured(verification="none")
    assert (await counter.later(offer)).state is OfferState.CREDITED
    assert await counter.has() == (20_000, 0)
    assert await counter.receivable() == -20_000


async def test_each_refund_of_a_part_takes_what_it_adds(counter: Counter) -> None:
    offer = await counter.paid(20_000)
    assert offer.payment
    for left in (15_000, 10_000):
        counter.company.world.refund(offer.payment, amount=494)  # of 1,976
        await counter.settled(offer)
        assert await counter.has() == (left, 0)
        assert await counter.receivable() == -left


async def test_what_nobody_pays_ends_and_counts_no_more(counter: Counter) -> None:
    await counter.configured(user_day_max="200000 sat", first_max="200000 sat")
    unread, taken = await counter.quoted(100_000), await counter.quoted(200_000)
    await counter.take(taken)
    with pytest.raises(Rejected, match="all your top-ups"):
        await counter.quoted(5_000)
    counter.clock.advance(3_000)
    for offer in (unread, taken):
        assert (await counter.settled(offer)).state is OfferState.EXPIRED
        assert "This price has expired" in await counter.read(offer)
    await counter.quoted(200_000)


async def test_a_company_that_does_not_answer_costs_nothing_and_is_asked_again(counter: Counter) -> None:
    offer = await counter.quoted(20_000)
    await counter.company.close()
    async with counter.http.post(counter.page_of(offer), allow_redirects=False) as answer:
        assert answer.status == 503
        assert "nothing was charged" in await answer.text()
    assert (await counter.offer(offer.id)).state is OfferState.ACCEPTED
    counter.clock.advance(601)  # too late to make a page that lasts long enough
    with pytest.raises(Rejected, match="is over"):
        await take_offer(counter.bot, offer.id)
    counter.company._sending = None


async def test_without_a_price_or_a_company_nothing_is_sold(counter: Counter) -> None:
    async with counter.http.get(f"{counter.bot.config.web_url}/topup/card/{'0' * 32}") as answer:
        assert answer.status == 404
    counter.bot = replace(counter.bot, rates=NoRates())
    with pytest.raises(Rejected, match="nobody says what bitcoin costs"):
        await counter.quoted(20_000)
    counter.bot = replace(counter.bot, cards=None)
    with pytest.raises(Rejected, match="takes no cards"):
        await counter.quoted(20_000)
