"""One connection that reads the event store: a query at a time, each within a time limit; clients take turns."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiosqlite
import structlog

from relaybot.errors import Unavailable
from relaybot.relay.event_table import LOCK_SECONDS, READER_PRAGMAS, STATEMENTS_CACHED
from relaybot.relay.turns import Turns

log = structlog.get_logger()

STEPS_UNCHECKED = 50_000  # of SQLite's machine, about 2 ms, between two looks at the clock


class Reader:
    """One connection for reading; queries wait for each other, and each has a time limit."""

    def __init__(self, connection: aiosqlite.Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._turns = Turns()
        self._give_up_at = math.inf
        self.waiting = 0

    @classmethod
    async def open(cls, path: Path, seconds: float) -> Reader:
        """Connect to the file at `path`."""
        connection = await aiosqlite.connect(
            path, timeout=LOCK_SECONDS, isolation_level=None, cached_statements=STATEMENTS_CACHED
        )
        reader = cls(connection, seconds)
        for pragma in READER_PRAGMAS:
            await connection.execute_fetchall(pragma)
        await connection.set_progress_handler(reader._shall_give_up, STEPS_UNCHECKED)
        return reader

    async def row(self, sql: str, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the first row; Unavailable if it takes too long or cannot be read."""
        self.waiting += 1
        try:
            async with self._turns.one():
                self._give_up_at = time.monotonic() + self._seconds
                return next(iter(await self._run(sql, values)))
        except sqlite3.Error as error:
            if time.monotonic() > self._give_up_at:
                raise Unavailable("the query took too long") from None
            log.error("relay_query_failed", error=str(error))  # noqa: TRY400 - an outside fault, no bug
            raise Unavailable("the events cannot be read now") from None
        finally:
            self.waiting -= 1

    async def close(self) -> None:
        """End the connection and its thread."""
        await self._connection.close()

    async def _run(self, sql: str, values: Sequence[Any]) -> Any:
        try:
            return await self._connection.execute_fetchall(sql, values)
        except asyncio.CancelledError:
            # The client has gone: end its query, and wait for that, so that the next one has its own time.
            self._give_up_at = -math.inf
            await self._connection.execute_fetchall("SELECT 1")
            raise

    def _shall_give_up(self) -> bool:
        """Tell SQLite, in the connection's thread, whether to interrupt the statement."""
        return time.monotonic() > self._give_up_at
