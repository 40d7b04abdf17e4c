"""Everything that moves money and is no job, no payout, no card payment taken back. Pure.

What comes in from, goes out to and moves between the outsides that hold money for us (the
node's channels, its coins, the card company, the bank), and what the operator gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wallet.accounts import (
    BANK,
    CAPITAL,
    CARD_RECEIVABLE,
    EXPENSE_CARD,
    EXPENSE_FX,
    EXPENSE_LIGHTNING,
    EXPENSE_ONCHAIN,
    FEES,
    NODE_LIGHTNING,
    NODE_ONCHAIN,
    PROMOTIONS,
    ROUTING_INCOME,
    Account,
    Class,
    Owner,
    hold,
    of,
)
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
    whole = sum(output.weight for output in outputs)
    unpaid = fee_msat
    moves: list[tuple[Account, Account, Msat, str]] = []
    for output in outputs:
        charged = -(-fee_msat * output.weight // whole)
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


def plan_channel_opened(*, amount_msat: Msat, fee_msat: Msat, pushed_msat: Msat) -> Journal:
    """Book a channel we opened: coins became a channel, the transaction cost a fee, a part was given to the peer."""
    return _journal(
        (NODE_LIGHTNING, NODE_ONCHAIN, amount_msat, "channel opened"),
        (EXPENSE_ONCHAIN, NODE_ONCHAIN, fee_msat, "channel fee"),
        (EXPENSE_LIGHTNING, NODE_LIGHTNING, pushed_msat, "pushed"),
    )


def plan_channel_closed(*, amount_msat: Msat, fee_msat: Msat) -> Journal:
    """Book a channel's end: `amount_msat` stood in it, and came back as coins less the transaction's fee."""
    return _journal(
        (NODE_ONCHAIN, NODE_LIGHTNING, Msat(amount_msat - fee_msat), "channel closed"),
        (EXPENSE_ONCHAIN, NODE_LIGHTNING, fee_msat, "channel fee"),
    )


def plan_funds_given(node: Account, amount_msat: Msat, reason: str) -> Journal:
    """Book what the operator put into the node: coins, or a channel's balance that a peer pushed to us."""
    return _journal((node, CAPITAL, amount_msat, reason))


def plan_routing_income(amount_msat: Msat) -> Journal:
    """Book what the node earned by routing others' payments."""
    return _journal((NODE_LIGHTNING, ROUTING_INCOME, amount_msat, "routed"))


def _journal(*moves: tuple[Account, Account, Msat, str]) -> Journal:
    return Journal(tuple(Transfer(*move) for move in moves if move[2]))
