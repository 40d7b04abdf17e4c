"""Where a book lives: opened as often as a test wants, also by several processes at once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from relaybot.clock import Clock, SetClock
from relaybot.db.database import Database, Reader, Transaction
from relaybot.db.migrations import load_migrations
from relaybot.db.sqlite import SqliteDatabase, open_sqlite
from relaybot.probe import Probe, no_probe, probed
from wallet.accounts import NODE_LIGHTNING, Account, user
from wallet.book import Book, invariants, running
from wallet.ledger import Plan, Put, Transfer
from wallet.money import Msat, from_sat

NOW = 1_795_000_000


class Store(Protocol):
    """One database, wherever it is."""

    async def open(self, probe: Probe = no_probe) -> Database:
        """Connect, as one more process would."""
        ...


@dataclass(frozen=True, slots=True)
class SqliteStore:
    """A file."""

    path: Path

    async def open(self, probe: Probe = no_probe) -> SqliteDatabase:
        """Open the file, or make it."""
        return await open_sqlite(self.path, load_migrations(), now=NOW, probe=probe)


class Bordered:
    """A database whose every statement, and not only its commits, is a border the probe is told of."""

    def __init__(self, database: Database, probe: Probe) -> None:
        self._database = database
        self._probe = probe
        self.fetch = database.fetch
        self.rows_by_id = database.rows_by_id
        self.snapshot = database.snapshot
        self.close = database.close

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Begin, with a border at each statement."""
        async with self._database.transaction() as transaction:
            yield probed(transaction, self._probe)


@asynccontextmanager
async def connected(store: Store, probe: Probe = no_probe) -> AsyncIterator[Database]:
    """Open the database, and close it whatever happens: its threads would keep the test run alive."""
    database = await store.open(probe)
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
        async with running(Book(port, clock or SetClock(NOW))) as book:
            yield book


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
    """Return every row of the tables that Plans write, to be compared whole."""
    tables = ("plans", "accounts", "transfers", "cursors", "users")
    return {
        table: [dict(row) for row in await reader.fetch(f"SELECT * FROM {table} ORDER BY id")]  # noqa: S608  a test's own names
        for table in tables
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
