"""The rules of card payments and the signature of webhooks, without a book or a network."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relaybot.errors import Rejected
from wallet.accounts import Account
from wallet.card_rules import (
    Bought,
    CardLimits,
    Customer,
    Doubt,
    Move,
    Offer,
    is_challenged,
    limit_broken,
    next_move,
    price_of,
    taken_msat,
)
from wallet.card_signature import check_signature, sign
from wallet.cards import Checkout, CheckoutStatus, DisputeStatus, Payment
from wallet.money import Msat, from_sat
from wallet.rates import Quote
from wallet.states import OfferState, OfferStep

OFFER = Offer(
    id="0" * 32,
    version=3,
    pubkey="a" * 64,
    account=Account(f"user/{'a' * 64}/card"),
    amount_msat=from_sat(20_000),
    currency="EUR",
    minor=1_976,
    state=OfferState.OPEN,
    challenge=1,
    quote_until=100,
    pay_until=1_000,
    checkout="cs_1",
    url="https://pay.test/cs_1",
    payment=None,
    doubts="",
    approved_at=None,
    look_at=0,
    created_at=0,
)
CHECKOUT = Checkout("cs_1", "", CheckoutStatus.COMPLETE, True, 1_976, "eur", True, "pi_1")
PAYMENT = Payment(
    id="pi_1",
    succeeded=True,
    received_minor=1_976,
    refunded_minor=0,
    disputed_minor=0,
    currency="eur",
    live=True,
    created_at=900,
    authenticated=True,
    in_review=False,
    fraud_warning=False,
    dispute=DisputeStatus.NONE,
)
ANYBODY = Customer(must_be_verified=False, is_verified=False)


def move(offer: Offer = OFFER, checkout: Checkout = CHECKOUT, payment: Payment | None = PAYMENT) -> Move | None:
    return next_move(offer, checkout, payment, ANYBODY, live=True)


def test_what_is_paid_as_it_was_quoted_is_credited() -> None:
    assert move() == Move(OfferStep.CREDIT)


@pytest.mark.parametrize(
    ("checkout", "payment"),
    [
        (replace(CHECKOUT, is_paid=False), PAYMENT),
        (replace(CHECKOUT, status=CheckoutStatus.OPEN, is_paid=False, payment=""), None),
        (CHECKOUT, None),
        (CHECKOUT, replace(PAYMENT, succeeded=False)),
    ],
)
def test_g3_what_is_not_paid_waits(checkout: Checkout, payment: Payment | None) -> None:
    assert move(checkout=checkout, payment=payment) is None


def test_a_checkout_that_ended_unpaid_is_over() -> None:
    ended = replace(CHECKOUT, status=CheckoutStatus.EXPIRED, is_paid=False, payment="")
    assert move(checkout=ended, payment=None) == Move(OfferStep.EXPIRE)
    assert move(offer=replace(OFFER, state=OfferState.HELD), checkout=ended, payment=None) is None


@pytest.mark.parametrize(
    ("doubt", "checkout", "payment"),
    [
        (Doubt.AMOUNT, replace(CHECKOUT, minor=1), PAYMENT),
        (Doubt.AMOUNT, CHECKOUT, replace(PAYMENT, received_minor=1)),
        (Doubt.AMOUNT, CHECKOUT, replace(PAYMENT, currency="usd")),
        (Doubt.AMOUNT, replace(CHECKOUT, currency="usd"), PAYMENT),
        (Doubt.AMOUNT, CHECKOUT, replace(PAYMENT, refunded_minor=1)),
        (Doubt.MODE, replace(CHECKOUT, live=False), PAYMENT),
        (Doubt.MODE, CHECKOUT, replace(PAYMENT, live=False)),
        (Doubt.LATE, CHECKOUT, replace(PAYMENT, created_at=1_001)),
        (Doubt.AUTHENTICATION, CHECKOUT, replace(PAYMENT, authenticated=False)),
        (Doubt.WARNING, CHECKOUT, replace(PAYMENT, fraud_warning=True)),
        (Doubt.WARNING, CHECKOUT, replace(PAYMENT, dispute=DisputeStatus.INQUIRY)),
        (Doubt.REVIEW, CHECKOUT, replace(PAYMENT, in_review=True)),
    ],
)
def test_a_doubt_holds_the_credit_and_the_operator_may_settle_most_of_them(
    doubt: Doubt, checkout: Checkout, payment: Payment
) -> None:
    assert move(checkout=checkout, payment=payment) == Move(OfferStep.HOLD, (doubt,))
    approved = replace(OFFER, state=OfferState.HELD, approved_at=950)
    settled = move(approved, checkout, payment)
    never = doubt in {Doubt.AMOUNT, Doubt.MODE}
    assert settled == (Move(OfferStep.HOLD, (doubt,)) if never else Move(OfferStep.CREDIT))


def test_an_offer_without_an_end_is_late_and_one_without_a_challenge_needs_none() -> None:
    assert move(replace(OFFER, pay_until=None)) == Move(OfferStep.HOLD, (Doubt.LATE,))
    unasked = replace(OFFER, challenge=0)
    assert move(unasked, payment=replace(PAYMENT, authenticated=False)) == Move(OfferStep.CREDIT)


def test_whoever_must_be_verified_is() -> None:
    held = next_move(OFFER, CHECKOUT, PAYMENT, Customer(must_be_verified=True, is_verified=False), live=True)
    assert held == Move(OfferStep.HOLD, (Doubt.VERIFICATION,))
    good = next_move(OFFER, CHECKOUT, PAYMENT, Customer(must_be_verified=True, is_verified=True), live=True)
    assert good == Move(OfferStep.CREDIT)


@pytest.mark.parametrize(
    "payment",
    [
        replace(PAYMENT, refunded_minor=1_976),
        replace(PAYMENT, dispute=DisputeStatus.OPEN, disputed_minor=1_976),
        replace(PAYMENT, dispute=DisputeStatus.LOST, disputed_minor=1_976),
    ],
)
def test_what_went_back_before_it_was_credited_is_not_credited(payment: Payment) -> None:
    assert move(payment=payment) == Move(OfferStep.GIVE_BACK)
    returned = replace(OFFER, state=OfferState.RETURNED)
    assert move(returned, payment=payment) is None
    assert move(returned, payment=replace(payment, refunded_minor=0, dispute=DisputeStatus.WON)) == Move(
        OfferStep.CREDIT
    )


@pytest.mark.parametrize(
    ("payment", "taken"),
    [
        (PAYMENT, 0),
        (replace(PAYMENT, dispute=DisputeStatus.WON, disputed_minor=1_976), 0),
        (replace(PAYMENT, dispute=DisputeStatus.INQUIRY, disputed_minor=1_976), 0),
        (replace(PAYMENT, dispute=DisputeStatus.OPEN, disputed_minor=988), from_sat(10_000)),
        (replace(PAYMENT, dispute=DisputeStatus.LOST, disputed_minor=1_976, refunded_minor=5), from_sat(20_000)),
        (replace(PAYMENT, dispute=DisputeStatus.LOST, disputed_minor=494, refunded_minor=494), from_sat(10_000)),
        (replace(PAYMENT, refunded_minor=1), 10_122),  # rounded up: a part never takes too little
        (replace(PAYMENT, refunded_minor=9_999), from_sat(20_000)),
    ],
)
def test_what_was_taken_back_is_counted_in_what_it_bought(payment: Payment, taken: int) -> None:
    assert taken_msat(OFFER, payment) == taken


def test_a_price_is_the_rate_and_the_company_s_part_rounded_up() -> None:
    quote = Quote("EUR", 9_500_000, 0)
    assert price_of(quote, from_sat(20_000), fee_ppm=40_000) == 1_976
    assert price_of(quote, Msat(1), fee_ppm=0) == 1


def test_each_limit_is_broken_by_what_is_beyond_it() -> None:
    limits = CardLimits(*(Msat(value) for value in (10, 100, 50, 150, 300, 40)))
    known = Bought(Msat(0), Msat(0), is_first=False)
    assert limit_broken(Msat(100), limits, known) is None
    broken = [
        limit_broken(Msat(9), limits, known),
        limit_broken(Msat(101), limits, known),
        limit_broken(Msat(51), limits, replace(known, is_first=True)),
        limit_broken(Msat(51), limits, replace(known, user_day_msat=Msat(100))),
        limit_broken(Msat(51), limits, replace(known, day_msat=Msat(250))),
    ]
    assert [found[1] for found in broken if found is not None] == [10, 100, 50, 150, 300]
    assert [is_challenged(Msat(40), limits, known), is_challenged(Msat(41), limits, known)] == [False, True]
    assert is_challenged(Msat(1), limits, replace(known, is_first=True))


def test_a_signature_is_of_these_bytes_of_this_secret_and_of_now() -> None:
    body = b'{"id": 1}'
    header = sign(body, "whsec_1", 1_000)
    for now in (700, 1_000, 1_300):
        check_signature(header, body, "whsec_1", now=now)
    check_signature(f"{header},v1={'0' * 64},v0=1", body, "whsec_1", now=1_000)  # while a secret is changed
    for now in (699, 1_301):
        with pytest.raises(Rejected, match="at another time"):
            check_signature(header, body, "whsec_1", now=now)
    for wrong in (header.replace("v1", "v0"), header.replace("t=1000", "t=1001"), "t=1000"):
        with pytest.raises(Rejected, match="another secret"):
            check_signature(wrong, body, "whsec_1", now=1_000)
    with pytest.raises(Rejected, match="another secret"):
        check_signature(header, body + b" ", "whsec_1", now=1_000)
    for none in ("", "v1=00", "t=1,t=2,v1=00", f"t={'9' * 12},v1=00", "t=ab,v1=00", "\u2460=1", "t=1000;v1=00"):
        with pytest.raises(Rejected, match="no signature"):
            check_signature(none, body, "whsec_1", now=1_000)
