"""Reads that are answered at once: on the loop, by a connection that no thread stands in front of.

Most reads follow an index to a few rows, in some 20 µs; to hand one to a thread and its rows back
costs ten times that. So each is tried here first, within a bound of steps; what needs more, or
cannot be read now, is given back to be asked of a reader (docs/adr/0021-quick-reads.md).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from relaybot.db.database import Row, Value

STEPS_MAX = 20_000  # of SQLite's machine, for one read; about a millisecond
PASSED_OVER = 100  # times that a statement which took too long is given back untried
KNOWN_MAX = 1_000  # statements of which it is known that they take too long
IN_A_ROW = 16  # reads before other tasks get their turn: together less than half a millisecond, as a rule


class QuickReads:
    """Answers from one connection, used on the loop only."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Take a connection for reading, which waits for no lock."""
        self._connection = connection
        self._steps = self._in_a_row = 0
        self._too_long: dict[str, int] = {}  # statement → how many times more it is not tried
        connection.set_progress_handler(self._shall_give_up, STEPS_MAX // 2)

    def rows(self, sql: str, values: Mapping[str, Value]) -> list[Row] | None:
        """Return all rows of a SELECT on committed state; None if a reader has to be asked."""
        if self._too_long and self._is_passed_over(sql):
            return None
        self._steps = 0
        try:
            cursor = self._connection.execute(sql, values)
            found = cursor.fetchall()
        except sqlite3.Error as error:  # a wrong statement, too: the reader says so
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                self._pass_over(sql)
            return None
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    def is_others_turn(self) -> bool:
        """Tell whether so much was read in a row that other tasks should go on first."""
        self._in_a_row = (self._in_a_row + 1) % IN_A_ROW
        return not self._in_a_row

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _is_passed_over(self, sql: str) -> bool:
        left = self._too_long.pop(sql, 0)
        if left > 1:
            self._too_long[sql] = left - 1
        return left > 0

    def _pass_over(self, sql: str) -> None:
        self._too_long[sql] = PASSED_OVER
        if len(self._too_long) > KNOWN_MAX:
            del self._too_long[next(iter(self._too_long))]

    def _shall_give_up(self) -> bool:
        """Tell SQLite whether to interrupt; called within the first half of the steps, then after each half."""
        self._steps += 1
        return self._steps > 1


def open_quick_reads(path: Path, settings: tuple[str, ...]) -> QuickReads:
    """Open one more connection to the file at `path`, for the thread that calls this."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0.0, cached_statements=512)
    for setting in settings:
        connection.execute(setting)
    return QuickReads(connection)
