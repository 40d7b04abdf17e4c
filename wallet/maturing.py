"""Earnings from card money become sats. Pure: lots and figures in, the Plan of each lot out.

A lot matures when its card payment can no longer be disputed, and only if the node's funds
still cover what we owe in sats afterwards: the card company's money lies in a bank, the
sats are the operator's own. Before that, the operator may advance lots out of capital, so
much a day; from then on a dispute is the operator's loss. Every Plan raises one counter, so
two processes do not spend the same cover.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wallet.accounts import CAPITAL, Account, user
from wallet.ledger import Change, Insert, Plan, Transfer, Update, Value
from wallet.lots import Lot
from wallet.money import Msat

Row = Mapping[str, Value]
COUNTER = "maturing"  # the row of `cursors` that every Plan here raises


@dataclass(frozen=True, slots=True)
class Cover:
    """What the node holds, and what we owe in sats: balances and escrows of users and companies."""

    funds_msat: Msat
    owed_msat: Msat

    @property
    def spare_msat(self) -> int:
        """Return what may become sats without owing more than the node holds."""
        return self.funds_msat - self.owed_msat


def next_matured(lots: Sequence[Lot], cover: Cover, counter: Row | None, *, now: int) -> Plan | None:
    """Return the Plan by which the first lot that is due and covered becomes sats; None if there is none."""
    due = (lot for lot in lots if lot.matures_at is not None and lot.matures_at <= now)
    lot = next((lot for lot in due if 0 < lot.amount_msat <= cover.spare_msat), None)
    if lot is None:
        return None
    return Plan(
        f"lot/{lot.id}/matured",
        (Transfer(lot.account, _sats_of(lot), lot.amount_msat, "matured"),),
        (_used(lot, lot.amount_msat), _counted(COUNTER, counter, int(lot.amount_msat))),
    )


def next_advanced(
    lots: Sequence[Lot], cover: Cover, counter: Row | None, today: Row | None, *, day: str, per_day: Msat
) -> Plan | None:
    """Return the Plan that advances the first lot, or what today's limit leaves of it; None if nothing may be."""
    spent = today["value"] if today is not None else 0
    assert isinstance(spent, int), f"advances of {day}: {spent}"
    for lot in lots:
        amount = Msat(min(lot.amount_msat, per_day - spent, cover.spare_msat))
        if amount > 0:
            return Plan(
                f"lot/{lot.id}/advanced/{lot.version}",
                (
                    Transfer(lot.account, CAPITAL, amount, "advanced"),
                    Transfer(CAPITAL, _sats_of(lot), amount, "advance"),
                ),
                (
                    _used(lot, amount),
                    _counted(COUNTER, counter, int(amount)),
                    _counted(f"advances/{day}", today, int(amount)),
                ),
            )
    return None


def _sats_of(lot: Lot) -> Account:
    return user(lot.account.split("/")[1])


def _used(lot: Lot, amount: Msat) -> Update:
    return Update("lots", lot.id, {"amount_msat": lot.amount_msat - amount}, expect={"version": lot.version})


def _counted(counter_id: str, row: Row | None, amount: int) -> Change:
    """Return the change that adds `amount` to a counter, guarded by what was read of it."""
    if row is None:
        return Insert("cursors", counter_id, {"value": amount})
    value = row["value"]
    assert isinstance(value, int), f"{counter_id} counts {value}"
    return Update("cursors", counter_id, {"value": value + amount}, expect={"version": row["version"]})
