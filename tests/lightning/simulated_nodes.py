"""The simulator as the nodes of a lab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relaybot.clock import SetClock
from relaybot.simulator.chain import Paid
from relaybot.simulator.network import ChannelPlan, SimulatedNetwork, Topology
from relaybot.simulator.orders import order_for
from relaybot.simulator.scripts import Ending, Outcome, Script
from tests.lightning.lab import CHANNEL_SAT, FEE_BASE_MSAT, FEE_PPM, NODES
from wallet.bolt11_invoice import parse_bolt11

# As the nodes of the recordings: two hops between the people and the far node, through the service.
RIG = Topology(
    nodes=NODES,
    channels=tuple(ChannelPlan("service", peer, CHANNEL_SAT, CHANNEL_SAT // 2) for peer in NODES[1:]),
    fee_base_msat=FEE_BASE_MSAT,
    fee_ppm=FEE_PPM,
)
FEE_MSAT = 154_000


class SimulatedNodes:
    """A simulated network in the shape of the recordings' rig, and the clock it goes by."""

    def __init__(self, network: SimulatedNetwork, clock: SetClock) -> None:
        self.network = network
        self.sockets = network.sockets
        self._clock = clock

    def now(self) -> int:
        return self._clock.now()

    def node_id(self, node: str) -> str:
        return self.network.nodes[node].pubkey

    def script(self, outcome: Outcome, **more: Any) -> None:
        self.network.scripts.add(Script(outcome=outcome, **more))

    async def arrive(self) -> None:
        """Nothing is between two nodes here."""

    async def release(self, ending: Ending) -> int:
        return self.network.payments.release(payment_hash=None, ending=ending)

    async def disconnect(self, node: str) -> None:
        self.network.set_connected(node, False)

    async def reconnect(self, node: str) -> None:
        self.network.set_connected(node, True)

    async def restart(self, node: str) -> None:
        await self.network.close()  # all of them: they are one process
        self.network = SimulatedNetwork(self.network._data_dir, clock=self._clock, topology=RIG)
        await self.network.start()

    async def fall_behind(self, node: str) -> None:
        self.network.set_synced(node, False)

    async def add_channel(self, one: str, other: str) -> None:
        self.network.channels.open(
            one,
            other,
            capacity_msat=CHANNEL_SAT * 1_000,
            pushed_msat=CHANNEL_SAT * 500,
            base_msat=FEE_BASE_MSAT,
            ppm=FEE_PPM,
        )

    async def pay_by_hand(self, payer: str, invoice: Mapping[str, Any], amount_msat: int) -> None:
        order = order_for(parse_bolt11(invoice["bolt11"]), amount_msat=amount_msat)
        await self.network.payments.pay(payer, order)

    async def pass_time(self, to: int) -> None:
        self._clock.advance(max(0, to - self._clock.now()))

    async def deposit(self, address: str, sat: int) -> str:
        return self.network.chain.send(address, sat * 1_000)

    async def mine(self, blocks: int = 1) -> int:
        return self.network.chain.mine(blocks)

    async def reorganise(self, depth: int) -> None:
        self.network.chain.reorganise(depth)

    async def spend(self, txid: str, vout: int, *, to: str, sat: int) -> str:
        node = self.network.nodes["service"]
        coin = next(row for row in self.network.chain.coins("service") if (row["txid"], row["vout"]) == (txid, vout))
        change_to = await node.answer("newaddr", {"addresstype": "p2tr"})
        change = int(coin["amount_msat"]) - sat * 1_000 - FEE_MSAT
        outputs = [Paid(to, sat * 1_000), Paid(change_to["p2tr"], change)]
        return self.network.chain.broadcast(outputs, spends=[(txid, vout)])
