"""A simulated network in the shape of the recordings' rig, and the steps that lead into a recorded situation."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from relaybot.clock import SetClock
from relaybot.simulator.chain import Paid
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.orders import order_for
from relaybot.simulator.scripts import Ending, Outcome, Script
from tests.lightning.wire import ask
from wallet.bolt11_invoice import parse_bolt11


class Lab:
    """Nodes `service`, `wallets` and `far`; the far one is two hops from the people."""

    def __init__(self, network: SimulatedNetwork, clock: SetClock) -> None:
        self.network = network
        self.clock = clock
        self.name = ""  # of the recording that is brought about
        self.running: list[asyncio.Task[dict[str, Any]]] = []
        self._count = 0

    async def close(self) -> None:
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)

    async def call(self, node: str, method: str, params: object, **how: Any) -> dict[str, Any]:
        """Return the whole answer of a node, over its socket."""
        answer = await ask(self.network.sockets[node], method, params, **how)
        return {key: answer[key] for key in ("result", "error") if key in answer}

    async def result(self, node: str, method: str, params: object) -> dict[str, Any]:
        """Return a result; the test fails if the node answers an error."""
        answer = await self.call(node, method, params)
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def invoice(self, node: str = "far", **params: Any) -> dict[str, Any]:
        """Return a new invoice of `node`, with its label in it."""
        self._count += 1
        label = params.pop("label", f"label-{self._count}")
        asked = {"amount_msat": 55_000, "label": label, "description": "x", "expiry": 3_600} | params
        return await self.result(node, "invoice", asked) | {"label": label}

    async def paid(self, payee: str = "far", payer: str = "wallets", **params: Any) -> dict[str, Any]:
        """Return an invoice that has been paid."""
        invoice = await self.invoice(payee, **params)
        await self.result(payer, "pay", {"bolt11": invoice["bolt11"]})
        return invoice

    def script(self, outcome: Outcome, **more: Any) -> None:
        self.network.scripts.add(Script(outcome=outcome, **more))

    async def held(self, payer: str = "wallets", label: str | None = "payout-1", **params: Any) -> dict[str, Any]:
        """Return an invoice whose payment is under way and held."""
        invoice = await self.invoice(**params)
        self.script(Outcome.HOLD)
        await self.start(payer, invoice, label)
        return invoice

    async def start(
        self, payer: str, invoice: dict[str, Any], label: str | None = None
    ) -> asyncio.Task[dict[str, Any]]:
        """Call pay, and return when something has been sent."""
        before = await self.result(payer, "wait", ["sendpays", "created", 0])
        params = {"bolt11": invoice["bolt11"]} | ({"label": label} if label else {})
        task = asyncio.create_task(self.call(payer, "pay", params))
        self.running.append(task)
        await self.result(payer, "wait", ["sendpays", "created", before["created"] + 1])
        return task

    async def fail(
        self, invoice: dict[str, Any], *, payer: str = "wallets", code: int = 203, label: str = "try"
    ) -> None:
        """Let a payment be sent and fail."""
        self.script(Outcome.FAIL, code=code)
        answer = await self.call(payer, "pay", {"bolt11": invoice["bolt11"], "label": label})
        assert answer["error"]["code"] == code

    def release(self, ending: Ending = Ending.SETTLE) -> None:
        assert self.network.payments.release(payment_hash=None, ending=ending)

    async def overpaid(self, node: str = "service") -> dict[str, Any]:
        """Return an invoice that got half as much again as it asked for."""
        invoice = await self.invoice(node, amount_msat=10_000)
        await self.network.payments.pay("wallets", order_for(parse_bolt11(invoice["bolt11"]), amount_msat=15_000))
        return invoice

    def pay_on_chain(self, spent: tuple[str, int], *, change_to: str) -> str:
        """Let the service's node spend an output of 20,000,000 sat: 50,000 to a stranger, the rest is change."""
        stranger = "bcrt1qggua3q2v7r72f6lngvc3p4e0jc5r2fux0htvtt"
        outputs = [Paid(stranger, 50_000_000), Paid(change_to, 19_949_846_000)]
        return self.network.chain.broadcast(outputs, spends=[spent])

    async def orphan(self) -> dict[str, Any]:
        """Return an invoice whose payment was lost with its node: a row without an HTLC."""
        invoice = await self.invoice()
        self.script(Outcome.ORPHAN)
        try:
            answer = await ask(self.network.sockets["wallets"], "pay", {"bolt11": invoice["bolt11"]})
        except json.JSONDecodeError:  # nothing came back
            return invoice
        raise AssertionError(answer)
