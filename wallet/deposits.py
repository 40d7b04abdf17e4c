"""Money that was paid in and may be taken back: card payments, disputes, reversed deposits, debts. Pure.

A dispute takes what is left of that payment's card money, then what was earned from it and
has not matured, then the payer owes the rest. Matured sats are never taken back. What a job
was holding comes back later and pays the debt then (`plan_collected`). A dispute that is
won gives everything back; what cannot be collected is written off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wallet.accounts import CARD_LOSSES, CARD_RECEIVABLE, Account, owed, user
from wallet.ledger import Change, Insert, Journal, Transfer, Update, Value, Values
from wallet.lots import NOTHING, Lot, Piece, made
from wallet.money import Msat
from wallet.states import DEPOSIT, DepositState, DepositStep


@dataclass(frozen=True, slots=True)
class CardDeposit:
    """One card payment: what it bought stands on `account`; the person `pubkey` paid, and owes if it is taken back."""

    id: str  # the card provider's own name for the payment
    version: int
    account: Account
    pubkey: str
    amount_msat: Msat
    state: DepositState
    written_off_msat: Msat
    created_at: int

    @classmethod
    def of_row(cls, row: Mapping[str, Value]) -> CardDeposit:
        """Return the payment that stands in a row of `card_deposits`."""
        found = cls(**{name: row[name] for name in cls.__slots__})  # type: ignore[arg-type]  # the table has these types
        return replace(found, state=DepositState(row["state"]))


@dataclass(frozen=True, slots=True)
class Debt:
    """What a person owes us now, and what they have ever paid on debts in sats and not been given back."""

    owed_msat: Msat
    repaid_msat: Msat = NOTHING


def plan_bought(deposit: CardDeposit, debt: Debt) -> Journal:
    """Credit a card payment; it pays a debt of its payer first."""
    clears = Msat(min(deposit.amount_msat, debt.owed_msat))
    left = Msat(deposit.amount_msat - clears)
    piece = Piece(deposit.id, deposit.created_at, left)
    row: Values = {
        "account": deposit.account,
        "pubkey": deposit.pubkey,
        "amount_msat": deposit.amount_msat,
        "state": deposit.state.value,
        "written_off_msat": deposit.written_off_msat,
        "created_at": deposit.created_at,
    }
    bought = Transfer(CARD_RECEIVABLE, deposit.account, deposit.amount_msat, "card")
    transfers = (bought, *_moves(deposit.account, owed(deposit.pubkey), clears, "owed"))
    lots = (made(f"card/{deposit.id}", deposit.account, piece, cause=f"card/{deposit.id}"),) if left else ()
    return Journal(transfers, (Insert("card_deposits", deposit.id, row), *lots))


def plan_cleared(pubkey: str, debt: Debt, has_msat: Msat) -> Journal:
    """Pay a debt out of a top-up, as far as `has_msat` goes."""
    return Journal(_moves(user(pubkey), owed(pubkey), Msat(min(has_msat, debt.owed_msat)), "owed"))


def plan_disputed(deposit: CardDeposit, lots: Sequence[Lot]) -> Journal:
    """Let the card company take a payment back: out of its card money, then of what matures, then as a debt.

    `lots` are those of this payment on users' and companies' accounts.
    """
    transfers: list[Transfer] = []
    changes: list[Change] = [_step(deposit, DepositStep.DISPUTE)]
    left = deposit.amount_msat
    for lot in _in_turn(lots):
        part = Msat(min(lot.amount_msat, left))
        if part:
            transfers.append(Transfer(lot.account, CARD_RECEIVABLE, part, f"disputed:{deposit.id}"))
            changes.append(_taken(lot, part))
            left = Msat(left - part)
    transfers += _moves(owed(deposit.pubkey), CARD_RECEIVABLE, left, f"disputed:{deposit.id}")
    return Journal(tuple(transfers), tuple(changes))


def plan_collected(deposit: CardDeposit, lots: Sequence[Lot], debt: Debt) -> Journal:
    """Pay the debt with money of a disputed payment that has come back since, out of a job that held it."""
    transfers: list[Transfer] = []
    changes: list[Change] = []
    left = debt.owed_msat
    for lot in _in_turn(lots):
        part = Msat(min(lot.amount_msat, left))
        if part:
            transfers.append(Transfer(lot.account, owed(deposit.pubkey), part, f"disputed:{deposit.id}"))
            changes.append(_taken(lot, part))
            left = Msat(left - part)
    return Journal(tuple(transfers), tuple(changes))


def plan_dispute_won(deposit: CardDeposit, lots: Sequence[Lot], debt: Debt) -> Journal:
    """Give back what the dispute took: to whom it was taken from, then off the debt.

    If the debt is less by now, what was written off is undone; then the payer gets what
    they paid on it in sats as sats, and the rest as card money.
    """
    transfers: list[Transfer] = []
    changes: list[Change] = [_step(deposit, DepositStep.WIN, written_off_msat=0)]
    left = deposit.amount_msat
    for lot in _in_turn(lots):
        if lot.taken_msat:
            transfers.append(Transfer(CARD_RECEIVABLE, lot.account, lot.taken_msat, f"won:{deposit.id}"))
            changes.append(_taken(lot, Msat(-lot.taken_msat)))
            left = Msat(left - lot.taken_msat)
    sinks = (
        (owed(deposit.pubkey), debt.owed_msat),
        (CARD_LOSSES, deposit.written_off_msat),
        (user(deposit.pubkey), debt.repaid_msat),
        (deposit.account, left),
    )
    for account, at_most in sinks:
        part = Msat(min(left, at_most))
        transfers += _moves(CARD_RECEIVABLE, account, part, f"won:{deposit.id}")
        left = Msat(left - part)
        if part and account == deposit.account:
            piece = Piece(deposit.id, deposit.created_at, part)
            changes.append(made(f"card/{deposit.id}/won/{deposit.version}", account, piece, cause=f"card/{deposit.id}"))
    return Journal(tuple(transfers), tuple(changes))


def plan_written_off(deposit: CardDeposit, debt: Debt) -> Journal:
    """Give up what is still owed for a disputed payment: it is the operator's loss."""
    loss = Msat(min(debt.owed_msat, deposit.amount_msat))
    return Journal(
        _moves(CARD_LOSSES, owed(deposit.pubkey), loss, f"written off:{deposit.id}"),
        (_step(deposit, DepositStep.WRITE_OFF, written_off_msat=loss),),
    )


def plan_deposit_reversed(node: Account, pubkey: str, amount_msat: Msat, has_msat: Msat) -> Journal:
    """Take a deposit in sats back that the chain has undone (E2): what is spent already is owed."""
    back = Msat(min(amount_msat, has_msat))
    return Journal(
        (
            *_moves(user(pubkey), node, back, "deposit reversed"),
            *_moves(owed(pubkey), node, Msat(amount_msat - back), "deposit reversed"),
        )
    )


def _in_turn(lots: Sequence[Lot]) -> list[Lot]:
    """Return card money before what was earned from it."""
    return sorted(lots, key=lambda lot: (lot.account.endswith("/maturing"), lot.id))


def _taken(lot: Lot, amount: Msat) -> Update:
    values = {"amount_msat": lot.amount_msat - amount, "taken_msat": lot.taken_msat + amount}
    return Update("lots", lot.id, values, expect={"version": lot.version})


def _step(deposit: CardDeposit, step: DepositStep, **values: int) -> Update:
    after = {"state": DEPOSIT.after(deposit.state, step).value, **values}
    return Update("card_deposits", deposit.id, after, expect={"version": deposit.version})


def _moves(debit: Account, credit: Account, amount: Msat, reason: str) -> tuple[Transfer, ...]:
    return (Transfer(debit, credit, amount, reason),) if amount else ()
