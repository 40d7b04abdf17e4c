"""SQLite behind the database port, on aiosqlite: one writer, a few readers, WAL.

`synchronous=FULL` makes a commit durable before it returns. Whatever is special to
SQLite's SQL stands here and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import aiosqlite

from relaybot.db.database import Reader, Row, Transaction, Value
from relaybot.db.migrations import Migration, migrate
from relaybot.errors import Unavailable
from relaybot.probe import Probe, no_probe

READERS = 2  # two cores: more readers would only queue behind each other
BUSY_SECONDS = 30  # how long a second process may hold the write lock before we give up


@contextmanager
def _errors() -> Iterator[None]:
    """Say Unavailable where the world is at fault: locked, full, read-only, failing. A wrong statement is our fault."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR:
            raise
        raise Unavailable(f"database: {error}") from error


class SqliteReader:
    """Statements on one aiosqlite connection."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def fetch(self, sql: str, **values: Value) -> Sequence[Row]:
        """Return all rows of a SELECT. Unavailable if the disk refuses."""
        with _errors():
            rows = await self._connection.execute_fetchall(sql, values)
        return [dict(row) for row in rows]

    async def rows_by_id(self, table: str, ids: Iterable[str]) -> dict[str, Row]:
        """Return the rows of `table` with these ids."""
        sql = f"SELECT * FROM {table} WHERE id IN (SELECT value FROM json_each(:ids))"  # noqa: S608  our own table names
        wanted = set(ids)
        rows = await self.fetch(sql, ids=json.dumps(sorted(wanted)))
        return {row["id"]: row for row in rows if row["id"] in wanted}  # SQLite's JSON cuts a text at a NUL


class SqliteTransaction(SqliteReader):
    """The writer's statements between BEGIN IMMEDIATE and COMMIT."""

    async def insert(self, table: str, rows: Sequence[Mapping[str, Value]]) -> None:
        """Insert `rows`, which all have the same columns."""
        if rows:
            await self._connection.executemany(_insert(table, tuple(rows[0])), rows)

    async def upsert(self, table: str, rows: Sequence[Mapping[str, Value]]) -> None:
        """Insert `rows`, or overwrite their columns where the id is there already."""
        if rows:
            columns = tuple(rows[0])
            changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "id")
            await self._connection.executemany(
                f"{_insert(table, columns)} ON CONFLICT (id) DO UPDATE SET {changes}", rows
            )


def _insert(table: str, columns: tuple[str, ...]) -> str:
    names, places = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({places})"  # noqa: S608  our own names; the values are bound


class SqliteDatabase:
    """One SQLite file: `open_sqlite` makes it."""

    def __init__(self, writer: aiosqlite.Connection, readers: Sequence[aiosqlite.Connection], probe: Probe) -> None:
        self._writer = writer
        self._writing = asyncio.Lock()
        self._all_readers = readers
        self._readers: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        for reader in readers:
            self._readers.put_nowait(reader)
        self._probe = probe

    async def fetch(self, sql: str, **values: Value) -> Sequence[Row]:
        """Return all rows of a SELECT on committed state."""
        connection = await self._readers.get()
        try:
            return await SqliteReader(connection).fetch(sql, **values)
        finally:
            self._readers.put_nowait(connection)

    async def rows_by_id(self, table: str, ids: Iterable[str]) -> dict[str, Row]:
        """Return the committed rows of `table` with these ids."""
        connection = await self._readers.get()
        try:
            return await SqliteReader(connection).rows_by_id(table, ids)
        finally:
            self._readers.put_nowait(connection)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reader]:
        """Hold one reader inside one read transaction."""
        connection = await self._readers.get()
        try:
            await connection.execute("BEGIN")
            yield SqliteReader(connection)
        finally:
            try:
                await connection.rollback()
            finally:  # also if this task is cancelled: the rollback is queued before the next reader's statement
                self._readers.put_nowait(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Begin; commit durably when the block ends, roll back if it raises. Unavailable if the disk refuses."""
        async with self._writing:
            with _errors():
                try:
                    await self._writer.execute("BEGIN IMMEDIATE")
                    yield SqliteTransaction(self._writer)
                    self._probe("commit:before")
                    await self._writer.commit()
                    self._probe("commit:after")
                except BaseException:
                    await self._writer.rollback()
                    raise

    async def close(self) -> None:
        """Close all connections."""
        for connection in (*self._all_readers, self._writer):
            await connection.close()


async def open_sqlite(
    path: Path, migrations: Sequence[Migration], *, now: int, probe: Probe = no_probe
) -> SqliteDatabase:
    """Open or create the file at `path`, bring its schema up to date, and return the database."""
    path.parent.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as opened:  # an open connection has a thread, which would keep the process alive
        with _errors():
            writer = await _connect(path, opened)
            await migrate(writer, migrations, now=now)
            readers = [await _connect(path, opened, read_only=True) for _ in range(READERS)]
        opened.pop_all()
    return SqliteDatabase(writer, readers, probe)


async def _connect(path: Path, opened: AsyncExitStack, *, read_only: bool = False) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
    opened.push_async_callback(connection.close)
    connection.row_factory = sqlite3.Row
    await connection.execute("PRAGMA journal_mode = WAL")
    await connection.execute("PRAGMA synchronous = FULL")
    await connection.execute("PRAGMA foreign_keys = ON")
    if read_only:
        await connection.execute("PRAGMA query_only = ON")
    return connection
