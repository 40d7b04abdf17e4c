"""A copy of the book while it is written to, and a book made of a copy.

A copy is one SQLite file, whatever the book is. The schema is the same in both dialects, so a
PostgreSQL book is read in one REPEATABLE READ snapshot and written to such a file, and the
file's rows are loaded into an empty database.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import asyncpg

from relaybot.db.migrations import APPLIED, Migration, first_missing
from relaybot.db.postgres import CONNECT_SECONDS, open_postgres, postgres_errors
from relaybot.db.sqlite import BUSY_SECONDS, SqliteWriter, sqlite_errors
from relaybot.errors import Rejected
from relaybot.probe import no_probe

ROWS = 2_000  # written at a time
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('migrations') ORDER BY name"


def copy_file(source: Path, target: Path) -> None:
    """Copy a SQLite book that may be in use to a new file, whole or not at all. Rejected if it is damaged.

    In one step, which is one read transaction: in several, each commit of another process
    would make it start over. Writers go on meanwhile.
    """
    try:
        with sqlite_errors(), closing(_connect(source)) as ours, closing(_connect(target)) as copy:
            ours.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            said = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise Rejected("invalid", "this is no SQLite file, or a damaged one", found=str(source)) from error
    if said != "ok":
        raise Rejected("invalid", "the file is damaged", found=str(source), detail=said[:200])
    sync(target)


async def copy_out(url: str, target: Path, migrations: Sequence[Migration], now: int) -> None:
    """Write a PostgreSQL book as it is at this moment to a new file. Rejected if its schema is another version's."""
    with sqlite_errors(), closing(SqliteWriter(target, no_probe).connection) as copy:
        _empty(copy, target, migrations, now)
        with postgres_errors():
            connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
        try:
            with postgres_errors():
                await _read_all(connection, copy, migrations)
        finally:
            await connection.close()
        copy.execute("PRAGMA journal_mode = DELETE")
    sync(target)


def _empty(copy: sqlite3.Connection, target: Path, migrations: Sequence[Migration], now: int) -> None:
    """Give a new file our tables, without a row."""
    writer = SqliteWriter(target, no_probe)
    writer.prepare(migrations, now)
    writer.connection.close()
    for table in _tables(copy):
        copy.execute(f"DELETE FROM {table}")  # noqa: S608  our own names


async def _read_all(connection: asyncpg.Connection, copy: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        if first_missing(dict(await connection.fetch(APPLIED)), migrations) is not None:
            raise Rejected("invalid", "the book is of an older version: relaybot migrate brings it up to date")
        copy.execute("BEGIN")
        for table in _tables(copy):
            columns = _columns(copy, table)
            rows = await connection.cursor(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608  our own names
            insert = f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})"  # noqa: S608  our own names
            while page := await rows.fetch(ROWS):
                copy.executemany(insert, [tuple(row) for row in page])
        copy.execute("COMMIT")


async def load(source: Path, url: str, migrations: Sequence[Migration], now: int) -> None:
    """Load a copy, of our version, into an empty PostgreSQL book, whole or not at all. Rejected if it is not empty."""
    database = await open_postgres(url, migrations, now=now)
    await database.close()
    with closing(_connect(source)) as copy, postgres_errors():
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE plans IN ACCESS EXCLUSIVE MODE")
                if await connection.fetchval("SELECT COUNT(*) FROM plans"):
                    raise Rejected("invalid", "there is a book in this database already: give an empty one")
                for table in _tables(copy):
                    columns = _columns(copy, table)
                    rows = copy.execute(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608  our own names
                    await connection.execute(f"DELETE FROM {table}")  # noqa: S608  our own names
                    await connection.copy_records_to_table(table, records=rows, columns=columns)
        finally:
            await connection.close()


def sync(path: Path) -> None:
    """Have the disk keep a file, and its name."""
    for each in (path, path.parent):
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute(_TABLES) if not name.startswith("sqlite_")]


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
