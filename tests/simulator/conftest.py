"""The simulator's database where the store suite expects a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from relaybot.db.database import Database
from relaybot.db.migrations import Migration
from relaybot.probe import Probe, no_probe
from tests.book.stores import connected
from tests.simulator.borders import Borders
from tests.simulator.disk import Disk, InlineDatabase, fresh_book
from tests.simulator.timeline import Chance


class InlineStore:
    """A file, opened as often as a test wants."""

    def __init__(self, path: Path) -> None:
        fresh_book(path)
        self._path = path

    async def open(self, probe: Probe = no_probe, migrations: Sequence[Migration] | None = None) -> InlineDatabase:
        """Open the file."""
        assert probe is no_probe, "dying has borders of its own here"
        assert migrations is None, "the schema is today's"
        return InlineDatabase(Disk(self._path, Chance(0, "disk")), Borders(Chance(0, "borders"), lambda _: None))


@pytest.fixture
def store(tmp_path: Path) -> InlineStore:
    return InlineStore(tmp_path / "book.sqlite3")


@pytest.fixture
async def database(store: InlineStore) -> AsyncIterator[Database]:
    async with connected(store) as database:
        yield database
