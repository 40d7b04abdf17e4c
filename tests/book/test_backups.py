"""A backup while the book is written to, and attack H3: yesterday's book beside today's node pays nothing."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path

import pytest

from relaybot.clock import SetClock
from relaybot.config import Config, parse_config
from relaybot.db.migrations import load_migrations
from relaybot.errors import Rejected
from relaybot.operator import restoring
from relaybot.reader import OWN_RELAY
from relaybot.simulator.network import SimulatedNetwork
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
    payment,
    sats_of,
    store_of,
    top_up,
)
from wallet.book import Book, running
from wallet.cln import CoreLightning
from wallet.cln_chain import CoreLightningChain
from wallet.ledger import Plan, Put
from wallet.money import Msat, from_sat
from wallet.reconcile import book_by_rule


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A directory with a short name: the path of a Unix socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="bk-") as directory:
        yield Path(directory)


@pytest.fixture
def stores(new_store: Callable[[], Store]) -> tuple[Store, Store]:
    return new_store(), new_store()


@pytest.fixture(params=permutations(KINDS), ids="-to-".join)
def either(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, Store]:
    """Return an empty book of one kind, and one of the other kind."""
    one, other = request.param
    return store_of(one, tmp_path / "one.db"), store_of(other, tmp_path / "other.db")


def config_of(store: Store, data: Path, socket: Path) -> Config:
    where = str(store.path) if isinstance(store, SqliteStore) else ""
    where = store.url if isinstance(store, PostgresStore) else where
    return parse_config({"database": where, "lightning": {"socket": str(socket)}}, config_dir=data)


async def test_h3_a_restored_book_sends_nothing_until_it_agrees_with_a_node_that_has_paid_since(
    stores: tuple[Store, Store], data_dir: Path, tmp_path: Path
) -> None:
    (store, fresh), copy = stores, tmp_path / "copy.sqlite3"
    network = SimulatedNetwork(data_dir)
    await network.start()
    socket = network.sockets["service"]
    node = CoreLightning(socket)
    old, new = config_of(store, data_dir, socket), config_of(fresh, data_dir, socket)
    try:
        async with opened(store) as book:
            await book_by_rule(book, node, CoreLightningChain(socket))  # what the node has is the operator's
            before = await contents(book.database)
            await restoring.backup(old, copy)
            await book.apply(top_up("bob", 1_000))
        bolt11 = network.people.invoice("alice", from_sat(500))
        await node.pay(bolt11, maxfee_msat=Msat(5_000), label="payout/bob/1")  # after the backup
        await restoring.restore(new, copy)
        async with opened(fresh) as book:
            assert {**await contents(book.database), "plans": before["plans"]} == before
            switch = await book.row("pauses", "restored")
            assert switch is not None
            assert switch["state"] == "paused"
            said = await restoring.agree(new, ())
            assert (said["agreed"], said["not_read"]) == (False, [OWN_RELAY])  # no service has run since
            (difference,) = said["differences"]
            assert "the node says" in difference
            key = difference.split()[1].rstrip(":")
            assert not (await restoring.agree(new, (key,)))["agreed"]
            await book.apply(Plan("read", changes=(Put("cursors", f"reader/{OWN_RELAY}", {"value": 2**40}),)))
            said = await restoring.agree(new, ())
            assert (said["agreed"], said["not_read"]) == (False, [])
            assert (await restoring.agree(new, (key,)))["agreed"]
            switch = await book.row("pauses", "restored")
            assert switch is not None
            assert switch["state"] == "open"
            await book.apply(top_up("carol", 1))
            assert await book.balance(sats_of("carol")) == 1_000
            assert await broken(book) == []
        with pytest.raises(Rejected, match="there is a book"):
            await restoring.restore(new, copy)
    finally:
        await node.close()
        await network.close()


SPENDS = 60  # enough for some to fall into the copying


async def test_a_backup_while_money_moves_is_the_book_of_one_moment(
    stores: tuple[Store, Store], data_dir: Path, tmp_path: Path
) -> None:
    (store, fresh), copy = stores, tmp_path / "copy.sqlite3"
    old, new = (config_of(one, data_dir, data_dir / "no-node") for one in stores)
    begun = asyncio.Event()

    async def spends(book: Book, name: str) -> None:
        for number in range(SPENDS):
            key = f"pay/{name}/{number}"
            await book.apply(payment(key, debit=sats_of("bob"), credit=sats_of(name), msat=1_000))
            begun.set()

    async with opened(store) as book:
        await book.apply(top_up("bob", 1_000))
        async with asyncio.TaskGroup() as group:
            for name in ("alice", "carol", "dave"):
                group.create_task(spends(book, name))
            await begun.wait()
            await restoring.backup(old, copy)
        rows = await book.database.fetch("SELECT id, debit_after, credit_after FROM transfers ORDER BY seq")
        whole = [tuple(row.values()) for row in rows]
    assert len(whole) == 1 + 3 * SPENDS
    await restoring.restore(new, copy)
    async with opened(fresh) as book:
        rows = await book.database.fetch("SELECT id, debit_after, credit_after FROM transfers ORDER BY seq")
        assert len(rows) > 1
        assert [tuple(row.values()) for row in rows] == whole[: len(rows)]
        assert await broken(book) == []
        for number in range(SPENDS):  # what the copy knows is not done again, the rest is
            await book.apply(payment(f"pay/alice/{number}", debit=sats_of("bob"), credit=sats_of("alice"), msat=1_000))
        assert await book.balance(sats_of("alice")) == SPENDS * 1_000


async def test_a_copy_of_either_database_becomes_a_book_of_the_other(
    either: tuple[Store, Store], data_dir: Path, tmp_path: Path
) -> None:
    (store, fresh), copy = either, tmp_path / "copy"
    async with opened(store) as book:
        await book.apply(top_up("bob", 1_000))
        await book.apply(payment("pay", debit=sats_of("bob"), credit=sats_of("alice"), msat=2**40 % 999_983))
        before = await contents(book.database)
    await restoring.backup(config_of(store, data_dir, data_dir / "no-node"), copy)
    await restoring.restore(config_of(fresh, data_dir, data_dir / "no-node"), copy)
    async with opened(fresh) as book:
        assert {**await contents(book.database), "plans": before["plans"]} == before
        await book.apply(top_up("carol", 1))
        assert await broken(book) == []


async def test_a_copy_of_an_older_version_is_brought_up_to_date(store: Store, data_dir: Path, tmp_path: Path) -> None:
    older, fresh, copy = SqliteStore(tmp_path / "older.db"), store, tmp_path / "copy"
    async with (
        connected(older, migrations=load_migrations()[:-1]) as database,
        running(Book(database, SetClock(NOW))) as book,
    ):
        await book.apply(top_up("bob", 1_000))
        before = await contents(database)
    await restoring.backup(config_of(older, data_dir, data_dir / "no-node"), copy)
    await restoring.restore(config_of(fresh, data_dir, data_dir / "no-node"), copy)
    async with opened(fresh) as book:
        after = await contents(book.database)
        assert after["transfers"] == before["transfers"]
        assert after["accounts"] == before["accounts"]
        switch = await book.row("pauses", "restored")
        assert switch is not None
        assert switch["state"] == "paused"
        assert await broken(book) == []
