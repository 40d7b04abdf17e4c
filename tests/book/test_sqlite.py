"""What is SQLite's own behind the port: durability, locks, threads, files that cannot be opened."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from relaybot.db import quick_reads
from relaybot.db import sqlite as sqlite_module
from relaybot.db.database import Found, Write
from relaybot.db.migrations import Migration, WrongSchema, load_migrations
from relaybot.db.sqlite import READERS, SqliteDatabase, open_sqlite
from relaybot.errors import Unavailable
from tests.book.stores import NOW, SqliteStore
from tests.book.test_database import COUNT_MANY, Changed, cursor, cursors, insert, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "down" / "book.db"


@pytest.fixture
def borders() -> list[str]:
    return []


@pytest.fixture
async def database(path: Path, borders: list[str]) -> AsyncIterator[SqliteDatabase]:
    database = await SqliteStore(path).open(borders.append)
    try:
        yield database
    finally:
        await database.close()


def _pragma(database: SqliteDatabase, name: str) -> object:
    return database._writer.connection.execute(f"PRAGMA {name}").fetchone()[0]


async def test_a_commit_is_durable_before_it_returns(database: SqliteDatabase) -> None:
    assert _pragma(database, "journal_mode") == "wal"
    assert _pragma(database, "synchronous") == 2  # FULL
    assert _pragma(database, "busy_timeout") == sqlite_module.BUSY_SECONDS * 1_000


async def test_the_probe_is_told_of_each_commit_and_of_no_rollback(
    database: SqliteDatabase, borders: list[str]
) -> None:
    def change_ones_mind(_: Found) -> list[Write]:
        raise Changed

    await write(database, cursor("a"))
    assert borders == ["commit:before", "commit:after"]
    with pytest.raises(Changed):
        await database.change({}, change_ones_mind)
    assert borders == ["commit:before", "commit:after"]


async def test_a_read_never_writes(database: SqliteDatabase) -> None:
    for _ in range(READERS + 1):
        with pytest.raises(Unavailable, match="readonly"):
            await database.fetch("DELETE FROM cursors")
    assert await cursors(database) == {}


async def test_a_lock_that_is_not_given_up_is_unavailable_and_later_it_works(
    path: Path, database: SqliteDatabase
) -> None:
    database._writer.connection.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match=r"^database: database is locked$"):
            await write(database, cursor("a", 1))
        other.execute("ROLLBACK")
    await write(database, cursor("a", 2))
    assert await cursors(database) == {"a": 2}


async def test_a_wrong_statement_is_our_fault_and_not_the_worlds(database: SqliteDatabase) -> None:
    for _ in range(READERS + 1):
        with pytest.raises(sqlite3.OperationalError, match="no such column: nonsense"):
            await database.fetch("SELECT nonsense FROM cursors")
        with pytest.raises(sqlite3.OperationalError, match="no column named nonsense"):
            await write(database, {"id": "a", "nonsense": 1})
    with pytest.raises(sqlite3.IntegrityError):
        await insert(database, "cursors", cursor("a"), cursor("a"))
    with pytest.raises(OverflowError):
        await write(database, cursor("a", 2**63))
    await write(database, cursor("a"))
    assert await cursors(database) == {"a": 0}


async def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    threads = threading.enumerate()
    with pytest.raises(Unavailable, match="unable to open database file"):
        await SqliteStore(tmp_path).open()
    assert _left(threads) == []


def test_a_file_of_another_kind_is_not_touched(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"my diary, and no database at all" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        asyncio.run(SqliteStore(path).open())
    assert path.read_bytes() == b"my diary, and no database at all" * 100


FAILING_START = """
import asyncio, sys
from pathlib import Path
from relaybot.db.migrations import Migration
from relaybot.db.sqlite import open_sqlite

asyncio.run(open_sqlite(Path(sys.argv[1]), [Migration(1, "wrong", "CREATE TABLE")], now=1))
"""


def test_a_process_whose_start_fails_ends(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FAILING_START, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert "syntax error" in done.stderr
    assert "ResourceWarning" not in done.stderr


async def test_a_start_that_fails_leaves_no_thread_behind(path: Path) -> None:
    threads = threading.enumerate()
    await (await open_sqlite(path, [Migration(1, "one", "SELECT 1;")], now=NOW)).close()
    with pytest.raises(WrongSchema):
        await open_sqlite(path, [], now=NOW)
    assert _left(threads) == []


def _left(before: list[threading.Thread]) -> list[threading.Thread]:
    """Return the threads that are new and do not end."""
    new = [thread for thread in threading.enumerate() if thread not in before]
    for thread in new:
        thread.join(timeout=5)
    return [thread for thread in new if thread.is_alive()]


async def test_four_connections_may_start_at_once_on_a_new_schema(path: Path) -> None:
    await (await open_sqlite(path, [], now=NOW)).close()
    databases = await asyncio.gather(*(open_sqlite(path, load_migrations(), now=NOW) for _ in range(4)))
    for database in databases:
        assert len(await database.fetch("SELECT * FROM migrations")) == len(load_migrations())
        await database.close()


async def test_closing_lets_go_of_every_thread(path: Path) -> None:
    threads = threading.enumerate()
    database = await SqliteStore(path).open()
    assert len(threading.enumerate()) > len(threads)
    await database.close()
    assert _left(threads) == []


async def test_a_name_with_a_nul_is_never_taken_for_another_one(database: SqliteDatabase) -> None:
    # SQLite's JSON ends a text at a NUL, so such an id is not found again; its row is still unique.
    await write(database, cursor("a", 1), cursor("a\0b", 2))
    assert set(await database.rows_by_id("cursors", ["a\0b"])) <= {"a\0b"}
    with pytest.raises(sqlite3.IntegrityError):
        await insert(database, "cursors", cursor("a\0b", 3))
    assert await cursors(database) == {"a": 1, "a\0b": 2}


async def test_a_short_read_is_answered_at_once_and_a_long_one_by_a_reader(database: SqliteDatabase) -> None:
    await write(database, cursor("a", 1))
    held = [database._readers.get_nowait() for _ in range(READERS)]
    assert await database.fetch(COUNT_MANY, n=10) == [{"n": 10}]
    assert await cursors(database) == {"a": 1}
    long = asyncio.create_task(database.fetch(COUNT_MANY, n=100_000))
    await asyncio.sleep(0)
    assert not long.done()
    quick = database._quick
    assert quick is not None
    for _ in range(quick_reads.PASSED_OVER):  # from now on it goes to a reader untried, for a while
        assert quick.rows(COUNT_MANY, {"n": 10}) is None
    assert quick.rows(COUNT_MANY, {"n": 10}) == [{"n": 10}]
    for reader in held:
        database._readers.put_nowait(reader)
    assert await long == [{"n": 100_000}]


async def test_who_reads_on_and_on_lets_others_go_on(database: SqliteDatabase) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(3 * quick_reads.IN_A_ROW):
        await database.fetch(COUNT_MANY, n=10)
    task.cancel()
    assert turns == 3


async def test_what_cannot_be_read_at_once_is_asked_of_a_reader(database: SqliteDatabase) -> None:
    await write(database, cursor("a", 1))
    assert database._quick is not None
    database._quick.close()
    assert await cursors(database) == {"a": 1}
