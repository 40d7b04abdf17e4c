"""What every dialect must do, told by the port alone: it runs on each kind of database in conftest.py."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relaybot.db.database import Database, Found, Look, Reader, Value, Write
from tests.book.stores import Store, connected

INT64_MAX = 2**63 - 1
ODD_IDS = [
    "",
    " ",
    "'",
    '"',
    "a'b\"c",
    "%",
    "_",
    "\\",
    "1",
    "01",
    "1.0",
    "null",
    "é",
    "\u2028",
    "😀",
    "x" * 5_000,
    "a\nb",
]

Cursor = dict[str, Value]


class Changed(Exception):
    """A change thinks better of it."""


def cursor(row_id: str, value: int = 0) -> Cursor:
    return {"id": row_id, "version": 1, "value": value}


async def cursors(reader: Reader) -> dict[str, int]:
    return {row["id"]: row["value"] for row in await reader.fetch("SELECT * FROM cursors")}


def written(table: str, *rows: Mapping[str, Value], new: bool = True) -> Write:
    """Return what writes `rows`, which all have the same columns."""
    return Write(table, tuple(rows[0]), [tuple(row.values()) for row in rows], new)


async def insert(database: Database, table: str, *rows: Mapping[str, Value]) -> None:
    await database.change({}, lambda _: [written(table, *rows)])


async def write(database: Database, *rows: Cursor) -> None:
    """Make these rows, or change them where they are there already."""

    def decide(found: Found) -> list[Write]:
        there = [row for row in rows if row["id"] in found["cursors"]]
        missing = [row for row in rows if row["id"] not in found["cursors"]]
        return [written("cursors", *some, new=new) for some, new in ((missing, True), (there, False)) if some]

    await database.change({"cursors": Look([str(row["id"]) for row in rows], [])}, decide)


# Reading


async def test_an_empty_table_answers_with_no_rows(database: Database) -> None:
    assert await database.fetch("SELECT * FROM cursors") == []
    assert await database.rows_by_id("cursors", ["a"]) == {}


async def test_a_row_comes_back_as_a_mapping_with_its_columns(database: Database) -> None:
    await write(database, cursor("a", 7))
    assert [dict(row) for row in await database.fetch("SELECT value, id FROM cursors")] == [{"value": 7, "id": "a"}]
    assert {key: dict(row) for key, row in (await database.rows_by_id("cursors", ["a"])).items()} == {
        "a": {"id": "a", "version": 1, "value": 7, "mark": ""}
    }


@pytest.mark.parametrize("value", [0, 1, -1, 2_100_000_000_000_000_000, INT64_MAX, -INT64_MAX - 1])
async def test_integers_of_64_bits_come_back_to_the_last_digit(database: Database, value: int) -> None:
    await write(database, cursor("a", value))
    assert await cursors(database) == {"a": value}
    assert len(await database.fetch("SELECT id FROM cursors WHERE value = :value", value=value)) == 1


async def test_nothing_is_kept_as_nothing(database: Database) -> None:
    row = {"id": "plan", "digest": None, "applied_at": 1}
    await insert(database, "plans", row)
    found = await database.fetch("SELECT id, digest, applied_at FROM plans WHERE digest IS NULL")
    assert [dict(one) for one in found] == [row]


async def test_what_nothing_can_be_called_is_not_found_and_breaks_nothing(database: Database) -> None:
    await write(database, cursor("a", 1))
    assert await database.rows_by_id("cursors", ["a", "a\0", "\0"]) == await database.rows_by_id("cursors", ["a"])
    assert list(await database.fetch("SELECT * FROM cursors WHERE id = :id", id="a\0")) == []


@pytest.mark.parametrize("row_id", ODD_IDS, ids=range(len(ODD_IDS)))
async def test_a_name_means_itself_whatever_it_is_made_of(database: Database, row_id: str) -> None:
    await write(database, cursor(row_id, 1), cursor("another", 2))
    assert list(await database.rows_by_id("cursors", [row_id])) == [row_id]
    assert len(await database.fetch("SELECT * FROM cursors WHERE id = :id", id=row_id)) == 1
    await write(database, cursor(row_id, 3))
    assert await cursors(database) == {row_id: 3, "another": 2}


async def test_a_value_is_never_read_as_sql(database: Database) -> None:
    attack = "x' OR '1'='1'; DROP TABLE cursors; --"
    await write(database, cursor("a"))
    assert await database.fetch("SELECT * FROM cursors WHERE id = :id", id=attack) == []
    assert await database.rows_by_id("cursors", [attack]) == {}
    await write(database, cursor(attack))
    assert set(await cursors(database)) == {"a", attack}


async def test_rows_are_found_by_thousands_of_ids_and_missing_ones_are_left_out(database: Database) -> None:
    await write(database, *(cursor(f"c{number}", number) for number in range(5_000)))
    wanted = [f"c{number}" for number in range(0, 10_000, 2)]
    found = await database.rows_by_id("cursors", iter([*wanted, *wanted]))
    assert {row_id: row["value"] for row_id, row in found.items()} == {f"c{n}": n for n in range(0, 5_000, 2)}
    assert await database.rows_by_id("cursors", []) == {}


async def test_more_readers_than_there_are_connections_all_get_their_answer(database: Database) -> None:
    await write(database, cursor("a", 1))
    answers = await asyncio.gather(*(cursors(database) for _ in range(50)))
    assert answers == [{"a": 1}] * 50


COUNT_MANY = (
    "WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < :n) SELECT COUNT(*) AS n FROM many"
)


async def test_a_reader_that_is_cancelled_is_no_reader_lost(database: Database) -> None:
    for _ in range(10):
        reading = asyncio.create_task(database.fetch(COUNT_MANY, n=100_000))  # too long to be answered at once
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    async with asyncio.timeout(20):
        assert await cursors(database) == {}


# Writing


async def test_writing_nothing_is_nothing(database: Database) -> None:
    await database.change({}, lambda _: [])
    await database.change({"cursors": Look(["a"], ["value"])}, lambda _: [])
    assert await cursors(database) == {}


async def test_a_change_finds_the_rows_and_columns_it_looks_for(database: Database) -> None:
    await write(database, cursor("a", 1), cursor("b", 2))
    seen: list[Found] = []

    def look(found: Found) -> list[Write]:
        seen.append(found)
        return []

    await database.change({"cursors": Look(["b", "c"], ["value"]), "users": Look(["b"], ["version"])}, look)
    assert seen == [{"cursors": {"b": {"id": "b", "value": 2}}, "users": {}}]


async def test_others_see_a_change_after_its_commit_and_whole(database: Database) -> None:
    seen: list[dict[str, int]] = []
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(insert(database, "cursors", cursor("a", 1), cursor("b", 2)))
        while not task.done():
            seen.append(await cursors(database))
    assert all(each in ({}, {"a": 1, "b": 2}) for each in seen)
    assert await cursors(database) == {"a": 1, "b": 2}


async def test_a_change_of_several_tables_is_one(database: Database) -> None:
    user: dict[str, Value] = {"id": "u", "version": 1, "withdrawals": "open", "payouts": 0, "created_at": 1}
    both = [written("cursors", cursor("a", 1)), written("users", user)]
    with pytest.raises(Exception, match=r"(?i)null"):
        await database.change({}, lambda _: [both[0], written("users", {**user, "withdrawals": None})])
    assert await cursors(database) == {}
    await database.change({}, lambda _: both)
    assert await cursors(database) == {"a": 1}
    assert [row["id"] for row in await database.fetch("SELECT id FROM users")] == ["u"]


async def test_a_change_writes_the_columns_it_names_and_no_others(database: Database) -> None:
    await insert(database, "accounts", {"id": "x", "balance_msat": 5, "floor_msat": 0})
    await database.change({}, lambda _: [written("accounts", {"id": "x", "balance_msat": 9}, new=False)])
    await insert(database, "accounts", {"id": "y", "balance_msat": 1})
    found = {
        row["id"]: (row["balance_msat"], row["floor_msat"]) for row in await database.fetch("SELECT * FROM accounts")
    }
    assert found == {"x": (9, 0), "y": (1, None)}


async def test_a_row_that_is_there_is_never_made_anew(database: Database) -> None:
    await write(database, cursor("a", 1))
    with pytest.raises(Exception, match=r"(?i)unique"):
        await insert(database, "cursors", cursor("b", 2), cursor("a", 2))
    assert await cursors(database) == {"a": 1}


async def test_a_change_that_raises_leaves_nothing_and_the_next_one_works(database: Database) -> None:
    await write(database, cursor("a", 1))

    def change_ones_mind(_: Found) -> list[Write]:
        raise Changed

    with pytest.raises(Changed):
        await database.change({"cursors": Look(["a"], [])}, change_ones_mind)
    assert await cursors(database) == {"a": 1}
    await write(database, cursor("a", 3))
    assert await cursors(database) == {"a": 3}


async def test_a_change_whose_caller_is_cancelled_is_whole_or_nothing_and_the_next_one_works(
    database: Database,
) -> None:
    for number in range(5):
        changing = asyncio.create_task(insert(database, "cursors", cursor(f"a{number}"), cursor(f"b{number}")))
        for _ in range(number):
            await asyncio.sleep(0)
        changing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await changing
    await write(database, cursor("c", 3))
    names = await cursors(database)
    assert names["c"] == 3
    assert all((f"a{number}" in names) is (f"b{number}" in names) for number in range(5))


async def _count_up(database: Database) -> None:
    def decide(found: Found) -> list[Write]:
        row = found["cursors"].get("a")
        return [written("cursors", cursor("a", (row["value"] if row else 0) + 1), new=row is None)]

    await database.change({"cursors": Look(["a"], ["value"])}, decide)


async def test_one_change_at_a_time_from_many_tasks(database: Database) -> None:
    await asyncio.gather(*(_count_up(database) for _ in range(40)))
    assert await cursors(database) == {"a": 40}


async def test_one_change_at_a_time_from_two_connections_of_their_own(store: Store, database: Database) -> None:
    async with connected(store) as other:
        await asyncio.gather(*(_count_up(each) for _ in range(20) for each in (database, other)))
        assert await cursors(other) == {"a": 40}
    assert await cursors(database) == {"a": 40}


async def _add_to(database: Database, *names: str) -> None:
    def decide(found: Found) -> list[Write]:
        there = found["cursors"]
        return [
            written("cursors", cursor(name, there[name]["value"] + 1 if name in there else 1), new=name not in there)
            for name in names
        ]

    await database.change({"cursors": Look(sorted(names), ["value"])}, decide)


async def test_changes_of_the_same_rows_in_another_order_never_block_each_other(
    store: Store, database: Database
) -> None:
    async with connected(store) as other:
        orders = (("a", "b", "c"), ("c", "b", "a"), ("b", "d"), ("d", "a"))
        async with asyncio.timeout(60):
            await asyncio.gather(
                *(_add_to(each, *order) for _ in range(5) for each in (database, other) for order in orders)
            )
    assert await cursors(database) == {"a": 30, "b": 30, "c": 20, "d": 20}


async def test_what_was_committed_is_there_after_opening_again(store: Store) -> None:
    async with connected(store) as database:
        await write(database, cursor("a", 1))
    async with connected(store) as database:
        assert await cursors(database) == {"a": 1}


async def test_a_balance_below_its_floor_is_refused_by_the_database_too(database: Database) -> None:
    for floor, balance in ((0, -1), (5, 4)):
        with pytest.raises(Exception, match=r"(?i)check"):
            await insert(database, "accounts", {"id": "x", "balance_msat": balance, "floor_msat": floor})
    assert await database.fetch("SELECT * FROM accounts") == []


async def test_a_transfer_of_nothing_is_refused_by_the_database_too(database: Database) -> None:
    for amount in (0, -1):
        moved: dict[str, Value] = {"plan": 1, "place": 0, "debit": 1, "credit": 2, "amount_msat": amount}
        with pytest.raises(Exception, match=r"(?i)check"):
            await insert(database, "entries", {**moved, "debit_after": 0, "credit_after": 0, "reason": ""})
    assert await database.fetch("SELECT * FROM entries") == []


# Snapshots


async def test_a_snapshot_stays_what_it_was_while_others_write(database: Database) -> None:
    await write(database, cursor("a", 1))
    async with database.snapshot() as snapshot:
        assert await cursors(snapshot) == {"a": 1}
        await write(database, cursor("a", 2), cursor("b", 2))
        assert await cursors(snapshot) == {"a": 1}
        assert list(await snapshot.rows_by_id("cursors", ["a", "b"])) == ["a"]
        assert await cursors(database) == {"a": 2, "b": 2}
    async with database.snapshot() as snapshot:
        assert await cursors(snapshot) == {"a": 2, "b": 2}


async def _look(database: Database, inside: asyncio.Event, leave: asyncio.Event) -> None:
    async with database.snapshot() as snapshot:
        await cursors(snapshot)
        inside.set()
        await leave.wait()


@pytest.mark.parametrize("leaving", [False, True], ids=["inside", "on the way out"])
async def test_a_snapshot_that_is_cancelled_is_no_reader_lost(database: Database, *, leaving: bool) -> None:
    for number in range(10):
        inside, leave = asyncio.Event(), asyncio.Event()
        looking = asyncio.create_task(_look(database, inside, leave))
        await inside.wait()
        if leaving:
            leave.set()
            await asyncio.sleep(0)  # the task goes on, to where it lets go of its snapshot
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        await write(database, cursor("a", number))
    async with asyncio.timeout(20):
        assert await asyncio.gather(*(cursors(database) for _ in range(5))) == [{"a": 9}] * 5


async def test_a_snapshot_whose_block_raises_is_given_back(database: Database) -> None:
    async def change_ones_mind() -> None:
        async with database.snapshot() as snapshot:
            await cursors(snapshot)
            raise Changed

    for number in range(5):
        with pytest.raises(Changed):
            await change_ones_mind()
        await write(database, cursor("a", number))
    async with asyncio.timeout(20):
        assert await cursors(database) == {"a": 4}


# By chance

_ROWS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    st.integers(-INT64_MAX, INT64_MAX),
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@given(batches=st.lists(_ROWS, max_size=4))
async def test_random_upserts_leave_what_a_dictionary_would(database: Database, batches: list[dict[str, int]]) -> None:
    kept = await cursors(database)  # the rows of earlier examples stay
    for batch in batches:
        await write(database, *(cursor(row_id, value) for row_id, value in batch.items()))
        kept |= batch
        assert {row_id: row["value"] for row_id, row in (await database.rows_by_id("cursors", batch)).items()} == batch
    assert await cursors(database) == kept
