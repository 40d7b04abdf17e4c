"""Every store test runs on each kind of database named here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relaybot.db.database import Database
from tests.book.stores import PostgresStore, SqliteStore, Store, connected, opened
from tests.postgres import new_schema, unavailable
from wallet.book import Book


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "book.db")
    if why := unavailable():
        pytest.skip(why)
    return PostgresStore(new_schema())


@pytest.fixture
async def database(store: Store) -> AsyncIterator[Database]:
    async with connected(store) as database:
        yield database


@pytest.fixture
async def book(store: Store) -> AsyncIterator[Book]:
    async with opened(store) as book:
        yield book
