"""How a simulated node spends its coins: `txprepare`, `txsend`, `txdiscard`, and the same by PSBT.

As the real node: what is prepared is remembered in memory only, and lost with the process,
while its coins stay reserved for 72 blocks. Whoever kept the PSBT can still reserve the
same coins, sign and send: it is the same transaction, by the same id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from relaybot.errors import Rejected
from relaybot.simulator import params
from relaybot.simulator.chain import Chain
from relaybot.simulator.params import BAD_PARAMETERS, Fault, Params
from relaybot.simulator.payments import ConnectionLost
from relaybot.simulator.store import Row, Store
from relaybot.simulator.transactions import Made, made_of, read_psbt
from wallet.money import MSAT_PER_SAT
from wallet.transaction import read_unsigned

RESERVED_BLOCKS = 72
EMERGENCY_SAT = 25_000  # kept to end channels with
DUST_SAT = 330  # of a taproot output: less is not made into change
FEERATE_FLOOR = 253
OPENING = ("opening", "normal", "slow", "urgent")  # names of feerates; one serves for all here
ESTIMATED_BLOCKS = (2, 6, 12, 100)

_ERROR, _CANNOT_AFFORD, _EMERGENCY = -1, 301, 313
_BARE, _TAPROOT_OUTPUT = 42, 172  # units of weight: of a transaction without anything, of change
_INPUTS = {"p2tr": 230, "bech32": 272}
_FEERATE = re.compile(r"(\d{1,9})(perkw|perkb)?", re.ASCII)


class Spending:
    """The coins of one node, on their way out."""

    def __init__(self, node: str, *, store: Store, chain: Chain, change_address: Callable[[], str]) -> None:
        self._node = node
        self._store = store
        self._chain = chain
        self._change_address = change_address
        self._prepared: dict[str, Made] = {}
        self.lost_answers = 0  # so many transactions still go out whose sender hears nothing

    async def txprepare(self, given: Params) -> dict[str, Any]:
        """`txprepare`: choose coins, reserve them, and remember what they shall pay."""
        outputs = _outputs(given, self._chain)
        feerate, minconf = self._feerate(given), params.integer(given, "minconf", 1) or 0
        coins, change = self._choose(outputs, feerate, minconf)
        height = self._chain.height(self._node)
        paid = [*outputs, (change, self._chain.script_of(self._change_address()))] if change else outputs
        made = Made([(coin["txid"], coin["vout"]) for coin in coins], paid, lock_time=height)
        self._reserve(coins, height + RESERVED_BLOCKS)
        self._prepared[made.txid] = made
        return {
            "unsigned_tx": made.raw(signed=False).hex(),
            "txid": made.txid,
            "psbt": made.psbt(signed=False),
        }

    async def txsend(self, given: Params) -> dict[str, Any]:
        """`txsend`."""
        made = self._unreleased(given)
        return self._send(made) | {"psbt": made.psbt(signed=True)}

    async def txdiscard(self, given: Params) -> dict[str, Any]:
        """`txdiscard`: forget what was prepared; its coins are free again."""
        made = self._unreleased(given)
        self._reserve(self._coins(made), None)
        return {"unsigned_tx": made.raw(signed=False).hex(), "txid": made.txid}

    async def reserveinputs(self, given: Params) -> dict[str, Any]:
        """`reserveinputs`: for so many blocks, the ones they are reserved for already included."""
        made, height = self._psbt(given)[0], self._chain.height(self._node)
        blocks, exclusive = params.integer(given, "reserve", RESERVED_BLOCKS) or 0, given.get("exclusive", True)
        coins = self._coins(made)
        for coin in coins:
            if exclusive and _is_reserved(coin, height):
                raise Fault(BAD_PARAMETERS, f"{coin['txid']}:{coin['vout']} already reserved")
            if coin["spent_block"] is not None and coin["spent_block"] <= height:
                raise Fault(BAD_PARAMETERS, f"{coin['txid']}:{coin['vout']} already spent")
        until = [max(coin["reserved_to"] or 0, height) + blocks for coin in coins]
        for coin, block in zip(coins, until, strict=True):
            self._reserve([coin], block)
        return {
            "reservations": [
                {
                    "txid": coin["txid"],
                    "vout": coin["vout"],
                    "was_reserved": _is_reserved(coin, height),
                    "reserved": True,
                    "reserved_to_block": block,
                }
                for coin, block in zip(coins, until, strict=True)
            ]
        }

    async def signpsbt(self, given: Params) -> dict[str, Any]:
        """`signpsbt`: only what is reserved is signed."""
        made, height = self._psbt(given)[0], self._chain.height(self._node)
        for coin in self._coins(made):
            if not _is_reserved(coin, height):
                raise Fault(_ERROR, f"Aborting PSBT signing. UTXO {coin['txid']}:{coin['vout']} is not reserved")
        return {"signed_psbt": made.psbt(signed=True)}

    async def sendpsbt(self, given: Params) -> dict[str, Any]:
        """`sendpsbt`, as often as anybody likes."""
        made, signed = self._psbt(given)
        if not signed:
            raise Fault(BAD_PARAMETERS, "PSBT not finalizeable")
        return self._send(made)

    async def sendrawtransaction(self, given: Params) -> dict[str, Any]:
        """`sendrawtransaction`, as the node's Bitcoin backend has it: here for what was sent before."""
        row = self._store.row("SELECT bare FROM raws WHERE raw = ?", (given["tx"],))
        if row is None:
            return {"success": False, "errmsg": "error code: -22\nerror message:\nTX decode failed."}
        try:
            self._chain.accept(_made(row["bare"]))
        except Rejected as error:
            return {"success": False, "errmsg": f"error code: -25\nerror message:\n{error.reason}"}
        return {"success": True, "errmsg": ""}

    async def listtransactions(self, given: Params) -> dict[str, Any]:
        """`listtransactions`: all that the wallet has to do with."""
        del given
        height = self._chain.height(self._node)
        return {"transactions": [_describe(row, height) for row in self._chain.transactions(self._node)]}

    async def feerates(self, given: Params) -> dict[str, Any]:
        """`feerates`."""
        style = given["style"]
        if style not in ("perkw", "perkb"):
            raise Fault(BAD_PARAMETERS, f"'style' should be 'perkw' or 'perkb', not '\"{style}\"'")
        times, perkw = (1 if style == "perkw" else 4), self._chain.feerate
        names = ("opening", "mutual_close", "unilateral_close", "unilateral_anchor_close", "penalty", "splice")
        said: dict[str, Any] = dict.fromkeys(names, perkw * times) if perkw else {}
        said |= {"min_acceptable": FEERATE_FLOOR * times, "max_acceptable": 10 * max(perkw, FEERATE_FLOOR) * times}
        said["floor"] = FEERATE_FLOOR * times
        estimate = {"feerate": perkw * times, "smoothed_feerate": perkw * times}
        said["estimates"] = [{"blockcount": blocks} | estimate for blocks in ESTIMATED_BLOCKS if perkw]
        if not perkw:
            return {style: said, "warning_missing_feerates": "Some fee estimates unavailable: bitcoind startup?"}
        costs = (
            "opening_channel_satoshis",
            "mutual_close_satoshis",
            "unilateral_close_satoshis",
            "unilateral_close_nonanchor_satoshis",
            "htlc_timeout_satoshis",
            "htlc_success_satoshis",
        )
        return {style: said, "onchain_fee_estimates": dict.fromkeys(costs, 700 * perkw // 1000)}

    # What stands behind it.

    def _send(self, made: Made) -> dict[str, Any]:
        raw = made.raw(signed=True).hex()
        try:
            txid = self._chain.accept(made)
        except Rejected as error:
            self._reserve(self._coins(made), None)
            words = f"error code: -25\\nerror message:\\n{error.reason}"
            raise Fault(_ERROR, f"Error broadcasting transaction: {words}. Unsent tx discarded {raw}") from None
        if self.lost_answers:
            self.lost_answers -= 1
            raise ConnectionLost
        return {"tx": raw, "txid": txid}

    def _choose(self, outputs: list[tuple[int, str]], feerate: int, minconf: int) -> tuple[list[Row], int]:
        """Return the coins that pay for it all, the largest first, and what is left as change; Fault if too few."""
        height = self._chain.height(self._node)
        free = sorted(
            (coin for coin in self._chain.coins(self._node) if _is_free(coin, height, minconf)),
            key=lambda coin: -int(coin["amount_msat"]),
        )
        weight = _BARE + sum(4 * (9 + len(script) // 2) for _, script in outputs)
        wanted, chosen, has = sum(sat for sat, _ in outputs), list[Row](), 0
        for coin in free:
            if has >= wanted + feerate * weight // 1_000 and chosen:
                break
            chosen.append(coin)
            has += coin["amount_msat"] // MSAT_PER_SAT
            weight += _INPUTS["p2tr" if coin["script"].startswith("51") else "bech32"]
        short = wanted + feerate * weight // 1_000 - has
        if short > 0 or not chosen:
            words = f"Could not afford {wanted}sat using all {len(free)} available UTXOs: {short}sat short"
            raise Fault(_CANNOT_AFFORD, words)
        change = -short - feerate * _TAPROOT_OUTPUT // 1_000
        change = change if change >= DUST_SAT else 0
        others = sum(coin["amount_msat"] // MSAT_PER_SAT for coin in free if coin not in chosen)
        if others + change < EMERGENCY_SAT:
            raise Fault(_EMERGENCY, f"We would not have enough left for min-emergency-msat {EMERGENCY_SAT}sat")
        return chosen, change

    def _feerate(self, given: Params) -> int:
        said = given.get("feerate", "opening")
        if said in OPENING:
            return max(self._chain.feerate, FEERATE_FLOOR)
        match = _FEERATE.fullmatch(str(said))
        if match is None:
            raise Fault(BAD_PARAMETERS, f"'feerate' should be an integer with optional perkw/perkb, not '{said}'")
        return max(FEERATE_FLOOR, int(match[1]) if match[2] == "perkw" else int(match[1]) // 4)

    def _unreleased(self, given: Params) -> Made:
        """Return what was prepared, and forget it at once: nobody else sends it."""
        txid = params.text(given, "txid") or ""
        made = self._prepared.pop(txid, None)
        if made is None:
            raise Fault(BAD_PARAMETERS, f"not an unreleased txid '{txid}'")
        return made

    def _psbt(self, given: Params) -> tuple[Made, bool]:
        try:
            return read_psbt(params.text(given, "psbt") or "")
        except Rejected:
            raise Fault(BAD_PARAMETERS, "psbt: Expected a PSBT") from None

    def _coins(self, made: Made) -> list[Row]:
        """Return the inputs that are ours."""
        spent = set(made.inputs)
        return [coin for coin in self._chain.coins(self._node) if (coin["txid"], coin["vout"]) in spent]

    def _reserve(self, coins: Iterable[Row], until: int | None) -> None:
        for coin in coins:
            where = (until, coin["txid"], coin["vout"])
            self._store.run("UPDATE coins SET reserved_to = ? WHERE txid = ? AND vout = ?", where)


def _outputs(given: Params, chain: Chain) -> list[tuple[int, str]]:
    """Return what is to be paid, in sat, to which script."""
    said = given["outputs"]
    if not isinstance(said, list) or not said:
        raise Fault(BAD_PARAMETERS, "outputs: should be an array of outputs")
    found: list[tuple[int, str]] = []
    for one in said:
        if not isinstance(one, dict) or len(one) != 1:
            raise Fault(BAD_PARAMETERS, "outputs: should be an array of outputs")
        [(address, amount)] = one.items()
        try:
            script = chain.script_of(str(address))
        except Rejected:
            words = f"Could not parse destination address: outputs {address} should be a valid address"
            raise Fault(BAD_PARAMETERS, words) from None
        msat = params.msat({"amount": f"{amount}sat" if isinstance(amount, int) else amount}, "amount") or 0
        found.append((msat // MSAT_PER_SAT, script))
    return found


def _is_reserved(coin: Row, height: int) -> bool:
    return int(coin["reserved_to"] or 0) > height


def _is_free(coin: Row, height: int, minconf: int) -> bool:
    is_deep = coin["block"] is not None and coin["block"] <= height - minconf + 1
    return is_deep and coin["spent_by"] is None and not _is_reserved(coin, height)


def _describe(row: Row, height: int) -> dict[str, Any]:
    """Return one transaction as the node lists it: in no block, its height is 0."""
    made = _made(row["bare"])
    is_mined = row["block"] is not None and row["block"] <= height
    return {
        "hash": row["txid"],
        "rawtx": row["raw"],
        "blockheight": row["block"] if is_mined else 0,
        "txindex": 1 if is_mined else 0,
        "locktime": made.lock_time,
        "version": 2,
        "inputs": [{"txid": txid, "index": vout, "sequence": 0xFFFF_FFFD} for txid, vout in made.inputs],
        "outputs": [
            {"index": index, "amount_msat": sat * MSAT_PER_SAT, "scriptPubKey": script}
            for index, (sat, script) in enumerate(made.outputs)
        ],
    }


def _made(bare: str) -> Made:
    return made_of(read_unsigned(bare), lock_time=int.from_bytes(bytes.fromhex(bare[-8:]), "little"))
