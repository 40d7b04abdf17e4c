"""Answers that are given at once: an index says which events they are, memory holds their JSON.

Most questions read some hundred entries of an index: handing them to another thread costs
more than answering them. So they are answered on the loop, in tens of microseconds, within
a bound of steps; what needs more is given back to be asked of a reader (events.py). What is
stored under a number never changes and no number is used twice, so what memory holds of it
is true for ever; whether it is still stored is said by the index each time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from relaybot.nostr.filters import Filter
from relaybot.relay import queries
from relaybot.relay.queries import Statement

STEPS_MAX = 20_000  # of SQLite's machine, for one question; about a millisecond
REMEMBERED_BYTES_MAX = 33_554_432  # of JSON held in memory: some 50,000 usual events
READ_AT_ONCE = 32  # events that are not remembered, in one step

_PUBKEY = b'"pubkey":"'  # in JSON without whitespace this stands nowhere else: in strings, quotation marks are escaped
_PUBKEY_DIGITS = 64


class QuickAnswers:
    """Answers from one connection, used on the loop only."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Take a connection for reading."""
        self._connection = connection
        self._steps = 0
        self._raws: dict[str, bytes] = {}  # by seq, as SQL lists it; the first in goes first
        self._bytes = 0
        connection.set_progress_handler(self._shall_give_up, STEPS_MAX // 2)

    def answer(self, filters: Sequence[Filter], bytes_max: int) -> list[bytes] | None:
        """Return the JSON of what meets any of `filters`, in NIP-01's order.

        None if that takes more steps or bytes than may be spent here, or cannot be read now.
        """
        try:
            one = queries.build_one(filters)
            if one is not None:
                return [raw for (raw,) in self._rows(one)]
            plans = [self._plan(filter_) for filter_ in filters]
            (listed,) = self._row(queries.build_numbers(plans, whole_keys=len(plans) > 1))
            raws = self._read(listed.split(","), bytes_max) if listed is not None else []
        except sqlite3.Error:  # too long, or the disk: whoever is asked next finds out and says so
            return None
        filter_, choice = plans[0]
        if raws and len(plans) == 1 and choice == queries.AUTHORS and not _are_by(raws, filter_.authors or ()):
            return None  # somebody's key begins as another's
        return raws

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _plan(self, filter_: Filter) -> tuple[Filter, str | None]:
        """Return the filter, with the kinds there are if it names none, and by which condition it is looked up."""
        choices = [] if filter_.ids is not None else queries.choices(filter_)
        if not choices:
            return filter_, None
        choice = choices[0]
        if len(choices) > 1:
            choice = min(zip(self._row(queries.probe(filter_)), range(len(choices)), choices, strict=True))[2]
        lookup = queries.kinds_of(filter_, choice) if filter_.kinds is None else None
        if lookup is None:
            return filter_, choice
        (listed,) = self._row(lookup)
        return replace(filter_, kinds=frozenset(map(int, listed.split(","))) if listed else frozenset()), choice

    def _read(self, numbers: Sequence[str], bytes_max: int) -> list[bytes] | None:
        """Return the JSON under these numbers; None if it is more than `bytes_max`."""
        known = self._raws
        missing = [number for number in numbers if number not in known]
        if missing:
            fresh: dict[str, bytes] = {}
            for start in range(0, len(missing), READ_AT_ONCE):
                page = Statement(queries.PAGE_SQL, (f"[{','.join(missing[start : start + READ_AT_ONCE])}]",))
                listed, joined = self._row(page)
                if joined is not None:  # else they were deleted meanwhile
                    fresh.update(zip(listed.split(","), joined.split(b"\n"), strict=True))
                if sum(map(len, fresh.values())) > bytes_max:
                    return None
            raws = [raw for number in numbers if (raw := fresh.get(number) or known.get(number)) is not None]
            self._remember(fresh)
        else:
            raws = [known[number] for number in numbers]
        return raws if sum(map(len, raws)) <= bytes_max else None

    def _remember(self, fresh: dict[str, bytes]) -> None:
        self._raws.update(fresh)
        self._bytes += sum(map(len, fresh.values()))
        while self._bytes > REMEMBERED_BYTES_MAX:
            self._bytes -= len(self._raws.pop(next(iter(self._raws))))

    def _row(self, statement: Statement) -> tuple[Any, ...]:
        return self._rows(statement)[0]

    def _rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        self._steps = 0
        return self._connection.execute(statement.sql, statement.values).fetchall()

    def _shall_give_up(self) -> bool:
        """Tell SQLite whether to interrupt; called within the first half of the steps, then after each half."""
        self._steps += 1
        return self._steps > 1


def _are_by(raws: Iterable[bytes], authors: Iterable[str]) -> bool:
    """Tell whether all events are of these authors."""
    keys = {author.encode() for author in authors}
    if len(keys) == 1:
        of_one = _PUBKEY + keys.pop()
        return all(of_one in raw for raw in raws)
    starts = [(raw, raw.find(_PUBKEY) + len(_PUBKEY)) for raw in raws]
    return all(raw[start : start + _PUBKEY_DIGITS] in keys for raw, start in starts)
