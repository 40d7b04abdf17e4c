"""The worked example on real nodes: paid by a real invoice, paid out to real wallets, whatever is killed in it.

The service is a process of its own, and dies at the border that is named; it is started
again at once. Every story must end as the simulated one does (`tests/crash/ending.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from relaybot.config import load_config
from relaybot.demo.stage import Cast, write_config
from relaybot.operator.opening import migrate, opened
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
async def wallets(rig: Rig) -> AsyncIterator[WalletServer]:
    await RealNodes(rig).tidy()
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
