"""Payments on the chain by a real node: one transaction until it is confirmed, and books that agree to the msat."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relaybot.clock import SetClock
from relaybot.db.database import Row
from relaybot.db.migrations import load_migrations
from relaybot.db.sqlite import open_sqlite
from tests.lightning.situations_of_chain import STRANGER
from tests.payouts.desk import RULES
from tests.regtest.real_nodes import RealNodes
from tests.regtest.rig import Rig
from tests.regtest.test_books import AGREED, Desk
from wallet.accounts import CAPITAL, FEES, user
from wallet.audit import unsound
from wallet.batch_rules import BatchRules, quote
from wallet.batches import Batches
from wallet.book import Book, loose_ends, running
from wallet.chain_address import parse_chain_address
from wallet.ledger import Insert, Plan, Transfer, Values
from wallet.money import Msat, from_sat
from wallet.onchain import DepositRules
from wallet.opening import opened
from wallet.states import PayoutKind, Rail

DEPTH = DepositRules(((Msat(0), 1),), Msat(1_000), Msat(0), watch_blocks=6)
BATCH = BatchRules(
    batch_seconds=0,
    outputs_max=10,
    minimum_msat=from_sat(10_000),
    fee_ppm_max=50_000,
    spend_confirmations=1,
    withdrawal_seconds=86_400,
    poll_seconds=60,
    depth=DEPTH,
)
BOB = "b" * 64


class Counter(Desk):
    """A book that pays people on the chain."""

    def __init__(self, book: Book, rig: Rig, clock: SetClock) -> None:
        super().__init__(book, rig)
        self.clock = clock
        self.batches = Batches(book, self.lightning, self.chain, clock, rules=RULES, batch_rules=BATCH)

    async def withdraw(self, number: int, sat: int, address: str = STRANGER) -> None:
        """Let somebody ask for a withdrawal, out of the operator's capital."""
        pubkey, script = f"{number:064x}", parse_chain_address(address, currency="bcrt").script
        reserve = quote(script, feerate=await self.chain.feerate(12), rules=BATCH).reserve_msat
        row: Values = {"withdrawals": "open", "payouts": 0, "created_at": 0}
        given = Transfer(CAPITAL, user(pubkey), Msat(from_sat(sat) + reserve), "earned")
        assert (await self.book.apply(Plan(f"test/{number}", (given,), (Insert("users", pubkey, row),)))).done
        owner = await self.book.row("users", pubkey)
        assert owner is not None
        held, changes = opened(
            owner,
            f"{number:064x}",
            address,
            kind=PayoutKind.WITHDRAWAL,
            rail=Rail.ONCHAIN,
            amount=from_sat(sat),
            reserve=reserve,
            now=self.clock.now(),
        )
        assert (await self.book.apply(Plan(f"dm/{number}", (held,), changes))).done

    async def go_on(self, seconds: int = 60) -> None:
        """Let time pass, and take every step that can be taken."""
        self.clock.advance(seconds)
        while await self.batches.step():
            pass
        assert [*await unsound(self.book.database), *await loose_ends(self.book.database)] == []

    async def batch(self) -> Row:
        [batch] = await self.book.database.fetch("SELECT * FROM batches")
        return batch

    async def paid(self) -> list[str]:
        return [row["state"] for row in await self.book.database.fetch("SELECT state FROM payouts ORDER BY id")]


@pytest.fixture
async def nodes(rig: Rig) -> RealNodes:
    nodes = RealNodes(rig)
    await nodes.tidy()
    return nodes


@pytest.fixture
async def counter(nodes: RealNodes, tmp_path: Path) -> AsyncIterator[Counter]:
    clock = SetClock(int(time.time()))
    database = await open_sqlite(tmp_path / "book.sqlite3", load_migrations(), now=clock.now())
    async with running(Book(database, clock)) as book:
        counter = Counter(book, nodes.rig, clock)
        await counter.look()
        yield counter
        await counter.close()
    await database.close()


async def test_two_withdrawals_go_out_in_one_transaction_and_the_books_agree(
    nodes: RealNodes, counter: Counter
) -> None:
    await counter.withdraw(1, 50_000)
    await counter.withdraw(2, 30_000, await nodes_address(nodes))
    await counter.go_on()
    batch = await counter.batch()
    assert (batch["state"], batch["outputs"], batch["seen"]) == ("sent", 2, 1)
    assert await counter.compared() == AGREED
    await nodes.mine()
    await counter.go_on()
    assert await counter.paid() == ["paid", "paid"]
    assert await counter.compared() == AGREED
    assert await counter.book.balance(FEES) in (0, 1)
    await nodes.mine(6)
    await counter.go_on()
    assert (await counter.batch())["state"] == "buried"


async def test_what_the_chain_takes_back_is_sent_again_and_the_books_agree_all_the_while(
    nodes: RealNodes, counter: Counter
) -> None:
    await counter.withdraw(3, 50_000)
    await counter.go_on()
    txid = (await counter.batch())["txid"]
    await nodes.mine()
    await counter.go_on()
    await nodes.reorganise(1)
    nodes.rig.chain.do(lambda chain: chain.forget(txid))
    await counter.go_on(600)
    assert (await counter.batch())["height"] == 0
    assert txid in nodes.rig.chain.do(lambda chain: set(chain.waiting))
    assert await counter.compared() == AGREED
    height = await nodes.mine()
    await counter.go_on()
    assert (await counter.batch())["height"] == height
    assert await counter.compared() == AGREED


async def test_e5_a_node_that_is_killed_with_a_prepared_transaction_sends_that_one(
    nodes: RealNodes, counter: Counter
) -> None:
    await counter.withdraw(4, 50_000)
    await counter.batches.step()
    await counter.batches.step()
    prepared = await counter.batch()
    assert prepared["state"] == "prepared"
    nodes.rig.kill_node("service")
    await nodes.rig.start_node("service")
    await counter.go_on()
    await nodes.mine()
    await counter.go_on()
    assert ((await counter.batch())["txid"], await counter.paid()) == (prepared["txid"], ["paid"])
    assert await counter.compared() == AGREED


async def nodes_address(nodes: RealNodes) -> str:
    """Return an address of the far node: another form, and somebody who hears of it."""
    return str((await nodes.rig.call("far", "newaddr", {"addresstype": "p2tr"}))["p2tr"])
