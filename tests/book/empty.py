"""An empty book with today's schema, laid once in a process and copied: two dozen migrations outlast most tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from relaybot.db.migrations import load_migrations
from relaybot.db.sqlite import SqliteWriter
from relaybot.probe import no_probe

MADE = 1_795_000_000


def lay_book(path: Path) -> None:
    """Write an empty book to `path`, as the service's first start leaves one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_empty())


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory(prefix="rb-empty-") as directory:
        path = Path(directory) / "book.sqlite3"
        writer = SqliteWriter(path, no_probe)
        writer.prepare(load_migrations(), MADE)
        writer.connection.close()  # the last one: everything is in the one file
        return path.read_bytes()
