"""Kind 37170, "flow-of-funds/1": the published summary of one UTC day, as words.

Here stand the layout of its cells, the tags, the canonical content, and the checks
of a strict reader. What may stand in a cell is decided in `relaybot/accounting/`;
docs/accounts.md explains both to people. Signatures are checked by `keys.verify`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from relaybot.errors import Rejected
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from wallet.money import MAX_MSAT

KIND = 37170
SCHEMA = "flow-of-funds/1"
DAY_SECONDS = 86_400

CellName: TypeAlias = tuple[str, str]  # (group, name): ("in", "lightning"), ("earned", "model")

OTHER = "other"
ROLES = ("compute", "model", "data", "algorithm", "api", "app", "educator", "referrer", "platform")
LAYOUT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "in": ("lightning", "onchain", "card", OTHER),
        "earned": (*ROLES, OTHER),
        "out": ("lightning", "onchain", OTHER),
        "jobs": ("count", "charged"),
        "tips": ("given",),
        "fees": ("routing", "onchain", OTHER),
    }
)
CELLS: tuple[CellName, ...] = tuple((group, name) for group, names in LAYOUT.items() for name in names)
JOBS_COUNT: CellName = ("jobs", "count")  # the only cell that counts things instead of msat

DEMO_NOTE = "demonstration: k, dominance or period are not those of real accounts"

K_MAX = 1_000_000  # more people than that is a typing error
WHOLE_PERCENT = 100

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_FIGURE = re.compile(r"[1-9]\d{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Period:
    """The seconds a summary speaks of: `start` belongs to it, `end` does not."""

    start: int
    end: int

    @property
    def day(self) -> str:
        """Return the UTC day in which the last second lies: `2026-11-22`."""
        return datetime.fromtimestamp(self.end - 1, UTC).date().isoformat()


@dataclass(frozen=True, slots=True)
class DaySummary:
    """What one event says: the rule it was made by, and a figure or None (withheld) for each cell of LAYOUT.

    Figures are msat, in whole `round_msat`; `jobs/count` is a number of jobs. `demo`
    says that the rule or the period is that of a demonstration.
    """

    period: Period
    k: int
    dominance_percent: int
    round_msat: int
    figures: Mapping[CellName, int | None]
    demo: bool = False

    @property
    def day(self) -> str:
        """Return the UTC day: `2026-11-22`."""
        return self.period.day


def day_period(day: str) -> Period:
    """Return the whole UTC day `2026-11-22`; Rejected if there is no such day."""
    try:
        parsed = date.fromisoformat(day if _DAY.fullmatch(day) else "")
    except ValueError:
        raise Rejected("invalid", "no such day", field="d", found=day[:40]) from None
    start = (parsed - date(1970, 1, 1)) // timedelta(seconds=1)
    return Period(start, start + DAY_SECONDS)


_LAST_DAY = day_period("9999-12-31")


def unit_of(cell: CellName, round_msat: int) -> int:
    """Return what the figure of `cell` is a multiple of: one job, or the rounding unit."""
    return 1 if cell == JOBS_COUNT else round_msat


def build_summary(keypair: KeyPair, summary: DaySummary, now: int, *, previous: str = "") -> Event:
    """Sign the event of one day, which names the one before it by its id, if there was one.

    Rejected, naming the field, if a strict reader would refuse it.
    """
    _check(summary, now)
    tags = [
        ["d", f"day:{summary.day}"],
        ["period", str(summary.period.start), str(summary.period.end)],
        ["schema", SCHEMA],
        ["k", str(summary.k)],
        ["dominance", str(summary.dominance_percent)],
        ["round", str(summary.round_msat)],
        *([["e", previous, "", "prev"]] if previous else []),
        *([["demo", DEMO_NOTE]] if summary.demo else []),
        ["alt", f"Flow of funds on {summary.day} (UTC): totals of what came in, was earned and was paid out"],  # NIP-31
    ]
    return keypair.sign(kind=KIND, content=encode_figures(summary.figures), tags=tags, created_at=now)


def parse_summary(event: Event) -> DaySummary:
    """Read the event of one day; Rejected names the first `field` that is wrong.

    Tags this version does not know are passed over. The signature is not looked at.
    """
    if event.kind != KIND:
        raise _wrong("kind", event.kind)
    if _single(event, "schema") != (SCHEMA,):
        raise _wrong("schema", event.tag("schema"))
    summary = DaySummary(
        period=_period(event),
        k=_number(event, "k"),
        dominance_percent=_number(event, "dominance"),
        round_msat=_number(event, "round"),
        figures=decode_figures(event.content),
        demo=bool(event.tags_named("demo")),
    )
    _check(summary, event.created_at)
    if _single(event, "d") != (f"day:{summary.day}",):
        raise _wrong("d", event.tag("d"))
    return summary


def previous_of(event: Event) -> str | None:
    """Return the id of the summary that was published before this one, if it names one."""
    return next((tag[1] for tag in event.tags_named("e") if tag[3:] == ("prev",)), None)


def encode_figures(figures: Mapping[CellName, int | None]) -> str:
    """Return the content: strings of digits or null, in the canonical form of RFC 8785."""
    content: dict[str, dict[str, str | None]] = {group: {} for group in LAYOUT}
    for (group, name), figure in figures.items():
        content.setdefault(group, {})[name] = None if figure is None else str(figure)
    return msgspec.json.encode(content, order="sorted").decode()


def decode_figures(content: str) -> dict[CellName, int | None]:
    """Read the content; Rejected unless it is exactly what `encode_figures` writes for LAYOUT."""
    try:
        groups = msgspec.json.decode(content, type=dict[str, dict[str, str | None]])
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise Rejected("invalid", "not a summary", field="content", problem=str(error)[:120]) from None
    found = {(group, name): text for group, names in groups.items() for name, text in names.items()}
    if found.keys() != set(CELLS) or groups.keys() != LAYOUT.keys():
        raise _wrong("content", sorted(found.keys() ^ set(CELLS))[:5])
    figures = {cell: _figure(cell, found[cell]) for cell in CELLS}
    if encode_figures(figures) != content:  # no second spelling, no name twice
        raise Rejected("invalid", "not in canonical form", field="content")
    return figures


def _figure(cell: CellName, text: str | None) -> int | None:
    if text is None:
        return None
    if not _FIGURE.fullmatch(text):  # 0 is refused too: what does not stand is null
        raise _wrong(f"content.{cell[0]}.{cell[1]}", text)
    return int(text)


def _period(event: Event) -> Period:
    match _single(event, "period"):
        case (start, end) if _FIGURE.fullmatch(start) and _FIGURE.fullmatch(end):
            return Period(int(start), int(end))
        case values:
            raise _wrong("period", values)


def _number(event: Event, name: str) -> int:
    match _single(event, name):
        case (value,) if _FIGURE.fullmatch(value):
            return int(value)
        case values:
            raise _wrong(name, values)


def _single(event: Event, name: str) -> tuple[str, ...]:
    tags = event.tags_named(name)
    if len(tags) != 1:
        raise Rejected("invalid", "tag must stand once", field=name, found=len(tags))
    return tags[0][1:]


def _check(summary: DaySummary, published_at: int) -> None:
    """Hold what is said by building and by parsing alike."""
    _check_period(summary, published_at)
    if not 1 <= summary.k <= K_MAX:
        raise _wrong("k", summary.k)
    if not 1 <= summary.dominance_percent <= WHOLE_PERCENT:
        raise _wrong("dominance", summary.dominance_percent)
    if not 1 <= summary.round_msat <= MAX_MSAT:
        raise _wrong("round", summary.round_msat)
    if summary.figures.keys() != set(CELLS):
        raise _wrong("content", sorted(summary.figures.keys() ^ set(CELLS))[:5])
    for cell, figure in summary.figures.items():
        unit = unit_of(cell, summary.round_msat)
        if figure is not None and not (0 < figure <= MAX_MSAT and figure % unit == 0):
            raise _wrong(f"content.{cell[0]}.{cell[1]}", figure)


def _check_period(summary: DaySummary, published_at: int) -> None:
    """Hold a real day to be told whole, and after its end; a demonstration may tell a part of it."""
    period = summary.period
    known_until = published_at + summary.demo  # the second that is running may belong to a demonstration
    if not 0 < period.start < period.end <= min(known_until, _LAST_DAY.end):
        raise _wrong("period", (period.start, period.end))
    if not summary.demo and period != day_period(period.day):
        raise _wrong("period", (period.start, period.end))


def _wrong(field: str, found: object) -> Rejected:
    return Rejected("invalid", "summary has a wrong field", field=field, found=str(found)[:80])
