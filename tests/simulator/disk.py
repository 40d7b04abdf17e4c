"""The book's file, read and written without a thread: the product's SQLite dialect on plain sqlite3 connections.

`Disk` outlives every life of the bot; `Connection` has what aiosqlite's has, as far as the dialect uses it. The
store suite of tests/book runs on it too.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import aiosqlite

from relaybot.db.migrations import load_migrations, migrate
from relaybot.db.sqlite import SqliteDatabase
from relaybot.probe import no_probe
from tests.simulator.borders import Borders
from tests.simulator.timeline import START, Chance

Committed = Callable[[], None]


class Full(sqlite3.OperationalError):
    """SQLite's own words for a full disk."""

    sqlite_errorcode = sqlite3.SQLITE_FULL


class Connection:
    """One connection of a living bot."""

    def __init__(self, disk: Disk, borders: Borders, *, writes: bool) -> None:
        self._disk = disk
        self._borders = borders
        self._writes = writes
        self._plain = sqlite3.connect(disk.path, isolation_level=None, timeout=0.0)
        self._plain.row_factory = sqlite3.Row
        self._plain.execute("PRAGMA journal_mode = WAL")
        self._plain.execute("PRAGMA synchronous = OFF")  # a bot dies here, not a machine
        self._plain.execute("PRAGMA foreign_keys = ON")
        if not writes:
            self._plain.execute("PRAGMA query_only = ON")

    async def execute(self, sql: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        await self._before(sql)
        return self._plain.execute(sql, values)

    async def execute_fetchall(self, sql: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> Iterable[sqlite3.Row]:
        """Run one statement and return all its rows."""
        await self._before(sql)
        return self._plain.execute(sql, values).fetchall()

    async def executemany(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> sqlite3.Cursor:
        """Run one statement for each of `rows`."""
        await self._before(sql)
        return self._plain.executemany(sql, rows)

    async def commit(self) -> None:
        """Commit; the disk may be full, and the bot may die before or after."""
        await self._before("COMMIT")
        self._plain.commit()
        if self._writes:
            self._disk.on_commit()
        self._borders.at("commit:after")

    async def rollback(self) -> None:
        """Roll back; a dead bot's transaction was rolled back when it died."""
        if self._borders.alive:
            self._plain.rollback()

    async def close(self) -> None:
        """Close."""
        self.die()

    def die(self) -> None:
        """Lose what is not committed, as a process does that ends."""
        self._plain.close()

    async def _before(self, sql: str) -> None:
        await self._borders.yielding(f"{'write' if self._writes else 'read'}: {sql[:40]}")
        if self._disk.refuses(writes=self._writes):
            raise Full("database or disk is full")


class Disk:
    """Where the book's file lies."""

    def __init__(self, path: Path, chance: Chance) -> None:
        self.path = path
        self.on_commit: Committed = no_commit
        self.fails_percent = 0.0  # of statements, while it is full
        self._chance = chance
        self._open: list[Connection] = []

    def refuses(self, *, writes: bool) -> bool:
        """Tell whether a statement fails now; a full disk can be read, most of the time."""
        return self.fails_percent > 0 and self._chance.of(self.fails_percent if writes else self.fails_percent / 10)

    def database(self, borders: Borders) -> SqliteDatabase:
        """Open the file for one life."""
        self._open = [Connection(self, borders, writes=writes) for writes in (True, False, False)]
        writer, *readers = (cast("aiosqlite.Connection", each) for each in self._open)
        return SqliteDatabase(writer, readers, no_probe)

    def let_go(self) -> None:
        """Close what the dead bot had open."""
        for connection in self._open:
            connection.die()
        self._open = []


def no_commit() -> None:
    """Do nothing after a commit."""


def fresh_book(template: Path) -> None:
    """Write an empty book with today's schema to `template`, to be copied for each story."""
    connection = sqlite3.connect(template, isolation_level=None)
    connection.row_factory = sqlite3.Row
    now(migrate(cast("aiosqlite.Connection", _Plain(connection)), load_migrations(), now=START))
    connection.close()


def copy_book(template: Path, path: Path) -> None:
    """Begin a story with an empty book."""
    shutil.copyfile(template, path)


class _Plain:
    """What `migrate` wants of a connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(sql, values)

    async def execute_fetchall(self, sql: str) -> Iterable[sqlite3.Row]:
        return self._connection.execute(sql).fetchall()

    async def commit(self) -> None:
        self._connection.commit()

    async def rollback(self) -> None:
        self._connection.rollback()


def now(coroutine: Any) -> Any:
    """Run a coroutine that never waits, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits for something")
