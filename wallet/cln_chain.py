"""The chain's port on Core Lightning. The comments name the recorded fact each line obeys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from relaybot.errors import Unavailable
from wallet.chain import ChainMove, Output, OutputState
from wallet.cln_answers import AnyMsat, shaped
from wallet.cln_calls import Lane, NodeError
from wallet.money import Msat

_READERS = 4
_READ_SECONDS = 30
_WAIT_GRACE_SECONDS = 10
_WAIT_TIMED_OUT = 2000
_Shape = TypeVar("_Shape")


class _NewAddress(msgspec.Struct):
    p2tr: str


class _Output(msgspec.Struct):
    """One row of listfunds."""

    txid: str
    output: int
    amount_msat: AnyMsat
    status: str
    address: str = ""  # a script without an address
    blockheight: int | None = None


class _ListFunds(msgspec.Struct):
    outputs: list[_Output]


class _Move(msgspec.Struct):
    """One row of listchainmoves."""

    created_index: int
    account_id: str
    credit_msat: AnyMsat
    debit_msat: AnyMsat
    primary_tag: str
    utxo: str
    spending_txid: str | None = None


class _ListChainMoves(msgspec.Struct):
    chainmoves: list[_Move]


class CoreLightningChain:
    """The wallet of a Core Lightning node, or of what serves its JSON-RPC."""

    def __init__(self, socket_path: Path | str) -> None:
        """Prepare the threads; nothing is sent before the first call."""
        self._reads = Lane("chain", path=Path(socket_path), threads=_READERS)
        self._waits = Lane("block", path=Path(socket_path), threads=1)

    async def close(self) -> None:
        """End all calls and free their threads."""
        for lane in (self._reads, self._waits):
            lane.close()

    async def new_address(self) -> str:
        """Return a new address. The node counts its keys, so none is given out twice."""
        return (await self._read("newaddr", {"addresstype": "p2tr"}, _NewAddress)).p2tr

    async def outputs(self) -> list[Output]:
        """Return all outputs. A deposit in the mempool is not among them; one that was taken back is unconfirmed."""
        answer = await self._read("listfunds", {"spent": True}, _ListFunds)
        return [
            Output(row.txid, row.output, row.address, Msat(row.amount_msat), _state(row.status), row.blockheight)
            for row in answer.outputs
        ]

    async def wait_for_block(self, height: int, *, timeout_seconds: int) -> None:
        """Wait for a block. A call that outlasts its own timeout is given up."""
        params = {"blockheight": height, "timeout": timeout_seconds}
        try:
            await self._waits.call("waitblockheight", params, limit_seconds=timeout_seconds + _WAIT_GRACE_SECONDS)
        except NodeError as error:
            if error.code != _WAIT_TIMED_OUT:
                raise Unavailable(str(error)) from None

    async def chain_moves(self, *, after_index: int, limit: int) -> list[ChainMove]:
        """Return rows of listchainmoves: one for each output, and one more when it is spent."""
        params = {"index": "created", "start": after_index + 1, "limit": limit}
        answer = await self._read("listchainmoves", params, _ListChainMoves)
        return [
            ChainMove(
                row.created_index,
                row.spending_txid or row.utxo.partition(":")[0],
                row.utxo,
                Msat(row.credit_msat),
                Msat(row.debit_msat),
                row.primary_tag,
                row.account_id,
            )
            for row in answer.chainmoves
        ]

    async def _read(self, method: str, params: Mapping[str, object], shape: type[_Shape]) -> _Shape:
        try:
            answer = await self._reads.call(method, params, limit_seconds=_READ_SECONDS)
        except NodeError as error:
            raise Unavailable(str(error)) from None
        return shaped(method, answer, shape)


def _state(status: str) -> OutputState:
    """Return the state of a row: `immature`, a young coinbase, cannot be spent and counts as unconfirmed."""
    return OutputState(status) if status in {"confirmed", "spent"} else OutputState.UNCONFIRMED
