"""Every store test runs on each kind of database named here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import pytest

from relaybot.db.database import Database
from tests.book.stores import PostgresStore, SqliteStore, Store, connected, opened
from tests.postgres import new_schema, unavailable
from wallet.book import Book


@pytest.fixture(params=["sqlite", "postgresql"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Return what makes another empty store of one kind."""
    if request.param == "sqlite":
        numbers = count()
        return lambda: SqliteStore(tmp_path / f"{next(numbers)}.db")
    if why := unavailable():
        pytest.skip(why)
    return lambda: PostgresStore(new_schema())


@pytest.fixture
def store(new_store: Callable[[], Store]) -> Store:
    return new_store()


@pytest.fixture
async def database(store: Store) -> AsyncIterator[Database]:
    async with connected(store) as database:
        yield database


@pytest.fixture
async def book(store: Store) -> AsyncIterator[Book]:
    async with opened(store) as book:
        yield book
