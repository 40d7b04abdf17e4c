"""What goes from the store by itself: what has expired, who asked to be forgotten, what is kept too long."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from relaybot.clock import SetClock
from relaybot.errors import BadConfig, Unavailable
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.relay import event_writes, upkeep
from relaybot.relay.event_table import SCHEMAS, event_row
from relaybot.relay.event_writes import NEVER, Outcome
from relaybot.relay.events import EventStore
from relaybot.relay.removals import Removal, Retention
from relaybot.relay.settings import RelayLimits
from relaybot.relay.upkeep import Upkeep
from tests.relay.authors import ALICE, BOB, CAROL, NOW, in_order, note, raw
from tests.relay.conftest import Relay
from tests.relay.test_queries import answer, written_to

EVERYTHING = [Filter()]
NOTES = [note(str(number), at=NOW - number) for number in range(6)]
LASTING = note("for ever")


def ending(content: str, at: int) -> Event:
    return note(content, tags=[["expiration", str(at)]])


def vanishing(by_at: int = NOW) -> Event:
    return note(kind=62, tags=[["relay", "ALL_RELAYS"]], at=by_at)


async def kept_up(store: EventStore, *retention: Retention, at: int = NOW) -> int:
    """Do all there is to do; return in how many steps."""
    keeper, steps = Upkeep(store, retention, SetClock(at)), 1
    while await keeper.step():
        steps += 1
    return steps


async def rows(path: Path) -> list[int]:
    """Return how many rows each table has."""
    connection = sqlite3.connect(path)
    counted = "(SELECT count(*) FROM event), (SELECT count(*) FROM tag), (SELECT count(*) FROM expiration)"
    counts = list(connection.execute(f"SELECT {counted}").fetchone())
    connection.close()
    return counts


async def test_what_has_expired_is_removed_with_all_its_rows(store: EventStore, path: Path) -> None:
    events = [ending("soon", NOW + 1), note("t", tags=[["t", "x"], ["expiration", str(NOW + 5)]]), LASTING]
    await written_to(store, events)
    assert store.next_expiry == NOW + 1
    assert await answer(store, EVERYTHING) == in_order(events)
    assert await rows(path) == [3, 1, 2]
    await kept_up(store, at=NOW + 4)
    assert (await rows(path), store.next_expiry) == ([2, 1, 1], NOW + 5)
    await kept_up(store, at=NOW + 5)
    assert (await rows(path), store.next_expiry) == ([1, 0, 0], NEVER)
    assert await answer(store, EVERYTHING) == [LASTING]


async def test_nothing_is_looked_for_before_its_time(store: EventStore) -> None:
    await written_to(store, [ending("later", NOW + 9)])
    assert not await Upkeep(store, [], SetClock(NOW + 8)).step()


async def test_the_next_expiry_is_known_after_a_restart(path: Path) -> None:
    for expected in (NEVER, NOW + 7):
        store = await EventStore.open(path, RelayLimits())
        await written_to(store, [LASTING])
        assert store.next_expiry == expected
        await written_to(store, [ending("once", NOW + 7)])
        await store.close()


async def test_a_key_that_wrote_much_is_forgotten_in_steps(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_writes, "_REMOVED_AT_ONCE_MAX", 2)
    monkeypatch.setattr(upkeep, "STEP_EVENTS", 2)
    request, others = vanishing(), note("others", by=BOB)
    await written_to(store, [*NOTES, others, request])
    left = await answer(store, EVERYTHING)
    assert len(left) == 6
    assert await kept_up(store) == 4
    assert {event.id for event in await answer(store, EVERYTHING)} == {others.id, request.id}
    assert await kept_up(store) == 1


async def test_what_is_older_than_its_kind_may_be_goes(store: EventStore) -> None:
    other_kind = note("x", kind=7, at=NOW - 100)
    await written_to(store, [*NOTES, other_kind])
    await kept_up(store, Retention((range(1, 3),), seconds=2))
    assert await answer(store, EVERYTHING) == [*NOTES[:3], other_kind]


async def test_of_a_kind_only_the_newest_are_kept(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "STEP_EVENTS", 2)
    reactions = [note(str(number), kind=7, at=NOW - number) for number in range(4)]
    await written_to(store, [*NOTES, *reactions])
    assert await kept_up(store, Retention((range(1, 2), range(7, 8)), events_max=3)) > 2
    assert await answer(store, [Filter(kinds=frozenset({1}))]) == NOTES[:3]
    assert await answer(store, [Filter(kinds=frozenset({7}))]) == reactions[:3]


async def test_retention_looks_again_after_a_minute(store: EventStore) -> None:
    clock = SetClock(NOW)
    keeper = Upkeep(store, [Retention((range(1, 2),), events_max=1)], clock)
    assert not await keeper.step()
    await written_to(store, NOTES)
    assert not await keeper.step()
    clock.advance(60)
    assert await keeper.step()


async def test_removing_what_is_gone_harms_nothing(store: EventStore) -> None:
    await written_to(store, NOTES[:1])
    await store.remove(Removal([1, 99]))
    assert await answer(store, EVERYTHING) == []


async def test_a_disk_that_refuses_to_remove_is_unavailable(store: EventStore, path: Path) -> None:
    await written_to(store, NOTES[:1])
    connection = sqlite3.connect(path)
    connection.execute("CREATE TRIGGER full BEFORE DELETE ON event BEGIN SELECT raise(ABORT, 'disk full'); END")
    connection.close()
    with pytest.raises(Unavailable, match="cannot be removed now"):
        await store.remove(Removal([1]))
    assert await answer(store, EVERYTHING) == NOTES[:1]


async def test_a_file_has_one_writing_process(store: EventStore, path: Path) -> None:
    with pytest.raises(BadConfig, match="a file that no other process writes to"):
        await EventStore.open(path, RelayLimits())


async def test_a_file_of_version_1_is_brought_up_to_date(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(f"{SCHEMAS[0]} PRAGMA user_version = 1;")
    old: Sequence[Event] = [ending("ends", NOW + 1), note("no date", tags=[["expiration", "soon"]]), LASTING]
    for seq, event in enumerate(old, start=1):
        row = event_row(event, raw(event), seq)
        connection.execute("INSERT INTO event VALUES (?,?,?,?,?,?,?,?)", row)
    connection.commit()
    connection.close()
    store = await EventStore.open(path, RelayLimits())
    await kept_up(store, at=NOW + 1)
    assert {event.id for event in await answer(store, EVERYTHING)} == {event.id for event in old[1:]}
    await store.close()


async def test_between_two_steps_the_expired_is_hidden(relay: Relay) -> None:
    soon, later = ending("soon", NOW + 1), ending("later", NOW + 100)
    await written_to(relay.store, [soon, later, LASTING])
    clock = relay.hub._clock
    assert isinstance(clock, SetClock)
    clock.advance(1)
    async with relay.client() as client:
        assert set(await client.stored({"kinds": [1]})) == {later.id, LASTING.id}
        await client.send("COUNT", "q", {"kinds": [1]})
        assert await client.hear() == ["COUNT", "q", {"count": 2}]


async def test_who_was_forgotten_may_come_back(store: EventStore) -> None:
    wrap = note(by=CAROL, kind=1059, tags=[["p", ALICE.pubkey]], at=NOW - 1)
    newer = note("again", at=NOW + 1)
    outcomes = await written_to(store, [*NOTES, wrap, vanishing(), NOTES[0], wrap, newer])
    assert outcomes[-4:] == [Outcome.STORED, Outcome.VANISHED, Outcome.VANISHED, Outcome.STORED]
    assert newer in await answer(store, EVERYTHING)
