"""The event store: a SQLite file of its own, a journal beside it, several readers.

One thread makes durable whatever has gathered while it was doing so before (group commit);
another moves what is fresh to where it is found, when enough has gathered, in a quiet moment,
or when anything is asked. Short questions are answered at once (quick_answers.py); all others
go to aiosqlite connections, so a long query holds up neither the loop nor the writers.
docs/adr/0003-relay-store.md has the reasons and measurements.
What is kept is decided in event_writes.py, how filters become SQL in queries.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, TypeAlias

import structlog

from relaybot.errors import BadConfig, Unavailable
from relaybot.nostr.event import parse_event
from relaybot.nostr.filters import Filter
from relaybot.probe import Probe, no_probe
from relaybot.relay import queries
from relaybot.relay.event_journal import Arrival, Journal, read_journal
from relaybot.relay.event_reader import Reader
from relaybot.relay.event_table import (
    EXPIRATION_VERSION,
    JOURNAL_VERSION,
    LOCK_SECONDS,
    MAY_EXPIRE,
    MOVED,
    READER_PRAGMAS,
    SCHEMA_VERSION,
    SCHEMAS,
    STATEMENTS_CACHED,
    WRITER_PRAGMAS,
    expiration_row,
)
from relaybot.relay.event_writes import EventWriter, Outcome, insert_events, known_ids
from relaybot.relay.quick_answers import QuickAnswers
from relaybot.relay.removals import Removal
from relaybot.relay.settings import RelayLimits

log = structlog.get_logger()

Done: TypeAlias = Callable[[list[Outcome]], None]
Job: TypeAlias = tuple[Sequence[Arrival], Done]
Step: TypeAlias = tuple[Callable[[], None], asyncio.Future[None] | None]

READERS = 2  # long queries leave one for the short ones; the machine aimed at has two cores
COMMIT_EVENTS_MAX = 1_000  # of one transaction, so that the first of a flood does not wait for the last
QUICK_EVENTS_MAX = 1_000  # answers that may be given on the loop, if they are not larger than a page
PAGE_BYTES_MAX = 524_288  # of an answer, held in memory at once; 500 usual events have 300,000
FRESH_MAX = 2_000  # events that wait to be moved together; moving them takes some 50 ms
MOMENT_SECONDS = 0.25  # without anything to write, after which what is fresh is moved


class InUse(BadConfig):
    """Another process has the file: a relay that is running, as a rule."""


class EventStore:
    """Events on disk. Made by `open`, ended by `close`; called on the loop."""

    def __init__(self, path: Path, lock: IO[bytes], readers: Sequence[Reader], probe: Probe) -> None:
        """Start the writer on a file that `open` has prepared."""
        self._path = path
        self._lock = lock
        self._probe = probe
        self._readers = readers
        self._quick, self._known = QuickAnswers(_connect(path, READER_PRAGMAS)), _connect(path, READER_PRAGMAS)
        self._placing, self._judging = _connect(path, WRITER_PRAGMAS), _connect(path, READER_PRAGMAS)
        self._journal = Journal(path)
        (moved,) = self._judging.execute(MOVED).fetchone()
        self._events = EventWriter(self._placing, self._judging, self._journal, read_journal(path, after=moved))
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._steps: SimpleQueue[Step | None] = SimpleQueue()
        self._moving = False  # a move is asked for and not done, or the disk refused it
        self._writer = threading.Thread(target=self._write_until_closed, name="relay-writer")
        self._placer = threading.Thread(target=self._place_until_closed, name="relay-placer")
        self._writer.start()
        self._placer.start()

    @classmethod
    async def open(cls, path: Path, limits: RelayLimits, probe: Probe = no_probe) -> EventStore:
        """Open or create the file at `path`; BadConfig if it is of another version, or another process has it."""
        lock = await asyncio.to_thread(_prepare, path)
        return cls(path, lock, [await Reader.open(path, limits.query_seconds) for _ in range(READERS)], probe)

    @property
    def next_expiry(self) -> int:
        """Return the second before which nothing that is stored expires."""
        return self._events.next_expiry

    def write(self, arrivals: Sequence[Arrival], done: Done) -> None:
        """Have `arrivals` stored; `done` is called on the loop with one outcome each, after the commit."""
        self._jobs.put((arrivals, done))

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that are stored; takes microseconds. sqlite3.Error: the disk refuses."""
        fresh = self._events.fresh_of(ids)
        return fresh | known_ids(self._known, [id_ for id_ in ids if id_ not in fresh])

    def answer(self, filters: Sequence[Filter]) -> list[bytes] | None:
        """Return what `query` would yield, if that is one page and known at once; else None."""
        expected = sum([_answers_max(filter_) for filter_ in filters])
        if not expected:
            return []
        if self._events.waiting or expected > QUICK_EVENTS_MAX:
            return None
        return self._quick.answer(filters, PAGE_BYTES_MAX)

    async def query(self, filters: Sequence[Filter]) -> AsyncIterator[list[bytes]]:
        """Yield, page by page, the JSON of what meets any of `filters`: newest first, ties by lowest id.

        Each filter's limit counts for that filter; none means everything. Raises
        Unavailable if a query takes too long or the file cannot be read.
        """
        await self._all_found()
        answer = self.answer(filters)
        if answer is not None:
            if answer:
                yield answer
            return
        plans = [(filter_, await self._choose(filter_)) for filter_ in filters]
        listing = queries.build_listing(plans)
        for seqs in _pages((await self._row(listing.sql, listing.values))[0]):
            _, joined = await self._row(queries.PAGE_SQL, (f"[{','.join(seqs)}]",))
            if joined is not None:  # else they were deleted meanwhile
                yield joined.split(b"\n")

    async def count(self, filters: Sequence[Filter], now: int) -> int:
        """Return how much meets any of `filters` and has not expired; Unavailable as `query`."""
        await self._all_found()
        plans = [(filter_, await self._choose(filter_)) for filter_ in filters]
        statement = queries.build_count(plans, now)
        counted: int = (await self._row(statement.sql, statement.values))[0]
        return counted

    async def look_up(self, sql: str, values: Sequence[Any] = ()) -> str:
        """Return the text that a statement of removals.py finds; empty if it finds nothing. Unavailable as `query`."""
        await self._all_found()
        row = await self._row(sql, values)
        return str(row[0]) if row and row[0] is not None else ""

    async def remove(self, removal: Removal) -> None:
        """Have something removed; Unavailable if the disk refuses."""
        try:
            await self._placed(partial(self._events.remove, removal))
        except sqlite3.Error:
            raise Unavailable("the events cannot be removed now") from None

    async def close(self) -> None:
        """Write what is waiting, then close the file. Nothing may be called afterwards."""
        self._quick.close()
        for reader in self._readers:
            await reader.close()
        self._known.close()
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)
        self._steps.put(None)
        await asyncio.to_thread(self._placer.join)
        self._journal.close(moved=not self._events.waiting)
        self._judging.close()
        self._placing.close()
        self._lock.close()

    # ---- reading

    async def _all_found(self) -> None:
        """Have what is fresh moved to where it is found; Unavailable if the disk refuses."""
        if not self._events.waiting:
            return
        try:
            await self._placed(self._events.move)
        except sqlite3.Error:
            raise Unavailable("the events cannot be read now") from None

    async def _placed(self, step: Callable[[], None]) -> None:
        """Have the placer take a step; sqlite3.Error if the disk refuses."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._steps.put((step, done))
        await done

    async def _choose(self, filter_: Filter) -> str | None:
        """Return by which of its conditions the filter is looked up: the narrowest."""
        choices = [] if filter_.ids is not None else queries.choices(filter_)
        if len(choices) <= 1:
            return choices[0] if choices else None
        probe = queries.probe(filter_)
        counts = await self._row(probe.sql, probe.values)
        return min(zip(counts, range(len(choices)), choices, strict=True))[2]

    async def _row(self, sql: str, values: Sequence[Any]) -> tuple[Any, ...]:
        reader = min(self._readers, key=lambda reader: reader.waiting)
        return await reader.row(sql, values)

    # ---- making durable, in the writer's thread

    def _write_until_closed(self) -> None:
        open_ = True
        while open_:
            jobs = self._next_jobs(MOMENT_SECONDS if self._events.waiting else None)
            open_ = None not in jobs
            self._write([job for job in jobs if job])
            if (not jobs or self._events.waiting >= FRESH_MAX) and not self._moving:
                self._moving = True
                self._steps.put((self._events.move, None))

    def _next_jobs(self, seconds: float | None) -> list[Job | None]:
        """Return all that waits, if need be after waiting for it; nothing if nothing came."""
        jobs: list[Job | None] = []
        try:
            jobs.append(self._jobs.get(timeout=seconds))
            while sum(len(job[0]) for job in jobs if job) < COMMIT_EVENTS_MAX:
                jobs.append(self._jobs.get_nowait())
        except Empty:
            return jobs
        return jobs

    def _write(self, jobs: Sequence[Job]) -> None:
        arrivals = [arrival for job, _ in jobs for arrival in job]
        if not arrivals:
            return
        try:
            self._probe("store:before")
            outcomes = self._events.write(arrivals)
            self._probe("store:after")
        except (sqlite3.Error, OSError) as error:
            log.error("relay_store_failed", events=len(arrivals), error=str(error))  # noqa: TRY400 - an outside fault, no bug
            outcomes = [Outcome.FAILED] * len(arrivals)
        self._loop.call_soon_threadsafe(_tell, jobs, outcomes)

    # ---- putting in place, in the placer's thread

    def _place_until_closed(self) -> None:
        while (next_ := self._steps.get()) is not None:
            self._take(*next_)
        self._take(self._events.move, None)

    def _take(self, step: Callable[[], None], done: asyncio.Future[None] | None) -> None:
        error: sqlite3.Error | None = None
        try:
            step()
            self._moving = False
        except sqlite3.Error as refusal:
            log.error("relay_store_failed", error=str(refusal))  # noqa: TRY400 - an outside fault, no bug
            error = refusal
        if done is not None:
            self._loop.call_soon_threadsafe(_finish, done, error)


def _finish(done: asyncio.Future[None], error: sqlite3.Error | None) -> None:
    if done.done():  # nobody waits any more
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def _tell(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
    start = 0
    for arrivals, done in jobs:
        done(list(outcomes[start : start + len(arrivals)]))
        start += len(arrivals)


def _answers_max(filter_: Filter) -> int:
    """Return how many events can be the answer, as far as the filter itself tells."""
    bounds = [QUICK_EVENTS_MAX + 1 if filter_.limit is None else filter_.limit]
    conditions = (filter_.ids, filter_.authors, filter_.kinds, *filter_.tags.values())
    if any(condition is not None and not condition for condition in conditions):
        return 0
    if filter_.ids is not None:
        bounds.append(len(filter_.ids))
    return min(bounds)


def _pages(listed: str | None) -> list[list[str]]:
    """Cut a listing (`seq size`, comma-separated) into pages of at most PAGE_BYTES_MAX."""
    pages: list[list[str]] = []
    room = 0
    for item in listed.split(",") if listed else ():
        seq, size = item.split(" ")
        if int(size) > room:
            pages.append([])
            room = PAGE_BYTES_MAX
        pages[-1].append(seq)
        room -= int(size)
    return pages


def _connect(path: Path, pragmas: Sequence[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_CACHED
    )
    for pragma in pragmas:
        connection.execute(pragma)
    return connection


def _prepare(path: Path) -> IO[bytes]:
    """Make the file and its tables if they are not there; return the lock that keeps other writers away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file of its own: whoever closed the database itself would take SQLite's own locks away.
    lock = path.with_name(f"{path.name}-lock").open("ab")
    try:
        _lock(lock, path)
        with contextlib.closing(_connect(path, WRITER_PRAGMAS)) as connection:
            _bring_up(connection, path)
    except BaseException:
        lock.close()
        raise
    return lock


def _lock(lock: IO[bytes], path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InUse("relay.database", str(path), "a file that no other process writes to") from None


def _bring_up(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == SCHEMA_VERSION:
        return
    if found not in range(SCHEMA_VERSION):
        raise BadConfig("relay.database", f"{path} of version {found}", f"version {SCHEMA_VERSION}")
    schema = "".join(SCHEMAS[found:])
    connection.executescript(f"BEGIN IMMEDIATE; {schema} PRAGMA user_version = {SCHEMA_VERSION};")
    if found < JOURNAL_VERSION:
        fresh = [(seq, Arrival(raw, parse_event(raw))) for seq, raw in connection.execute("SELECT seq, raw FROM fresh")]
        insert_events(connection, fresh)
        connection.execute("DROP TABLE fresh")
    if found < EXPIRATION_VERSION:
        may_expire = connection.execute(MAY_EXPIRE)
        rows = [row for seq, raw in may_expire if (row := expiration_row(parse_event(raw), seq)) is not None]
        connection.executemany("INSERT INTO expiration VALUES (?, ?)", rows)
    connection.execute("COMMIT")
