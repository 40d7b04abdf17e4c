"""Which figures of a day may be published, and what is handed on to the next day. Pure.

The reader we defend against adds and subtracts everything that was ever published.
The rule, in the order in which it is applied (docs/accounts.md gives the reasons):

1. A cell *stands* on at least k accounts of which none has more than
   `dominance_percent` of it, over all the days that wait in it.
2. Cells of a group that do not stand fold into the group's `other`. If `other` does
   not stand either, the smallest standing cell joins it, then the next smallest.
3. A group is published whole or not at all, so there is never a rest that could be
   had by subtracting its cells from a sum known otherwise.
4. Groups that tell of the same money (`earned` and `jobs`) are published together
   or not at all: each would give away what the other withholds.
5. Figures are floored to the rounding unit. What is left over waits, as nobody's.

Whatever is not published waits under its own cell; no msat is lost or told twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from relaybot.accounting.carry import Amounts, Carry
from relaybot.nostr.flow_of_funds import (
    CELLS,
    LAYOUT,
    OTHER,
    WHOLE_PERCENT,
    CellName,
    DaySummary,
    Period,
    unit_of,
)

# What is charged for jobs is what is earned in all roles: one sum, seen from both sides.
TOGETHER = (("in",), ("earned", "jobs"), ("tips",), ("out",), ("fees",))

_Pending: TypeAlias = Mapping[CellName, Counter[str]]
_Plan: TypeAlias = Mapping[CellName, frozenset[CellName]]  # published cell → the cells whose money it tells


@dataclass(frozen=True, slots=True)
class Contributions:
    """Whose money moved in which cell in one period.

    `earned/platform` is counted by the customers who paid it, all other cells of
    `earned` by those who earned it; `jobs` by customers; `tips` by those who were given
    them; the rest by whose balance moved.
    """

    period: Period
    cells: Amounts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """How many people a figure needs, how much of it one of them may have, and how coarse it is."""

    k: int = 5
    dominance_percent: int = 80
    round_msat: int = 1_000
    demo: bool = False

    def __post_init__(self) -> None:
        assert self.k >= 1, f"k is {self.k}"
        assert 1 <= self.dominance_percent <= WHOLE_PERCENT, f"dominance is {self.dominance_percent} percent"
        assert self.round_msat >= 1, f"the rounding unit is {self.round_msat} msat"


def close_day(contributions: Contributions, carried: Carry, rules: Rules) -> tuple[DaySummary, Carry]:
    """Return what is published of this period and of what waited before, and what waits on.

    For every group: the figures published over any number of days and the carry after
    them sum to all that was contributed. Rejected for an unknown cell or a negative amount.
    """
    pending = carried.joined(contributions.cells)
    figures: dict[CellName, int | None] = dict.fromkeys(CELLS)
    waiting = dict(pending)
    remainders = dict(carried.remainders)
    for groups in TOGETHER:
        for cell, parts in _arrange_together(groups, pending, rules).items():
            value = sum(pending[part].total() for part in parts) + remainders.get(cell, 0)
            rest = value % unit_of(cell, rules.round_msat)
            figures[cell] = value - rest
            remainders[cell] = rest
            for part in parts:
                del waiting[part]
    summary = DaySummary(
        contributions.period, rules.k, rules.dominance_percent, rules.round_msat, figures, demo=rules.demo
    )
    carry = Carry(
        {cell: dict(amounts) for cell, amounts in waiting.items()},
        {cell: rest for cell, rest in remainders.items() if rest},
    )
    _check_conserved(pending, carried, summary, carry)
    return summary, carry


def stands(cell: CellName, amounts: Mapping[str, int], rules: Rules) -> bool:
    """Tell whether a figure may rest on these `amounts` by account."""
    total = sum(amounts.values())
    return (
        len(amounts) >= rules.k
        and max(amounts.values(), default=0) * WHOLE_PERCENT <= rules.dominance_percent * total
        and total >= unit_of(cell, rules.round_msat)
    )


def _arrange_together(groups: tuple[str, ...], pending: _Pending, rules: Rules) -> _Plan:
    """Return what linked groups publish: all of them everything, or nothing."""
    plan: dict[CellName, frozenset[CellName]] = {}
    for group in groups:
        cells = {cell: amounts for cell, amounts in pending.items() if cell[0] == group}
        arranged = _arrange(group, cells, rules)
        if cells and not arranged:
            return {}
        plan |= arranged
    return plan


def _arrange(group: str, cells: _Pending, rules: Rules) -> _Plan:
    """Return how one group is published whole; nothing if it cannot be."""
    other = (group, OTHER)
    standing = {cell for cell, amounts in cells.items() if cell != other and stands(cell, amounts, rules)}
    folded = cells.keys() - standing
    if folded and OTHER not in LAYOUT[group]:
        return {}
    for smallest in sorted(standing, key=lambda cell: (cells[cell].total(), cell)):
        if not folded or stands(other, _merged(cells, folded), rules):
            break
        standing.remove(smallest)
        folded |= {smallest}
    if folded and not stands(other, _merged(cells, folded), rules):
        return {}
    plan = {cell: frozenset({cell}) for cell in standing}
    return plan | ({other: frozenset(folded)} if folded else {})


def _merged(cells: _Pending, names: set[CellName]) -> Counter[str]:
    merged: Counter[str] = Counter()
    for name in names:
        merged.update(cells[name])  # a person in two cells is one person
    return merged


def _check_conserved(pending: _Pending, carried: Carry, summary: DaySummary, carry: Carry) -> None:
    for group in LAYOUT:
        names = [cell for cell in CELLS if cell[0] == group]
        before = sum(pending[cell].total() for cell in names if cell in pending)
        before += sum(carried.remainders.get(cell, 0) for cell in names)
        after = sum(summary.figures[cell] or 0 for cell in names)
        after += sum(sum(carry.accounts.get(cell, {}).values()) + carry.remainders.get(cell, 0) for cell in names)
        assert before == after, f"{group}: {before} msat came in, {after} msat are published or wait"
