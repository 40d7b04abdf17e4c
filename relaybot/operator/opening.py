"""Opening the book beside a service that may be running on it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from relaybot.app import open_book_database
from relaybot.clock import SystemClock
from relaybot.config import Config
from relaybot.errors import Rejected
from wallet.book import Book, running

Answer = dict[str, Any]


@contextlib.asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Book]:
    """Open the book beside a service that may be running on it. Rejected if there is none."""
    if isinstance(config.database, Path) and not config.database.exists():
        raise Rejected("invalid", f"no book at {config.database}; the first start of the service makes it")
    clock = SystemClock()
    database = await open_book_database(config, clock)
    try:
        async with running(Book(database, clock)) as book:
            yield book
    finally:
        await database.close()


async def migrate(config: Config) -> None:
    """Bring the book's database up to date; make it, if there is none."""
    database = await open_book_database(config, SystemClock())
    await database.close()
