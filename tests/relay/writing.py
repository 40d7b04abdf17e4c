"""A writer of events on a file that no relay has opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relaybot.relay.event_journal import Journal, read_journal
from relaybot.relay.event_table import MOVED, SCHEMAS
from relaybot.relay.event_writes import EventWriter


def connect(path: Path, *pragmas: str) -> sqlite3.Connection:
    """Connect as the store does; make the tables if there are none."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in pragmas:
        connection.execute(pragma)
    if not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        connection.executescript("".join(SCHEMAS))
    return connection


@contextmanager
def writer_on(path: Path, connection: sqlite3.Connection) -> Iterator[EventWriter]:
    """Give a writer that does all by one connection, with whatever the last one has left in its journal."""
    (moved,) = connection.execute(MOVED).fetchone()
    journal = Journal(path)
    try:
        yield EventWriter(connection, connection, journal, read_journal(path, after=moved))
    finally:
        journal.close(moved=False)
