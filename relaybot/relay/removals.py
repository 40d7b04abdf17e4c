"""What is to go from the store, and how one event goes: with all its rows.

Everything but a deletion is found first, by a reader, and removed then, in steps: the
writer is never held up. When that is done, upkeep.py decides.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from relaybot.nostr.event import Event
from relaybot.nostr.nip59 import WRAP_KIND
from relaybot.nostr.nip62 import VANISH_KIND
from relaybot.relay.event_table import short_key, tag_key, tag_rows

_SEQS = "SELECT group_concat(seq) FROM"

# Each has one row and column: row numbers with commas between them, or NULL.
EXPIRED = f"{_SEQS} (SELECT seq FROM expiration WHERE expires_at <= ? LIMIT ?)"  # noqa: S608 - names of this file
OLDER = f"{_SEQS} (SELECT seq FROM event INDEXED BY event_kind WHERE kind = ? AND created_at < ? LIMIT ?)"  # noqa: S608 - as above
BEYOND = (
    f"{_SEQS} (SELECT seq FROM event INDEXED BY event_kind WHERE kind = ? "  # noqa: S608 - as above
    "ORDER BY created_at DESC, rank, seq LIMIT ?3 OFFSET ?2)"
)
KINDS = (
    "WITH RECURSIVE found(kind) AS (SELECT min(kind) FROM event UNION ALL "
    "SELECT (SELECT min(kind) FROM event WHERE event.kind > found.kind) FROM found WHERE found.kind IS NOT NULL) "
    "SELECT group_concat(kind) FROM found"
)

# A key that is still being forgotten.
REST = "SELECT (SELECT lower(hex(pubkey)) || ' ' || until FROM vanished WHERE rest LIMIT 1)"

_VANISHING = """
SELECT seq FROM event INDEXED BY event_author
WHERE author = ?1 AND pubkey = ?2 AND created_at <= ?3 AND kind <> ?4
UNION ALL
SELECT seq FROM tag WHERE key = ?5 AND kind = ?6 AND created_at <= ?3
LIMIT ?7
"""
VANISHING = f"{_SEQS} ({_VANISHING})"


@dataclass(frozen=True, slots=True)
class Removal:
    """Row numbers to be removed; `last_of` is a key (hex) of which nothing is left then, in requests to vanish."""

    seqs: Sequence[int]
    last_of: str = ""


@dataclass(frozen=True, slots=True)
class Retention:
    """Events of these kinds are kept so many seconds, and so many of each kind; None is for ever, and all."""

    kinds: tuple[range, ...]
    seconds: int | None = None
    events_max: int | None = None


def remove(connection: sqlite3.Connection, seq: int, event: Event) -> None:
    """Remove one event and all rows that lead to it, within the transaction of `connection`."""
    sql = "DELETE FROM tag WHERE key = ? AND kind = ? AND created_at = ? AND rank = ? AND seq = ?"
    connection.executemany(sql, tag_rows(event, seq))
    connection.execute("DELETE FROM expiration WHERE seq = ?", (seq,))
    connection.execute("DELETE FROM event WHERE seq = ?", (seq,))


def vanishing(pubkey: str, until: int, count_max: int) -> tuple[int | bytes, ...]:
    """Return the values of VANISHING: what a key wrote up to a date, and the gift wraps to it (NIP-62)."""
    return (short_key(pubkey), bytes.fromhex(pubkey), until, VANISH_KIND, tag_key("p", pubkey), WRAP_KIND, count_max)


def vanishing_seqs(connection: sqlite3.Connection, pubkey: str, until: int, count_max: int) -> list[int]:
    """Return the row numbers of VANISHING."""
    return [seq for (seq,) in connection.execute(_VANISHING, vanishing(pubkey, until, count_max))]
