"""When money that was paid by card is credited, held back or taken back. Pure: the card company's word in, a step out.

An offer is one top-up by card, from the quote to its end. It is credited only for what the
card company's own objects say: paid, the amount and the currency that were quoted, in the
right mode, in time. Whatever else is wrong holds the credit back until it is over or the
operator decides; money that came in by another amount or from a test can only be given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from wallet.accounts import Account
from wallet.cards import Checkout, CheckoutStatus, DisputeStatus, Payment
from wallet.ledger import Value
from wallet.money import Msat
from wallet.rates import Quote
from wallet.states import OfferState, OfferStep

_WHOLE = 1_000_000  # millionths


class Doubt(Enum):
    """Why a payment is not credited yet, in the order in which they are told."""

    AMOUNT = "amount"  # another amount or currency than was quoted
    MODE = "mode"  # test money where real money is wanted, or the other way round
    LATE = "late"  # paid when the quote had expired
    AUTHENTICATION = "authentication"  # 3-D Secure was demanded, and not passed
    WARNING = "warning"  # the bank warns of fraud, or asks
    REVIEW = "review"  # the card company looks at it
    VERIFICATION = "verification"  # the operator has not verified the customer


NEVER = frozenset({Doubt.AMOUNT, Doubt.MODE})  # not even the operator credits these


@dataclass(frozen=True, slots=True)
class CardLimits:
    """What may be bought by card, in msat."""

    minimum_msat: Msat
    maximum_msat: Msat
    first_msat_max: Msat  # the first time
    user_day_msat_max: Msat
    day_msat_max: Msat
    challenge_above_msat: Msat  # 3-D Secure is demanded above, and the first time


@dataclass(frozen=True, slots=True)
class Bought:
    """What was bought so far: in 24 hours by this customer and by all, and whether it was ever credited."""

    user_day_msat: Msat
    day_msat: Msat
    is_first: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """One top-up by card, as it stands in a row of `card_offers`."""

    id: str
    version: int
    pubkey: str
    account: Account
    amount_msat: Msat
    currency: str
    minor: int
    state: OfferState
    challenge: int  # 1: 3-D Secure was demanded
    quote_until: int
    pay_until: int | None
    checkout: str | None  # the card company's names
    url: str | None
    payment: str | None
    doubts: str  # why it is held, with commas between
    approved_at: int | None  # the operator has taken it as it is
    look_at: int | None
    created_at: int

    @classmethod
    def of_row(cls, row: Mapping[str, Value]) -> Offer:
        """Return the offer that stands in a row."""
        found = cls(**{name: row[name] for name in cls.__slots__})  # type: ignore[arg-type]  # the table has these types
        return replace(found, state=OfferState(row["state"]))


@dataclass(frozen=True, slots=True)
class Customer:
    """What the operator wants of customers, and what is known of this one."""

    must_be_verified: bool
    is_verified: bool


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes of an offer now; `doubts` say why it is held."""

    step: OfferStep
    doubts: tuple[Doubt, ...] = ()


def price_of(quote: Quote, amount: Msat, *, fee_ppm: int) -> int:
    """Return what an amount costs by card, in smallest units: the rate, and on it what the card company takes."""
    return -(-quote.cost(amount) * (_WHOLE + fee_ppm) // _WHOLE)


def limit_broken(amount: Msat, limits: CardLimits, bought: Bought) -> tuple[str, Msat] | None:
    """Return which limit a purchase would break, in words, and how much it is; None if it breaks none."""
    checks = (
        (amount < limits.minimum_msat, "by card, a top-up is at least", limits.minimum_msat),
        (amount > limits.maximum_msat, "by card, a top-up is at most", limits.maximum_msat),
        (
            bought.is_first and amount > limits.first_msat_max,
            "the first top-up by card is at most",
            limits.first_msat_max,
        ),
        (
            bought.user_day_msat + amount > limits.user_day_msat_max,
            "in 24 hours, all your top-ups by card are at most",
            limits.user_day_msat_max,
        ),
        (
            bought.day_msat + amount > limits.day_msat_max,
            "in 24 hours, all top-ups by card of everybody are at most",
            limits.day_msat_max,
        ),
    )
    return next(((words, most) for broken, words, most in checks if broken), None)


def is_challenged(amount: Msat, limits: CardLimits, bought: Bought) -> bool:
    """Tell whether the cardholder must prove who they are (3-D Secure)."""
    return bought.is_first or amount > limits.challenge_above_msat


def next_move(
    offer: Offer, checkout: Checkout, payment: Payment | None, customer: Customer, *, live: bool
) -> Move | None:
    """Return what becomes of an offer that is open, held or returned; None if it waits on, or stays returned.

    `payment` is the one of `checkout`; a checkout that is complete and unpaid is none (G3).
    """
    if not checkout.is_paid or payment is None or not payment.succeeded:
        is_over = checkout.status is CheckoutStatus.EXPIRED and offer.state is OfferState.OPEN
        return Move(OfferStep.EXPIRE) if is_over else None
    if is_taken_back(payment):
        return None if offer.state is OfferState.RETURNED else Move(OfferStep.GIVE_BACK)
    doubts = doubts_about(offer, checkout, payment, customer, live=live)
    if offer.approved_at is not None and NEVER.isdisjoint(doubts):
        doubts = ()
    return Move(OfferStep.HOLD, doubts) if doubts else Move(OfferStep.CREDIT)


def doubts_about(
    offer: Offer, checkout: Checkout, payment: Payment, customer: Customer, *, live: bool
) -> tuple[Doubt, ...]:
    """Return everything that speaks against crediting a payment (G1, G2, G6)."""
    amounts = {checkout.minor, payment.received_minor}
    speaks = {
        Doubt.AMOUNT: amounts != {offer.minor}
        or {checkout.currency, payment.currency} != {offer.currency.lower()}
        or bool(payment.refunded_minor),
        Doubt.MODE: (checkout.live, payment.live) != (live, live),
        Doubt.LATE: offer.pay_until is None or payment.created_at > offer.pay_until,
        Doubt.AUTHENTICATION: bool(offer.challenge) and not payment.authenticated,
        Doubt.WARNING: is_warned(payment),
        Doubt.REVIEW: payment.in_review,
        Doubt.VERIFICATION: customer.must_be_verified and not customer.is_verified,
    }
    return tuple(doubt for doubt, stands in speaks.items() if stands)


def is_taken_back(payment: Payment) -> bool:
    """Tell whether the money is with the bank again: a dispute, or a refund of the whole."""
    refunded = payment.refunded_minor >= payment.received_minor > 0
    return refunded or payment.dispute in {DisputeStatus.OPEN, DisputeStatus.LOST}


def is_warned(payment: Payment) -> bool:
    """Tell whether the bank suspects a payment, without having taken it back."""
    return payment.fraud_warning or payment.dispute is DisputeStatus.INQUIRY


def taken_msat(offer: Offer, payment: Payment) -> Msat:
    """Return how much of what a payment bought is with the bank again: what was refunded, what disputes hold."""
    disputed = payment.disputed_minor if payment.dispute in {DisputeStatus.OPEN, DisputeStatus.LOST} else 0
    taken = payment.refunded_minor + disputed
    return Msat(min(offer.amount_msat, -(-offer.amount_msat * taken // offer.minor)))
