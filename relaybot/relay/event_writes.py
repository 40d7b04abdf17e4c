"""Writing events: each of a batch is judged in order, and all of it is durable before anybody is told.

Here stand the rules of what is kept: once by id, the newest of an address (NIP-01),
nothing its author deleted (NIP-09) or had forgotten (NIP-62). Most events are fresh at
first: on the disk, in the journal, but in no index. What an index costs is the pages it
touches, which thousands of events share; so they are moved to their places many at a time,
by another thread, while new ones go on. Statements go over many events at a time, too, since
every step into SQLite gives the interpreter away and must win it back from a busy loop.
"""

# ruff: noqa: S608 - only marks (?) and names of this file are put into SQL

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import Enum
from itertools import chain
from typing import TypeVar

from relaybot.nostr.event import HEX32_LENGTH, Event, is_hex, is_regular, parse_event
from relaybot.nostr.nip59 import WRAP_KIND
from relaybot.nostr.nip62 import VANISH_KIND
from relaybot.relay.event_journal import Arrival, Journal, Numbered
from relaybot.relay.event_table import (
    address_key,
    event_row,
    expiration_row,
    has_address,
    short_key,
    tag_key,
    tag_rows,
)
from relaybot.relay.removals import Removal, remove, vanishing_seqs

DELETION = 5  # NIP-09
_REMOVING = (DELETION, VANISH_KIND)
NEVER = 2**62  # later than any date
FRESH_BYTES_MAX = 16_777_216  # of events that wait; whoever writes more, helps to move them first

Item = TypeVar("Item")

_LAST_SEQ = "SELECT max(coalesce((SELECT max(seq) FROM event), 0), seq) FROM moved"
_NEXT_EXPIRY = f"SELECT coalesce(min(expires_at), {NEVER}) FROM expiration"
_KIND = re.compile(r"\d{1,5}", re.ASCII)
_CHUNKS = (64, 16, 4, 1)  # rows of one statement: few shapes, so each is prepared once
_REMOVED_AT_ONCE_MAX = 1_000  # of a key that vanishes, in the transaction of its request; the rest follows in steps


class Outcome(Enum):
    """What became of an event."""

    STORED = "stored"
    KNOWN = "known"
    OUTDATED = "outdated"
    DELETED = "deleted"
    VANISHED = "vanished"
    FAILED = "failed"


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
    """The only one who writes events. One thread calls `write`; `move` and `remove` may be called by another."""

    def __init__(
        self, placing: sqlite3.Connection, judging: sqlite3.Connection, journal: Journal, fresh: Sequence[Numbered] = ()
    ) -> None:
        """Take two connections in autocommit mode (isolation_level None), and move what stood in the journal.

        Everything is written by `placing`; `judging` reads beside it. sqlite3.Error: the disk refuses.
        """
        self._placing = placing
        self._judging = judging
        self._journal = journal
        self._place = threading.Lock()  # held by whoever writes to the tables
        self._turn = threading.Lock()  # held while what is fresh changes hands
        self._fresh: dict[str, Numbered] = {}
        self._fresh_bytes = 0
        self._moving = {arrival.event.id: (seq, arrival) for seq, arrival in fresh}  # taken from `_fresh`
        self._move()
        self._last_seq: int
        (self._last_seq,) = placing.execute(_LAST_SEQ).fetchone()
        self.next_expiry: int
        (self.next_expiry,) = placing.execute(_NEXT_EXPIRY).fetchone()

    @property
    def waiting(self) -> int:
        """Return how many events are fresh."""
        return len(self._fresh) + len(self._moving)

    def fresh_of(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that are fresh. Any thread; who looks in the tables afterwards, misses none."""
        fresh = self._fresh.keys() & ids  # in this order: so an event goes, from here to there and to its place
        return fresh | (self._moving.keys() & ids)

    def write(self, arrivals: Sequence[Arrival]) -> list[Outcome]:
        """Store what is to be stored; when this returns, it is on the disk.

        sqlite3.Error, OSError: what may wait was not stored; what replaces, expires or deletes, all or nothing.
        """
        removing = any(arrival.event.kind in _REMOVING for arrival in arrivals)
        if removing or self._fresh_bytes > FRESH_BYTES_MAX:
            self.move()
        waits = [not removing and _may_wait(arrival.event) for arrival in arrivals]
        with nullcontext(self._judging) if all(waits) else self._in_place() as connection:
            ids = [arrival.event.id for arrival in arrivals]
            seen = self.fresh_of(ids) | known_ids(connection, ids)
            batch = _Batch(connection, arrivals, self._last_seq, seen)
            outcomes = [batch.take(*one) for one in zip(arrivals, waits, strict=True)]
            batch.flush()
        self.next_expiry = min(self.next_expiry, batch.next_expiry)
        self._last_seq = batch.last_seq
        if batch.fresh:
            with self._turn:
                self._journal.append(batch.fresh)
                self._fresh.update({arrival.event.id: (seq, arrival) for seq, arrival in batch.fresh})
                self._fresh_bytes += sum([len(arrival.raw) for _, arrival in batch.fresh])
        return outcomes

    def move(self) -> None:
        """Move all that is fresh to where it is found. sqlite3.Error: it stays where it was."""
        with self._place:
            self._move()  # what could not be moved the last time
            with self._turn:
                self._moving, self._fresh, self._fresh_bytes = self._fresh, {}, 0
                self._journal.turn()
            self._move()

    def _move(self) -> None:
        if not self._moving:
            return
        with _transaction(self._placing):
            insert_events(self._placing, self._moving.values())
            self._placing.execute("UPDATE moved SET seq = ?", (max(seq for seq, _ in self._moving.values()),))
        self._moving = {}

    def remove(self, removal: Removal) -> None:
        """Remove what stands under these numbers, if it is there still; sqlite3.Error: nothing was removed."""
        self.move()
        with self._in_place() as connection:
            for seq in removal.seqs:
                for (raw,) in connection.execute("SELECT raw FROM event WHERE seq = ?", (seq,)).fetchall():
                    remove(connection, seq, parse_event(raw))
            if removal.last_of:
                values = (bytes.fromhex(removal.last_of),)
                connection.execute("UPDATE vanished SET rest = 0 WHERE pubkey = ?", values)
            (self.next_expiry,) = connection.execute(_NEXT_EXPIRY).fetchone()

    @contextmanager
    def _in_place(self) -> Iterator[sqlite3.Connection]:
        with self._place, _transaction(self._placing):
            yield self._placing


def _may_wait(event: Event) -> bool:
    """Tell whether nothing takes the event's place, and it never expires: then nobody needs it before it is moved."""
    return is_regular(event.kind) and not event.tags_named("expiration")


class _Batch:
    """One transaction: what was known before it, and the rows that are waiting to be inserted."""

    def __init__(
        self, connection: sqlite3.Connection, arrivals: Sequence[Arrival], last_seq: int, seen: set[str]
    ) -> None:
        self._connection = connection
        # No number is given twice, even after a deletion: a reader between two pages would meet another event.
        self.last_seq = last_seq
        self._seen = seen
        self.fresh: list[Numbered] = []
        # NIP-09: (author, created_at) of the deletion requests for an id or an address
        self._deletions: dict[bytes, list[tuple[str, int]]] = {}
        for key, pubkey, created_at in self._read_deletions(arrivals):
            self._deletions.setdefault(key, []).append((pubkey, created_at))
        self._vanished = dict(self._read_vanished(arrivals))  # NIP-62: until when, by key
        self.next_expiry = NEVER
        self._placed: list[Numbered] = []  # to be inserted where they are found
        self._expiration_rows: list[tuple[int, int]] = []
        self._addresses: set[str] = set()

    def take(self, arrival: Arrival, waits: bool) -> Outcome:  # noqa: FBT001 - one of a row
        """Judge an event and keep it: fresh, if it `waits`, else where it is found."""
        event = arrival.event
        if event.id in self._seen:
            return Outcome.KNOWN
        if self._is_deleted(event):
            return Outcome.DELETED
        if self._vanished and self._has_vanished(event):
            return Outcome.VANISHED
        if not waits and has_address(event) and not self._takes_its_place(event):
            return Outcome.OUTDATED
        self._seen.add(event.id)
        self.last_seq += 1
        if waits:
            self.fresh.append((self.last_seq, arrival))
        else:
            self._place(arrival)
        return Outcome.STORED

    def _place(self, arrival: Arrival) -> None:
        event = arrival.event
        self._placed.append((self.last_seq, arrival))
        expiration = expiration_row(event, self.last_seq)
        if expiration is not None:
            self._expiration_rows.append(expiration)
            self.next_expiry = min(self.next_expiry, expiration[1])
        if event.kind == DELETION:
            self.flush()
            self._delete(event)
        elif event.kind == VANISH_KIND:
            self.flush()
            self._vanish(event)

    def flush(self) -> None:
        """Insert the rows that are waiting."""
        insert_events(self._connection, self._placed)
        _insert(self._connection, "expiration", self._expiration_rows)
        self._placed, self._expiration_rows = [], []
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
        if not self._deletions or event.kind in (DELETION, VANISH_KIND):
            return False  # NIP-09, NIP-62: a request against a request has no effect
        by_id, *by_address = _deletion_keys(event)
        # NIP-59: relays SHOULD delete kind 1059 events whose p tag matches the signer
        owners = {event.pubkey, *_recipients(event)}
        if any(pubkey in owners for pubkey, _ in self._deletions.get(by_id, ())):
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
        remove(self._connection, seq, event)
        self._seen.discard(event.id)

    # ---- NIP-62: requests to vanish

    def _read_vanished(self, arrivals: Sequence[Arrival]) -> Iterator[tuple[str, int]]:
        if self._connection.execute("SELECT 1 FROM vanished LIMIT 1").fetchone() is None:
            return
        keys = {key for arrival in arrivals for key in (arrival.event.pubkey, *_recipients(arrival.event))}
        for pubkeys in _chunks([bytes.fromhex(key) for key in keys if is_hex(key, HEX32_LENGTH)]):
            sql = f"SELECT lower(hex(pubkey)), until FROM vanished WHERE pubkey IN ({_marks(pubkeys)})"
            yield from self._connection.execute(sql, pubkeys)

    def _has_vanished(self, event: Event) -> bool:
        keys = (event.pubkey, *_recipients(event))
        return any(event.created_at <= self._vanished.get(key, -1) for key in keys)

    def _vanish(self, request: Event) -> None:
        """Remove what the key wrote, and the wraps to it, up to the date of the request; this stays as a record."""
        # NIP-62: relays MUST ensure the deleted events cannot be re-broadcast
        self._vanished[request.pubkey] = max(request.created_at, self._vanished.get(request.pubkey, -1))
        until = self._vanished[request.pubkey]
        seqs = vanishing_seqs(self._connection, request.pubkey, until, _REMOVED_AT_ONCE_MAX)
        for seq in seqs:
            for (raw,) in self._connection.execute("SELECT raw FROM event WHERE seq = ?", (seq,)).fetchall():
                self._remove(seq, parse_event(raw))
        values = (bytes.fromhex(request.pubkey), until, len(seqs) == _REMOVED_AT_ONCE_MAX)
        self._connection.execute("INSERT OR REPLACE INTO vanished VALUES (?, ?, ?)", values)


def _deletion_keys(event: Event) -> list[bytes]:
    """Return the tag keys by which a deletion request would name `event`."""
    by_id = tag_key("e", event.id)
    return [by_id, tag_key("a", event.address())] if has_address(event) else [by_id]


def _recipients(event: Event) -> list[str]:
    """Return whose letter a gift wrap is."""
    return [tag[1] for tag in event.tags if tag[0] == "p" and len(tag) > 1] if event.kind == WRAP_KIND else []


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def insert_events(connection: sqlite3.Connection, events: Collection[Numbered]) -> None:
    """Within a transaction, insert events where they are found, with the rows that lead to them."""
    _insert(connection, "event", [event_row(arrival.event, arrival.raw, seq) for seq, arrival in events])
    # in the order of their table: neighbours go to the same leaf, which is a third off the insertion
    tags = sorted(chain.from_iterable([tag_rows(arrival.event, seq) for seq, arrival in events]))
    _insert(connection, "tag", tags)


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
