"""Answers on the loop are those of the index, whatever is remembered, and what is long is left to others."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.filters import Filter
from relaybot.relay import quick_answers
from relaybot.relay.event_table import short_key
from relaybot.relay.events import EventStore
from relaybot.relay.quick_answers import QuickAnswers
from relaybot.relay.settings import RelayLimits
from tests.relay.authors import ALICE, BOB, NOW, note, raw
from tests.relay.test_queries import answer, written_to

ROOM = 1_000_000
NOTES = [note(str(number), by=(ALICE, BOB)[number % 2], at=NOW - number, tags=[["t", "x"]]) for number in range(100)]
BY_ALICE = Filter(authors=frozenset({ALICE.pubkey}), limit=500)


@pytest.fixture
async def quick(store: EventStore) -> QuickAnswers:
    await found(store, NOTES)
    return store._quick


async def found(store: EventStore, events: Sequence[Event]) -> None:
    """Store events and have them moved to where they are found, as `query` does before it asks."""
    await written_to(store, events)
    await store._all_found()


def events(quick: QuickAnswers, *filters: Filter) -> list[Event]:
    raws = quick.answer(filters, ROOM)
    assert raws is not None
    return [parse_event(one) for one in raws]


async def test_what_was_deleted_is_not_remembered(store: EventStore, quick: QuickAnswers) -> None:
    assert events(quick, BY_ALICE) == NOTES[::2]
    await written_to(store, [note(kind=5, tags=[["e", NOTES[4].id]], at=NOW - 1_000)])
    assert NOTES[4] not in events(quick, BY_ALICE)
    assert len(events(quick, Filter(kinds=frozenset({1}), limit=500))) == 99


async def test_what_is_new_is_in_the_next_answer(store: EventStore, quick: QuickAnswers) -> None:
    assert events(quick, Filter(limit=1)) == NOTES[:1]
    newest = note("newest", kind=7, at=NOW + 1)
    await found(store, [newest])
    assert events(quick, Filter(limit=1)) == [newest]
    assert events(quick, BY_ALICE)[0] == newest


async def test_an_answer_may_be_larger_than_what_is_remembered(
    quick: QuickAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick_answers, "REMEMBERED_BYTES_MAX", 5 * len(raw(NOTES[0])))
    for _ in range(2):
        assert events(quick, BY_ALICE) == NOTES[::2]
    assert len(quick._raws) <= 5


async def test_what_is_larger_than_a_page_is_left_to_readers(quick: QuickAnswers) -> None:
    size = sum(len(raw(event)) for event in NOTES[::2])
    assert quick.answer([BY_ALICE], size - 1) is None  # not remembered
    assert quick.answer([BY_ALICE], size) is not None
    assert quick.answer([BY_ALICE], size - 1) is None  # remembered


async def test_what_takes_many_steps_is_left_to_readers(
    store: EventStore, quick: QuickAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers = frozenset(f"{number:064x}" for number in range(1_500))
    many = Filter(authors=strangers | {ALICE.pubkey}, kinds=frozenset({1, 2, 3, 4}), limit=500)
    assert quick.answer([many], ROOM) is None
    assert await answer(store, [many]) == NOTES[::2]
    assert events(quick, BY_ALICE) == NOTES[::2]  # and the next is answered again


async def test_authors_whose_keys_begin_alike_are_told_apart(
    path: Path, store: EventStore, quick: QuickAnswers
) -> None:
    alike = ALICE.pubkey[:16] + "0" * 48
    assert short_key(alike) == short_key(ALICE.pubkey)
    other = sqlite3.connect(path, isolation_level=None)
    forged = raw(NOTES[0]).replace(ALICE.pubkey.encode(), alike.encode())
    other.execute("UPDATE event SET pubkey = ?, raw = ? WHERE seq = 1", (bytes.fromhex(alike), forged))
    other.close()
    assert quick.answer([BY_ALICE], ROOM) is None
    assert await _raws(store, [BY_ALICE]) == [raw(event) for event in NOTES[2::2]]
    both: Sequence[Filter] = [BY_ALICE, Filter(kinds=frozenset({2}), limit=500)]
    assert await _raws(store, both) == [raw(event) for event in NOTES[2::2]]


async def test_what_cannot_be_read_is_left_to_readers(path: Path) -> None:
    store = await EventStore.open(path, RelayLimits())
    store._quick._connection.close()
    assert store._quick.answer([BY_ALICE], ROOM) is None
    await store.close()


async def _raws(store: EventStore, filters: Sequence[Filter]) -> list[bytes]:
    return [line async for page in store.query(filters) for line in page]
