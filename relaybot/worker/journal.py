"""What a compute node must not forget in a crash: what it took on, what it still owes to which relay, what it earned.

An assignment is taken once, claimed once if its work takes a while, and finished once, together
with the event that says how; from then on only that same event is sent. One SQLite file, one process:
a second one that opens it is refused. A crash of the process loses nothing; a crash of the
machine may lose the last moments, and then a job is worked again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from relaybot.errors import BadConfig
from relaybot.nostr.event import Event, encode_event, parse_event
from relaybot.nostr.pay_slips import PaySlip
from wallet.money import Msat

KEPT_SECONDS = 7 * 86_400  # after an assignment's end its id is still known for so long
OWED_SECONDS = 600  # beyond an assignment's end, for clocks that differ; then the service listens no more

_SCHEMA = """
CREATE TABLE IF NOT EXISTS assignments (
    id TEXT PRIMARY KEY,
    event TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    finished INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS owed (
    id TEXT NOT NULL,
    relay TEXT NOT NULL,
    event TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (id, relay)
) STRICT;
CREATE TABLE IF NOT EXISTS claimed (
    assignment TEXT PRIMARY KEY
) STRICT;
CREATE TABLE IF NOT EXISTS earned (
    service TEXT PRIMARY KEY,
    jobs INTEGER NOT NULL,
    msat INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS unfinished ON assignments (finished) WHERE finished = 0;
"""


class Journal:
    """The node's memory, in `directory`; BadConfig if another process holds it."""

    def __init__(self, directory: Path, relays: Sequence[str]) -> None:
        self._relays = tuple(relays)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = sqlite3.connect(directory / "worker.db", isolation_level=None, timeout=0)
        except (OSError, sqlite3.OperationalError):
            raise BadConfig("--state", str(directory), "a directory in which this user may write") from None
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(_SCHEMA)
        except sqlite3.OperationalError:
            self._database.close()
            raise BadConfig("--state", str(directory), "a directory no other worker is using") from None

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def take(self, assignment: Event, *, expires_at: int) -> bool:
        """Take an assignment on; False if it was taken before, and nothing changes."""
        row = (assignment.id, encode_event(assignment), assignment.created_at, expires_at)
        taken = self._database.execute(
            "INSERT OR IGNORE INTO assignments (id, event, created_at, expires_at) VALUES (?, ?, ?, ?)", row
        )
        return taken.rowcount > 0

    def claim(self, assignment: Event, *, expires_at: int, claim: Event) -> bool:
        """Owe the claim of an assignment under way; False if it was claimed before, and nothing changes."""
        with self._database:
            self._database.execute("BEGIN")
            new = self._database.execute("INSERT OR IGNORE INTO claimed (assignment) VALUES (?)", (assignment.id,))
            if new.rowcount == 0:
                return False
            self._owe(claim, expires_at)
        return True

    def finish(self, assignment_id: str, outcome: Event | None) -> None:
        """Mark an assignment as finished and owe the event that says how; None: there is nobody left to tell."""
        with self._database:
            self._database.execute("BEGIN")
            finished = self._database.execute(
                "UPDATE assignments SET finished = 1 WHERE id = ? AND finished = 0 RETURNING expires_at",
                (assignment_id,),
            ).fetchone()
            assert finished is not None, f"assignment {assignment_id} was not under way"
            if outcome is not None:
                self._owe(outcome, finished[0])

    def unfinished(self) -> list[Event]:
        """Return the assignments under way, oldest first: after a start, those a crash interrupted."""
        rows = self._database.execute("SELECT event FROM assignments WHERE finished = 0 ORDER BY created_at, rowid")
        return [parse_event(event) for (event,) in rows]

    def newest(self) -> int | None:
        """Return when the newest assignment was made; None if there was none."""
        newest: int | None = self._database.execute("SELECT MAX(created_at) FROM assignments").fetchone()[0]
        return newest

    def owed(self, relay: str, limit: int) -> list[tuple[Event, int]]:
        """Return what `relay` has not acknowledged, oldest first, each with the second when it is given up."""
        found = self._database.execute(
            "SELECT event, until FROM owed WHERE relay = ? ORDER BY rowid LIMIT ?", (relay, limit)
        )
        return [(parse_event(event), until) for event, until in found]

    def settle(self, event_id: str, relay: str) -> None:
        """Owe this event to this relay no more."""
        self._database.execute("DELETE FROM owed WHERE id = ? AND relay = ?", (event_id, relay))

    def earned(self, service: str) -> PaySlip:
        """Return the newest that the service with this pubkey has said of our earnings."""
        row = self._database.execute("SELECT jobs, msat FROM earned WHERE service = ?", (service,)).fetchone()
        return PaySlip(row[0], Msat(row[1])) if row is not None else PaySlip(0, Msat(0))

    def note_earned(self, service: str, slip: PaySlip) -> None:
        """Remember a newer word of our earnings."""
        row = (service, slip.jobs, slip.earned_msat)
        self._database.execute("INSERT OR REPLACE INTO earned (service, jobs, msat) VALUES (?, ?, ?)", row)

    def forget(self, now: int) -> None:
        """Drop assignments that ended long ago, and what is owed to relays that are no longer ours."""
        self._database.execute("DELETE FROM assignments WHERE finished = 1 AND expires_at < ?", (now - KEPT_SECONDS,))
        self._database.execute("DELETE FROM owed WHERE until < ?", (now - KEPT_SECONDS,))
        self._database.execute("DELETE FROM claimed WHERE assignment NOT IN (SELECT id FROM assignments)")

    def _owe(self, event: Event, until: int) -> None:
        rows = [(event.id, relay, encode_event(event), until + OWED_SECONDS) for relay in self._relays]
        self._database.executemany("INSERT INTO owed (id, relay, event, until) VALUES (?, ?, ?, ?)", rows)
