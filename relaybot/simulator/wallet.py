"""A simulated node's own wallet on the chain: addresses, outputs, moves, and waiting for a block.

What happens on the chain itself stands in `chain.py`, how coins are spent in `spending.py`.
"""

from __future__ import annotations

from typing import Any

from relaybot.simulator import params
from relaybot.simulator.chain import STRANGERS, Chain
from relaybot.simulator.channels import page
from relaybot.simulator.params import BAD_PARAMETERS, Fault, Params
from relaybot.simulator.spending import Spending
from relaybot.simulator.store import Row, Store
from relaybot.simulator.waiting import Changes

_FORMS = ("p2tr", "bech32", "all")
_WAIT_SECONDS_DEFAULT = 60
_TIMED_OUT = 2000


class Wallet:
    """The wallet of one node."""

    def __init__(self, node: str, secret: bytes, *, store: Store, chain: Chain, changes: Changes) -> None:
        self._node = node
        self._secret = secret
        self._store = store
        self._chain = chain
        self._changes = changes
        self.spending = Spending(node, store=store, chain=chain, change_address=self._change_address)

    def _change_address(self) -> str:
        return self._chain.new_address(self._node, self._secret, ("p2tr",))["p2tr"]

    async def newaddr(self, given: Params) -> dict[str, Any]:
        """`newaddr`."""
        form = given.get("addresstype", "all")
        if form not in _FORMS:
            raise Fault(BAD_PARAMETERS, f"'addresstype' should be 'p2tr', 'bech32', or 'all', not '{form}'")
        return self._chain.new_address(self._node, self._secret, ("bech32", "p2tr") if form == "all" else (str(form),))

    async def listaddresses(self, given: Params) -> dict[str, Any]:
        """`listaddresses`: one row for each key, with the forms that were asked for."""
        wanted = params.text(given, "address")
        start, limit = params.integer(given, "start", 0), params.integer(given, "limit")
        keys: dict[int, dict[str, Any]] = {}
        for row in self._store.rows(
            "SELECT * FROM addresses WHERE node = ? AND keyidx >= ? AND address = coalesce(?, address)"
            " ORDER BY keyidx, form",
            (self._node, start, wanted),
        ):
            keys.setdefault(row["keyidx"], {"keyidx": row["keyidx"]})[row["form"]] = row["address"]
        return {"addresses": list(keys.values())[:limit]}

    def outputs(self, *, spent: bool) -> list[dict[str, Any]]:
        """Return the rows of `listfunds`; those that are spent only if they are asked for."""
        described = [_describe(coin, self._chain.height(self._node)) for coin in self._chain.coins(self._node)]
        return [each for each in described if spent or each["status"] != "spent"]

    async def listchainmoves(self, given: Params) -> dict[str, Any]:
        """`listchainmoves`."""
        start, limit = page(given)
        rows = self._store.rows(
            "SELECT * FROM chainmoves WHERE node = ? AND created_index >= ? ORDER BY created_index LIMIT ?",
            (self._node, start, limit),
        )
        return {"chainmoves": [_describe_move(row) for row in rows]}

    def moved(self, index: int | None) -> dict[str, Any] | None:
        """Return what `wait` says of the chain move at this index."""
        row = self._store.row("SELECT * FROM chainmoves WHERE node = ? AND created_index = ?", (self._node, index))
        if row is None:
            return None
        said = _describe_move(row)
        return {"account": said["account_id"]} | {name: said[name] for name in ("credit_msat", "debit_msat")}

    async def waitblockheight(self, given: Params) -> dict[str, Any]:
        """`waitblockheight`."""
        wanted = params.integer(given, "blockheight")
        assert wanted is not None, "a required parameter is there"

        def reached() -> int | None:
            height = self._chain.height(self._node)
            return height if height >= wanted else None

        height = await self._changes.first(reached, seconds=params.integer(given, "timeout", _WAIT_SECONDS_DEFAULT))
        if height is None:
            raise Fault(_TIMED_OUT, "Timed out.")
        return {"blockheight": height}


def _describe(coin: Row, height: int) -> dict[str, Any]:
    """Return one output as the node lists it; `height` is what the node has seen of the chain."""
    is_mined = coin["block"] is not None and coin["block"] <= height
    is_spent = coin["spent_block"] is not None and coin["spent_block"] <= height
    reserved = not is_spent and (coin["spent_by"] is not None or (coin["reserved_to"] or 0) > height)
    said = {
        "txid": coin["txid"],
        "output": coin["vout"],
        "amount_msat": coin["amount_msat"],
        "scriptpubkey": coin["script"],
        "address": coin["address"],
        "status": "spent" if is_spent else "confirmed" if is_mined else "unconfirmed",
        "blockheight": coin["block"] if is_mined and not is_spent else None,
        "reserved": reserved,
        "reserved_to_block": coin["reserved_to"] if reserved else None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _describe_move(row: Row) -> dict[str, Any]:
    is_spend, is_strangers = row["spending_txid"] is not None, row["block"] == STRANGERS
    said = {
        "created_index": row["created_index"],
        "account_id": "external" if is_strangers else "wallet",
        "credit_msat": 0 if is_spend else row["amount_msat"],
        "debit_msat": row["amount_msat"] if is_spend else 0,
        "timestamp": row["created_at"],
        "primary_tag": "withdrawal" if is_spend else "deposit",
        "extra_tags": [],
        "utxo": f"{row['txid']}:{row['vout']}",
        "spending_txid": row["spending_txid"],
        "originating_account": "wallet" if is_strangers else None,
        "output_msat": row["amount_msat"],
        "blockheight": row["block"],
    }
    return {name: value for name, value in said.items() if value is not None}
