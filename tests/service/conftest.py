"""A real book on SQLite, committing, with a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relaybot.clock import SetClock
from relaybot.db.migrations import load_migrations
from relaybot.db.sqlite import open_sqlite
from wallet.book import Book, running

NOW = 1_795_000_000


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
async def book(tmp_path: Path, clock: SetClock) -> AsyncIterator[Book]:
    database = await open_sqlite(tmp_path / "book.sqlite3", load_migrations(), now=NOW)
    async with running(Book(database, clock)) as made:
        yield made
    await database.close()
