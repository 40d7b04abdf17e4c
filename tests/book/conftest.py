"""Every store test runs on each kind of database named here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import pytest

from relaybot.db.database import Database
from tests.book.stores import KINDS, Store, connected, opened, store_of
from wallet.book import Book


@pytest.fixture(params=KINDS)
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Return what makes another empty store of one kind."""
    numbers = count()
    return lambda: store_of(request.param, tmp_path / f"{next(numbers)}.db")


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
