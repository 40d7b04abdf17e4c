"""Writing events: each of a batch is judged in order, and one commit makes the whole batch durable.

Here stand the rules of what is kept: once by id, the newest of an address (NIP-01),
nothing its author deleted (NIP-09). Statements go over many events at a time, since every
step into SQLite gives the interpreter away and must win it back from a busy loop.
"""

# ruff: noqa: S608 - only marks (?) and names of this file are put into SQL

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import TypeVar

from relaybot.nostr.event import HEX32_LENGTH, Event, is_hex, parse_event
from relaybot.relay.event_table import (
    EventRow,
    TagRow,
    address_key,
    event_row,
    has_address,
    short_key,
    tag_key,
    tag_rows,
)

DELETION = 5  # NIP-09

Item = TypeVar("Item")

_DELETIONS = "SELECT t.key, lower(hex(e.pubkey)), e.created_at FROM tag AS t CROSS JOIN event AS e ON e.seq = t.seq"
_KIND = re.compile(r"\d{1,5}", re.ASCII)
_CHUNKS = (64, 16, 4, 1)  # rows of one statement: few shapes, so each is prepared once


class Outcome(Enum):
    """What became of an event."""

    STORED = "stored"
    KNOWN = "known"
    OUTDATED = "outdated"
    DELETED = "deleted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event to be stored, and its JSON on one line."""

    raw: bytes
    event: Event


def known_ids(connection: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
    """Return those of `ids` that are stored."""
    found: set[str] = set()
    for keys in _chunks([short_key(id_) for id_ in ids]):
        sql = f"SELECT group_concat(hex(id)) FROM event WHERE rank IN ({_marks(keys)})"
        (listed,) = connection.execute(sql, keys).fetchone()
        if listed:
            found.update(listed.lower().split(","))
    return found.intersection(ids)


class EventWriter:
    """The only one who writes events; used from one thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Take a connection in autocommit mode (isolation_level None)."""
        self._connection = connection
        self._last_seq = 0

    def write(self, arrivals: Sequence[Arrival]) -> list[Outcome]:
        """Store what is to be stored; when this returns, it is on the disk. sqlite3.Error: nothing was stored."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            batch = _Batch(self._connection, arrivals, self._last_seq)
            outcomes = [batch.take(arrival) for arrival in arrivals]
            batch.flush()
            self._connection.execute("COMMIT")
            self._last_seq = batch.last_seq
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return outcomes


class _Batch:
    """One transaction: what was known before it, and the rows that are waiting to be inserted."""

    def __init__(self, connection: sqlite3.Connection, arrivals: Sequence[Arrival], last_seq: int) -> None:
        self._connection = connection
        (stored_seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()
        # No number is given twice, even after a deletion: a reader between two pages would meet another event.
        self.last_seq = max(last_seq, stored_seq)
        self._seen = known_ids(connection, [arrival.event.id for arrival in arrivals])
        # NIP-09: (author, created_at) of the deletion requests for an id or an address
        self._deletions: dict[bytes, list[tuple[str, int]]] = {}
        for key, pubkey, created_at in self._read_deletions(arrivals):
            self._deletions.setdefault(key, []).append((pubkey, created_at))
        self._event_rows: list[EventRow] = []
        self._tag_rows: list[TagRow] = []
        self._addresses: set[str] = set()

    def take(self, arrival: Arrival) -> Outcome:
        event = arrival.event
        if event.id in self._seen:
            return Outcome.KNOWN
        if self._is_deleted(event):
            return Outcome.DELETED
        if has_address(event) and not self._takes_its_place(event):
            return Outcome.OUTDATED
        self._seen.add(event.id)
        self.last_seq += 1
        self._event_rows.append(event_row(event, arrival.raw, self.last_seq))
        self._tag_rows += tag_rows(event, self.last_seq)
        if event.kind == DELETION:
            self.flush()
            self._delete(event)
        return Outcome.STORED

    def flush(self) -> None:
        """Insert the rows that are waiting."""
        _insert(self._connection, "event", self._event_rows)
        # in the order of their table: neighbours go to the same leaf, which is a third off the insertion
        _insert(self._connection, "tag", sorted(self._tag_rows))
        self._event_rows, self._tag_rows = [], []
        self._addresses.clear()

    # ---- NIP-01: the newest of an address

    def _takes_its_place(self, event: Event) -> bool:
        """Remove the older event of this address, or tell that the stored one stays."""
        address = event.address()
        if address in self._addresses:
            self.flush()
        for seq, raw in self._of_address(address, event.kind):
            stored = parse_event(raw)
            # NIP-01: of equal dates, the lowest id stays
            if (-stored.created_at, stored.id) < (-event.created_at, event.id):
                return False
            self._remove(seq, stored)
        self._addresses.add(address)
        return True

    def _of_address(self, address: str, kind: int) -> list[tuple[int, bytes]]:
        sql = "SELECT e.seq, e.raw FROM tag AS t CROSS JOIN event AS e ON e.seq = t.seq WHERE t.key = ? AND t.kind = ?"
        return self._connection.execute(sql, (address_key(address), kind)).fetchall()

    # ---- NIP-09: deletion requests

    def _read_deletions(self, arrivals: Sequence[Arrival]) -> Iterator[tuple[bytes, str, int]]:
        for keys in _chunks([key for arrival in arrivals for key in _deletion_keys(arrival.event)]):
            sql = (
                "SELECT t.key, lower(hex(e.pubkey)), e.created_at FROM tag AS t CROSS JOIN event AS e ON e.seq = t.seq "
                f"WHERE t.key IN ({_marks(keys)}) AND t.kind = {DELETION}"
            )
            yield from self._connection.execute(sql, keys)

    def _is_deleted(self, event: Event) -> bool:
        if not self._deletions or event.kind == DELETION:
            return False  # NIP-09: a request against a request has no effect
        by_id, *by_address = _deletion_keys(event)
        if any(pubkey == event.pubkey for pubkey, _ in self._deletions.get(by_id, ())):
            return True
        return any(
            pubkey == event.pubkey and event.created_at <= created_at
            for key in by_address
            for pubkey, created_at in self._deletions.get(key, ())
        )

    def _delete(self, request: Event) -> None:
        """Remove what `request` names and its author wrote; what comes later is refused."""
        for tag in request.tags:
            if len(tag) > 1 and tag[0] in ("e", "a"):
                deletions = self._deletions.setdefault(tag_key(tag[0], tag[1]), [])
                deletions.append((request.pubkey, request.created_at))
                for seq, raw in self._targets(tag[0], tag[1]):
                    target = parse_event(raw)
                    if self._is_deleted(target):
                        self._remove(seq, target)

    def _targets(self, name: str, value: str) -> list[tuple[int, bytes]]:
        if name == "a":
            kind = value.partition(":")[0]
            return self._of_address(value, int(kind)) if _KIND.fullmatch(kind) else []
        if not is_hex(value, HEX32_LENGTH):
            return []
        sql = "SELECT seq, raw FROM event WHERE rank = ? AND id = ?"
        return self._connection.execute(sql, (short_key(value), bytes.fromhex(value))).fetchall()

    def _remove(self, seq: int, event: Event) -> None:
        sql = "DELETE FROM tag WHERE key = ? AND kind = ? AND created_at = ? AND rank = ? AND seq = ?"
        self._connection.executemany(sql, tag_rows(event, seq))
        self._connection.execute("DELETE FROM event WHERE seq = ?", (seq,))
        self._seen.discard(event.id)


def _deletion_keys(event: Event) -> list[bytes]:
    """Return the tag keys by which a deletion request would name `event`."""
    by_id = tag_key("e", event.id)
    return [by_id, tag_key("a", event.address())] if has_address(event) else [by_id]


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    for chunk in _chunks(rows):
        marks = ",".join([f"({_marks(chunk[0])})"] * len(chunk))
        connection.execute(f"INSERT INTO {table} VALUES {marks}", tuple(chain.from_iterable(chunk)))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    start = 0
    for size in _CHUNKS:
        while start + size <= len(items):
            yield items[start : start + size]
            start += size
