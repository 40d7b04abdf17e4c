"""Numbered, checksummed, forward-only migrations: files `NNNN_name.sql` beside this one.

Each is applied once, in its own transaction, and remembered with its checksum. A file
that changed after it was applied, or a database newer than the program, stops the start.
How a statement is executed is the dialects' affair.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from relaybot.errors import RelaybotError

LEDGER = (  # of the migrations themselves
    "CREATE TABLE IF NOT EXISTS migrations"
    " (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)"
)
APPLIED = "SELECT number, checksum FROM migrations"
REMEMBER = "INSERT INTO migrations VALUES (:number, :name, :checksum, :applied_at)"


class WrongSchema(RelaybotError):
    """The database was made by another version of the program; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the SQL, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations() -> tuple[Migration, ...]:
    """Return the migrations that ship with the program, in order."""
    files = (item for item in resources.files("relaybot.db").iterdir() if item.name.endswith(".sql"))
    found = sorted((int(item.name[:4]), item.name.removesuffix(".sql"), item.read_text("utf-8")) for item in files)
    return tuple(Migration(*parts) for parts in found)


def first_missing(done: Mapping[int, str], migrations: Sequence[Migration]) -> Migration | None:
    """Return what is to be applied next after `done` (checksums by number); WrongSchema if the histories differ."""
    known = {migration.number: migration for migration in migrations}
    for number, checksum in done.items():
        if number not in known:
            raise WrongSchema(
                f"the database has migration {number}, which this version does not know: upgrade relaybot"
            )
        if known[number].checksum != checksum:
            raise WrongSchema(f"migration {number} was changed after it was applied: restore the released file")
    return next((migration for migration in migrations if migration.number not in done), None)


def statements(sql: str) -> Iterator[str]:
    """Split at the semicolons that end a statement: not those in comments, strings or triggers."""
    statement = ""
    for part in sql.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
