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


def plan_bonus(to: Owner, amount_msat: Msat, reason: str) -> Journal:
    """Give promo money: a first job free, the bonus of a large top-up; nothing, if that is 0."""
    return _journal((PROMOTIONS, of(to, Class.PROMO), amount_msat, reason))


@dataclass(frozen=True, slots=True)
class BulkTier:
    """Whoever pays in at least `from_msat` at once is given so many millionths of it as bonus."""

    from_msat: Msat
    bonus_ppm: int


def bulk_bonus(amount_msat: Msat, tiers: Sequence[BulkTier]) -> Msat:
    """Return the bonus of a top-up: that of the highest tier it reaches, rounded down to the msat; 0 below all."""
    reached = [tier for tier in tiers if tier.from_msat <= amount_msat]
    best = max(reached, key=lambda tier: tier.from_msat, default=BulkTier(Msat(0), 0))
    return Msat(amount_msat * best.bonus_ppm // 1_000_000)


def plan_card_settlement(*, gross_msat: int, fee_msat: Msat, bank_msat: int) -> Journal:
    """Book what the card company paid out: to the bank, its fee, and what the exchange rate made of the rest.

    `gross_msat` is what the settled payments had bought, less what was disputed of them;
    `bank_msat` what reached the bank, in msat at the rate of that day. Both are below zero
    where disputes were more than payments, and the bank account was charged.
    """
    return _journal(
        (EXPENSE_CARD, CARD_RECEIVABLE, fee_msat, "card fee"),
        *_either_way(BANK, CARD_RECEIVABLE, bank_msat, "card settlement", "card settlement"),
        *_either_way(EXPENSE_FX, CARD_RECEIVABLE, gross_msat - fee_msat - bank_msat, "exchange loss", "exchange gain"),
    )


def _either_way(
    debit: Account, credit: Account, amount: int, reason: str, reason_back: str
) -> tuple[tuple[Account, Account, Msat, str], ...]:
    """Return the move of an amount, or of its opposite the other way."""
    if amount < 0:
        return ((credit, debit, Msat(-amount), reason_back),)
    return ((debit, credit, Msat(amount), reason),)


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
