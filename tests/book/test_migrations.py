"""Migrations: once, in order, whole or not at all, and never over another history."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import aiosqlite
import pytest

from relaybot.db.migrations import Migration, WrongSchema, load_migrations, migrate

HOUSE = Migration(1, "0001_house", "CREATE TABLE house (door TEXT);\nINSERT INTO house VALUES ('red');")
GARDEN = Migration(2, "0002_garden", "CREATE TABLE garden (tree TEXT);")
NOW = 1_795_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "book.db"


async def moved(path: Path, migrations: Sequence[Migration], now: int = NOW) -> list[int]:
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        connection.row_factory = sqlite3.Row
        return await migrate(connection, migrations, now=now)


def look(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def tables(path: Path) -> set[object]:
    return {name for (name,) in look(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}


async def test_each_is_applied_once_and_remembered(path: Path) -> None:
    assert await moved(path, [HOUSE]) == [1]
    assert await moved(path, [HOUSE], NOW + 1) == []
    assert await moved(path, [HOUSE, GARDEN], NOW + 2) == [2]
    assert await moved(path, [HOUSE, GARDEN], NOW + 3) == []
    assert look(path, "SELECT * FROM migrations ORDER BY number") == [
        (1, "0001_house", HOUSE.checksum, NOW),
        (2, "0002_garden", GARDEN.checksum, NOW + 2),
    ]
    assert look(path, "SELECT door FROM house") == [("red",)]


async def test_a_migration_that_was_changed_afterwards_is_refused(path: Path) -> None:
    await moved(path, [HOUSE])
    changed = Migration(1, HOUSE.name, HOUSE.sql + "\n-- only a comment")
    with pytest.raises(WrongSchema, match="migration 1 was changed after it was applied"):
        await moved(path, [changed, GARDEN])
    assert tables(path) == {"migrations", "house"}


async def test_a_newer_database_is_refused(path: Path) -> None:
    await moved(path, [HOUSE, GARDEN])
    newest = Migration(3, "0003_pond", "CREATE TABLE pond (fish TEXT);")
    for known in ([HOUSE], [HOUSE, newest], []):
        with pytest.raises(WrongSchema, match=r"migration \d, which this version does not know: upgrade"):
            await moved(path, known)
    assert tables(path) == {"migrations", "house", "garden"}


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE garden (tree TEXT); INSERT INTO garden VALUES ('oak'); SELECT * FROM nowhere;",
        "CREATE TABLE garden (tree TEXT); UPDATE house SET door = 'blue'; CREATE TABLE house (again TEXT);",
        "DROP TABLE house; CREATE",
        "DELETE FROM house; nonsense",
    ],
)
async def test_a_migration_that_fails_leaves_nothing_of_itself(path: Path, sql: str) -> None:
    await moved(path, [HOUSE])
    with pytest.raises(sqlite3.OperationalError):
        await moved(path, [HOUSE, Migration(2, "0002_wrong", sql)])
    assert tables(path) == {"migrations", "house"}
    assert look(path, "SELECT door FROM house") == [("red",)]
    assert look(path, "SELECT number FROM migrations") == [(1,)]
    assert await moved(path, [HOUSE, GARDEN]) == [2]


async def test_what_succeeded_before_the_failure_stays(path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        await moved(path, [HOUSE, Migration(2, "0002_wrong", "nonsense;")])
    assert tables(path) == {"migrations", "house"}
    assert look(path, "SELECT number FROM migrations") == [(1,)]


async def test_a_failure_ends_the_transaction_of_the_connection(path: Path) -> None:
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        connection.row_factory = sqlite3.Row
        with pytest.raises(sqlite3.OperationalError):
            await migrate(connection, [Migration(1, "0001_wrong", "CREATE TABLE a (b); nonsense;")], now=NOW)
        assert not connection.in_transaction


async def test_connections_that_migrate_at_once_apply_each_once(path: Path) -> None:
    await moved(path, [])
    applied = await asyncio.gather(*(moved(path, [HOUSE, GARDEN]) for _ in range(6)))
    assert sorted(number for numbers in applied for number in numbers) == [1, 2]
    assert look(path, "SELECT door FROM house") == [("red",)]


async def test_semicolons_in_comments_strings_and_triggers_end_no_statement(path: Path) -> None:
    sql = """
        CREATE TABLE log (line TEXT);  -- one; two
        CREATE TRIGGER noted AFTER INSERT ON house BEGIN
            INSERT INTO log VALUES ('a;b'); INSERT INTO log VALUES (new.door);
        END;
        /* ; */ INSERT INTO house VALUES ('green;');
        INSERT INTO log VALUES ('last, without a semicolon')
    """
    assert await moved(path, [HOUSE, Migration(2, "0002_log", sql)]) == [1, 2]
    assert look(path, "SELECT line FROM log") == [("a;b",), ("green;",), ("last, without a semicolon",)]


async def test_a_comment_at_the_end_is_no_statement(path: Path) -> None:
    assert await moved(path, [Migration(1, "0001_house", HOUSE.sql + "\n-- the end")]) == [1]
    assert tables(path) == {"migrations", "house"}


async def test_the_files_that_ship_are_numbered_without_gaps_and_make_the_schema(path: Path) -> None:
    shipped = load_migrations()
    assert [migration.number for migration in shipped] == list(range(1, len(shipped) + 1))
    assert shipped[0].name == "0001_foundation"
    assert all(migration.name.startswith(f"{migration.number:04d}_") for migration in shipped)
    assert await moved(path, shipped) == [migration.number for migration in shipped]
    assert {"plans", "accounts", "transfers", "inbox", "outbox", "jobs", "payouts", "attempts"} <= tables(path)


async def test_every_row_that_a_plan_may_change_has_an_id_and_a_version(path: Path) -> None:
    await moved(path, load_migrations())
    for table in tables(path) - {"migrations", "plans", "accounts", "transfers"}:
        columns = {name: key for _, name, _, _, _, key in look(path, f"PRAGMA table_info({table})")}
        assert columns["id"] == 1, f"{table}: id is not the key"
        assert "version" in columns, f"{table} has no version"
