"""An invoice of ours that one of our own users pays: it settles inside the book, at no fee. Pure.

Whatever the invoice is for (a top-up, a job, a gift) happens as if it had been paid over
Lightning, with the payer's balance in the place of the node. Paying oneself moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from relaybot.errors import Rejected
from wallet.accounts import NODE_LIGHTNING, user
from wallet.ledger import Journal, Transfer, Value
from wallet.money import Msat, format_sat

GIFT = "zap"  # the reason of what is given to a user


def check_internal(invoice: Mapping[str, Value], amount_msat: Msat | None, *, now: int) -> Msat:
    """Return what is to be paid for `invoice`, a row of `invoices`; Rejected if it cannot be paid (any more).

    `amount_msat` is what the payer says, or None where the invoice names its amount.
    """
    asks, expires_at, received = invoice["amount_msat"], invoice["expires_at"], invoice["received_msat"]
    assert isinstance(asks, int), "amounts are whole"
    assert isinstance(expires_at, int), "times are whole"
    if received:
        raise Rejected("duplicate", "this invoice has been paid")
    if expires_at <= now:
        raise Rejected("invalid", "invoice has expired", expired_at=expires_at, now=now)
    if not asks and not amount_msat:
        raise Rejected("invalid", "this invoice names no amount: say how much")
    if asks and amount_msat not in (None, asks):
        raise Rejected("invalid", f"this invoice is over {format_sat(asks)}, no more and no less")
    return Msat(asks or amount_msat or 0)


def plan_internal(credited: Journal, payer: str) -> Journal:
    """Return the journal of a settlement with `payer` in the node's place; what they pay themselves is left out.

    A gift stays one by its reason, so that whoever is given it is told.
    """
    purse = user(payer)
    moved = (
        transfer
        if transfer.debit != NODE_LIGHTNING
        else Transfer(purse, transfer.credit, transfer.amount_msat, GIFT if transfer.reason == GIFT else "internal")
        for transfer in credited.transfers
        if not (transfer.debit == NODE_LIGHTNING and transfer.credit == purse)
    )
    return Journal(tuple(moved), credited.changes)


def costs_nothing(moved: Journal, payer: str) -> bool:
    """Tell whether all that `payer` pays comes back to them: to an account of theirs, whatever it is called."""
    purse = user(payer)
    paid = sum(one.amount_msat for one in moved.transfers if one.debit == purse)
    return paid <= sum(one.amount_msat for one in moved.transfers if one.credit == purse)
