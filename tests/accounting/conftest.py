"""Days in words, and a signer of summaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

from relaybot.accounting.carry import Carry
from relaybot.accounting.closing import Contributions, Rules, close_day
from relaybot.nostr.flow_of_funds import CellName, DaySummary, Period, day_period
from relaybot.nostr.keys import KeyPair

Cells: TypeAlias = dict[CellName, dict[str, int]]

BOOKS = KeyPair(bytes(31) + b"\x07")
NOVEMBER_22 = day_period("2026-11-22")
STRICT = Rules(k=5, dominance_percent=80, round_msat=1_000)


def people(*names: str, each: int) -> dict[str, int]:
    """Return the same amount for everybody named."""
    return dict.fromkeys(names, each)


def closed(cells: Cells, rules: Rules = STRICT, carried: Carry | None = None) -> tuple[DaySummary, Carry]:
    """Close 22 November with these cells."""
    return close_day(Contributions(NOVEMBER_22, cells), carried or Carry(), rules)


def closed_days(days: Sequence[Cells], rules: Rules) -> list[tuple[DaySummary, Carry]]:
    """Close one day after the other, each with what the one before handed on."""
    carry = Carry()
    results = []
    for number, cells in enumerate(days):
        start = NOVEMBER_22.start + number * 86_400
        summary, carry = close_day(Contributions(Period(start, start + 86_400), cells), carry, rules)
        results.append((summary, carry))
    return results


def whole(group: str, cells: Cells) -> int:
    """Return all that a group holds."""
    return sum(sum(amounts.values()) for cell, amounts in cells.items() if cell[0] == group)


def job(customer: str, shares: dict[str, tuple[str, int]], *, platform: int) -> Cells:
    """Return what one job adds: `shares` are role → (contributor, msat)."""
    charged = platform + sum(amount for _, amount in shares.values())
    return {
        ("jobs", "count"): {customer: 1},
        ("jobs", "charged"): {customer: charged},
        ("earned", "platform"): {customer: platform},
        **{("earned", role): {person: amount} for role, (person, amount) in shares.items()},
    }


def together(*many: Cells) -> Cells:
    """Return the sum of many cells."""
    summed: dict[CellName, Counter[str]] = {}
    for cells in many:
        for cell, amounts in cells.items():
            summed.setdefault(cell, Counter()).update(amounts)
    return {cell: dict(amounts) for cell, amounts in summed.items()}
