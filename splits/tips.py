"""Who gets what of a tip: money that is given, not charged, so that a price says nothing about it.

A tip to an agent goes to the people its split names, in proportion to what they get of its
price; metered parts and compute nodes share in tips on a result only, for only a result
tells who they were. A tip on a result goes to whoever was paid for it, in proportion. The
platform takes its percentage and what flooring leaves. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from splits.compute import Part, compute
from splits.model import WHOLE, Millionths
from splits.resolved import ResolvedSplit
from wallet.money import Msat

REFERRER = "referrer"  # referrers are paid for charges, not for gifts

Weights = Mapping[tuple[str, str], int]  # (hex pubkey, role) → what they got of the charge, in msat


def weights_of(split: ResolvedSplit, *, now: int) -> Weights:
    """Return what each person that a split names gets of its least price, nodes and usage left out."""
    parts = compute(
        split, charge_msat=split.price_min, worker=None, referrers={}, payer_referrer=None, usage=None, now=now
    )
    weights: Counter[tuple[str, str]] = Counter()
    for part in parts:
        if part.to is not None:
            weights[part.to, part.role] += part.amount_msat
    return +weights


def share_out(tip_msat: Msat, weights: Weights, *, platform: Millionths) -> tuple[Part, ...]:
    """Return the parts of a tip, the platform's last; they sum to it exactly.

    Each is floored to the msat and depends on the weights alone, not on their order. With
    no weights at all the platform keeps everything.
    """
    assert tip_msat > 0, f"a tip of {tip_msat} msat"
    shared = tip_msat - tip_msat * platform // WHOLE
    whole = sum(weights.values())
    parts = tuple(
        Part(f"tip.{role}", role, pubkey, Msat(shared * weight // whole))
        for (pubkey, role), weight in sorted(weights.items())
        if weight > 0
    )
    kept = tip_msat - sum(part.amount_msat for part in parts)
    return (*(part for part in parts if part.amount_msat), Part("tip.platform", "platform", None, Msat(kept)))
