"""Money that was paid in and may be taken back: card payments, disputes, reversed deposits, debts. Pure.

A dispute takes what is left of that payment's card money, then what was earned from it and
has not matured, then the payer owes the rest. Matured sats are never taken back. What a job
was holding comes back later and pays the debt then (`plan_collected`). A dispute may be about
a part of the payment, and that part may grow (a second refund) or shrink (one of two disputes is
won): only the difference moves. One that is lost changes nothing more: the debt stands until it is
paid or written off. One that is won gives everything back, also after that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    disputed_msat: Msat = NOTHING  # what the card company has taken back of it; 0 while it is good
    disputed_at: int = 0

    @classmethod
    def of_row(cls, row: Mapping[str, Value]) -> CardDeposit:
        """Return the payment that stands in a row of `card_deposits`."""
        found = cls(**{name: row[name] for name in cls.__slots__})  # type: ignore[arg-type]  # the table has these types
        return replace(found, state=DepositState(row["state"]))

    def untaken_msat(self, lots: Iterable[Lot]) -> Msat:
        """Return what was taken back of it and in no lot: what its payer has owed for it. `lots` are all of it."""
        return Msat(self.disputed_msat - sum(lot.taken_msat for lot in lots))


@dataclass(frozen=True, slots=True)
class Debt:
    """What a person owes us now, how much of it for the card payment in question, and what was paid on that in sats."""

    owed_msat: Msat
    own_msat: Msat = NOTHING
    repaid_msat: Msat = NOTHING  # and were not given back; how it is reckoned stands in `debts.py`


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
        "disputed_msat": deposit.disputed_msat,
        "disputed_at": deposit.disputed_at,
        "created_at": deposit.created_at,
    }
    bought = Transfer(CARD_RECEIVABLE, deposit.account, deposit.amount_msat, "card")
    transfers = (bought, *_moves(deposit.account, owed(deposit.pubkey), clears, "owed"))
    lots = (made(f"card/{deposit.id}", deposit.account, piece, cause=f"card/{deposit.id}"),) if left else ()
    return Journal(transfers, (Insert("card_deposits", deposit.id, row), *lots))


def plan_cleared(pubkey: str, debt: Debt, has_msat: Msat) -> Journal:
    """Pay a debt out of a top-up, as far as `has_msat` goes."""
    return Journal(_moves(user(pubkey), owed(pubkey), Msat(min(has_msat, debt.owed_msat)), "owed"))


def plan_disputed(deposit: CardDeposit, lots: Sequence[Lot], amount_msat: Msat | None = None, *, now: int) -> Journal:
    """Let the card company take a payment back: out of its card money, then of what matures, then as a debt.

    `lots` are those of this payment on users' and companies' accounts; `amount_msat` is all that is disputed
    or refunded of it now, the whole payment if None. What was taken before is not taken again.
    """
    disputed = deposit.amount_msat if amount_msat is None else amount_msat
    before = deposit.disputed_msat
    assert before <= disputed <= deposit.amount_msat, (
        f"{disputed} msat disputed of {deposit.amount_msat}, {before} so far"
    )
    transfers: list[Transfer] = []
    changes: list[Change] = [_step(deposit, DepositStep.DISPUTE, disputed_msat=disputed, disputed_at=now)]
    left = Msat(disputed - before)
    for lot in _in_turn(lots):
        part = Msat(min(lot.amount_msat, left))
        if part:
            transfers.append(Transfer(lot.account, CARD_RECEIVABLE, part, f"disputed:{deposit.id}"))
            changes.append(_taken(lot, part))
            left = Msat(left - part)
    transfers += _moves(owed(deposit.pubkey), CARD_RECEIVABLE, left, f"disputed:{deposit.id}")
    return Journal(tuple(transfers), tuple(changes))


def plan_collected(deposit: CardDeposit, lots: Sequence[Lot], debt: Debt) -> Journal:
    """Pay the debt with money of a disputed payment that has come back since, out of a job that held it.

    What was written off for it is made good after the debt. `lots` are those of
    `plan_disputed`, the ones that are used up included.
    """
    transfers: list[Transfer] = []
    changes: list[Change] = []
    may_take = deposit.untaken_msat(lots)
    owing, lost = Msat(min(debt.owed_msat, may_take)), deposit.written_off_msat
    lost = Msat(min(lost, may_take - owing))
    for lot in _in_turn(lots):
        to_debt = Msat(min(lot.amount_msat, owing))
        to_loss = Msat(min(lot.amount_msat - to_debt, lost))
        owing, lost = Msat(owing - to_debt), Msat(lost - to_loss)
        transfers += _moves(lot.account, owed(deposit.pubkey), to_debt, f"disputed:{deposit.id}")
        transfers += _moves(lot.account, CARD_LOSSES, to_loss, f"disputed:{deposit.id}")
        if to_debt or to_loss:
            changes.append(_taken(lot, Msat(to_debt + to_loss)))
    made_good = sum(one.amount_msat for one in transfers if one.credit == CARD_LOSSES)
    if made_good:
        changes.append(_written(deposit, written_off_msat=deposit.written_off_msat - made_good))
    return Journal(tuple(transfers), tuple(changes))


def plan_dispute_lost(deposit: CardDeposit) -> Journal:
    """Note that the card company keeps what it took back; what is owed for it stays owed."""
    return Journal(changes=(_step(deposit, DepositStep.LOSE),))


def plan_dispute_won(deposit: CardDeposit, lots: Sequence[Lot], debt: Debt) -> Journal:
    """Give back what the dispute took: to whom it was taken from, then off the debt.

    If the debt is less by now, what was written off is undone; then the payer gets what
    they paid on it in sats as sats, and the rest as card money.
    """
    transfers, changes, _ = _given_back(deposit, lots, debt, deposit.disputed_msat)
    return Journal(transfers, (_step(deposit, DepositStep.WIN, written_off_msat=0, disputed_msat=0), *changes))


def plan_part_back(deposit: CardDeposit, lots: Sequence[Lot], debt: Debt, amount_msat: Msat) -> Journal:
    """Give back what is taken beyond `amount_msat`, all that is disputed or refunded now: what was taken last first."""
    back = Msat(deposit.disputed_msat - amount_msat)
    assert 0 < back < deposit.disputed_msat, f"{amount_msat} msat are still disputed of {deposit.disputed_msat}"
    transfers, changes, undone = _given_back(deposit, lots, debt, back)
    left = {"written_off_msat": deposit.written_off_msat - undone, "disputed_msat": amount_msat}
    return Journal(transfers, (_written(deposit, **left), *changes))


def _given_back(
    deposit: CardDeposit, lots: Sequence[Lot], debt: Debt, back: Msat
) -> tuple[tuple[Transfer, ...], tuple[Change, ...], Msat]:
    """Return how `back` goes to where it was taken from, what was taken last first, and what it undoes of a loss."""
    transfers: list[Transfer] = []
    changes: list[Change] = []
    owed_msat = Msat(min(back, deposit.untaken_msat(lots)))
    to_lots = Msat(back - owed_msat)
    for lot in reversed(_in_turn(lots)):
        part = Msat(min(lot.taken_msat, to_lots))
        if part:
            transfers.append(Transfer(CARD_RECEIVABLE, lot.account, part, f"won:{deposit.id}"))
            changes.append(_taken(lot, Msat(-part)))
            to_lots = Msat(to_lots - part)
    left, others = owed_msat, Msat(max(0, min(owed_msat, debt.owed_msat) - debt.own_msat))
    sinks = (
        (owed(deposit.pubkey), debt.owed_msat),
        (CARD_LOSSES, deposit.written_off_msat),
        (user(deposit.pubkey), Msat(max(0, debt.repaid_msat - others))),  # some of it has paid for others just now
        (deposit.account, left),
    )
    undone = NOTHING
    for account, at_most in sinks:
        part = Msat(min(left, at_most))
        transfers += _moves(CARD_RECEIVABLE, account, part, f"won:{deposit.id}")
        left = Msat(left - part)
        undone = part if account == CARD_LOSSES else undone
        if part and account == deposit.account:
            piece = Piece(deposit.id, deposit.created_at, part)
            changes.append(made(f"card/{deposit.id}/won/{deposit.version}", account, piece, cause=f"card/{deposit.id}"))
    return tuple(transfers), tuple(changes), undone


def plan_written_off(deposit: CardDeposit, lots: Sequence[Lot], debt: Debt) -> Journal:
    """Give up what is still owed for a disputed payment: it is the operator's loss.

    No more than this payment can be owed for: a person may have other debts. `lots` are
    all of it.
    """
    loss = Msat(min(debt.owed_msat, deposit.untaken_msat(lots) - deposit.written_off_msat))
    return Journal(
        _moves(CARD_LOSSES, owed(deposit.pubkey), loss, f"written off:{deposit.id}"),
        (_step(deposit, DepositStep.WRITE_OFF, written_off_msat=deposit.written_off_msat + loss),),
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
    return _written(deposit, state=DEPOSIT.after(deposit.state, step).value, **values)


def _written(deposit: CardDeposit, **values: str | int) -> Update:
    return Update("card_deposits", deposit.id, values, expect={"version": deposit.version})


def _moves(debit: Account, credit: Account, amount: Msat, reason: str) -> tuple[Transfer, ...]:
    return (Transfer(debit, credit, amount, reason),) if amount else ()
