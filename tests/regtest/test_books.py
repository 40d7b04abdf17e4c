"""Our book beside a real node: what the node moves by itself is booked by rule, and nothing else is left over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relaybot.clock import SystemClock
from relaybot.db.migrations import load_migrations
from relaybot.db.sqlite import open_sqlite
from tests.lightning.situations_of_chain import STRANGER
from tests.regtest.real_nodes import RealNodes
from tests.regtest.rig import DEEP_BLOCKS, Rig
from wallet.accounts import NODE_LIGHTNING, NODE_ONCHAIN, ROUTING_INCOME
from wallet.audit import unsound
from wallet.book import Book, running
from wallet.cln import CoreLightning
from wallet.cln_chain import CoreLightningChain
from wallet.money import from_sat
from wallet.reconcile import Reconciliation, book_by_rule, own_difference, reconcile

AGREED = Reconciliation((), {})


class Desk:
    """A book that has taken its first look at the service's node."""

    def __init__(self, book: Book, rig: Rig) -> None:
        self.book = book
        self.lightning = CoreLightning(rig.sockets["service"])
        self.chain = CoreLightningChain(rig.sockets["service"])

    async def look(self) -> list[str]:
        """Book what the rules know, and assert that the book is sound."""
        done = await book_by_rule(self.book, self.lightning, self.chain)
        assert await unsound(self.book.database) == []
        return done

    async def compared(self) -> Reconciliation:
        async with self.book.database.snapshot() as reader:
            return await reconcile(reader, self.lightning, self.chain)

    async def close(self) -> None:
        await self.lightning.close()
        await self.chain.close()


@pytest.fixture
async def nodes(rig: Rig) -> RealNodes:
    nodes = RealNodes(rig)
    await nodes.tidy()
    return nodes


@pytest.fixture
async def desk(nodes: RealNodes, tmp_path: Path) -> AsyncIterator[Desk]:
    clock = SystemClock()
    database = await open_sqlite(tmp_path / "book.sqlite3", load_migrations(), now=clock.now())
    async with running(Book(database, clock)) as book:
        desk = Desk(book, nodes.rig)
        assert await desk.look() == ["node/opening"]
        yield desk
        await desk.close()
    await database.close()


async def test_what_the_node_holds_at_our_first_look_is_the_operator_s(desk: Desk) -> None:
    assert await desk.compared() == AGREED
    assert await desk.book.balance(NODE_LIGHTNING) < -from_sat(10_000_000)
    assert await desk.book.balance(NODE_ONCHAIN) < -from_sat(50_000_000)


async def test_what_is_routed_earns_its_fee(rig: Rig, desk: Desk) -> None:
    before = await desk.book.balance(ROUTING_INCOME)
    invoice = await rig.call("far", "invoice", {"amount_msat": 2_000_000, "label": "routed", "description": "x"})
    await rig.call("wallets", "xpay", {"invstring": invoice["bolt11"]})
    await rig.at_rest()
    assert len(await desk.look()) == 1
    assert await desk.compared() == AGREED
    assert await desk.book.balance(ROUTING_INCOME) == before + 1 + 20


async def test_a_channel_that_is_opened_with_a_gift_and_closed_again_leaves_no_difference(rig: Rig, desk: Desk) -> None:
    await rig.join("service", "far", sat=1_000_000)
    await desk.look()
    assert await desk.compared() == AGREED
    [channel] = [each for each in await rig.channels("service", "far") if each["total_msat"] == from_sat(1_000_000)]
    await rig.call("service", "close", {"id": channel["channel_id"]})
    await rig.mine(DEEP_BLOCKS)
    await rig.at_rest()
    await desk.look()
    assert await desk.compared() == AGREED


async def test_what_the_operator_sends_by_hand_is_a_difference_until_it_is_owned(rig: Rig, desk: Desk) -> None:
    sent = await rig.call("service", "withdraw", {"destination": STRANGER, "satoshi": 50_000})
    await rig.mine()
    [difference] = (await desk.compared()).differences
    assert difference.key == sent["txid"]
    left = difference.node.less(difference.book)
    assert -from_sat(51_000) < left.onchain < -from_sat(50_000)  # the fee is part of it
    await desk.book.apply(await own_difference(desk.book, desk.lightning, desk.chain, sent["txid"]))
    assert await desk.compared() == AGREED
