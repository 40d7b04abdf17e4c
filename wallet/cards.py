"""The port to a card company: hosted checkouts, and what it says of the payments made there.

The caller decides what is sold to whom, and never believes a message: whatever it hears, it
asks for the objects again. Amounts are in the currency's minor unit (cents). What is
unavailable is not refused, and a call that may have been done is made again with the same
idempotency key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class CheckoutStatus(Enum):
    """Where a hosted checkout stands at the card company."""

    OPEN = "open"
    COMPLETE = "complete"  # its form was sent; that alone is no payment
    EXPIRED = "expired"  # nobody can pay it any more


class DisputeStatus(Enum):
    """What has become of a payment after it was made."""

    NONE = "none"
    INQUIRY = "inquiry"  # the bank asks, no money has moved; or it warns of fraud
    OPEN = "open"  # the bank has taken the money back, for now
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A checkout to be made. The same one under the same `key` is the same checkout."""

    key: str  # ours: idempotency key, and what the checkout is filed under at the card company
    minor: int
    currency: str  # ISO 4217, lower case
    description: str
    return_url: str
    expires_at: int
    challenge: bool  # 3-D Secure is demanded


@dataclass(frozen=True, slots=True)
class Checkout:
    """A hosted checkout as the card company sees it now."""

    id: str
    url: str  # where it is paid; '' once it cannot be
    status: CheckoutStatus
    is_paid: bool
    minor: int
    currency: str
    live: bool  # False: test money
    payment: str  # the payment made there; '' before one is


@dataclass(frozen=True, slots=True)
class Payment:
    """A card payment as the card company sees it now."""

    id: str
    succeeded: bool
    received_minor: int
    refunded_minor: int
    disputed_minor: int  # by disputes that are open or were lost
    currency: str
    live: bool
    created_at: int
    authenticated: bool  # the cardholder has passed 3-D Secure
    in_review: bool
    fraud_warning: bool
    dispute: DisputeStatus


@dataclass(frozen=True, slots=True)
class CardEvent:
    """Word that something happened: what to look at again, and nothing to be believed."""

    id: str
    created_at: int
    checkout: str  # '' where it is about a payment
    payment: str  # '' where it is about a checkout


class CardProvider(Protocol):
    """What the card company does for us. Unavailable wherever it cannot be asked; Rejected where it refuses."""

    pay_origin: str  # where its checkouts are paid: https://checkout.stripe.com

    async def create_checkout(self, wanted: Wanted) -> Checkout:
        """Make a hosted checkout, or return the one that was made under this key."""
        ...

    async def checkout(self, checkout_id: str) -> Checkout:
        """Return a checkout as it is now."""
        ...

    async def payment(self, payment_id: str) -> Payment:
        """Return a payment as it is now."""
        ...

    async def refund(self, payment_id: str) -> None:
        """Give a payment back whole; once, however often it is asked for."""
        ...

    async def events_since(self, since: int) -> Sequence[CardEvent]:
        """Return everything that happened from this Unix time on, the oldest first."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
