"""SQLite behind the database port: one writer on a thread of its own, a few readers, WAL.

`synchronous=FULL` makes a commit durable before it returns. A change is one hop to the
writer's thread: begin, read, decide, write, commit. Whatever is special to SQLite's SQL
stands here and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import aiosqlite

from relaybot.db.database import Decide, Lock, Look, Looks, Reader, Row, Value, Write
from relaybot.db.file_lock import lock_file
from relaybot.db.migrations import APPLIED, LEDGER, REMEMBER, Migration, first_missing, statements
from relaybot.db.quick_reads import QuickReads, open_quick_reads
from relaybot.errors import Unavailable
from relaybot.probe import Probe, no_probe

READERS = 2  # two cores: more readers would only queue behind each other
BOUND_MAX = 16  # ids that are bound one by one; more are handed over as a list, which takes SQLite longer to open
BUSY_SECONDS = 30  # how long a second process may hold the write lock before we give up
_WRITER = (
    "PRAGMA cache_size = -65536",  # 64 MB: the pages that a growing book touches again and again
    "PRAGMA wal_autocheckpoint = 4000",  # 16 MB: the more commits a page gathers, the fewer times it moves
)
_QUICK = (
    "PRAGMA query_only = ON",
    "PRAGMA cache_size = -16384",  # 16 MB
    "PRAGMA mmap_size = 1073741824",  # bytes: pages are read where they lie
    "PRAGMA temp_store = MEMORY",
)
_SETTINGS = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON")


@contextmanager
def sqlite_errors() -> Iterator[None]:
    """Say Unavailable where the world is at fault: locked, full, read-only, failing. A wrong statement is our fault."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR:
            raise
        raise Unavailable(f"database: {error}") from error


class SqliteWriter:
    """The one connection that writes; it waits for nobody but the disk, and for a second process's commit."""

    def __init__(self, path: Path, probe: Probe) -> None:
        with sqlite_errors():
            self.connection = sqlite3.connect(
                path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False, cached_statements=512
            )
        self._probe = probe

    def prepare(self, migrations: Sequence[Migration], now: int) -> None:
        """Set the connection up, and bring the schema up to date; WrongSchema if it is another program's."""
        with sqlite_errors():
            for setting in (*_SETTINGS, *_WRITER):
                self.connection.execute(setting)
            self.connection.execute(LEDGER)
            while self._migrate_once(migrations, now):
                pass

    def _migrate_once(self, migrations: Sequence[Migration], now: int) -> bool:
        with self._transaction():  # before looking: two processes may start at once
            missing = first_missing(dict(self.connection.execute(APPLIED)), migrations)
            if missing is None:
                return False
            for statement in statements(missing.sql):
                self.connection.execute(statement)
            values = {"number": missing.number, "name": missing.name, "checksum": missing.checksum, "applied_at": now}
            self.connection.execute(REMEMBER, values)
        return True

    def change(self, looks: Looks, decide: Decide) -> None:
        """Read, decide, write, commit. Unavailable if the disk refuses."""
        with sqlite_errors(), self._transaction():
            found = {table: self._rows(table, look) for table, look in looks.items()}
            for write in decide(found):
                self.connection.executemany(_statement(write), write.rows)
            self._probe("commit:before")
        self._probe("commit:after")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            self.connection.rollback()
            raise

    def _rows(self, table: str, look: Look) -> dict[str, Row]:
        columns = ("id", *look.columns)
        sql = f"SELECT {', '.join(columns)} FROM {table} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608  our own names
        rows = self.connection.execute(sql, (json.dumps([*look.ids]),))
        found = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
        return {row_id: found[row_id] for row_id in look.ids if row_id in found}  # SQLite's JSON cuts a text at a NUL


def _statement(write: Write) -> str:
    columns = write.columns
    if write.new:
        return f"INSERT INTO {write.table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608  our own names; the values are bound
    assert columns[0] == "id", f"{write.table} is changed by {columns[0]}"
    changes = ", ".join(f"{name} = ?{place}" for place, name in enumerate(columns[1:], 2))
    return f"UPDATE {write.table} SET {changes} WHERE id = ?1"  # noqa: S608  our own names; the values are bound


class SqliteReader:
    """Statements on one aiosqlite connection."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def fetch(self, sql: str, **values: Value) -> Sequence[Row]:
        """Return all rows of a SELECT. Unavailable if the disk refuses."""
        with sqlite_errors():
            rows = await self._connection.execute_fetchall(sql, values)
        return [dict(row) for row in rows]

    async def rows_by_id(self, table: str, ids: Iterable[str]) -> dict[str, Row]:
        """Return the rows of `table` with these ids."""
        return await _rows_by_id(self.fetch, table, ids)


async def _rows_by_id(fetch: Callable[..., Awaitable[Sequence[Row]]], table: str, ids: Iterable[str]) -> dict[str, Row]:
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    if len(wanted) <= BOUND_MAX:
        bound: dict[str, Value] = {f"id{place}": one for place, one in enumerate(wanted)}
        names = ", ".join(f":{name}" for name in bound)
        rows = await fetch(f"SELECT * FROM {table} WHERE id IN ({names})", **bound)  # noqa: S608  our own table names
    else:
        sql = f"SELECT * FROM {table} WHERE id IN (SELECT value FROM json_each(:ids))"  # noqa: S608  our own table names
        rows = await fetch(sql, ids=json.dumps(wanted))
    found = {row["id"]: row for row in rows}
    return {row_id: found[row_id] for row_id in wanted if row_id in found}  # SQLite's JSON cuts a text at a NUL


class SqliteDatabase:
    """One SQLite file: `open_sqlite` makes it."""

    def __init__(
        self,
        path: Path,
        writer: SqliteWriter,
        thread: ThreadPoolExecutor,
        readers: Sequence[aiosqlite.Connection],
        quick: QuickReads,
    ) -> None:
        self._locks = path.with_name(f"{path.name}.locks")
        self._writer = writer
        self._thread = thread
        self._quick: QuickReads | None = quick
        self._all_readers = readers
        self._readers: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        for reader in readers:
            self._readers.put_nowait(reader)

    async def fetch(self, sql: str, **values: Value) -> Sequence[Row]:
        """Return all rows of a SELECT on committed state: at once if that is quick, else by a reader."""
        found = self._quick.rows(sql, values) if self._quick is not None else None
        if self._quick is not None and self._quick.is_others_turn():
            await asyncio.sleep(0)
        if found is not None:
            return found
        connection = await self._readers.get()
        try:
            return await SqliteReader(connection).fetch(sql, **values)
        finally:
            self._readers.put_nowait(connection)

    async def rows_by_id(self, table: str, ids: Iterable[str]) -> dict[str, Row]:
        """Return the committed rows of `table` with these ids."""
        return await _rows_by_id(self.fetch, table, ids)

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

    async def change(self, looks: Looks, decide: Decide) -> None:
        """Read, decide, write and commit on the writer's thread; what has begun there ends there."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.change, looks, decide)

    async def lock(self, name: str) -> Lock | None:
        """Take the lock `name`: a file in a directory beside the database."""
        return lock_file(self._locks, name)

    async def close(self) -> None:
        """Close all connections."""
        if self._quick is not None:
            self._quick.close()
        for connection in self._all_readers:
            await connection.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.connection.close)
        self._thread.shutdown()


async def open_sqlite(
    path: Path, migrations: Sequence[Migration], *, now: int, probe: Probe = no_probe
) -> SqliteDatabase:
    """Open or create the file at `path`, bring its schema up to date, and return the database."""
    path.parent.mkdir(parents=True, exist_ok=True)
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as opened:  # an open connection has a thread, which would keep the process alive
        thread = ThreadPoolExecutor(1, "book writer")
        opened.callback(thread.shutdown)
        writer = await loop.run_in_executor(thread, SqliteWriter, path, probe)
        opened.push_async_callback(loop.run_in_executor, thread, writer.connection.close)
        await loop.run_in_executor(thread, writer.prepare, migrations, now)
        with sqlite_errors():
            readers = [await _open_reader(path, opened) for _ in range(READERS)]
            quick = open_quick_reads(path, _QUICK)
        opened.pop_all()
    return SqliteDatabase(path, writer, thread, readers, quick)


async def _open_reader(path: Path, opened: AsyncExitStack) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
    opened.push_async_callback(connection.close)
    connection.row_factory = sqlite3.Row
    for setting in (*_SETTINGS, "PRAGMA query_only = ON"):
        await connection.execute(setting)
    return connection
