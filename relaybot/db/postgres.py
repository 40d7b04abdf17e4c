"""PostgreSQL behind the database port, on asyncpg: one connection that writes, a few that read.

Any number of processes may share the database. A change locks the rows it rests on; rows
that were missing are guarded by their keys, for they are inserted and never overwritten.
Where another process was faster, the change is decided again on what is there now.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

import asyncpg
import msgspec

from relaybot.db.database import Decide, Found, Lock, Looks, Reader, Row, Value
from relaybot.db.migrations import APPLIED, LEDGER, REMEMBER, Migration, first_missing
from relaybot.db.postgres_sql import Types, look_sql, placed, schema_of, write_sql
from relaybot.errors import Unavailable
from relaybot.probe import Probe, no_probe

READERS = 4
AGAIN_MAX = 20  # how often a change is decided again because another process was faster
CONNECT_SECONDS = 10
ANSWER_SECONDS = 60  # twice what a lock is waited for: a server that is silent for longer has gone
STATEMENTS_MAX = 500  # prepared ones that are kept: each mix of tables in a change is another one
MIGRATING = 0x72656C6179626F74  # the lock under which the schema is changed: "relaybot"
_SETTINGS = {
    "application_name": "relaybot",
    "synchronous_commit": "on",  # money is durable before it is confirmed
    "lock_timeout": "30s",  # how long another process may keep a row from us before we give up
    "idle_in_transaction_session_timeout": "30s",  # a process that hangs keeps no row for longer
}
_LOCK = "hashtextextended(current_schema() || '/' || $1, 0)"  # advisory locks are numbers, of the whole database
_READING = {**_SETTINGS, "default_transaction_read_only": "on"}
_TYPES = (
    "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = current_schema()"
)

_FASTER = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError)
_WORLD = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # the connection is closed
    asyncpg.InternalClientError,  # it is being closed: the server's last word is there, its end is not yet
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.OperatorInterventionError,  # the server stops, or starts
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresSystemError,
)


@contextmanager
def postgres_errors() -> Iterator[None]:
    """Say Unavailable where the world is at fault. A wrong statement is our fault."""
    try:
        yield
    except _WORLD as error:
        raise Unavailable(f"database: {error or type(error).__name__}") from error


def _known(value: Value) -> Value:
    """Return what is looked for as it would be kept: no text has a NUL here, and a stranger's may."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


class PostgresReader:
    """Statements on one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, sql: str, **values: Value) -> Sequence[Row]:
        """Return all rows of a SELECT. Unavailable if the server does not answer."""
        text, names = placed(sql)
        with postgres_errors():
            rows = await self._connection.fetch(text, *(_known(values[name]) for name in names))
        return [dict(row) for row in rows]

    async def rows_by_id(self, table: str, ids: Iterable[str]) -> dict[str, Row]:
        """Return the rows of `table` with these ids."""
        ids = {one for one in ids if "\0" not in one}
        with postgres_errors():
            rows = await self._connection.fetch(f"SELECT * FROM {table} WHERE id = ANY($1::text[])", [*ids])  # noqa: S608  our own table names
        return {row["id"]: dict(row) for row in rows}


class PostgresDatabase:
    """One database of a server: `open_postgres` makes it."""

    def __init__(self, url: str, readers: Any, types: Types, probe: Probe) -> None:
        self._url = url
        self._readers = readers
        self._types = types
        self._probe = probe
        self._writer: Any = None
        self._writing = asyncio.Lock()
        self._locks: _Locks | None = None
        self._locking = asyncio.Lock()

    async def fetch(self, sql: str, **values: Value) -> Sequence[Row]:
        """Return all rows of a SELECT on committed state."""
        async with self._reader() as connection:
            return await PostgresReader(connection).fetch(sql, **values)

    async def rows_by_id(self, table: str, ids: Iterable[str]) -> dict[str, Row]:
        """Return the committed rows of `table` with these ids."""
        async with self._reader() as connection:
            return await PostgresReader(connection).rows_by_id(table, ids)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reader]:
        """Hold one reader inside one read transaction."""
        async with self._reader() as connection:
            with postgres_errors():
                transaction = connection.transaction(isolation="repeatable_read", readonly=True)
                await transaction.start()
            try:
                yield PostgresReader(connection)
            finally:
                with suppress(*_WORLD):  # what was only read needs no end
                    await transaction.rollback()

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[Any]:
        with postgres_errors():
            connection = await self._readers.acquire()
        try:
            yield connection
        finally:
            await self._readers.release(connection)

    async def change(self, looks: Looks, decide: Decide) -> None:
        """Lock, read, decide, write and commit; decide again where another process was faster."""
        async with self._writing:
            for _ in range(AGAIN_MAX):
                with suppress(*_FASTER), postgres_errors():
                    await self._change_once(looks, decide)
                    return
            try:
                with postgres_errors():
                    await self._change_once(looks, decide)
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as error:
                raise Unavailable(f"database: {error}") from error

    async def _change_once(self, looks: Looks, decide: Decide) -> None:
        if self._writer is None or self._writer.is_closed():
            self._writer = await _connect(self._url)
        transaction = self._writer.transaction()
        try:
            await transaction.start()
        except _WORLD:
            self._writer.terminate()  # cut off, which it may not know yet: the next change has another one
            raise
        try:
            writes = decide(await self._look(looks))
            if writes:
                sql, arguments = write_sql(list(writes), self._types)
                await self._writer.execute(sql, *arguments)
            self._probe("commit:before")
        except BaseException:
            with suppress(*_WORLD):  # a connection that is gone has rolled back
                await transaction.rollback()
            raise
        await transaction.commit()
        self._probe("commit:after")

    async def _look(self, looks: Looks) -> Found:
        found: dict[str, dict[str, Row]] = {table: {} for table in looks}
        if looks:
            sql, arguments = look_sql(looks)
            for table, row in await self._writer.fetch(sql, *arguments):
                values = msgspec.json.decode(row)
                found[table][values["id"]] = values
        return found

    async def lock(self, name: str) -> Lock | None:
        """Take the lock `name`: the server frees it when our connection ends."""
        async with self._locking:
            with postgres_errors():
                if self._locks is None or self._locks.connection.is_closed():
                    self._locks = _Locks(await _connect(self._url))
                return await self._locks.take(name)

    async def close(self) -> None:
        """Close all connections."""
        async with self._writing, self._locking:
            for connection in (self._writer, self._locks and self._locks.connection):
                if connection is not None:
                    await _close(connection)
        await self._readers.close()


class _Locks:
    """Advisory locks of one connection: it has each once, and loses all when it ends."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.names: set[str] = set()
        self.using = asyncio.Lock()  # a connection does one thing at a time

    async def take(self, name: str) -> _AdvisoryLock | None:
        """Take the lock `name`; None if somebody has it, we included."""
        async with self.using:
            if name in self.names or not await self.connection.fetchval(f"SELECT pg_try_advisory_lock({_LOCK})", name):
                return None
            self.names.add(name)
            return _AdvisoryLock(self, name)


class _AdvisoryLock:
    def __init__(self, locks: _Locks, name: str) -> None:
        self._locks = locks
        self._name = name

    @property
    def held(self) -> bool:
        return self._name in self._locks.names and not self._locks.connection.is_closed()

    async def release(self) -> None:
        async with self._locks.using:
            self._locks.names.discard(self._name)
            with suppress(*_WORLD):  # a connection that is gone has freed it
                await self._locks.connection.fetchval(f"SELECT pg_advisory_unlock({_LOCK})", self._name)


async def open_postgres(
    url: str, migrations: Sequence[Migration], *, now: int, probe: Probe = no_probe
) -> PostgresDatabase:
    """Connect to the database at `url`, bring its schema up to date, and return it."""
    with postgres_errors():
        connection = await _connect(url, answer_seconds=None)  # a migration may take its time
    async with AsyncExitStack() as opened:
        opened.push_async_callback(_close, connection)
        with postgres_errors():
            await connection.execute(schema_of(LEDGER))
            while await _migrate_once(connection, migrations, now):
                pass
            types = {(table, column): kind for table, column, kind in await connection.fetch(_TYPES)}
            readers = await asyncpg.create_pool(
                url, min_size=1, max_size=READERS, init=_prepare, reset=_keep, server_settings=_READING
            )
    return PostgresDatabase(url, readers, types, probe)


async def _migrate_once(connection: Any, migrations: Sequence[Migration], now: int) -> bool:
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({MIGRATING})")  # two processes may start at once
        missing = first_missing(dict(await connection.fetch(APPLIED)), migrations)
        if missing is None:
            return False
        await connection.execute(schema_of(missing.sql))
        await connection.execute(placed(REMEMBER)[0], missing.number, missing.name, missing.checksum, now)
    return True


async def _connect(url: str, *, answer_seconds: float | None = ANSWER_SECONDS) -> Any:
    connection = await asyncpg.connect(
        url,
        timeout=CONNECT_SECONDS,
        command_timeout=answer_seconds,
        statement_cache_size=STATEMENTS_MAX,
        server_settings=_SETTINGS,
    )
    try:
        await _prepare(connection)
    except BaseException:  # cancelled, or cut off: nobody else will close it
        connection.terminate()
        raise
    return connection


async def _prepare(connection: Any) -> None:
    """Read sums of our integers, which PostgreSQL calls numeric, as integers."""
    await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=int, format="text")


async def _keep(connection: Any) -> None:
    """Leave a connection as it is when it goes back, for nobody sets anything on it, but end what was cut off."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")


async def _close(connection: Any) -> None:
    with suppress(*_WORLD):
        await connection.close(timeout=CONNECT_SECONDS)
