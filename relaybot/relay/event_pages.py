"""Every stored event, for who wants them all: read beside a relay that may be running on the file.

Each page is a reading of its own, so that however long the reader takes, the relay's
write-ahead log does not grow for it. What is fresh is read first, for it may be moved
meanwhile. Row numbers are never used twice, and an event that is fresh keeps its own when it
is moved; so none that stays is missed, and none comes twice.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from relaybot.errors import BadConfig, Rejected, Unavailable
from relaybot.relay.event_journal import read_journal
from relaybot.relay.event_table import MOVED, READER_PRAGMAS, SCHEMA_VERSION

PAGE_EVENTS = 100  # held in memory at once: at most 13 MB, by the largest frame of the default limits

_PAGE = """
SELECT seq, raw FROM event AS e WHERE seq > ?1 AND NOT EXISTS
(SELECT 1 FROM expiration AS x WHERE x.seq = e.seq AND x.expires_at <= ?2)
ORDER BY seq LIMIT ?3
"""
_COUNT = "SELECT count(*) FROM event"


def count_events(path: Path) -> int:
    """Return how many events the file at `path` holds, expired ones too; errors as `all_events`."""
    with _reading(path) as connection:
        fresh = len(_fresh(connection, path))
        counted: int = connection.execute(_COUNT).fetchone()[0]
    return counted + fresh


def all_events(path: Path, now: int) -> Iterator[bytes]:
    """Yield the JSON of each event that has not expired, in the order of arrival; fresh ones come last.

    Rejected if there is no file, BadConfig if it is of another version, Unavailable if it cannot be read.
    """
    last = -1
    with _reading(path) as connection:
        fresh = _fresh(connection, path)
        while rows := connection.execute(_PAGE, (last, now, PAGE_EVENTS)).fetchall():
            for last, raw in rows:
                fresh.pop(last, None)
                yield raw
        yield from fresh.values()


def _fresh(connection: sqlite3.Connection, path: Path) -> dict[int, bytes]:
    (moved,) = connection.execute(MOVED).fetchone()
    return {seq: arrival.raw for seq, arrival in read_journal(path, after=moved)}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.exists():
        raise Rejected("invalid", f"no events at {path}; the first start of the relay makes the file")
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for pragma in READER_PRAGMAS:
                connection.execute(pragma)
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if found != SCHEMA_VERSION:
                raise BadConfig("relay.database", f"{path} of version {found}", f"version {SCHEMA_VERSION}")
            yield connection
    except sqlite3.Error as error:
        raise Unavailable(f"{path} cannot be read: {error}") from None
