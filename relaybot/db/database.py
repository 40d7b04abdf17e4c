"""The port to the database that holds the book: what a dialect must be able to do.

Statements use `:names` and are the same for every dialect. Batch work (rows by id,
rows written) goes through methods, because there the dialects differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

Value = str | int | None
Row = Mapping[str, Any]


class Reader(Protocol):
    """Something that answers statements."""

    async def fetch(self, sql: str, **values: Value) -> Sequence[Row]:
        """Return all rows of a SELECT, as mappings from column to value."""
        ...

    async def rows_by_id(self, table: str, ids: Iterable[str]) -> dict[str, Row]:
        """Return the rows of `table` with these ids, missing ones left out; a Transaction locks them until its end."""
        ...


class Transaction(Reader, Protocol):
    """The one writer, between begin and commit. Nothing but it may be awaited meanwhile."""

    async def insert(self, table: str, rows: Sequence[Mapping[str, Value]]) -> None:
        """Insert `rows`, which all have the same columns."""
        ...

    async def upsert(self, table: str, rows: Sequence[Mapping[str, Value]]) -> None:
        """Insert `rows`, or overwrite their columns where the id is there already."""
        ...


class Database(Reader, Protocol):
    """Committed state to read, and one transaction at a time to write."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin; commit durably when the block ends, roll back if it raises."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Reader]:
        """Give several reads one and the same committed state."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
