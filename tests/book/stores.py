"""Where a book lives: opened as often as a test wants, also by several processes at once."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest

from relaybot.clock import Clock, SetClock
from relaybot.config import Config
from relaybot.db.database import Database, Decide, Found, Looks, Reader, Write
from relaybot.db.migrations import Migration, load_migrations
from relaybot.db.postgres import PostgresDatabase, open_postgres
from relaybot.db.sqlite import SqliteDatabase, open_sqlite
from relaybot.probe import Probe, no_probe
from tests.book.empty import lay_book
from tests.postgres import new_book, new_schema, unavailable
from wallet.accounts import NODE_LIGHTNING, Account, user
from wallet.book import Book, invariants, running
from wallet.ledger import Plan, Put, Transfer
from wallet.money import Msat, from_sat

NOW = 1_795_000_000


class Store(Protocol):
    """One database, wherever it is."""

    async def open(self, probe: Probe = no_probe, migrations: Sequence[Migration] | None = None) -> Database:
        """Connect, as one more process would."""
        ...


@dataclass(frozen=True, slots=True)
class SqliteStore:
    """A file."""

    path: Path

    async def open(self, probe: Probe = no_probe, migrations: Sequence[Migration] | None = None) -> SqliteDatabase:
        """Open the file, or make it; with today's schema unless a test asks for other `migrations`."""
        if migrations is None and not self.path.exists():
            lay_book(self.path)
        shipped = load_migrations() if migrations is None else migrations
        return await open_sqlite(self.path, shipped, now=NOW, probe=probe)


@dataclass(frozen=True, slots=True)
class PostgresStore:
    """A database of its own in the tests' PostgreSQL."""

    url: str

    async def open(self, probe: Probe = no_probe, migrations: Sequence[Migration] | None = None) -> PostgresDatabase:
        """Connect."""
        shipped = load_migrations() if migrations is None else migrations
        return await open_postgres(self.url, shipped, now=NOW, probe=probe)


class Bordered:
    """A database whose every change has borders: before it begins, around its decision, and at its end."""

    def __init__(self, database: Database, probe: Probe) -> None:
        self._database = database
        self._probe = probe
        self.fetch = database.fetch
        self.rows_by_id = database.rows_by_id
        self.snapshot = database.snapshot
        self.close = database.close

    async def change(self, looks: Looks, decide: Decide) -> None:
        """Change, and tell the probe of each border."""

        def bordered(found: Found) -> Sequence[Write]:
            self._probe("decide:before")
            writes = decide(found)
            self._probe("decide:after")
            return writes

        self._probe("change:before")
        await self._database.change(looks, bordered)
        self._probe("change:after")


@asynccontextmanager
async def connected(
    store: Store, probe: Probe = no_probe, *, migrations: Sequence[Migration] | None = None
) -> AsyncIterator[Database]:
    """Open the database, and close it whatever happens: its threads would keep the test run alive."""
    database = await store.open(probe, migrations)
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def opened(
    store: Store, probe: Probe = no_probe, *, clock: Clock | None = None, every_statement: bool = False
) -> AsyncIterator[Book]:
    """Open a running book on `store`, and close it."""
    async with connected(store, probe) as database:
        port = Bordered(database, probe) if every_statement else database
        if every_statement and isinstance(database, SqliteDatabase):
            database._writer.connection.set_trace_callback(lambda _: probe("statement"))
        async with running(Book(port, clock or SetClock(NOW))) as book:
            yield book


KINDS = ("sqlite", "postgresql")


def store_of(kind: str, path: Path, *, bare: bool = False) -> Store:
    """Return an empty book of this kind, a `bare` one without tables; skip the test where there is no PostgreSQL."""
    if kind == "sqlite":
        return SqliteStore(path)
    if why := unavailable():
        pytest.skip(why)
    return PostgresStore(new_schema() if bare else new_book())


def book_file(config: Config) -> Path:
    """Return the file of a service's book that is one."""
    assert isinstance(config.database, Path)
    return config.database


async def tamper(store: Store, sql: str) -> None:
    """Change the database past everything that keeps it sound."""
    if isinstance(store, SqliteStore):
        with closing(sqlite3.connect(store.path)) as connection, connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(sql)
        return
    assert isinstance(store, PostgresStore)
    connection = await asyncpg.connect(store.url)
    await connection.execute("ALTER TABLE accounts DROP CONSTRAINT IF EXISTS accounts_check")
    await connection.execute(sql)
    await connection.close()


async def blank(database: Database, table: str) -> dict[str, str | int]:
    """Return a row of `table` in which every column but its id and version is empty."""
    if isinstance(database, PostgresDatabase):
        columns = {name: kind for (of, name), kind in database._types.items() if of == table}
    else:
        rows = await database.fetch("SELECT name, type FROM pragma_table_info(:table)", table=table)
        columns = {row["name"]: row["type"] for row in rows}
    return {
        name: 0 if kind.lower() in {"integer", "bigint"} else ""
        for name, kind in columns.items()
        if name not in {"id", "version"}
    }


def person(name: str) -> str:
    """Return the pubkey of somebody in a story."""
    return hashlib.sha256(name.encode()).hexdigest()


def sats_of(name: str) -> Account:
    """Return the withdrawable account of somebody in a story."""
    return user(person(name))


def top_up(name: str, sat: int, cause: str = "1") -> Plan:
    """Bring money in from the node."""
    return Plan(f"topup/{name}/{cause}", (Transfer(NODE_LIGHTNING, sats_of(name), from_sat(sat), "top-up"),))


def payment(key: str, *, debit: Account, credit: Account, msat: int) -> Plan:
    """Move `msat` from one account to another."""
    return Plan(key, (Transfer(debit, credit, Msat(msat), "payment"),))


async def contents(reader: Reader) -> dict[str, list[dict[str, Any]]]:
    """Return every row of the tables that Plans write, by names, to be compared whole."""
    columns = {
        "plans": "id, digest, applied_at",
        "accounts": "id, balance_msat, floor_msat",
        "transfers": "*",
        "cursors": "*",
        "users": "*",
    }
    return {
        table: [dict(row) for row in await reader.fetch(f"SELECT {names} FROM {table} ORDER BY id")]  # noqa: S608  a test's own names
        for table, names in columns.items()
    }


def mark(key: str, row_id: str = "c", value: int = 1) -> Plan:
    """Write one row that needs no money."""
    return Plan(key, changes=(Put("cursors", row_id, {"value": value}),))


async def broken(book: Book) -> list[str]:
    """Return what is wrong with the book, its running balances included."""
    wrong, sums = await invariants(book.database), Counter[str]()
    for row in await book.database.fetch("SELECT * FROM transfers ORDER BY seq"):
        sums[row["debit"]] -= row["amount_msat"]
        sums[row["credit"]] += row["amount_msat"]
        if (row["debit_after"], row["credit_after"]) != (sums[row["debit"]], sums[row["credit"]]):
            wrong.append(f"{row['id']} does not go on from the entry before")
    return wrong
