"""How events lie in their SQLite file: tables, index keys, and the settings of a connection.

Index keys are short (8 or 16 bytes) because the leaves that random keys touch are what a
commit writes; what a short key could confuse is compared in full. docs/adr/0003 has the
measurements. What is asked and what is written stands in queries.py and event_writes.py.
"""

from __future__ import annotations

import hashlib
import string
from functools import lru_cache
from typing import TypeAlias

from relaybot.errors import Rejected
from relaybot.nostr.event import Event, is_addressable, is_replaceable
from relaybot.nostr.nip40 import parse_expiration

_SCHEMA_1 = """
CREATE TABLE event (
    seq        INTEGER PRIMARY KEY,  -- order of arrival; never used twice while the relay runs
    id         BLOB    NOT NULL,
    pubkey     BLOB    NOT NULL,
    rank       INTEGER NOT NULL,     -- first 8 bytes of id, ordered as id is
    author     INTEGER NOT NULL,     -- first 8 bytes of pubkey
    kind       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    raw        BLOB    NOT NULL      -- the event's JSON, on one line
);
CREATE INDEX event_rank   ON event (rank);
CREATE INDEX event_time   ON event (created_at DESC, rank);
CREATE INDEX event_kind   ON event (kind, created_at DESC, rank);
CREATE INDEX event_author ON event (author, kind, created_at DESC, rank);
CREATE TABLE tag (
    key        BLOB    NOT NULL,     -- tag_key(name, value); address_key(event) of replaceable events
    kind       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    rank       INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    PRIMARY KEY (key, kind, created_at DESC, rank, seq)
) WITHOUT ROWID;
"""

# Events that expire (NIP-40), keys that asked to be forgotten (NIP-62).
_SCHEMA_2 = """
CREATE TABLE expiration (
    seq        INTEGER PRIMARY KEY,
    expires_at INTEGER NOT NULL
);
CREATE INDEX expiration_time ON expiration (expires_at);
CREATE TABLE vanished (
    pubkey BLOB    PRIMARY KEY,
    until  INTEGER NOT NULL,     -- what they wrote up to here is removed, and not taken again
    rest   INTEGER NOT NULL      -- whether something of it is still to be removed
) WITHOUT ROWID;
CREATE INDEX vanished_rest ON vanished (pubkey) WHERE rest;
"""

# Events that waited to be moved to the tables above, before they did so in files of their own.
_SCHEMA_3 = """
CREATE TABLE fresh (
    seq INTEGER PRIMARY KEY,
    raw BLOB    NOT NULL
);
"""

# Up to which number all events of the journal (event_journal.py) were moved. Then `fresh` is emptied and dropped.
_SCHEMA_4 = """
CREATE TABLE moved (
    seq INTEGER NOT NULL
);
INSERT INTO moved SELECT coalesce(max(seq), 0) FROM
(SELECT max(seq) AS seq FROM event UNION ALL SELECT max(seq) FROM fresh);
"""

SCHEMAS = (_SCHEMA_1, _SCHEMA_2, _SCHEMA_3, _SCHEMA_4)  # what each version has beside the one before
SCHEMA_VERSION = len(SCHEMAS)

EXPIRATION_VERSION = 2
JOURNAL_VERSION = 4
MOVED = "SELECT seq FROM moved"
# Events of before that may expire, to be looked at one by one.
MAY_EXPIRE = "SELECT seq, raw FROM event WHERE instr(raw, CAST('\"expiration\"' AS BLOB))"

# Every commit is on the disk before anybody is told (synchronous=FULL syncs the WAL).
WRITER_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA cache_size=-65536",  # KiB: the inner pages and hot leaves of all indexes
    "PRAGMA wal_autocheckpoint=16000",  # pages (64 MB): a hot leaf is copied back once for many commits
)
READER_PRAGMAS = (
    "PRAGMA query_only=1",
    "PRAGMA cache_size=-16384",  # KiB, for each reader
    "PRAGMA mmap_size=1073741824",  # bytes: pages are read where they lie
    "PRAGMA temp_store=MEMORY",
)

STATEMENTS_CACHED = 512  # prepared statements a connection keeps; shapes of filters are few
LOCK_SECONDS = 10.0  # how long another process (a backup) may hold the file

_SIGN = 1 << 63  # SQLite's integers are signed
_SHORT_BYTES = 8
_KEY_BYTES = 16
_REMEMBERED_MAX = 8_192  # keys of tags: the same people, topics and threads are named again and again
_REMEMBERED_CHARACTERS_MAX = 64  # of the value of one of them, an id or a public key: 2 MB all together
_ADDRESS = "address"  # no tag's name: those in the index are single letters
_LETTERS = frozenset(string.ascii_letters)  # NIP-01: single-letter tags are indexed

EventRow: TypeAlias = tuple[int, bytes, bytes, int, int, int, int, bytes]
TagRow: TypeAlias = tuple[bytes, int, int, int, int]


def short_key(identity: str) -> int:
    """Return the first 8 bytes of an id or a public key in hex, as an integer in the same order."""
    return int(identity[:16], 16) - _SIGN


def tag_key(name: str, value: str) -> bytes:
    """Return the index key of one tag value, of whatever length."""
    return _remembered_key(name, value) if len(value) <= _REMEMBERED_CHARACTERS_MAX else _new_key(name, value)


def _new_key(name: str, value: str) -> bytes:
    return hashlib.blake2b(f"{name}:{value}".encode(), digest_size=_KEY_BYTES).digest()


_remembered_key = lru_cache(_REMEMBERED_MAX)(_new_key)


def address_key(address: str) -> bytes:
    """Return the key under which the newest event of an address is found."""
    return tag_key(_ADDRESS, address)


def has_address(event: Event) -> bool:
    """Tell whether later events of the same address take this one's place."""
    return is_replaceable(event.kind) or is_addressable(event.kind)


def event_row(event: Event, raw: bytes, seq: int) -> EventRow:
    """Return the row of table event."""
    id_, pubkey = bytes.fromhex(event.id), bytes.fromhex(event.pubkey)
    rank = int.from_bytes(id_[:_SHORT_BYTES]) - _SIGN
    author = int.from_bytes(pubkey[:_SHORT_BYTES]) - _SIGN
    return seq, id_, pubkey, rank, author, event.kind, event.created_at, raw


def expiration_row(event: Event, seq: int) -> tuple[int, int] | None:
    """Return the row of table expiration, if the event expires."""
    try:
        expires_at = parse_expiration(event)
    except Rejected:  # an event of before this was refused
        return None
    return None if expires_at is None else (seq, expires_at)


def tag_rows(event: Event, seq: int) -> list[TagRow]:
    """Return the rows of table tag: first values of single-letter tags (NIP-01), each once, and the address."""
    keys = {tag_key(tag[0], tag[1]) for tag in event.tags if len(tag) > 1 and tag[0] in _LETTERS}
    if has_address(event):
        keys.add(address_key(event.address()))
    rank = short_key(event.id)
    return [(key, event.kind, event.created_at, rank, seq) for key in keys]
