"""What was published: the verified 37170 events of one key, and their sums over days.

The pages are made of this and of nothing else; the book is out of reach here. A
reader with a relay and the books' public key can do the same sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from relaybot.errors import Rejected
from relaybot.nostr.event import Event, event_id
from relaybot.nostr.flow_of_funds import (
    CELLS,
    DAY_SECONDS,
    LAYOUT,
    CellName,
    DaySummary,
    day_period,
    parse_summary,
    previous_of,
)
from relaybot.nostr.keys import verify


@dataclass(frozen=True, slots=True)
class PublishedDay:
    """One day's summary and the event that says it."""

    summary: DaySummary
    event_id: str
    published_at: int
    previous: str | None = None  # the id of the event before it, as it says

    @property
    def day(self) -> str:
        """Return the UTC day: `2026-11-22`."""
        return self.summary.day


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures of one or more days; None stands where no day has a figure."""

    figures: Mapping[CellName, int | None]

    def cell(self, group: str, name: str) -> int | None:
        """Return the figure of one cell."""
        return self.figures[group, name]

    def group(self, group: str) -> int | None:
        """Return the sum of a group's figures: a group is published whole or not at all."""
        return _sum(self.figures[group, name] for name in LAYOUT[group])


class PublishedAccounts:
    """The days published by one key, each once."""

    def __init__(self, author: str) -> None:
        """Accept events of `author` (hex) only."""
        self.author = author
        self._days: dict[str, PublishedDay] = {}

    def add(self, event: Event) -> bool:
        """Take in one event, and tell whether it was new.

        Rejected if it is another author's, forged, malformed, or a second one for
        a day: a summary is never issued again.
        """
        if event.pubkey != self.author:
            raise Rejected("invalid", "summary is not from the key of the books", found=event.pubkey)
        identity = event_id(event.pubkey, event.created_at, event.kind, event.tags, event.content)
        if identity != event.id or not verify(event):
            raise Rejected("invalid", "summary is forged", found=event.id)
        summary = parse_summary(event)
        known = self._days.get(summary.day)
        if known is not None and known.event_id != event.id:
            raise Rejected("duplicate", "day was published before", day=summary.day, first=known.event_id)
        self._days[summary.day] = PublishedDay(summary, event.id, event.created_at, previous_of(event))
        return known is None

    @property
    def count(self) -> int:
        """Return how many days are published; days are never changed or taken away."""
        return len(self._days)

    def days(self) -> Sequence[PublishedDay]:
        """Return all days, oldest first."""
        return sorted(self._days.values(), key=lambda published: published.day)

    def missing(self) -> Sequence[str]:
        """Return the days whose event names one before it that is not here: that one was left out, or taken away."""
        known = {published.event_id for published in self._days.values()}
        return [one.day for one in self.days() if one.previous is not None and one.previous not in known]

    def day(self, day: str) -> PublishedDay | None:
        """Return the day `2026-11-22`, if it was published."""
        return self._days.get(day)


def week_of(days: Sequence[PublishedDay]) -> Sequence[PublishedDay]:
    """Return those of `days` that lie in the seven calendar days up to the last of them."""
    if not days:
        return days
    before = day_period(days[-1].day).end - 7 * DAY_SECONDS
    return [published for published in days if day_period(published.day).start >= before]


def totals(days: Iterable[PublishedDay]) -> Totals:
    """Return the sums over `days`."""
    every = list(days)
    return Totals({cell: _sum(published.summary.figures[cell] for published in every) for cell in CELLS})


def _sum(figures: Iterable[int | None]) -> int | None:
    standing = [figure for figure in figures if figure is not None]
    return sum(standing) if standing else None
