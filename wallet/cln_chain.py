"""The chain's port on Core Lightning: its wallet's addresses, outputs and blocks, and how it spends.

The comments name the recorded fact each line obeys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from relaybot.errors import Rejected, Unavailable
from wallet.chain import ChainMove, Output, OutputState, Payment, Prepared, refused_payment, too_few_coins
from wallet.cln_answers import AnyMsat, shaped
from wallet.cln_calls import Lane, NodeError
from wallet.money import MSAT_PER_SAT, Msat
from wallet.transaction import read_unsigned

_READERS = 4
_READ_SECONDS = 30
_WAIT_GRACE_SECONDS = 10
_WAIT_TIMED_OUT = 2000
_SENDERS = 2
_SEND_SECONDS = 60
_CANNOT_AFFORD = {301, 313}  # too few coins; enough, but for what the node keeps to end channels with
_REFUSED = {-1, -32602}  # an address, or a sum, that the node cannot pay: which one it says in words only
_NOT_PREPARED = -32602
_RESERVED_BLOCKS = 72  # as the node reserves by itself
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


class _Address(msgspec.Struct):
    keyidx: int


class _ListAddresses(msgspec.Struct):
    addresses: list[_Address]


class _Estimate(msgspec.Struct):
    blockcount: int
    feerate: int


class _Rates(msgspec.Struct):
    min_acceptable: int
    estimates: list[_Estimate] = []  # by rising blockcount: 2, 6, 12, 100
    opening: int | None = None  # the node's own choice for what is not urgent: about twelve blocks


class _Feerates(msgspec.Struct):
    perkw: _Rates


class _TxPrepare(msgspec.Struct):
    unsigned_tx: str
    txid: str
    psbt: str


class _SignPsbt(msgspec.Struct):
    signed_psbt: str


class _Transaction(msgspec.Struct):
    hash: str
    blockheight: int
    rawtx: str  # signed


class _Sent(msgspec.Struct):
    """The answer of the node's Bitcoin backend."""

    success: bool


class _ListTransactions(msgspec.Struct):
    transactions: list[_Transaction]


class CoreLightningChain:
    """The wallet of a Core Lightning node, or of what serves its JSON-RPC."""

    def __init__(self, socket_path: Path | str) -> None:
        """Prepare the threads; nothing is sent before the first call."""
        self._reads = Lane("chain", path=Path(socket_path), threads=_READERS)
        self._waits = Lane("block", path=Path(socket_path), threads=1)
        self._sends = Lane("send", path=Path(socket_path), threads=_SENDERS)

    async def close(self) -> None:
        """End all calls and free their threads."""
        for lane in (self._reads, self._waits, self._sends):
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

    async def feerate(self, blocks: int) -> int:
        """Return the node's estimate for so many blocks; one that was told its fees has `opening` only.

        Of the estimates it is the one for the most blocks that are not more than asked for: never too little.
        """
        rates = (await self._read("feerates", {"style": "perkw"}, _Feerates)).perkw
        known = {each.blockcount: each.feerate for each in rates.estimates}
        in_time = [count for count in known if count <= blocks]
        estimate = known[max(in_time) if in_time else min(known)] if known else rates.opening
        if estimate is None:
            raise Unavailable("lightning node: no estimate of fees")
        return max(estimate, rates.min_acceptable)

    async def is_own(self, address: str) -> bool:
        """Tell whether the wallet has made this address."""
        return bool((await self._read("listaddresses", {"address": address}, _ListAddresses)).addresses)

    async def prepare(self, payments: Sequence[Payment], *, feerate: int, confirmations: int) -> Prepared:
        """Prepare a transaction. What it costs is what its coins hold less what it pays: the node does not say."""
        asked = {
            "outputs": [{payment.address: payment.amount_msat // MSAT_PER_SAT} for payment in payments],
            "feerate": f"{feerate}perkw",
            "minconf": confirmations,
        }
        try:
            answer = await self._sends.call("txprepare", asked, limit_seconds=_SEND_SECONDS)
        except NodeError as error:
            if error.code in _CANNOT_AFFORD:
                raise too_few_coins() from None
            if error.code in _REFUSED:
                raise refused_payment() from None
            raise Unavailable(str(error)) from None
        said = shaped("txprepare", answer, _TxPrepare)
        prepared = await self._understood(said, payments)
        if prepared is None:
            await self.discard(said.txid)
            raise Unavailable("lightning node: txprepare: another transaction than was asked for")
        return prepared

    async def _understood(self, said: _TxPrepare, payments: Sequence[Payment]) -> Prepared | None:
        """Return what was prepared if it pays what was asked for, and at most one output of change beside it."""
        try:
            made = read_unsigned(said.unsigned_tx)
        except Rejected:
            return None
        listed = await self._read("listfunds", {"spent": True}, _ListFunds)
        coins = {f"{row.txid}:{row.output}": row.amount_msat for row in listed.outputs}
        wanted = Counter((payment.amount_msat // MSAT_PER_SAT, payment.script) for payment in payments)
        more = Counter(made.outputs) - wanted
        is_whole = not wanted - Counter(made.outputs) and more.total() <= 1 and coins.keys() >= set(made.inputs)
        if made.txid != said.txid or not is_whole:
            return None
        paid = sum(sat for sat, _ in made.outputs) * MSAT_PER_SAT
        fee = sum(coins[outpoint] for outpoint in made.inputs) - paid
        return Prepared(made.txid, said.psbt, made.inputs, Msat(fee))

    async def discard(self, txid: str) -> None:
        """Discard what was prepared; after its restart the node knows nothing of it, and the coins are free later."""
        try:
            await self._sends.call("txdiscard", {"txid": txid}, limit_seconds=_SEND_SECONDS)
        except NodeError as error:
            if error.code != _NOT_PREPARED:
                raise Unavailable(str(error)) from None

    async def send(self, txid: str, psbt: str) -> str:
        """Send what was prepared; if the node has forgotten it, or sent it before, by PSBT: out of the same coins."""
        try:
            await self._sends.call("txsend", {"txid": txid}, limit_seconds=_SEND_SECONDS)
        except NodeError as error:
            if error.code != _NOT_PREPARED:
                return str(error)
        except Unavailable as error:
            return str(error)
        else:
            return ""
        try:
            listed = (await self._transactions([txid])).get(txid)
            if listed is None:
                await self._send_psbt(psbt)
            elif not await self._send_raw(listed.rawtx):
                return "the node's Bitcoin backend refused it"
        except (NodeError, Unavailable) as error:
            return str(error)
        return ""

    async def _send_psbt(self, psbt: str) -> None:
        # only reserved coins are signed for; ours may be, by this very transaction: hence not exclusive
        reserved = {"psbt": psbt, "exclusive": False, "reserve": _RESERVED_BLOCKS}
        await self._sends.call("reserveinputs", reserved, limit_seconds=_SEND_SECONDS)
        answer = await self._sends.call("signpsbt", {"psbt": psbt}, limit_seconds=_SEND_SECONDS)
        signed = shaped("signpsbt", answer, _SignPsbt).signed_psbt
        await self._sends.call("sendpsbt", {"psbt": signed}, limit_seconds=_SEND_SECONDS)

    async def _send_raw(self, raw: str) -> bool:
        """Hand the backend what the node has signed: after a reorganisation the node itself calls its coins spent."""
        asked = {"tx": raw, "allowhighfees": False}
        answer = await self._sends.call("sendrawtransaction", asked, limit_seconds=_SEND_SECONDS)
        return shaped("sendrawtransaction", answer, _Sent).success

    async def heights(self, txids: Collection[str]) -> Mapping[str, int]:
        """Return what listtransactions says of these: blockheight is 0 in the mempool, and after a reorganisation."""
        return {txid: row.blockheight for txid, row in (await self._transactions(txids)).items()}

    async def _transactions(self, txids: Collection[str]) -> Mapping[str, _Transaction]:
        listed = await self._read("listtransactions", {}, _ListTransactions)
        return {row.hash: row for row in listed.transactions if row.hash in txids}

    async def _read(self, method: str, params: Mapping[str, object], shape: type[_Shape]) -> _Shape:
        try:
            answer = await self._reads.call(method, params, limit_seconds=_READ_SECONDS)
        except NodeError as error:
            raise Unavailable(str(error)) from None
        return shaped(method, answer, shape)


def _state(status: str) -> OutputState:
    """Return the state of a row: `immature`, a young coinbase, cannot be spent and counts as unconfirmed."""
    return OutputState(status) if status in {"confirmed", "spent"} else OutputState.UNCONFIRMED
