"""The book's file, read and written without a thread: the product's SQLite dialect on plain sqlite3 connections.

`Disk` outlives every life of the bot. The product's own writer and readers do the work; only the hop to a thread is
left out, and a full disk and a death can fall on any statement. The store suite of tests/book runs on it too.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import aiosqlite

from relaybot.db.database import Decide, Looks
from relaybot.db.sqlite import READERS, SqliteDatabase, SqliteWriter
from relaybot.probe import no_probe
from tests.book.empty import lay_book
from tests.simulator.borders import Borders
from tests.simulator.timeline import Chance

Committed = Callable[[], None]


class Full(sqlite3.OperationalError):
    """SQLite's own words for a full disk."""

    sqlite_errorcode = sqlite3.SQLITE_FULL


class Connection(sqlite3.Connection):
    """A connection whose statements are borders, and may find the disk full."""

    disk: Disk
    borders: Borders
    writes = False

    def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
        """Run one statement."""
        self._before(sql)
        return super().execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
        """Run one statement for each of `rows`."""
        self._before(sql)
        return super().executemany(sql, rows)

    def _before(self, sql: str) -> None:
        self.borders.at(f"{'write' if self.writes else 'read'}: {sql[:40]}")
        if self.disk.refuses(writes=self.writes) and sql != "BEGIN":  # which touches no file yet
            raise Full("database or disk is full")


class _Waiting:
    """A connection as aiosqlite shows one, as far as the dialect's readers use it."""

    def __init__(self, plain: Connection) -> None:
        self._plain = plain

    async def execute(self, sql: str) -> sqlite3.Cursor:
        await self._plain.borders.yielding("read: begin")
        return self._plain.execute(sql)

    async def execute_fetchall(self, sql: str, values: Mapping[str, Any]) -> Iterable[sqlite3.Row]:
        await self._plain.borders.yielding("read")
        rows: Iterable[sqlite3.Row] = self._plain.execute(sql, values).fetchall()
        return rows

    async def rollback(self) -> None:
        if self._plain.borders.alive:
            self._plain.rollback()

    async def close(self) -> None:
        self._plain.close()


class InlineDatabase(SqliteDatabase):
    """The product's SQLite, in the thread of its caller."""

    def __init__(self, disk: Disk, borders: Borders) -> None:
        self._disk = disk
        self._borders = borders
        self.plain = [disk.connection(borders, writes=False) for _ in range(READERS)]
        self._writer = SqliteWriter(disk.path, no_probe)
        self._writer.connection.close()
        self._writer.connection = disk.connection(borders, writes=True)
        self._all_readers = [cast("aiosqlite.Connection", _Waiting(plain)) for plain in self.plain]
        self._quick = None  # each read may wait, as on PostgreSQL
        self._readers = asyncio.Queue()
        for reader in self._all_readers:
            self._readers.put_nowait(reader)

    async def change(self, looks: Looks, decide: Decide) -> None:
        """Read, decide, write and commit at once; the caller may be cancelled or dead before and after."""
        await self._borders.yielding("a change begins")
        self._writer.change(looks, decide)
        self._disk.on_commit()
        await self._borders.yielding("a change is committed")

    def die(self) -> None:
        """Lose what is not committed, as a process does that ends."""
        self._writer.connection.rollback()

    async def close(self) -> None:
        """Close all connections."""
        self.let_go()

    def let_go(self) -> None:
        """Close all connections."""
        for plain in (*self.plain, self._writer.connection):
            plain.close()


class Disk:
    """Where the book's file lies."""

    def __init__(self, path: Path, chance: Chance) -> None:
        self.path = path
        self.on_commit: Committed = no_commit
        self.fails_percent = 0.0  # of statements, while it is full
        self._chance = chance

    def refuses(self, *, writes: bool) -> bool:
        """Tell whether a statement fails now; a full disk can be read, most of the time."""
        return self.fails_percent > 0 and self._chance.of(self.fails_percent if writes else self.fails_percent / 10)

    def connection(self, borders: Borders, *, writes: bool) -> Connection:
        """Open the file once more."""
        plain = sqlite3.connect(self.path, isolation_level=None, timeout=0.0, factory=Connection, cached_statements=512)
        plain.row_factory = sqlite3.Row if not writes else None
        settings = ["synchronous = OFF", "foreign_keys = ON"] + ["query_only = ON"] * (not writes)
        for setting in settings:  # synchronous OFF: a bot dies here, not a machine
            sqlite3.Connection.execute(plain, f"PRAGMA {setting}")
        plain.disk, plain.borders, plain.writes = self, borders, writes
        return plain


def no_commit() -> None:
    """Do nothing after a commit."""


def fresh_book(template: Path) -> None:
    """Write an empty book with today's schema to `template`, to be copied for each story."""
    lay_book(template)


def copy_book(template: Path, path: Path) -> None:
    """Begin a story with an empty book."""
    shutil.copyfile(template, path)


def now(coroutine: Any) -> Any:
    """Run a coroutine that never waits, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits for something")
