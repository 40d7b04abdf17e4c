"""The simulated chain, as a regtest is: blocks come when somebody mines them, and can be taken back.

Transactions wait in a mempool, stand in a block, or were replaced. A node's wallet sees a
deposit first when it is in a block; in a reorganisation it goes back to unconfirmed, but
the node's list of moves keeps it. A node that lags sees the chain as it was when it began to.
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
from relaybot.simulator.waiting import Changes

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
        txid = self._chance(32).hex()
        with self._store.transaction():
            self._store.run("INSERT INTO transactions (txid) VALUES (?)", (txid,))
            spenders = {self._spend(txid, *spent) for spent in spends}
            for vout, paid in enumerate(outputs):
                node, script = self._payee(paid.address)
                self._store.run(
                    "INSERT INTO coins (txid, vout, address, script, amount_msat, node, seen)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (txid, vout, paid.address, script, paid.amount_msat, node, node in spenders),
                )
                for payer in filter(None, spenders) if node is None else ():
                    self._book(payer, (txid, vout, paid.amount_msat), block=STRANGERS, spending_txid=None)
        self._changes.ring()
        return txid

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
        return {"height": self.height(), "mempool": [row["txid"] for row in waiting]}

    def coins(self, node: str) -> list[Row]:
        """Return every output the node knows of, with the block it stands in and the one it was spent in, if any."""
        return self._store.rows(
            "SELECT coins.*, made.block AS block, spending.block AS spent_block FROM coins"
            " JOIN transactions AS made ON made.txid = coins.txid"
            " LEFT JOIN transactions AS spending ON spending.txid = coins.spent_by"
            " WHERE coins.node = ? AND coins.seen ORDER BY made.id, coins.vout",
            (node,),
        )

    def _spend(self, txid: str, spent_txid: str, vout: int) -> str | None:
        row = self._store.row(
            "UPDATE coins SET spent_by = ? WHERE txid = ? AND vout = ? AND spent_by IS NULL RETURNING node",
            (txid, spent_txid, vout),
        )
        assert row is not None, f"{spent_txid}:{vout} is not there to be spent"
        return None if row["node"] is None else str(row["node"])

    def _payee(self, address: str) -> tuple[str | None, str]:
        """Return whose address it is, and its script; nobody's is a stranger's."""
        row = self._store.row("SELECT node, script FROM addresses WHERE address = ?", (address,))
        if row is not None:
            return str(row["node"]), str(row["script"])
        version, program = bech32.decode(PREFIX, address)
        if version is None or program is None:
            raise Rejected("invalid", "not an address of this chain", found=address[:100])
        return None, bytes([0x50 + version if version else 0, len(program), *program]).hex()

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
