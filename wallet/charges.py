"""The money of one job: hold, capture, release. Pure; each returns the transfers of one Plan.

A hold is an ordinary transfer into an escrow named after its cause. Capture and release
are transfers out of it, and leave it empty: the invariant of a finished job.
"""

from __future__ import annotations

from collections.abc import Sequence

from splits.compute import Part
from wallet.accounts import REVENUE, Class, hold, user
from wallet.ledger import Transfer
from wallet.money import Msat


def plan_hold(cause: str, *, payer: str, price_msat: Msat) -> tuple[Transfer, ...]:
    """Move the price from the payer's balance into the escrow of `cause`."""
    return (Transfer(user(payer), hold(cause), price_msat, "hold"),)


def plan_capture(cause: str, *, payer: str, held_msat: Msat, parts: Sequence[Part]) -> tuple[Transfer, ...]:
    """Pay every part out of the escrow of `cause`, and give back what the charge did not need.

    The reason of each transfer is `role:path`, so that every sum can be explained from
    the split that is stored with the job.
    """
    charged = sum(part.amount_msat for part in parts)
    assert 0 <= charged <= held_msat, f"{cause}: {charged} msat charged of {held_msat} held"
    shares = tuple(
        Transfer(
            hold(cause),
            user(part.to) if part.to is not None else REVENUE[Class.SATS],
            part.amount_msat,
            f"{part.role}:{part.path}",
        )
        for part in parts
        if part.amount_msat > 0
    )
    return shares + _give_back(cause, payer, Msat(held_msat - charged), "unused")


def plan_release(cause: str, *, payer: str, held_msat: Msat) -> tuple[Transfer, ...]:
    """Give everything in the escrow of `cause` back to the payer; nothing, if nothing was held."""
    return _give_back(cause, payer, held_msat, "release")


def _give_back(cause: str, payer: str, amount_msat: Msat, reason: str) -> tuple[Transfer, ...]:
    return (Transfer(hold(cause), user(payer), amount_msat, reason),) if amount_msat > 0 else ()
