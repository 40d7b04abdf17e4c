"""A backup while the book is written to, and attack H3: yesterday's book beside today's node pays nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relaybot.config import Config, parse_config
from relaybot.errors import Rejected
from relaybot.operator import restoring
from relaybot.reader import OWN_RELAY
from relaybot.simulator.network import SimulatedNetwork
from tests.book.stores import PostgresStore, SqliteStore, Store, broken, contents, opened, sats_of, top_up
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
