"""What the store keeps, batch by batch, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from relaybot.errors import BadConfig, Unavailable
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.relay import event_writes
from relaybot.relay import events as events_module
from relaybot.relay.event_journal import SUFFIXES, Arrival
from relaybot.relay.event_table import WRITER_PRAGMAS
from relaybot.relay.event_writes import EventWriter, Outcome, known_ids
from relaybot.relay.events import EventStore
from relaybot.relay.queries import AUTHORS, build_listing
from relaybot.relay.removals import Removal
from relaybot.relay.settings import RelayLimits
from tests.relay.authors import ALICE, BOB, NOW, in_order, note, raw
from tests.relay.test_queries import answer, written_to
from tests.relay.writing import connect, writer_on

STORED, KNOWN, OUTDATED, DELETED = Outcome.STORED, Outcome.KNOWN, Outcome.OUTDATED, Outcome.DELETED


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect(path)
    yield connection
    connection.close()


@pytest.fixture
def writer(path: Path, connection: sqlite3.Connection) -> Iterator[EventWriter]:
    with writer_on(path, connection) as writer:
        yield writer


def arrivals(events: Sequence[Event]) -> list[Arrival]:
    return [Arrival(raw(event), event) for event in events]


def tagged(content: str, at: int = NOW) -> Event:
    return note(content, kind=30_000, tags=[["d", "a"]], at=at)


ONE, TWO = note("one"), note("two")
LOW, HIGH = in_order([note(name, kind=0) for name in ("a", "b")])
DELETE_ONE = note(kind=5, tags=[["e", ONE.id]])
DELETE_ADDRESS = note(kind=5, tags=[["a", tagged("").address()]], at=NOW - 5)

# Everything in one batch: each event is judged as if those before it were stored already.
BATCHES = {
    "the same event twice": ([ONE, ONE], [STORED, KNOWN], [ONE]),
    "a newer version after an older": ([tagged("1", NOW - 1), tagged("2")], [STORED, STORED], [tagged("2")]),
    "an older version after a newer": ([tagged("2"), tagged("1", NOW - 1)], [STORED, OUTDATED], [tagged("2")]),
    "the higher id of a second": ([LOW, HIGH], [STORED, OUTDATED], [LOW]),
    "the lower id of a second": ([HIGH, LOW], [STORED, STORED], [LOW]),
    "a deletion before its event": ([DELETE_ONE, ONE], [STORED, DELETED], [DELETE_ONE]),
    "a deletion after its event": ([ONE, DELETE_ONE], [STORED, STORED], [DELETE_ONE]),
    "a deletion of a version": (
        [tagged("1", NOW - 9), DELETE_ADDRESS, tagged("2", NOW - 6), tagged("3")],
        [STORED, STORED, DELETED, STORED],
        [tagged("3"), DELETE_ADDRESS],
    ),
    "an event deleted and sent again": ([ONE, DELETE_ONE, ONE], [STORED, STORED, DELETED], [DELETE_ONE]),
    "many at once": ([note(str(n)) for n in range(150)], [STORED] * 150, [note(str(n)) for n in range(150)]),
}


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("at_once", [True, False], ids=["in one batch", "one by one"])
async def test_a_batch_is_judged_in_its_order(store: EventStore, name: str, *, at_once: bool) -> None:
    arrived, outcomes, left = BATCHES[name]
    found: list[Outcome] = []
    for events in [arrived] if at_once else [[event] for event in arrived]:
        found += await written_to(store, events)
    assert found == outcomes
    assert await answer(store, [Filter()]) == in_order(left)


def test_removed_events_leave_no_rows_behind(connection: sqlite3.Connection, writer: EventWriter) -> None:
    first = note("1", kind=30_000, tags=[["d", "a"], ["t", "x"], ["t", "x"], ["word", "w"]], at=NOW - 9)
    request = note(kind=5, tags=[["a", first.address()]])
    writer.write(arrivals([first, request]))
    assert connection.execute("SELECT kind FROM event").fetchall() == [(5,)]
    assert connection.execute("SELECT DISTINCT kind FROM tag").fetchall() == [(5,)]


def test_no_number_is_given_twice(connection: sqlite3.Connection, writer: EventWriter) -> None:
    writer.write(arrivals([ONE, TWO]))
    writer.write(arrivals([note(kind=5, tags=[["e", ONE.id], ["e", TWO.id]])]))
    connection.execute("DELETE FROM event")
    writer.write(arrivals([note("next")]))
    writer.move()
    assert connection.execute("SELECT seq FROM event").fetchall() == [(4,)]


def test_known_ids_are_compared_in_full(connection: sqlite3.Connection, writer: EventWriter) -> None:
    writer.write(arrivals([ONE]))
    writer.move()
    alike = ONE.id[:16] + "0" * 48
    assert known_ids(connection, [alike, ONE.id, TWO.id]) == {ONE.id}
    assert known_ids(connection, []) == set()


def test_what_is_fresh_is_known_and_in_its_place_for_whoever_comes_after_a_crash(
    path: Path, connection: sqlite3.Connection, writer: EventWriter
) -> None:
    assert writer.write(arrivals([ONE, tagged("1")])) == [STORED, STORED]
    assert writer.write(arrivals([ONE])) == [KNOWN]
    assert placed(connection) == [(2, raw(tagged("1")))]  # what another event may take the place of is found at once
    with writer_on(path, connection) as again:  # nothing but the files is left of the first one
        assert (again.waiting, placed(connection)) == (0, [(1, raw(ONE)), (2, raw(tagged("1")))])
        assert again.write(arrivals([TWO, ONE])) == [STORED, KNOWN]
        again.move()
    assert placed(connection) == [(seq, raw(event)) for seq, event in enumerate([ONE, tagged("1"), TWO], start=1)]


def placed(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
    return connection.execute("SELECT seq, raw FROM event ORDER BY seq").fetchall()


def test_what_was_moved_and_removed_does_not_come_back_from_the_journal(
    path: Path, connection: sqlite3.Connection, writer: EventWriter
) -> None:
    writer.write(arrivals([ONE, TWO]))
    writer.remove(Removal([1]))
    assert path.with_name(path.name + SUFFIXES[0]).read_bytes()  # it stands there still
    with writer_on(path, connection):
        pass
    assert placed(connection) == [(2, raw(TWO))]


def test_a_journal_is_written_over_and_read_up_to_what_is_whole(
    path: Path, connection: sqlite3.Connection, writer: EventWriter
) -> None:
    many = [note(f"number {number}") for number in range(9)]
    for start in range(0, 9, 3):  # the first file, the other, the first again
        writer.write(arrivals(many[start : start + 3]))
        if start < 6:
            writer.move()
    last = path.with_name(path.name + SUFFIXES[0])
    left = last.read_bytes()
    torn = left.index(raw(many[8])) + 40  # within the last event: the rest of the line is of another one
    last.write_bytes(left[:torn] + b"x" * 40 + left[torn + 40 :])
    with writer_on(path, connection):
        pass
    assert [line for _, line in placed(connection)] == [raw(event) for event in many[:8]]


def test_a_disk_that_refuses_the_journal_leaves_what_was_there(
    path: Path, connection: sqlite3.Connection, writer: EventWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.write(arrivals([ONE]))
    write = os.pwrite

    def full(file: int, data: bytes, place: int) -> int:
        write(file, data[: len(data) // 2], place)
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="no space"):
        writer.write(arrivals([TWO]))
    monkeypatch.undo()
    assert writer.write(arrivals([TWO, ONE])) == [STORED, KNOWN]
    with writer_on(path, connection):
        pass
    assert [line for _, line in placed(connection)] == [raw(ONE), raw(TWO)]


async def test_no_more_stays_fresh_than_may(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "FRESH_MAX", 2)
    monkeypatch.setattr(events_module, "MOMENT_SECONDS", 60.0)
    for name in "ab":
        await written_to(store, [note(name)])
    await store._placed(lambda: None)  # the placer takes one step after the other
    assert store._events.waiting == 0


def test_whoever_writes_more_than_may_wait_helps_to_move_it(
    connection: sqlite3.Connection, writer: EventWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_writes, "FRESH_BYTES_MAX", len(raw(ONE)) + 1)
    for event in (ONE, TWO, note("three")):
        writer.write(arrivals([event]))
    assert [line for _, line in placed(connection)] == [raw(ONE), raw(TWO)]


async def test_what_cannot_be_moved_is_not_passed_over_in_silence(path: Path, store: EventStore) -> None:
    await written_to(store, [ONE])
    breaker = sqlite3.connect(path)
    breaker.execute("CREATE TRIGGER full BEFORE INSERT ON event BEGIN SELECT raise(ABORT, 'disk full'); END")
    with capture_logs() as logs:
        await written_to(store, [TWO])
        with pytest.raises(Unavailable, match="cannot be read now"):
            await answer(store, [Filter()])
    assert {line["event"] for line in logs} == {"relay_store_failed"}
    assert store.known([ONE.id, TWO.id]) == {ONE.id, TWO.id}
    breaker.execute("DROP TRIGGER full")
    breaker.close()
    assert await answer(store, [Filter()]) == in_order([ONE, TWO])


def test_authors_are_compared_in_full(connection: sqlite3.Connection, writer: EventWriter) -> None:
    writer.write(arrivals([ONE]))
    writer.move()
    connection.execute("UPDATE event SET pubkey = zeroblob(32)")  # as if another key began alike
    statement = build_listing([(Filter(authors=frozenset({ALICE.pubkey})), AUTHORS)])
    assert connection.execute(statement.sql, statement.values).fetchone() == (None,)


async def test_a_full_disk_refuses_the_batch_and_leaves_the_store_sound(path: Path, store: EventStore) -> None:
    await written_to(store, [ONE])
    await store.close()
    room = sqlite3.connect(path, isolation_level=None)
    (pages,) = room.execute("PRAGMA page_count").fetchone()
    room.close()
    with pytest.MonkeyPatch.context() as patch:
        pragmas = (*WRITER_PRAGMAS, f"PRAGMA max_page_count={pages + 2}")
        patch.setattr(events_module, "WRITER_PRAGMAS", pragmas)
        small = await EventStore.open(path, RelayLimits())
    with capture_logs() as logs:
        long = [note("x" * 5_000, kind=30_000, tags=[["d", str(number)]]) for number in range(5)]
        assert await written_to(small, long) == [Outcome.FAILED] * 5
    assert [line["event"] for line in logs] == ["relay_store_failed"]
    assert "events" in logs[0]
    assert await written_to(small, [TWO]) == [STORED]
    assert await answer(small, [Filter()]) == in_order([ONE, TWO])
    await small.close()


async def test_events_wait_together_and_are_committed_together(path: Path) -> None:
    store = await EventStore.open(path, RelayLimits())
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    done: list[asyncio.Future[list[Outcome]]] = []
    for events in ([ONE], [TWO], [ONE, note("three")]):
        done.append(asyncio.get_running_loop().create_future())
        store.write(arrivals(events), done[-1].set_result)
    blocker.execute("ROLLBACK")
    blocker.close()
    assert [await one for one in done] == [[STORED], [STORED], [KNOWN, STORED]]
    await store.close()


async def test_closing_writes_what_is_waiting(path: Path) -> None:
    store = await EventStore.open(path, RelayLimits())
    heard: list[list[Outcome]] = []
    for number in range(50):
        store.write(arrivals([note(str(number))]), heard.append)
    await store.close()
    again = await EventStore.open(path, RelayLimits())
    assert len(await answer(again, [Filter()])) == 50
    await again.close()
    assert not path.with_name("events.db-wal").exists()


async def test_a_file_of_another_version_is_refused_with_both_versions(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(BadConfig, match=r"relay\.database: found '.*events\.db of version 99'; allowed: version 4"):
        await EventStore.open(path, RelayLimits())


async def test_a_query_that_takes_too_long_is_given_up_and_others_go_on(path: Path) -> None:
    store = await EventStore.open(path, RelayLimits(query_seconds=0.05))
    events = [note(str(n), by=(ALICE, BOB)[n % 2], at=NOW - n) for n in range(200)]
    await written_to(store, events)
    endless = "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n) SELECT sum(v) FROM n"
    with pytest.raises(Unavailable, match="too long"):
        await store._row(endless, ())
    assert len(await answer(store, [Filter(authors=frozenset({ALICE.pubkey}))])) == 100
    await store.close()


async def test_a_query_whose_asker_has_gone_is_given_up(path: Path) -> None:
    store = await EventStore.open(path, RelayLimits(query_seconds=60.0))
    endless = "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n) SELECT sum(v) FROM n"
    asked = [asyncio.create_task(store._row(endless, ())) for _ in range(events_module.READERS)]
    for _ in range(10):
        await asyncio.sleep(0)
    for task in asked:
        task.cancel()
    await asyncio.wait(asked)
    assert await answer(store, [Filter()]) == []
    await store.close()


async def test_a_damaged_file_is_told_as_unavailable(path: Path) -> None:
    store = await EventStore.open(path, RelayLimits())
    await written_to(store, [ONE])
    await store._row("SELECT count(*) FROM event", ())
    with capture_logs() as logs, pytest.raises(Unavailable, match="cannot be read"):
        await store._row("SELECT * FROM no_table", ())
    assert [line["event"] for line in logs] == ["relay_query_failed"]
    await store.close()


async def test_large_answers_come_by_pages_of_bounded_size(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "PAGE_BYTES_MAX", 5_000)
    events = [note("x" * 1_000, at=NOW - number) for number in range(120)]
    await written_to(store, events)
    pages = [page async for page in store.query([Filter()])]
    assert [line for page in pages for line in page] == [raw(event) for event in in_order(events)]
    assert len(pages) == 40
    assert max(sum(map(len, page)) for page in pages) <= 5_000


async def test_a_page_whose_events_were_deleted_meanwhile_is_left_out(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "PAGE_BYTES_MAX", 1)
    events = [note(str(number), at=NOW - number) for number in range(3)]
    await written_to(store, events)
    found: list[bytes] = []
    async for page in store.query([Filter()]):
        found += page
        await written_to(store, [note(kind=5, tags=[["e", events[1].id]], at=NOW - 9)])
    assert found == [raw(events[0]), raw(events[2])]
