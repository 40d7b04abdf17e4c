"""The store keeps and answers what a naive relay keeps and answers, whatever comes in whatever order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.relay import events as events_module
from tests.relay.authors import ALICE, BOB, NOW, note
from tests.relay.naive import DELETION, NaiveRelay, has_address
from tests.relay.test_queries import answer, opened, written_to

PEOPLE = (ALICE, BOB)
KINDS = (0, 1, 3, 10_002, 30_023, 39_999)  # replaceable, regular, addressable
TIMES = (NOW - 2, NOW - 1, NOW)  # few, so that there are ties
TAGS = ([["d", "x"], ["t", "x"]], [["t", "y"]])

NOTES = [
    note(content, by=by, kind=kind, at=at, tags=tags)
    for by, kind, at, content, tags in itertools.product(PEOPLE, KINDS, TIMES, "ab", TAGS)
]
REQUESTS = [
    note(by=by, kind=DELETION, at=at, tags=[[name, event.address() if name == "a" else event.id] for event in targets])
    for by, at, name, start in itertools.product(PEOPLE, TIMES, "ea", range(0, len(NOTES), 12))
    for targets in [[event for event in NOTES[start : start + 12 : 5] if name == "e" or has_address(event)]]
]


def arrivals() -> st.SearchStrategy[list[list[Event]]]:
    """Return batches of what comes in: notes, some of them again, and requests to delete notes of anybody."""
    event = st.sampled_from(NOTES) | st.sampled_from(NOTES) | st.sampled_from(REQUESTS)
    return st.lists(st.lists(event, min_size=1, max_size=20), max_size=6)


@st.composite
def questions(draw: st.DrawFn) -> list[Filter]:
    """Return a REQ of this small world."""
    return [
        Filter(
            ids=draw(st.none() | st.frozensets(st.sampled_from([event.id for event in NOTES]), max_size=30)),
            authors=draw(st.none() | st.frozensets(st.sampled_from([ALICE.pubkey, BOB.pubkey]))),
            kinds=draw(st.none() | st.frozensets(st.sampled_from((*KINDS, DELETION)), max_size=3)),
            tags=draw(st.dictionaries(st.sampled_from("dt"), st.frozensets(st.sampled_from("xyz")), max_size=2)),
            since=draw(st.none() | st.sampled_from(TIMES)),
            until=draw(st.none() | st.sampled_from(TIMES)),
            limit=draw(st.none() | st.integers(0, 9) | st.just(500)),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]


@pytest.mark.parametrize("quick", [0, 1_000], ids=["by readers", "at once"])
@given(st.lists(arrivals(), min_size=1, max_size=3), st.lists(questions(), min_size=3, max_size=8))
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
async def test_the_store_is_a_naive_relay_before_and_after_restarts(
    path: Path, quick: int, lives: Sequence[list[list[Event]]], asked: Sequence[list[Filter]]
) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    naive = NaiveRelay()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events_module, "QUICK_EVENTS_MAX", quick)
        for batches in (*lives, []):  # each a life of the process; the last one only answers
            async with opened(path) as store:
                for filters in asked:
                    assert await answer(store, filters) == naive.answer(filters)
                for batch in batches:
                    assert await written_to(store, batch) == [naive.take(event) for event in batch]
                    for filters in asked:
                        assert await answer(store, filters) == naive.answer(filters)
