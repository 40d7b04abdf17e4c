"""The simulated chain, as a regtest is: blocks come when somebody mines them, and can be taken back.

Transactions wait in a mempool, stand in a block, were replaced, or were forgotten by the
mempool. A node's wallet sees a deposit first when it is in a block; in a reorganisation it
goes back to unconfirmed, but the node's list of moves keeps it. A node that lags sees the
chain as it was when it began to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pynostr import bech32

from relaybot.clock import Clock
from relaybot.errors import Rejected
from relaybot.simulator.store import Row, Store
from relaybot.simulator.transactions import Made
from relaybot.simulator.waiting import Changes
from wallet.chain_address import parse_chain_address
from wallet.money import MSAT_PER_SAT

PREFIX = "bcrt"
BLOCKS_MAX = 1_000  # mined or taken back at once
BURIED_BLOCKS = 100  # so many can be taken back: what lies deeper never moves
STRANGERS = 0  # the block of what a node sent to somebody else: noted when it is sent, and not again
_PROGRAM_BYTES = {"bech32": 20, "p2tr": 32}


@dataclass(frozen=True, slots=True)
class Paid:
    """One output: how much goes to which address."""

    address: str
    amount_msat: int


class Chain:
    """The one chain of the network, and the wallets of all its nodes on it."""

    def __init__(self, store: Store, clock: Clock, changes: Changes, *, chance: Callable[[int], bytes]) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._chance = chance

    def height(self, node: str | None = None) -> int:
        """Return the height of the chain, or of what `node` has seen of it."""
        lag = self._store.row("SELECT height FROM lags WHERE node = ?", (node,))
        tip = self._store.number("SELECT height FROM chain")
        return tip if lag is None else min(tip, int(lag["height"]))

    def lags(self, node: str) -> bool:
        """Tell whether `node` has not caught up with the chain."""
        return self._store.row("SELECT 1 FROM lags WHERE node = ?", (node,)) is not None

    def set_synced(self, node: str, synced: bool) -> None:  # noqa: FBT001 — the state itself
        """Let a node stay behind from here on, or catch up."""
        with self._store.transaction():
            if not synced:
                self._store.run("INSERT OR IGNORE INTO lags SELECT ?, height FROM chain", (node,))
            else:
                self._store.run("DELETE FROM lags WHERE node = ?", (node,))
                self._notice()
        self._changes.ring()

    # Addresses.

    def new_address(self, node: str, secret: bytes, forms: Collection[str]) -> dict[str, str]:
        """Return the next address of a node, in these forms: `bech32`, `p2tr`."""
        with self._store.transaction():
            keyidx = self._store.next_index(node, "addresses")
            made: dict[str, str] = {}
            for version, (form, size) in enumerate(_PROGRAM_BYTES.items()):
                if form not in forms:
                    continue
                program = hashlib.sha256(secret + f"/{form}/{keyidx}".encode()).digest()[:size]
                made[form] = bech32.encode(PREFIX, version, list(program))
                script = bytes([0x50 + version if version else 0, size]) + program
                self._store.run(
                    "INSERT INTO addresses (address, node, keyidx, form, script) VALUES (?, ?, ?, ?, ?)",
                    (made[form], node, keyidx, form, script.hex()),
                )
        return made

    # Transactions.

    def send(self, address: str, amount_msat: int) -> str:
        """Send to an address from outside, into the mempool; return the transaction's id."""
        return self.broadcast([Paid(address, amount_msat)])

    def broadcast(self, outputs: Sequence[Paid], *, spends: Sequence[tuple[str, int]] = ()) -> str:
        """Put a transaction into the mempool and return its id. Rejected for an address of another network."""
        paid = [(each.amount_msat // MSAT_PER_SAT, self.script_of(each.address)) for each in outputs]
        return self.accept(Made(spends or [(self._chance(32).hex(), 0)], paid))

    def accept(self, made: Made) -> str:
        """Take a signed transaction into the mempool, again if it is known; Rejected if it cannot be mined."""
        txid = made.txid
        known = self._store.row("SELECT state FROM transactions WHERE txid = ?", (txid,))
        if known is None:
            with self._store.transaction():
                self._add(txid, made)
        elif known["state"] == "forgotten":
            self._store.run("UPDATE transactions SET state = 'mempool' WHERE txid = ?", (txid,))
        elif known["state"] == "replaced":
            raise Rejected("invalid", "bad-txns-inputs-missingorspent")
        self._changes.ring()
        return txid

    def forget(self, txid: str) -> None:
        """Let the mempool drop a transaction, as it does with what pays too little. Its sender may send it again."""
        self._store.run("UPDATE transactions SET state = 'forgotten' WHERE txid = ? AND state = 'mempool'", (txid,))

    def script_of(self, address: str) -> str:
        """Return what an output to an address says; Rejected for one of another network."""
        return parse_chain_address(address, currency=PREFIX).script

    def received_msat(self, address: str) -> int:
        """Return what transactions that wait or stand in a block pay to an address."""
        return self._store.number(
            "SELECT sum(amount_msat) FROM coins JOIN transactions USING (txid)"
            " WHERE script = ? AND state IN ('mempool', 'mined')",
            (self.script_of(address),),
        )

    @property
    def feerate(self) -> int:
        """Return what a transaction must pay to be mined soon, in sat per 1,000 units of weight; 0 if nobody knows."""
        return self._store.number("SELECT perkw FROM fees")

    def set_feerate(self, perkw: int) -> None:
        """Let fees rise or fall."""
        self._store.run("UPDATE fees SET perkw = ?", (perkw,))

    def mine(self, blocks: int = 1) -> int:
        """Mine blocks, the first of which takes the mempool; return the height."""
        with self._store.transaction():
            self._store.run("UPDATE transactions SET block = (SELECT height + 1 FROM chain) WHERE state = 'mempool'")
            self._store.run("UPDATE transactions SET state = 'mined' WHERE state = 'mempool'")
            self._store.run("UPDATE chain SET height = height + ?", (blocks,))
            self._notice()
        self._changes.ring()
        return self.height()

    def reorganise(self, blocks: int, *, replaced: bool = False, length: int | None = None) -> int:
        """Take `blocks` back and put `length` new ones, one more by default, in their place; return the height.

        What stood in them is in the mempool again, or with `replaced` double-spent for good.
        """
        with self._store.transaction():
            state = "replaced" if replaced else "mempool"
            self._store.run(
                "UPDATE transactions SET block = NULL, state = ? WHERE block > (SELECT height - ? FROM chain)",
                (state, blocks),
            )
            longer = (blocks + 1 if length is None else length) - blocks
            self._store.run("UPDATE chain SET height = height + ?", (longer,))
            self._store.run("UPDATE lags SET height = min(height, (SELECT height FROM chain))")
        self._changes.ring()
        return self.height()

    def describe(self) -> dict[str, Any]:
        """Return what waits and how high the chain is."""
        waiting = self._store.rows("SELECT txid FROM transactions WHERE state = 'mempool' ORDER BY id")
        return {"height": self.height(), "mempool": [row["txid"] for row in waiting], "feerate_perkw": self.feerate}

    def coins(self, node: str) -> list[Row]:
        """Return every output the node knows of, with the block it stands in and the one it was spent in, if any."""
        return self._store.rows(
            "SELECT coins.*, made.block AS block, spending.block AS spent_block FROM coins"
            " JOIN transactions AS made ON made.txid = coins.txid"
            " LEFT JOIN transactions AS spending ON spending.txid = coins.spent_by"
            " WHERE coins.node = ? AND coins.seen ORDER BY made.id, coins.vout",
            (node,),
        )

    def transactions(self, node: str) -> list[Row]:
        """Return every transaction that the node knows of, with its bytes; those in no block have no height."""
        return self._store.rows(
            "SELECT txid, block, raw, bare FROM transactions JOIN raws USING (txid) WHERE EXISTS ("
            " SELECT 1 FROM coins WHERE node = :node AND (coins.txid = transactions.txid AND seen"
            " OR spent_by = transactions.txid)) ORDER BY transactions.id",
            {"node": node},
        )

    def _add(self, txid: str, made: Made) -> None:
        self._store.run("INSERT INTO transactions (txid) VALUES (?)", (txid,))
        raw, bare = made.raw(signed=True).hex(), made.raw(signed=False).hex()
        self._store.run("INSERT INTO raws (txid, raw, bare) VALUES (?, ?, ?)", (txid, raw, bare))
        spenders = {node for spent in made.inputs if (node := self._spend(txid, *spent)) is not None}
        for vout, (sat, script) in enumerate(made.outputs):
            row = self._store.row("SELECT address, node FROM addresses WHERE script = ?", (script,))
            address, node = ("", None) if row is None else (row["address"], row["node"])  # nobody's is a stranger's
            amount = sat * MSAT_PER_SAT
            self._store.run(
                "INSERT INTO coins (txid, vout, address, script, amount_msat, node, seen) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (txid, vout, address, script, amount, node, node in spenders),
            )
            for payer in spenders - {node}:
                self._book(payer, (txid, vout, amount), block=STRANGERS, spending_txid=None)

    def _spend(self, txid: str, spent_txid: str, vout: int) -> str | None:
        """Spend an output, and return whose it was; None for a stranger's, which may be unknown here."""
        row = self._store.row("SELECT node, spent_by FROM coins WHERE txid = ? AND vout = ?", (spent_txid, vout))
        if row is None:
            return None
        if row["spent_by"] is not None:
            raise Rejected("invalid", "bad-txns-inputs-missingorspent")
        self._store.run("UPDATE coins SET spent_by = ? WHERE txid = ? AND vout = ?", (txid, spent_txid, vout))
        return None if row["node"] is None else str(row["node"])

    def _notice(self) -> None:
        """Let every wallet see what has come to stand in a block: deposits, and what was spent. Once each."""
        gone = self._store.rows(
            "SELECT coins.*, spending.block AS block FROM coins"
            " JOIN transactions AS spending ON spending.txid = coins.spent_by LEFT JOIN lags ON lags.node = coins.node"
            " WHERE coins.node IS NOT NULL AND NOT coins.spend_booked"
            " AND spending.block <= coalesce(lags.height, spending.block) ORDER BY spending.id, coins.vout"
        )
        for coin in gone:
            self._store.run(
                "UPDATE coins SET spend_booked = 1 WHERE txid = ? AND vout = ?", (coin["txid"], coin["vout"])
            )
            self._book(coin["node"], _named(coin), block=coin["block"], spending_txid=coin["spent_by"])
        fresh = self._store.rows(
            "SELECT coins.*, made.block AS block FROM coins JOIN transactions AS made USING (txid)"
            " LEFT JOIN lags ON lags.node = coins.node"
            " WHERE coins.node IS NOT NULL AND NOT coins.booked AND made.block <= coalesce(lags.height, made.block)"
            " ORDER BY made.id, coins.vout"
        )
        for coin in fresh:
            self._store.run(
                "UPDATE coins SET seen = 1, booked = 1 WHERE txid = ? AND vout = ?", (coin["txid"], coin["vout"])
            )
            self._book(coin["node"], _named(coin), block=coin["block"], spending_txid=None)

    def _book(self, node: str, coin: tuple[str, int, int], *, block: int, spending_txid: str | None) -> None:
        """Write one row of the node's chain moves. They are never taken back."""
        index = self._store.next_index(node, "chainmoves/created")
        self._store.run(
            "INSERT INTO chainmoves (node, created_index, txid, vout, amount_msat, spending_txid, block, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (node, index, *coin, spending_txid, block, self._clock.now()),
        )


def _named(coin: Row) -> tuple[str, int, int]:
    return coin["txid"], coin["vout"], coin["amount_msat"]
