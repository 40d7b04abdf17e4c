"""Queries answer as a naive matcher would, and by an index."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.filters import Filter
from relaybot.relay import events as events_module
from relaybot.relay.event_journal import SUFFIXES, Arrival
from relaybot.relay.event_table import SCHEMAS, event_row, tag_rows
from relaybot.relay.event_writes import Outcome
from relaybot.relay.events import EventStore
from relaybot.relay.queries import PAGE_SQL, Statement, build_listing, build_numbers, choices, kinds_of, probe
from relaybot.relay.settings import RelayLimits
from tests.relay.authors import ALICE, BOB, NOW, note, raw
from tests.relay.random_events import POOL, filters, naive_answer
from tests.relay.writing import connect, writer_on

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])


@pytest.fixture
def connection(path: Path) -> sqlite3.Connection:
    return connect(path)


def written(path: Path, connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    with writer_on(path, connection) as writer:
        writer.write([Arrival(raw(event), event) for event in events])
        writer.move()


def ask(connection: sqlite3.Connection, statement: Statement) -> Any:
    return connection.execute(statement.sql, statement.values).fetchone()


def choose(data: st.DataObject, filter_: Filter) -> str | None:
    """Return any of the indexes by which the filter can be answered."""
    possible = [] if filter_.ids is not None else choices(filter_)
    return data.draw(st.sampled_from(possible)) if possible else None


@given(st.data(), st.lists(filters(), min_size=1, max_size=3))
@QUICK
def test_every_index_gives_the_naive_answer(path: Path, data: st.DataObject, asked: list[Filter]) -> None:
    for suffix in ("", *SUFFIXES):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    connection = connect(path, "PRAGMA synchronous=OFF")
    stored = data.draw(st.lists(st.sampled_from(POOL), unique_by=lambda event: event.id, max_size=40))
    written(path, connection, stored)
    plans = [(filter_, choose(data, filter_)) for filter_ in asked]
    expected = naive_answer(stored, asked)
    listed = ask(connection, build_listing(plans))[0] or ""
    assert [int(item.split(" ")[1]) for item in listed.split(",") if item] == [len(raw(event)) for event in expected]
    numbers = ask(connection, build_numbers(plans, whole_keys=data.draw(st.booleans())))[0] or ""
    assert numbers.split(",") == [item.split(" ")[0] for item in listed.split(",")]
    page = ask(connection, Statement(PAGE_SQL, (f"[{numbers}]",)))
    assert [parse_event(line) for line in (page[1] or b"").split(b"\n") if line] == expected
    connection.close()


@given(st.lists(st.lists(filters(), min_size=1, max_size=3), min_size=10, max_size=20))
@settings(max_examples=10, deadline=None, suppress_health_check=[*HealthCheck])
@pytest.mark.parametrize("quick", [0, 1_000], ids=["by readers", "at once"])
async def test_the_store_gives_the_naive_answer_before_and_after_reopening(
    path: Path, quick: int, questions: list[list[Filter]]
) -> None:
    for suffix in ("", "-wal", "-shm", *SUFFIXES):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events_module, "QUICK_EVENTS_MAX", quick)
        patch.setattr(events_module, "PAGE_BYTES_MAX", 3_000)
        for fresh in (True, False):
            async with opened(path) as store:
                if fresh:
                    await written_to(store, POOL)
                for asked in questions:
                    assert await answer(store, asked) == naive_answer(POOL, asked)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[EventStore]:
    store = await EventStore.open(path, RelayLimits())
    try:
        yield store
    finally:
        await store.close()


PEOPLE = frozenset({ALICE.pubkey, BOB.pubkey})
SHAPES = {
    "one id": Filter(ids=frozenset({"0" * 64}), limit=1),
    "one author": Filter(authors=frozenset({ALICE.pubkey}), limit=20),
    "two authors and a kind": Filter(authors=PEOPLE, kinds=frozenset({1}), limit=100),
    "a kind": Filter(kinds=frozenset({1}), limit=100),
    "a kind, a span": Filter(kinds=frozenset({1}), since=NOW - 9, until=NOW, limit=100),
    "#p": Filter(tags={"p": frozenset({ALICE.pubkey})}, limit=50),
    "#t and kind": Filter(tags={"t": frozenset({"x"})}, kinds=frozenset({1}), limit=100),
    "#e and #p": Filter(tags={"e": frozenset({"0" * 64}), "p": PEOPLE}, limit=100),
    "#p and authors": Filter(tags={"p": PEOPLE}, authors=PEOPLE, limit=100),
    "time": Filter(since=NOW - 9, limit=100),
    "anything": Filter(limit=100),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_shape_of_a_filter_scans_a_table(connection: sqlite3.Connection, shape: str) -> None:
    for statement in statements(SHAPES[shape]):
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.values).fetchall()
        touched = [row[3] for row in plan if re.search(r"^(SEARCH|SCAN) (event|tag|e|i|t|a)\b", row[3])]
        assert touched, plan
        # the newest of all are the beginning of an index, up to the limit
        assert all(step.startswith("SEARCH") or (shape == "anything" and "event_time" in step) for step in touched)


@pytest.fixture(scope="module")
def sizes() -> Iterator[list[sqlite3.Connection]]:
    """Return two stores: one with 500 events of each sort, one with ten times as many."""
    connections = [_filled(500), _filled(5_000)]
    yield connections
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_of_a_query_does_not_grow_with_what_is_stored(sizes: list[sqlite3.Connection], shape: str) -> None:
    for statement in statements(SHAPES[shape]):
        few, many = [_machine_steps(connection, statement) for connection in sizes]
        assert many <= 1.3 * few


def statements(filter_: Filter) -> list[Statement]:
    """Return all statements that a filter may lead to."""
    possible: Sequence[str | None] = choices(filter_) or [None]
    asked = [build([(filter_, choice)]) for choice in possible for build in (build_listing, _numbers)]
    if filter_.kinds is None:
        asked += [lookup for choice in choices(filter_) if (lookup := kinds_of(filter_, choice)) is not None]
    return [*asked, probe(filter_)] if len(possible) > 1 else asked


def _numbers(plans: Sequence[tuple[Filter, str | None]]) -> Statement:
    return build_numbers(plans, whole_keys=False)


def _filled(count: int) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript("".join(SCHEMAS) + "BEGIN;")
    tags = [["p", ALICE.pubkey], ["t", "x"], ["e", "0" * 64]]
    sorts = [note("sort", by=by, kind=kind, tags=tags) for by in (ALICE, BOB) for kind in (1, 7)]
    for number in range(count * len(sorts)):
        event = msgspec.structs.replace(sorts[number % len(sorts)], created_at=NOW - number)
        connection.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", event_row(event, b"{}", number))
        connection.executemany("INSERT INTO tag VALUES (?, ?, ?, ?, ?)", tag_rows(event, number))
    connection.execute("COMMIT")
    return connection


def _machine_steps(connection: sqlite3.Connection, statement: Statement) -> int:
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    connection.set_progress_handler(count, 1)
    connection.execute(statement.sql, statement.values).fetchall()
    connection.set_progress_handler(None, 0)
    return counted


async def written_to(store: EventStore, events: Sequence[Event]) -> list[Outcome]:
    done: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
    store.write([Arrival(raw(event), event) for event in events], done.set_result)
    return await done


async def answer(store: EventStore, asked: Sequence[Filter]) -> list[Event]:
    return [parse_event(line) async for page in store.query(asked) for line in page]
