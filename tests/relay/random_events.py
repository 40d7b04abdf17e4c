"""Random events and filters from small worlds, so that they meet often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter, matches
from tests.relay.authors import ALICE, BOB, CAROL, NOW, in_order, note

Value = TypeVar("Value")

AUTHORS = (ALICE, BOB, CAROL)
KINDS = (1, 2, 7, 1059)  # regular ones: nothing replaces anything
LETTERS = "aetT"
VALUES = ("", "x", "y", ALICE.pubkey)
TIMES = range(NOW - 4, NOW + 1)

_SIGNED = [
    note(f"{number}", by=AUTHORS[number % 3], kind=KINDS[number % 4], at=NOW - number % 5, tags=tags)
    for number in range(60)
    for tags in [
        [["t", VALUES[number % 4]], ["e", VALUES[number % 3]]][: number % 3],
        [["T", "x"], ["t", "x", "y"], ["t", "y"], ["a"], ["word", "x"], ["t", "x"]][: number % 7],
    ]
]
POOL = list({event.id: event for event in _SIGNED}.values())  # signing new ones for each example would be slow


def events() -> st.SearchStrategy[Event]:
    """Return events of the pool."""
    return st.sampled_from(POOL)


def _some(values: Sequence[Value]) -> st.SearchStrategy[frozenset[Value] | None]:
    return st.none() | st.frozensets(st.sampled_from(values), max_size=3)


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    """Return any filter of this small world."""
    values = st.frozensets(st.sampled_from(VALUES), max_size=3)
    return Filter(
        ids=draw(st.none() | st.none() | st.frozensets(st.sampled_from([event.id for event in POOL]), max_size=20)),
        authors=draw(_some([author.pubkey for author in AUTHORS])),
        kinds=draw(_some(KINDS)),
        tags=draw(st.dictionaries(st.sampled_from(LETTERS), values, max_size=2)),
        since=draw(st.none() | st.sampled_from(TIMES)),
        until=draw(st.none() | st.sampled_from(TIMES)),
        limit=draw(st.none() | st.integers(0, 8) | st.just(500)),
    )


def naive_answer(events_: Sequence[Event], filters_: Sequence[Filter]) -> list[Event]:
    """Return what NIP-01 says: of each filter the newest up to its limit, together in order, each once."""
    found: dict[str, Event] = {}
    for filter_ in filters_:
        meeting = in_order([event for event in events_ if matches(filter_, event)])
        found.update({event.id: event for event in meeting[: filter_.limit]})
    return in_order(list(found.values()))
