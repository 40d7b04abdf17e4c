"""What a split is to the public: which role gets what part of the price. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from splits.compute import Part, compute
from splits.model import WHOLE, WORKER, Millionths
from splits.resolved import Pot, ResolvedSplit

SOMEBODY = "somebody's referrer"
_ENDLESS = 10**12  # of a unit: enough for every metered part to be at its limit


def parts_by_role(split: ResolvedSplit, *, now: int) -> dict[str, Millionths]:
    """Return each role's part of the highest price, in millionths, the largest first.

    Somebody does the work, everybody was referred, and everything metered is at its limit;
    where nobody referred anybody, that part is the rest's. What flooring leaves is nobody's.
    """
    charge, parts = split.price_max, parts_at_most(split, now=now)
    amounts: Counter[str] = Counter()
    for part in parts:
        amounts[part.role] += part.amount_msat
    found = ((role, Millionths(msat * WHOLE // charge)) for role, msat in amounts.most_common())
    return {role: part for role, part in found if part}


def parts_at_most(split: ResolvedSplit, *, now: int) -> tuple[Part, ...]:
    """Return the parts of the highest price; `$worker` does the work, and everybody was referred by SOMEBODY."""
    return compute(
        split,
        charge_msat=split.price_max,
        worker=WORKER,
        referrers=dict.fromkeys((*split.people(), WORKER), SOMEBODY),
        payer_referrer=SOMEBODY,
        usage=dict.fromkeys(_units(split), _ENDLESS),
        now=now,
    )


def format_percent(part: Millionths) -> str:
    """Show millionths as percent, floored to two decimals: `16.66`."""
    hundredths = part // 100
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _units(split: ResolvedSplit) -> Iterator[str]:
    if split.price.meter is not None:
        yield split.price.meter.unit
    yield from _units_of(split.pot)


def _units_of(pot: Pot) -> Iterator[str]:
    for share in pot.shares:
        if share.meter is not None:
            yield share.meter.unit
        if share.pot is not None:
            yield from _units_of(share.pot)
