"""A real book on SQLite, committing, with a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relaybot.clock import SetClock
from relaybot.errors import Unavailable
from tests.book.stores import SqliteStore
from wallet.book import Book, running

NOW = 1_795_000_000


class FullDisk:
    """A probe: while it is `full`, nothing can be committed."""

    full = False

    def __call__(self, border: str) -> None:
        if self.full and border == "commit:before":
            raise Unavailable("database: the disk is full")


@pytest.fixture
def disk() -> FullDisk:
    return FullDisk()


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
async def book(tmp_path: Path, clock: SetClock, disk: FullDisk) -> AsyncIterator[Book]:
    database = await SqliteStore(tmp_path / "book.sqlite3").open(disk)
    async with running(Book(database, clock)) as made:
        yield made
    await database.close()
