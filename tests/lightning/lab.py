"""Nodes in the shape of the recordings' rig, and the steps that lead into a recorded situation.

The nodes are the simulator's in `make test`, and real ones in `make test-cln`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from relaybot.demo.people import until
from relaybot.simulator.scripts import Ending, Outcome
from tests.lightning.wire import ask

NODES = ("service", "wallets", "far")
CHANNEL_SAT = 16_000_000
FEE_BASE_MSAT = 1
FEE_PPM = 10


class Nodes(Protocol):
    """Nodes `service`, `wallets` and `far`: the service has a channel with each of the others, half on each side."""

    @property
    def sockets(self) -> Mapping[str, Path]: ...

    def now(self) -> int:
        """Return the time the nodes go by."""
        ...

    def node_id(self, node: str) -> str: ...

    def script(self, outcome: Outcome, **more: Any) -> None:
        """Say what becomes of the next payment; skip the test if these nodes cannot be told so."""
        ...

    async def arrive(self) -> None:
        """Wait until a payment is held at its payee."""
        ...

    async def release(self, ending: Ending) -> int:
        """End the payments that are held, and return how many there were."""
        ...

    async def disconnect(self, node: str) -> None:
        """Part a node from its peers."""
        ...

    async def reconnect(self, node: str) -> None: ...

    async def restart(self, node: str) -> None:
        """End a node and start it again, connected, on what it remembers."""
        ...

    async def fall_behind(self, node: str) -> None:
        """Let a node know that it has not read the whole chain."""
        ...

    async def add_channel(self, one: str, other: str) -> None:
        """Join two nodes by one more channel, like those there are."""
        ...

    async def pass_time(self, to: int) -> None: ...

    async def pay_by_hand(self, payer: str, invoice: Mapping[str, Any], amount_msat: int) -> None:
        """Pay another amount than the invoice asks for, over the channel the payer has with the payee."""
        ...

    async def deposit(self, address: str, sat: int) -> str:
        """Send to an address from outside, and return the transaction's id; it waits for the next block."""
        ...

    async def mine(self, blocks: int = 1) -> int:
        """Mine blocks, let every node read them, and return the height."""
        ...

    async def reorganise(self, depth: int) -> None:
        """Put one more block in the place of the last ones; what stood in those waits again."""
        ...

    async def spend(self, txid: str, vout: int, *, to: str, sat: int) -> str:
        """Let the service's node spend one output, with change, and return the transaction's id."""
        ...


class Lab:
    """Steps on nodes, whatever nodes they are."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.name = ""  # of the recording that is brought about
        self.running: list[asyncio.Task[dict[str, Any]]] = []
        self._count = 0

    async def close(self) -> None:
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)

    async def call(self, node: str, method: str, params: object, **how: Any) -> dict[str, Any]:
        """Return the whole answer of a node, over its socket."""
        answer = await ask(self.nodes.sockets[node], method, params, **how)
        return {key: answer[key] for key in ("result", "error") if key in answer}

    async def result(self, node: str, method: str, params: object) -> dict[str, Any]:
        """Return a result; the test fails if the node answers an error."""
        answer = await self.call(node, method, params)
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def index(self, node: str, subsystem: str, of: str = "created") -> int:
        """Return the last index of a subsystem: what came before is none of this test's."""
        return int((await self.result(node, "wait", [subsystem, of, 0]))[of])

    def fresh(self) -> str:
        """Return a text that stands nowhere yet."""
        return secrets.token_hex(8)

    async def last_payment(self, node: str) -> int:
        """Return the pay_index of the last settled invoice."""
        rows = (await self.result(node, "listinvoices", {}))["invoices"]
        return max((row.get("pay_index", 0) for row in rows), default=0)

    async def invoice(self, node: str = "far", **params: Any) -> dict[str, Any]:
        """Return a new invoice of `node`, with its label in it."""
        self._count += 1
        label = params.pop("label", f"label-{self._count}")
        asked = {"amount_msat": 55_000, "label": label, "description": "x", "expiry": 3_600} | params
        return await self.result(node, "invoice", asked) | {"label": label}

    async def expired(self, node: str = "far") -> dict[str, Any]:
        """Return an invoice that nobody has paid in time."""
        invoice = await self.invoice(node, expiry=1)
        await self.expire(invoice, node)
        return invoice

    async def expire(self, invoice: dict[str, Any], node: str = "far") -> None:
        """Let an invoice's time pass, for its payee and for everybody else."""
        await self.nodes.pass_time(invoice["expires_at"] + 2)
        answer = await self.call(node, "waitinvoice", {"label": invoice["label"]})
        assert answer["error"]["code"] == 903

    async def paid(self, payee: str = "far", payer: str = "wallets", **params: Any) -> dict[str, Any]:
        """Return an invoice that has been paid."""
        invoice = await self.invoice(payee, **params)
        await self.result(payer, "pay", {"bolt11": invoice["bolt11"]})
        return invoice

    def script(self, outcome: Outcome, **more: Any) -> None:
        self.nodes.script(outcome, **more)

    async def held(self, payer: str = "wallets", label: str | None = "payout-1", **params: Any) -> dict[str, Any]:
        """Return an invoice whose payment is under way and held."""
        invoice = await self.invoice(**params)
        self.script(Outcome.HOLD)
        await self.start(payer, invoice, label)
        await self.nodes.arrive()
        return invoice

    async def start(
        self, payer: str, invoice: dict[str, Any], label: str | None = None
    ) -> asyncio.Task[dict[str, Any]]:
        """Call pay, and return when something has been sent."""
        before = await self.index(payer, "sendpays")
        params = {"bolt11": invoice["bolt11"]} | ({"label": label} if label else {})
        task = asyncio.create_task(self.call(payer, "pay", params))
        self.running.append(task)
        await self.result(payer, "wait", ["sendpays", "created", before + 1])
        return task

    async def fail(
        self, invoice: dict[str, Any], *, payer: str = "wallets", code: int = 203, label: str = "try"
    ) -> None:
        """Let a payment be sent and fail."""
        self.script(Outcome.FAIL, code=code)
        answer = await self.call(payer, "pay", {"bolt11": invoice["bolt11"], "label": label})
        assert answer["error"]["code"] == code
        await self.over(invoice, payer)

    async def sent(self, payer: str, payment_hash: str) -> None:
        """Wait until a payment is held at its payee, and the payer's records have it."""
        await self.nodes.arrive()

        async def is_there() -> bool:
            by_hash = {"payment_hash": payment_hash}
            return bool((await self.result(payer, "listpays", by_hash))["pays"])

        await until("the payment is on record", is_there)

    async def over(self, invoice: dict[str, Any], payer: str = "wallets") -> None:
        """Wait until the payer's records call nothing pending: they do so for a moment after the answer."""

        async def is_over() -> bool:
            by_hash = {"payment_hash": invoice["payment_hash"]}
            parts = (await self.result(payer, "listsendpays", by_hash))["payments"]
            attempts = (await self.result(payer, "listpays", by_hash))["pays"]
            return all(each["status"] != "pending" for each in parts + attempts)

        await until("the payment is over", is_over)

    async def release(self, ending: Ending = Ending.SETTLE) -> None:
        assert await self.nodes.release(ending)

    async def overpaid(self, node: str = "service") -> dict[str, Any]:
        """Return an invoice that got half as much again as it asked for."""
        invoice = await self.invoice(node, amount_msat=10_000)
        await self.nodes.pay_by_hand("wallets", invoice, 15_000)
        return invoice
