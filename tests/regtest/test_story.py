"""The worked example on real nodes: paid by a real invoice, paid out to real wallets, whatever is killed in it.

The service is a process of its own, and dies at the border that is named; it is started
again at once. Every story must end as the simulated one does (`tests/crash/ending.py`).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from relaybot.config import load_config
from relaybot.demo.people import until
from relaybot.demo.stage import Cast, write_config
from relaybot.operator.opening import migrate, opened
from relaybot.simulator.scripts import Ending
from tests.crash.play import perform
from tests.crash.stage import DeadlyStage
from tests.regtest.real_nodes import RealNodes
from tests.regtest.rig import Rig
from tests.regtest.wallet_server import WalletServer
from wallet.cln import CoreLightning
from wallet.cln_chain import CoreLightningChain
from wallet.reconcile import book_by_rule

pytestmark = pytest.mark.timeout(300)


class RealStage(DeadlyStage):
    """A stage on the rig: the service's node is a real one, and so are the wallets'."""

    def __init__(self, data: Path, kills: Sequence[str], rig: Rig, wallets: WalletServer) -> None:
        super().__init__(data, kills)
        self._rig = rig
        self._wallets = wallets

    async def start_node(self) -> None:
        """Lead the configuration's socket to the real node."""
        (self.data / "ln" / "service").mkdir(parents=True)
        (self.data / "ln" / "service" / "lightning-rpc").symlink_to(self._rig.sockets["service"])
        self.wallets_url = self._wallets.url

    async def start_service(self, cast: Cast) -> None:
        """Let the book take the first look at its node: what other stories have moved is the operator's."""
        write_config(self, cast)
        config = load_config(self.config, {})
        await migrate(config)
        lightning, chain = CoreLightning(config.lightning.socket), CoreLightningChain(config.lightning.socket)
        async with opened(config) as book:
            await book_by_rule(book, lightning, chain)
        await lightning.close()
        await chain.close()
        await super().start_service(cast)


@pytest.fixture
async def nodes(rig: Rig) -> RealNodes:
    nodes = RealNodes(rig)
    await nodes.tidy()
    return nodes


@pytest.fixture
async def wallets(nodes: RealNodes, rig: Rig) -> AsyncIterator[WalletServer]:
    wallets = WalletServer(rig)
    await wallets.start()
    yield wallets
    await wallets.close()


@pytest.mark.parametrize(
    "kills",
    [
        [],
        ["create_invoice:after"],  # the invoice is at the node, and nobody was told
        ["next_settlement:after"],  # the customer has paid, and the book does not know
        ["pay:before"],  # a payment is noted as sent, and was not
        ["pay:after"],  # it was, and the book does not know how it ended
        ["pay:before", "next_settlement:before", "pay:after"],
    ],
    ids=lambda kills: " and ".join(kills) or "unkilled",
)
async def test_the_worked_example_ends_the_same_on_real_nodes(
    rig: Rig, wallets: WalletServer, tmp_path: Path, kills: list[str]
) -> None:
    stage = RealStage(tmp_path, kills, rig, wallets)
    try:
        assert await perform(stage) == []
    finally:
        await stage.stop()
    assert stage.lives == 1 + len(kills)


async def test_the_node_killed_with_a_payment_in_flight_ends_it_when_it_is_back(
    rig: Rig, nodes: RealNodes, wallets: WalletServer, tmp_path: Path
) -> None:
    stage = RealStage(tmp_path, [], rig, wallets)
    nodes.order("let in", "hold")  # the customer's, and the first contributor's
    try:
        playing = asyncio.create_task(perform(stage))
        await nodes.arrive()
        await the_others_are_paid(tmp_path)
        rig.kill_node("service")
        await rig.start_node("service")
        await nodes.reconnect("service")
        await nodes.release(Ending.SETTLE)
        assert await playing == []
    finally:
        await stage.stop()


async def test_node_and_service_killed_with_a_payment_in_flight_pay_it_once(
    rig: Rig, nodes: RealNodes, wallets: WalletServer, tmp_path: Path
) -> None:
    stage = RealStage(tmp_path, ["by hand"], rig, wallets)
    nodes.order("let in", "hold")
    try:
        playing = asyncio.create_task(perform(stage))
        await nodes.arrive()
        await the_others_are_paid(tmp_path)
        stage.kill_service()
        rig.kill_node("service")
        await rig.start_node("service")
        await nodes.reconnect("service")
        await nodes.release(Ending.SETTLE)
        assert await playing == []
    finally:
        await stage.stop()
    assert stage.lives == 2


async def test_a_payment_that_hangs_stays_held_while_all_others_are_paid(
    nodes: RealNodes, rig: Rig, wallets: WalletServer, tmp_path: Path
) -> None:
    stage = RealStage(tmp_path, [], rig, wallets)
    nodes.order("let in", "hold")
    try:
        playing = asyncio.create_task(perform(stage))
        await nodes.arrive()
        await the_others_are_paid(tmp_path)
        assert states(tmp_path / "book.sqlite3")["paying"] == 1  # unknown is not failed: nothing was paid back
        await nodes.release(Ending.SETTLE)
        assert await playing == []
    finally:
        await stage.stop()


async def the_others_are_paid(data: Path) -> None:
    """Wait until one payment only is in flight: a node that is killed while it sends may call it pending for ever."""

    async def six_are_paid() -> bool:
        return states(data / "book.sqlite3")["paid"] == 6

    await until("six of seven are paid", six_are_paid)


def states(book: Path) -> Counter[str]:
    """Count the payouts by their state."""
    with closing(sqlite3.connect(f"file:{book}?mode=ro", uri=True)) as connection:
        return Counter(state for (state,) in connection.execute("SELECT state FROM payouts"))
