"""Everything that moves money and is no job, no payout, no card payment taken back. Pure.

What goes out in a transaction, what the card company pays out, what users pay each other
and what the operator gives. What the node does by itself stands in `feed.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wallet.accounts import (
    BANK,
    CARD_RECEIVABLE,
    EXPENSE_CARD,
    EXPENSE_FX,
    FEES,
    NODE_ONCHAIN,
    PROMOTIONS,
    Account,
    Class,
    Owner,
    hold,
    of,
)
from wallet.batch_rules import shares
from wallet.ledger import Journal, Transfer
from wallet.money import Msat


def plan_internal_payment(payer: Owner, payee: Owner, amount_msat: Msat, reason: str) -> Journal:
    """Pay one of our users by another: sats only, at no fee. Paying oneself moves nothing (B1)."""
    return Journal() if payer == payee else _journal((of(payer), of(payee), amount_msat, reason))


def plan_bonus(to: Owner, amount_msat: Msat, reason: str) -> Journal:
    """Give promo money: the bonus of a company's large top-up, a first job free."""
    return _journal((PROMOTIONS, of(to, Class.PROMO), amount_msat, reason))


def plan_card_settlement(*, gross_msat: Msat, fee_msat: Msat, bank_msat: Msat) -> Journal:
    """Book what the card company paid out: to the bank, its fee, and what the exchange rate made of the rest."""
    rate = gross_msat - fee_msat - bank_msat
    return _journal(
        (EXPENSE_CARD, CARD_RECEIVABLE, fee_msat, "card fee"),
        (BANK, CARD_RECEIVABLE, bank_msat, "card settlement"),
        (EXPENSE_FX, CARD_RECEIVABLE, Msat(max(rate, 0)), "exchange loss"),
        (CARD_RECEIVABLE, EXPENSE_FX, Msat(max(-rate, 0)), "exchange gain"),
    )


@dataclass(frozen=True, slots=True)
class Output:
    """One output of an on-chain batch: what its recipient gets, and what is held for it, fee reserve included."""

    cause: str  # under which its money is held
    owner: Owner
    amount_msat: Msat
    weight: int  # of the output, by which it bears the fee
    reserve_msat: Msat


def plan_onchain_batch(outputs: Sequence[Output], *, fee_msat: Msat) -> Journal:
    """Book a transaction that paid several people: each bears its part of the fee, rounded up.

    What rounding up is over goes to `platform/fees`; what a reserve did not need goes back.
    """
    unpaid = fee_msat
    moves: list[tuple[Account, Account, Msat, str]] = []
    charges = shares(fee_msat, [output.weight for output in outputs])
    for output, charged in zip(outputs, charges, strict=True):
        assert charged <= output.reserve_msat, f"{output.cause}: {charged} msat of fee, {output.reserve_msat} reserved"
        paid = min(charged, unpaid)
        unpaid = Msat(unpaid - paid)
        escrow = hold(output.cause)
        moves += [
            (escrow, NODE_ONCHAIN, output.amount_msat, "payout"),
            (escrow, NODE_ONCHAIN, Msat(paid), "fee"),
            (escrow, FEES, Msat(charged - paid), "fee rounded up"),
            (escrow, of(output.owner), Msat(output.reserve_msat - charged), "reserve not needed"),
        ]
    return _journal(*moves)


def _journal(*moves: tuple[Account, Account, Msat, str]) -> Journal:
    return Journal(tuple(Transfer(*move) for move in moves if move[2]))
