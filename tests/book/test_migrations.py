"""Migrations: once, in order, whole or not at all, and never over another history, on each kind of database."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from relaybot.clock import SetClock
from relaybot.db.database import Database, Reader, Write
from relaybot.db.migrations import Migration, WrongSchema, load_migrations, statements
from tests.book.doomed import the_story
from tests.book.stores import (
    KINDS,
    NOW,
    PostgresStore,
    SqliteStore,
    Store,
    broken,
    connected,
    contents,
    opened,
    store_of,
)
from wallet.audit import unsound
from wallet.book import Book, running
from wallet.ledger import Verdict

HOUSE = Migration(1, "0001_house", "CREATE TABLE house (door TEXT);\nINSERT INTO house VALUES ('red');")
GARDEN = Migration(2, "0002_garden", "CREATE TABLE garden (tree TEXT);")

_COLUMNS = {
    "sqlite": "SELECT m.name AS table_name, p.name AS column_name, p.pk AS is_key FROM sqlite_master AS m"
    " JOIN pragma_table_info(m.name) AS p WHERE m.type = 'table'",
    "postgresql": "SELECT c.table_name, c.column_name, CASE WHEN k.column_name IS NULL THEN 0 ELSE 1 END AS is_key"
    " FROM information_schema.columns AS c LEFT JOIN information_schema.key_column_usage AS k"
    " ON k.table_schema = c.table_schema AND k.table_name = c.table_name AND k.column_name = c.column_name"
    " AND k.constraint_name LIKE '%_pkey' WHERE c.table_schema = current_schema()",
}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A database on which nothing was migrated yet."""
    return store_of(request.param, tmp_path / "book.db", bare=True)


async def look(store: Store, known: Sequence[Migration], sql: str) -> list[tuple[Any, ...]]:
    """Bring the database to what is `known`, and ask it something."""
    database = await store.open(migrations=known)
    try:
        return [tuple(row.values()) for row in await database.fetch(sql)]
    finally:
        await database.close()


async def numbers(store: Store, known: Sequence[Migration]) -> list[int]:
    """Bring the database to what is `known`, and return what was applied so far."""
    return [number for (number,) in await look(store, known, "SELECT number FROM migrations ORDER BY number")]


async def tables(reader: Reader, store: Store) -> dict[str, dict[str, bool]]:
    """Return the columns of each table, and whether they are its key."""
    found: dict[str, dict[str, bool]] = {}
    for row in await reader.fetch(_COLUMNS["postgresql" if isinstance(store, PostgresStore) else "sqlite"]):
        found.setdefault(row["table_name"], {})[row["column_name"]] = bool(row["is_key"])
    return found


async def names(store: Store, known: Sequence[Migration]) -> set[str]:
    database = await store.open(migrations=known)
    try:
        return set(await tables(database, store))
    finally:
        await database.close()


async def test_each_is_applied_once_and_remembered(store: Store) -> None:
    assert await numbers(store, [HOUSE]) == [1]
    assert await numbers(store, [HOUSE]) == [1]
    assert await numbers(store, [HOUSE, GARDEN]) == [1, 2]
    assert await look(store, [HOUSE, GARDEN], "SELECT * FROM migrations ORDER BY number") == [
        (1, "0001_house", HOUSE.checksum, NOW),
        (2, "0002_garden", GARDEN.checksum, NOW),
    ]
    assert await look(store, [HOUSE, GARDEN], "SELECT door FROM house") == [("red",)]


async def test_a_migration_that_was_changed_afterwards_is_refused(store: Store) -> None:
    await numbers(store, [HOUSE])
    changed = Migration(1, HOUSE.name, HOUSE.sql + "\n-- only a comment")
    with pytest.raises(WrongSchema, match="migration 1 was changed after it was applied"):
        await store.open(migrations=[changed, GARDEN])
    assert await names(store, [HOUSE]) == {"migrations", "house"}


async def test_a_newer_database_is_refused(store: Store) -> None:
    await numbers(store, [HOUSE, GARDEN])
    newest = Migration(3, "0003_pond", "CREATE TABLE pond (fish TEXT);")
    for known in ([HOUSE], [HOUSE, newest], []):
        with pytest.raises(WrongSchema, match=r"migration \d, which this version does not know: upgrade"):
            await store.open(migrations=known)
    assert await names(store, [HOUSE, GARDEN]) == {"migrations", "house", "garden"}


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE garden (tree TEXT); INSERT INTO garden VALUES ('oak'); SELECT * FROM nowhere;",
        "CREATE TABLE garden (tree TEXT); UPDATE house SET door = 'blue'; CREATE TABLE house (again TEXT);",
        "DROP TABLE house; CREATE",
        "DELETE FROM house; nonsense",
    ],
)
async def test_a_migration_that_fails_leaves_nothing_of_itself(store: Store, sql: str) -> None:
    await numbers(store, [HOUSE])
    with pytest.raises(Exception, match=r"(?i)nowhere|house|syntax|incomplete|nonsense"):
        await store.open(migrations=[HOUSE, Migration(2, "0002_wrong", sql)])
    assert await names(store, [HOUSE]) == {"migrations", "house"}
    assert await look(store, [HOUSE], "SELECT door FROM house") == [("red",)]
    assert await numbers(store, [HOUSE, GARDEN]) == [1, 2]


async def test_what_succeeded_before_the_failure_stays(store: Store) -> None:
    with pytest.raises(Exception, match=r"(?i)nonsense"):
        await store.open(migrations=[HOUSE, Migration(2, "0002_wrong", "nonsense;")])
    assert await numbers(store, [HOUSE]) == [1]


async def test_connections_that_migrate_at_once_apply_each_once(store: Store) -> None:
    await numbers(store, [])
    assert await asyncio.gather(*(numbers(store, [HOUSE, GARDEN]) for _ in range(4))) == [[1, 2]] * 4
    assert await look(store, [HOUSE, GARDEN], "SELECT door FROM house") == [("red",)]


def test_semicolons_in_comments_strings_and_triggers_end_no_statement() -> None:
    found = list(
        statements(
            "CREATE TABLE log (line TEXT);  -- one; two\n"
            "CREATE TRIGGER noted AFTER INSERT ON house BEGIN INSERT INTO log VALUES ('a;b'); SELECT 1; END;\n"
            "/* ; */ INSERT INTO house VALUES ('green;');\nINSERT INTO log VALUES ('no semicolon')\n"
        )
    )
    words = ["CREATE TABLE", "CREATE TRIGGER", "INSERT INTO house", "INSERT INTO log"]
    assert len(found) == len(words)
    assert all(word in statement for word, statement in zip(words, found, strict=True))
    assert list(statements("SELECT 1;\n-- only a comment")) == ["SELECT 1;"]


async def test_the_files_that_ship_are_numbered_without_gaps_and_make_the_schema(store: Store) -> None:
    shipped = load_migrations()
    assert [migration.number for migration in shipped] == list(range(1, len(shipped) + 1))
    assert shipped[0].name == "0001_foundation"
    assert all(re.fullmatch(rf"{migration.number:04d}_[a-z_]+", migration.name) for migration in shipped)
    assert await numbers(store, shipped) == [migration.number for migration in shipped]


async def test_every_row_that_a_plan_may_change_has_an_id_and_a_version(store: Store) -> None:
    async with connected(store) as database:
        found = await tables(database, store)
    assert {"plans", "accounts", "entries", "inbox", "outbox", "jobs", "payouts", "attempts"} <= set(found)
    for table, columns in found.items():
        if table not in {"migrations", "plans", "accounts", "entries", "transfers"}:
            assert columns["id"], f"{table}: id is not the key"
            assert "version" in columns, f"{table} has no version"


@pytest.mark.parametrize("number", range(1, len(load_migrations()) + 1))
async def test_a_book_of_each_earlier_schema_keeps_its_money_and_goes_on(
    store: Store, tmp_path: Path, number: int
) -> None:
    story = the_story()
    async with opened(SqliteStore(tmp_path / "left.db")) as book:
        assert [(await book.apply(plan)).verdict for plan in story[:2]] == [Verdict.APPLIED] * 2
        left = await contents(book.database)
    async with connected(store, migrations=load_migrations()[:number]) as database:
        known = await tables(database, store)
        if "entries" in known:
            async with running(Book(database, SetClock(NOW))) as book:
                await asyncio.gather(*map(book.apply, story[:2]))
        else:
            await _write_then(database, known, left)
        before = await contents(database)
    async with opened(store) as book:
        after = await contents(book.database)
        assert {table: [_columns_of(row, rows[0]) for row in after[table]] for table, rows in before.items()} == before
        assert await unsound(book.database) == []
        assert await broken(book) == []
        assert (await book.apply(story[1])).verdict is Verdict.ALREADY
        assert [(await book.apply(plan)).verdict for plan in story[2:]] == [Verdict.APPLIED] * 2
        assert await broken(book) == []


async def _write_then(
    database: Database, known: Mapping[str, Mapping[str, bool]], left: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """Write what a book has `left` as a program did that wrote names into every transfer, and knew these columns."""
    rows = {
        table: [_columns_of(row, known[table].keys() & row) for row in left[table]] for table in left if left[table]
    }
    await database.change(
        {},
        lambda _: [
            Write(table, tuple(rows[table][0]), [tuple(row.values()) for row in rows[table]], new=True)
            for table in rows
        ],
    )


def _columns_of(row: Mapping[str, Any], earlier: Iterable[str]) -> dict[str, Any]:
    """Return what the earlier schema knew of a row: later ones have more columns."""
    return {name: row[name] for name in earlier}
