"""A few kills of the long run (`make kills`), on each kind of database."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kills.run import Run
from tests.postgres import new_schema, unavailable


@pytest.fixture
def data() -> Iterator[Path]:
    data = Path(tempfile.mkdtemp(prefix="rb-"))  # short: the node's socket has its place in it
    yield data
    shutil.rmtree(data)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, data: Path) -> str:
    if request.param == "sqlite":
        return str(data / "book.sqlite3")
    if why := unavailable():
        pytest.skip(why)
    return new_schema()


async def test_processes_that_share_a_book_are_killed_and_nothing_is_lost_doubled_or_left(
    data: Path, database: str
) -> None:
    facts = await Run(data, 4, random.Random(4), database).play()
    assert facts.wrong == [], str(facts)
    assert (facts.kills, facts.jobs["captured"] > 4, facts.payouts > 0) == (4, True, True)
