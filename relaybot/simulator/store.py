"""The simulator's memory: one SQLite file for all nodes, written before anything is answered.

Each step of a payment is one transaction, so a process that is killed anywhere wakes
up with every balance, invoice and payment agreeing. What the rows mean stands with
the modules that write them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

Row = sqlite3.Row


class Store:
    """One open database; all calls come from one thread."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. WAL and NORMAL: safe against a killed process, which is what we simulate."""
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(resources.files(__package__).joinpath("schema.sql").read_text())

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what is written inside one step: all of it or nothing. Nothing may be awaited inside."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def run(self, sql: str, values: Mapping[str, object] | tuple[object, ...] = ()) -> None:
        """Write."""
        self._db.execute(sql, values)

    def rows(self, sql: str, values: Mapping[str, object] | tuple[object, ...] = ()) -> list[Row]:
        """Read all rows."""
        return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, values: Mapping[str, object] | tuple[object, ...] = ()) -> Row | None:
        """Read the first row."""
        found: Row | None = self._db.execute(sql, values).fetchone()
        return found

    def number(self, sql: str, values: Mapping[str, object] | tuple[object, ...] = ()) -> int:
        """Read one number; 0 where there is none."""
        found = self.row(sql, values)
        return 0 if found is None or found[0] is None else int(found[0])

    def next_index(self, node: str, name: str) -> int:
        """Raise and return one of a node's counters: created and updated indexes, pay_index."""
        raised = self.row(
            "INSERT INTO counters (node, name, value) VALUES (?, ?, 1)"
            " ON CONFLICT (node, name) DO UPDATE SET value = value + 1 RETURNING value",
            (node, name),
        )
        assert raised is not None, "RETURNING gives the row"
        return int(raised["value"])

    def index(self, node: str, name: str) -> int:
        """Return a counter as it stands."""
        return self.number("SELECT value FROM counters WHERE node = ? AND name = ?", (node, name))
