"""The port to the database that holds the book: what a dialect must be able to do.

Statements use `:names` and are the same for every dialect. What the dialects do
differently goes through methods: rows by id, and the one way to write, `change`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

Value = str | int | None
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """Which rows of a table a change rests on, and which of their columns; the id comes by itself."""

    ids: Collection[str]
    columns: Collection[str]


@dataclass(frozen=True, slots=True)
class Write:
    """Rows of one table as they shall be: `new` ones, or new values for rows that were found, the id first."""

    table: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Value, ...]]
    new: bool


Looks = Mapping[str, Look]  # by table
Found = Mapping[str, Mapping[str, Row]]  # by table and id; what is missing is left out
Decide = Callable[[Found], Sequence[Write]]


class Reader(Protocol):
    """Something that answers statements."""

    async def fetch(self, sql: str, **values: Value) -> Sequence[Row]:
        """Return all rows of a SELECT, as mappings from column to value."""
        ...

    async def rows_by_id(self, table: str, ids: Iterable[str]) -> dict[str, Row]:
        """Return the rows of `table` with these ids, missing ones left out."""
        ...


class Database(Reader, Protocol):
    """Committed state to read, and one change at a time to write."""

    async def change(self, looks: Looks, decide: Decide) -> None:
        """Lock and read what `looks` names, write what `decide` says about it, and commit durably: all or nothing.

        `decide` is pure and quick. It is asked again where another process was faster, and it
        may be asked on another thread. Unavailable: nothing is known to have been written.
        """
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Reader]:
        """Give several reads one and the same committed state."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class Lock(Protocol):
    """Something only one process has, from when it took it until it gives it back or dies."""

    @property
    def held(self) -> bool:
        """Tell whether it is still ours: a connection may have been lost, and the lock with it."""
        ...

    async def release(self) -> None:
        """Give it back."""
        ...


class SharedDatabase(Database, Protocol):
    """A database that several processes may share."""

    async def lock(self, name: str) -> Lock | None:
        """Take the lock `name` for as long as we live; None if another process, or another part of ours, has it."""
        ...
