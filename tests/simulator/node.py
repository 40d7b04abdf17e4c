"""The Lightning node without a socket: the product's adapter on the product's simulated network, in one process.

Only the way between the two is ours: where calls are slow, lost or refused, and where the records say what
records of a real node say at a bad moment (nothing yet; all failed, between two routes; nothing, while it catches up).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast

from relaybot.errors import Unavailable
from relaybot.simulator.network import SERVICE_NODE, SimulatedNetwork
from relaybot.simulator.node import SimulatedNode
from relaybot.simulator.params import Fault
from relaybot.simulator.payments import ConnectionLost
from relaybot.simulator.rpc import _decode
from tests.simulator.borders import Borders
from tests.simulator.timeline import Chance, wait
from wallet.cln import CoreLightning, NodeLimits
from wallet.cln_calls import Lane, NodeError
from wallet.cln_chain import CoreLightningChain

BETWEEN_ROUTES_SECONDS = 60.0  # a call looks for other routes for so long: until then "all failed" is no end
FIRST_ROUTE_SECONDS = 3.0  # until then the first route is tried
EMPTY_SECONDS = (
    15.0  # records may be empty for so long after a call: longer than two looks that would make a failure definite
)
RECORDS = frozenset({"listpays", "listsendpays"})
HTLCS = {"listhtlcs": "htlcs", "listpeerchannels": "channels"}

Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


class NodeManners:
    """How the node behaves: well, unless a mishap says otherwise. It outlives every life of the bot."""

    def __init__(self, network: SimulatedNetwork, chance: Chance, spawn: Spawn, *, name: str = SERVICE_NODE) -> None:
        self.network = network
        self.name = name
        self.spawn = spawn
        self.chance = chance
        self.down = False  # nobody answers
        self.slow_seconds = 0.05  # the most a call takes on its way
        self.loses_percent = 0.0  # of answers: what was asked for is done
        self.catching_up = False  # it knows nothing, and says that it is not synced
        self.lies_percent = 30.0  # of payments whose records say something else for a while
        self.called_at: dict[str, float] = {}  # by payment hash
        self._lies: dict[str, str] = {}

    def loses_answer(self) -> bool:
        """Tell whether an answer gets lost now."""
        return self.down or self.chance.of(self.loses_percent)

    def called(self, bolt11: str) -> None:
        """Note the beginning of a payment call."""
        row = self.network._store.row("SELECT payment_hash FROM invoices WHERE bolt11 = ?", (bolt11,))
        assert row is not None, "only the people's wallets are paid"
        payment_hash = str(row["payment_hash"])
        self.called_at.setdefault(payment_hash, asyncio.get_running_loop().time())
        if payment_hash not in self._lies:
            lies = self.chance.of(self.lies_percent)
            self._lies[payment_hash] = self.chance.choice(("empty", "failed", "failed", "records")) if lies else ""

    def hidden(self, payment_hash: str) -> str:
        """Return how the records lie about this payment now.

        `empty`: nothing yet. `failed`: all failed, between two routes. `records`: all failed, but an HTLC still stands.
        """
        if self.catching_up:
            return "empty"
        lie = self._lies.get(payment_hash, "")
        seconds = asyncio.get_running_loop().time() - self.called_at.get(payment_hash, 0.0)
        if lie == "records":
            return lie
        if lie == "empty":
            return lie if seconds < EMPTY_SECONDS else ""
        return lie if FIRST_ROUTE_SECONDS < seconds < BETWEEN_ROUTES_SECONDS else ""

    def told(self, method: str, params: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        """Return an answer as the node gives it at this moment."""
        if method in RECORDS and params.get("payment_hash"):
            return self._told_records(str(params["payment_hash"]), answer)
        if method == "listhtlcs":
            return {"htlcs": self._seen(answer["htlcs"])}
        if method == "listpeerchannels":
            channels = [{**one, "htlcs": self._seen(one["htlcs"])} for one in answer["channels"]]
            return {"channels": channels}
        return answer

    def _seen(self, htlcs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [one for one in htlcs if self.hidden(one["payment_hash"]) in {"", "records"}]

    def _told_records(self, payment_hash: str, answer: dict[str, Any]) -> dict[str, Any]:
        lie = self.hidden(payment_hash)
        ((name, entries),) = answer.items()
        if lie == "empty":
            return {name: []}
        if lie == "records" and not self._in_flight(payment_hash):
            return answer
        if lie in {"failed", "records"} and entries and all(one["status"] == "pending" for one in entries):
            return {name: [{**one, "status": "failed"} for one in entries]}
        return answer

    def _in_flight(self, payment_hash: str) -> bool:
        sql = "SELECT 1 FROM htlcs WHERE payment_hash = ? AND state = 'live'"
        return self.network._store.row(sql, (payment_hash,)) is not None


class _Way:
    """The way from one life's adapter to the node."""

    def __init__(self, manners: NodeManners, borders: Borders) -> None:
        self._manners = manners
        self._borders = borders

    async def call(self, method: str, params: Mapping[str, object], *, limit_seconds: float) -> object:
        """Ask the node; it goes on with what it was asked for, whatever becomes of the caller."""
        manners = self._manners
        await self._borders.yielding(f"node {method}")
        await wait(manners.chance.seconds(manners.slow_seconds))
        self._borders.at(f"node {method} arrives")
        if manners.down:
            raise Unavailable(f"lightning node: {method}: ConnectionRefusedError")
        if method in {"xpay", "pay"}:
            manners.called(str(params.get("invstring") or params.get("bolt11")))
        asked = manners.spawn(_answer(manners.network.nodes[manners.name], method, params))
        try:
            async with asyncio.timeout(limit_seconds):
                answer = await asyncio.shield(asked)
        except TimeoutError:
            raise Unavailable(f"lightning node: {method} took longer than {limit_seconds:g} s") from None
        self._borders.at(f"node {method} answered")
        if isinstance(answer, ConnectionLost) or manners.loses_answer():
            raise Unavailable(f"lightning node: connection lost during {method}")
        if isinstance(answer, Fault):
            raise NodeError(method, answer.code)
        return manners.told(method, params, answer)

    def close(self) -> None:
        """Do nothing: there is no thread to free."""


async def _answer(node: SimulatedNode, method: str, params: Mapping[str, object]) -> Any:
    """Return the node's answer, be it an error: nobody may be left to hear it."""
    sent = _decode(json.dumps({"params": params}, ensure_ascii=False))  # as over the socket
    assert isinstance(sent, dict), sent
    try:
        return await node.answer(method, sent["params"])
    except (Fault, ConnectionLost) as error:
        return error


class InProcessChain(CoreLightningChain):
    """The product's adapter to the node's wallet, for one life of the bot."""

    def __init__(self, manners: NodeManners, borders: Borders) -> None:
        self._reads = self._sends = self._waits = cast("Lane", _Way(manners, borders))


class InProcessNode(CoreLightning):
    """The product's adapter for one life of the bot."""

    def __init__(self, manners: NodeManners, borders: Borders, limits: NodeLimits | None = None) -> None:
        self._limits = limits or NodeLimits()
        self._private_channels = None
        way = cast("Lane", _Way(manners, borders))
        self._reads = self._waits = self._fetches = self._payments = way
