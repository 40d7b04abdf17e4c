"""Numbered, checksummed, forward-only migrations: files `NNNN_name.sql` beside this one.

Each is applied once, in its own transaction, and remembered with its checksum. A file
that changed after it was applied, or a database newer than the program, stops the start.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import aiosqlite

from relaybot.errors import RelaybotError


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


async def migrate(connection: aiosqlite.Connection, migrations: Sequence[Migration], *, now: int) -> list[int]:
    """Apply what is missing and return the numbers applied; WrongSchema if the histories differ."""
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations"
        " (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)"
    )
    applied = []
    while (number := await _apply_next(connection, migrations, now)) is not None:
        applied.append(number)
    return applied


async def _apply_next(connection: aiosqlite.Connection, migrations: Sequence[Migration], now: int) -> int | None:
    """Apply the first missing migration and return its number; None if none is missing."""
    await connection.execute("BEGIN IMMEDIATE")  # before looking: two processes may start at once
    try:
        rows = await connection.execute_fetchall("SELECT number, checksum FROM migrations")
        done = {row["number"]: row["checksum"] for row in rows}
        _compare(done, {migration.number: migration for migration in migrations})
        missing = next((migration for migration in migrations if migration.number not in done), None)
        if missing is not None:
            for statement in _statements(missing.sql):
                await connection.execute(statement)
            values = (missing.number, missing.name, missing.checksum, now)
            await connection.execute("INSERT INTO migrations VALUES (?, ?, ?, ?)", values)
        await connection.commit()
    except BaseException:
        await connection.rollback()
        raise
    return missing.number if missing is not None else None


def _compare(done: Mapping[int, str], known: Mapping[int, Migration]) -> None:
    for number, checksum in done.items():
        if number not in known:
            raise WrongSchema(
                f"the database has migration {number}, which this version does not know: upgrade relaybot"
            )
        if known[number].checksum != checksum:
            raise WrongSchema(f"migration {number} was changed after it was applied: restore the released file")


def _statements(sql: str) -> Iterator[str]:
    """Split at the semicolons that end a statement: not those in comments, strings or triggers."""
    statement = ""
    for part in sql.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
