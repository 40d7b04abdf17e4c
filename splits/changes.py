"""What a new version changes for whom, line by line: for the operator who approves it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from splits.model import PLATFORM, WORKER
from splits.resolved import Pot, ResolvedSplit
from splits.shown import parts_at_most
from splits.wording import REST, share_in_words
from wallet.money import Msat, format_sat

NOBODY = "nothing"

Taker = tuple[str, str]  # who ($worker, $platform, a hex key, or a referrer in words), and as what


@dataclass(frozen=True, slots=True)
class Line:
    """What one taker has of it in one role, before and after; `note` is new, gone, more, less, changed or same."""

    who: str
    role: str
    before: str
    after: str
    note: str


def changes_of_agent(old: ResolvedSplit | None, new: ResolvedSplit, *, now: int) -> tuple[Line, ...]:
    """Return what each gets of the highest price; everybody is there, and everything metered at its limit."""
    before = {} if old is None else earned(old, now=now)
    after = earned(new, now=now)

    def line(taker: Taker) -> Line:
        had, has = before.get(taker, Msat(0)), after.get(taker, Msat(0))
        note = "same" if had == has else "more" if has > had else "less"
        note = "new" if taker not in before else "gone" if taker not in after else note
        return Line(*taker, _amount(had), _amount(has), note)

    return tuple(line(taker) for taker in _in_order(after, before))


def changes_of_skill(old: Pot | None, new: Pot) -> tuple[Line, ...]:
    """Return by which rules each is paid: what they come to depends on the agent that uses the skill."""
    before, after = {} if old is None else _rules(old), _rules(new)

    def line(taker: Taker) -> Line:
        had, has = before.get(taker, NOBODY), after.get(taker, NOBODY)
        note = "new" if taker not in before else "gone" if taker not in after else "same" if had == has else "changed"
        return Line(*taker, had, has, note)

    return tuple(line(taker) for taker in _in_order(after, before))


def earned(split: ResolvedSplit, *, now: int) -> Mapping[Taker, Msat]:
    """Return what each gets of the highest price."""
    found: defaultdict[Taker, int] = defaultdict(int)
    for part in parts_at_most(split, now=now):
        found[part.to or PLATFORM, part.role] += part.amount_msat
    return {taker: Msat(msat) for taker, msat in found.items() if msat}


def _rules(pot: Pot) -> Mapping[Taker, str]:
    found: defaultdict[Taker, list[str]] = defaultdict(list)
    for taker, rule in _each_rule(pot, "", outer=True):
        found[taker].append(rule)
    return {taker: " and ".join(rules) for taker, rules in found.items()}


def _each_rule(pot: Pot, within: str, *, outer: bool) -> Iterator[tuple[Taker, str]]:
    for share in pot.shares:
        words = share_in_words(share) + within
        if share.to is not None:
            yield (share.to, share.role), words
        if share.pot is not None:
            yield from _each_rule(share.pot, f", of {words}", outer=False)
    if not outer:
        yield (pot.rest, pot.role), REST + within


def _amount(msat: Msat) -> str:
    return format_sat(msat) if msat else NOBODY


def _in_order(*sides: Mapping[Taker, object]) -> list[Taker]:
    """Return every taker once: people by key, then the node and the platform."""
    takers = {taker for side in sides for taker in side}
    return sorted(takers, key=lambda taker: (taker[0] in {WORKER, PLATFORM}, taker))
