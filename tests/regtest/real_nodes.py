"""The rig's real nodes as the nodes of a lab."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from relaybot.demo.people import until
from relaybot.simulator.scripts import Ending, Outcome
from tests.lightning.lab import NODES
from tests.regtest.rig import NORMAL, NodeRefused, Rig

ORDERS = {(Outcome.HOLD, 203): "hold", (Outcome.FAIL, 203): "refuse"}
LEVEL_MSAT = 2_000_000_000  # how far a node may be from half of its channels


class RealNodes:
    """Each test finds them tidy: connected, nothing on its way, no invoices, nothing remembered against a channel."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._orders = 0

    @property
    def sockets(self) -> Mapping[str, Path]:
        return self.rig.sockets

    def now(self) -> int:
        return int(time.time())

    def node_id(self, node: str) -> str:
        return self.rig.ids[node]

    def script(self, outcome: Outcome, **more: Any) -> None:
        order = ORDERS.get((outcome, more.get("code", 203)))
        if order is None:
            pytest.skip(f"only the simulator can be told: {outcome.value} {more}")
        self.order(*[order] * more.get("times", 1))

    def order(self, *orders: str) -> None:
        """Tell the doormen what to do with the payments that come next: `let in`, `hold` or `refuse`."""
        for order in orders:
            self._orders += 1
            (self.rig.orders / f"{self._orders:09}-{order}").touch()

    async def arrive(self) -> None:
        await until("a payment is held", self._something_is_held)

    async def release(self, ending: Ending) -> int:
        await self.arrive()
        return await self._open_the_doors(ending)

    async def _something_is_held(self) -> bool:
        return any([(await self.rig.call(node, "doorman-held"))["held"] for node in NODES])

    async def _open_the_doors(self, ending: Ending) -> int:
        end = "settle" if ending is Ending.SETTLE else "fail"
        answers = [await self.rig.call(node, "doorman-release", {"end": end}) for node in NODES]
        return sum(answer["released"] for answer in answers)

    async def disconnect(self, node: str) -> None:
        for peer in await self._peers(node):
            await self.rig.call(node, "disconnect", {"id": peer, "force": True})

    async def reconnect(self, node: str) -> None:
        for peer in await self._peers(node):
            await self.rig.connect(node, self._name(peer))

    async def _peers(self, node: str) -> set[str]:
        return {each["peer_id"] for each in await self.rig.channels(node)}

    def _name(self, node_id: str) -> str:
        return next(name for name in NODES if self.rig.ids[name] == node_id)

    async def fall_behind(self, node: str) -> None:
        self.rig.chain.do(lambda chain: chain.hear_of(10))
        await self.restart(node)  # a node compares headers and blocks at its start

    async def restart(self, node: str) -> None:
        await self.rig.stop_node(node)
        await self.rig.start_node(node)
        await self.reconnect(node)

    async def add_channel(self, one: str, other: str) -> None:
        if len(await self.rig.channels(one, other)) < 2:
            await self.rig.join(one, other)

    async def pass_time(self, to: int) -> None:
        async def has_passed() -> bool:
            return time.time() > to

        await until("the time has passed", has_passed)

    async def pay_by_hand(self, payer: str, invoice: Mapping[str, Any], amount_msat: int) -> None:
        payee = self._name((await self.rig.call(payer, "decode", {"string": invoice["bolt11"]}))["payee"])
        [channel, *_] = await self.rig.channels(payer, payee)
        await self.rig.pay_over(channel, payer, invoice["bolt11"], amount_msat)

    async def deposit(self, address: str, sat: int) -> str:
        return self.rig.chain.do(lambda chain: chain.give(address, sat))

    async def mine(self, blocks: int = 1) -> int:
        await self.rig.mine(blocks)
        return self.rig.chain.do(lambda chain: chain.height)

    async def reorganise(self, depth: int) -> None:
        await self.rig.reorganise(depth)

    async def spend(self, txid: str, vout: int, *, to: str, sat: int) -> str:
        sent = {"destination": to, "satoshi": sat, "utxos": [f"{txid}:{vout}"]}
        return str((await self.rig.call("service", "withdraw", sent))["txid"])

    # ---- between two tests

    async def tidy(self) -> None:
        """Make everything as the next test expects it."""
        self.rig.chain.do(lambda chain: chain.hear_of(0))
        for order in self.rig.orders.iterdir():
            order.unlink()
        for node in NODES:
            if not self.rig.runs(node):
                await self.rig.start_node(node)
            elif "warning_bitcoind_sync" in await self.rig.call(node, "getinfo"):
                await self.restart(node)
        await self._open_the_doors(Ending.FAIL)
        if self.rig.chain.do(lambda chain: chain.waiting):
            await self.rig.mine(1)
        for peer in NODES[1:]:
            await self.rig.connect("service", peer)
        await self.rig.at_rest()
        for node in NODES:
            await self._forget(node)
        for peer in NODES[1:]:
            await self._level(peer)

    async def _forget(self, node: str) -> None:
        for each in (await self.rig.call(node, "listinvoices"))["invoices"]:
            with suppress(NodeRefused):  # a label with an escape in it is not found by what listinvoices says it is
                await self.rig.call(node, "delinvoice", {"label": each["label"], "status": each["status"]})
        # xpay remembers for an hour which channels failed
        await self.rig.call(node, "askrene-age", {"layer": "xpay", "cutoff": self.now() + 10})

    async def _level(self, peer: str) -> None:
        """Bring each channel with this peer back to about one half on each side."""
        for channel in await self.rig.channels("service", peer):
            too_much = channel["to_us_msat"] - channel["total_msat"] // 2 if channel["state"] == NORMAL else 0
            payer, payee = ("service", peer) if too_much > 0 else (peer, "service")
            if abs(too_much) > LEVEL_MSAT:
                asked = {"amount_msat": abs(too_much), "label": "level", "description": "level"}
                invoice = await self.rig.call(payee, "invoice", asked)
                await self.rig.pay_over(channel, payer, invoice["bolt11"], abs(too_much))
                await self._forget(payee)
