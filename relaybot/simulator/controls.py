"""The simulated chain and nodes over HTTP.

Send to an address, mine, reorganise, forget, let fees rise; let a node lag, lose its
peers, or its answers. For demos and tests, like the rest of the world in `world.py`, which serves these routes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from relaybot.errors import Rejected
from relaybot.simulator.chain import BLOCKS_MAX, BURIED_BLOCKS, Chain
from wallet.money import MAX_MSAT, MSAT_PER_SAT


class Body(BaseModel):
    """What stands in every request body: nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)


AnyBody = TypeVar("AnyBody", bound=BaseModel)


class Sent(Body):
    """POST /chain/send."""

    address: str
    amount_sat: int = Field(gt=0, le=MAX_MSAT // MSAT_PER_SAT)


class Mined(Body):
    """POST /chain/mine."""

    blocks: int = Field(default=1, ge=1, le=BLOCKS_MAX)


class Reorganised(Body):
    """POST /chain/reorganise: what is taken back, what comes in its place, and whether its payments are lost."""

    blocks: int = Field(default=1, ge=1, le=BURIED_BLOCKS)
    length: int | None = Field(default=None, ge=0, le=BLOCKS_MAX)
    replaced: bool = False


class Forgotten(Body):
    """POST /chain/forget: a transaction that the mempool drops."""

    txid: str = Field(pattern="^[0-9a-f]{64}$")


class Fees(Body):
    """POST /chain/fees: what being mined soon costs, in sat per 1,000 units of weight; 0: nobody knows."""

    perkw: int = Field(ge=0, le=1_000_000)


class NodeState(Body):
    """POST /nodes/<name>: what is left out stays as it is."""

    synced: bool | None = None
    connected: bool | None = None
    lost_answers: int | None = Field(default=None, ge=0, le=1_000)  # to calls that send a transaction, which goes out


Switch = Callable[[str, bool], None]
LoseAnswers = Callable[[str, int], None]


class Controls:
    """The routes."""

    def __init__(
        self,
        chain: Chain,
        *,
        nodes: Collection[str],
        set_synced: Switch,
        set_connected: Switch,
        lose_answers: LoseAnswers,
    ) -> None:
        self._chain = chain
        self._nodes = nodes
        self._set_synced = set_synced
        self._set_connected = set_connected
        self._lose_answers = lose_answers

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [
            web.get("/chain", self._on_chain),
            web.post("/chain/send", self._on_send),
            web.post("/chain/mine", self._on_mine),
            web.post("/chain/reorganise", self._on_reorganise),
            web.post("/chain/forget", self._on_forget),
            web.post("/chain/fees", self._on_fees),
            web.post("/nodes/{name}", self._on_node),
        ]

    async def _on_chain(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(self._chain.describe())

    async def _on_send(self, request: web.Request) -> web.Response:
        wanted = await read_body(request, Sent)
        try:
            txid = self._chain.send(wanted.address, wanted.amount_sat * MSAT_PER_SAT)
        except Rejected as error:
            return web.json_response({"error": error.reason, "field": "address"}, status=400)
        return web.json_response({"txid": txid}, status=201)

    async def _on_mine(self, request: web.Request) -> web.Response:
        wanted = await read_body(request, Mined)
        return web.json_response({"height": self._chain.mine(wanted.blocks)})

    async def _on_reorganise(self, request: web.Request) -> web.Response:
        wanted = await read_body(request, Reorganised)
        height = self._chain.reorganise(wanted.blocks, replaced=wanted.replaced, length=wanted.length)
        return web.json_response({"height": height})

    async def _on_forget(self, request: web.Request) -> web.Response:
        self._chain.forget((await read_body(request, Forgotten)).txid)
        return web.json_response(self._chain.describe())

    async def _on_fees(self, request: web.Request) -> web.Response:
        self._chain.set_feerate((await read_body(request, Fees)).perkw)
        return web.json_response(self._chain.describe())

    async def _on_node(self, request: web.Request) -> web.Response:
        name, wanted = request.match_info["name"], await read_body(request, NodeState)
        if name not in self._nodes:
            return web.json_response({"error": "no such node", "field": "name"}, status=404)
        for switch, state in ((self._set_synced, wanted.synced), (self._set_connected, wanted.connected)):
            if state is not None:
                switch(name, state)
        if wanted.lost_answers is not None:
            self._lose_answers(name, wanted.lost_answers)
        return web.json_response({"name": name, "height": self._chain.height(name)})


async def read_body(request: web.Request, shape: type[AnyBody]) -> AnyBody:
    """Read a request's body; ValidationError says what is wrong with it."""
    return shape.model_validate_json(await request.read() or b"{}")
