"""What a person owes for what, and what was paid on each debt in sats: read from the transfers of their debt. Pure.

All debts of a person stand on one account: card payments that were taken back, deposits that the
chain took back, referrals of jobs that were paid back. What they pay goes to the oldest debt
first. What belongs to one card payment (card money that came back to it, a loss that was written
off, a dispute that was won) goes to that payment's own debt first; what is more than that sets
free what had been paid on it in sats, which then pays for others. So what was paid in sats comes
back in sats, once, and card money never does (G5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wallet.accounts import owed, user

OF_CARDS = ("disputed", "won", "written off")  # reasons that name a card payment: `disputed:<id>`
_OTHER = ""  # every debt that is no card payment's


@dataclass(slots=True)
class Debt:
    """What is still owed for one thing."""

    deposit: str  # the card payment; '' for whatever is none's
    msat: int


@dataclass(slots=True)
class Debts:
    """The debts of one person, the oldest first, and what was paid on each in sats."""

    pubkey: str
    open: list[Debt] = field(default_factory=list)
    in_sats: Counter[str] = field(default_factory=Counter)  # by card payment, less what was given back

    def owed_for(self, deposit: str) -> int:
        """Return what is still owed for a card payment."""
        return sum(debt.msat for debt in self.open if debt.deposit == deposit)

    def add(self, transfer: Mapping[str, Any]) -> None:
        """Take the next transfer of the account, or one that gave sats back for a dispute that was won."""
        mine, deposit, msat = owed(self.pubkey), _deposit_of(transfer["reason"]), int(transfer["amount_msat"])
        if transfer["debit"] == mine:
            self.open.append(Debt(deposit, msat))
        elif transfer["credit"] != mine:
            self.in_sats[deposit] -= msat
        elif deposit == _OTHER:
            self._pays(msat, in_sats=msat if transfer["debit"] == user(self.pubkey) else 0)
        else:
            own = min(msat, self.owed_for(deposit))
            self._lessen(own, deposit)
            freed = min(msat - own, self.in_sats[deposit])
            self.in_sats[deposit] -= freed
            self._pays(msat - own, in_sats=freed)

    def _pays(self, msat: int, *, in_sats: int) -> None:
        """Let so much pay the oldest debts, the first of it in sats."""
        for debt in self.open:
            part = min(debt.msat, msat)
            sats = min(part, in_sats)
            debt.msat -= part
            self.in_sats[debt.deposit] += sats
            msat, in_sats = msat - part, in_sats - sats
        assert msat == 0, f"{self.pubkey} has paid {msat} msat more than was owed"

    def _lessen(self, msat: int, deposit: str) -> None:
        for debt in self.open:
            part = min(debt.msat, msat) if debt.deposit == deposit else 0
            debt.msat -= part
            msat -= part


def debts_of(pubkey: str, transfers: Iterable[Mapping[str, Any]]) -> Debts:
    """Return a person's debts as these transfers, in the order of the book, have left them."""
    debts = Debts(pubkey)
    for transfer in transfers:
        debts.add(transfer)
    return debts


def _deposit_of(reason: str) -> str:
    word, _, deposit = reason.partition(":")
    return deposit if word in OF_CARDS else _OTHER
