"""Locks that die with their process, and what a process knows of the others by them, on each kind of database."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from relaybot.db.database import SharedDatabase
from relaybot.db.file_lock import lock_file
from relaybot.db.postgres import PostgresDatabase
from relaybot.errors import Unavailable
from relaybot.processes import ALONE, Process, join
from tests.book.doomed import hold_a_lock, process
from tests.book.stores import Store, connected


async def test_a_lock_is_had_by_one_and_then_by_another(store: Store) -> None:
    async with connected(store) as one, connected(store) as other:
        left, right = cast("SharedDatabase", one), cast("SharedDatabase", other)
        lock = await left.lock("task/outbox")
        assert lock is not None
        assert lock.held
        assert [await left.lock("task/outbox"), await right.lock("task/outbox")] == [None, None]
        assert await right.lock("task/another") is not None
        await lock.release()
        assert not lock.held
        await lock.release()  # once is enough
        assert await right.lock("task/outbox") is not None


@pytest.mark.parametrize("name", ["", "a/b", "../up", "a b", "é", "%"])
async def test_a_lock_may_have_any_name(store: Store, name: str) -> None:
    async with connected(store) as one, connected(store) as other:
        assert await cast("SharedDatabase", one).lock(f"x/{name}") is not None
        assert await cast("SharedDatabase", other).lock(f"x/{name}") is None


async def test_a_process_that_was_killed_has_no_lock_any_more(store: Store) -> None:
    async with connected(store) as database:
        ours = cast("SharedDatabase", database)
        with process(hold_a_lock, store, "process/left") as (holding, told):
            assert await asyncio.to_thread(told.recv) == "mine"
            assert await ours.lock("process/left") is None
            holding.kill()
            holding.join()
            async with asyncio.timeout(20):  # PostgreSQL's server takes a moment to see that the connection has ended
                while (lock := await ours.lock("process/left")) is None:
                    pass
        assert lock.held


async def test_a_task_is_done_by_one_and_taken_over_when_it_leaves(store: Store) -> None:
    async with connected(store) as one, connected(store) as other:
        left = await join(cast("SharedDatabase", one), "left")
        right = await join(cast("SharedDatabase", other), "right")
        assert [await left.does("outbox"), await right.does("outbox"), await left.does("outbox")] == [True, False, True]
        assert [await right.is_gone(name) for name in ("left", "right", "never there", "")] == [
            False,
            False,
            True,
            True,
        ]
        await left.leave()
        assert await right.is_gone("left")
        assert await right.does("outbox")


async def test_a_step_of_a_task_does_nothing_while_another_process_does_it(store: Store) -> None:
    done: list[str] = []

    async def step() -> bool:
        done.append("step")
        return True

    async with connected(store) as one, connected(store) as other:
        left = await join(cast("SharedDatabase", one), "left")
        right = await join(cast("SharedDatabase", other), "right")
        assert await left.singly("outbox", step)()
        assert not await right.singly("outbox", step)()
    assert done == ["step"]


async def test_who_is_alone_does_everything_and_waits_for_nobody() -> None:
    assert await ALONE.does("outbox")
    assert await ALONE.is_gone("somebody")
    assert await Process().is_named()


async def test_a_process_whose_connection_is_lost_has_lost_its_locks_and_takes_them_again(store: Store) -> None:
    async with connected(store) as database:
        if not isinstance(database, PostgresDatabase):
            pytest.skip("a file's lock needs no connection")
        ours = await join(database, "left")
        assert await ours.does("outbox")
        locks = ours._locks["task/outbox"]
        assert database._locks is not None
        await database._locks.connection.close()
        assert not locks.held
        assert await ours.does("outbox")
        assert all(lock.held for lock in ours._locks.values())


def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot be made"):
        lock_file(tmp_path / "file" / "locks", "a")
