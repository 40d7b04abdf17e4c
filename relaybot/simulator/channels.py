"""The channels of the simulated network: who holds how much, what can be sent, and how the node lists them.

Balances move only when a payment settles (`move`); until then its HTLCs reserve what
they carry. Which way a payment takes is found in `routes.py`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from relaybot.clock import Clock
from relaybot.simulator import params
from relaybot.simulator.params import BAD_PARAMETERS, Fault, Params
from relaybot.simulator.routes import Edge, Hop
from relaybot.simulator.store import Row, Store

_HTLC_HEIGHT = 150  # HTLCs never time out here: their height says nothing
_RESERVE_PER_CENT = 1  # BOLT 2: what a side must keep, as Core Lightning sets it
_CLTV_DELTA = 6
_DUST_MSAT = 546_000  # smaller HTLCs have no output of their own
_UNLIMITED_MSAT = 2**64 - 1
_STATES = {  # (state here, direction): the node's word for it
    ("live", "out"): "SENT_ADD_ACK_REVOCATION",
    ("live", "in"): "RCVD_ADD_ACK_REVOCATION",
    ("done", "out"): "RCVD_REMOVE_ACK_REVOCATION",
    ("done", "in"): "SENT_REMOVE_ACK_REVOCATION",
}


class Channels:
    """All channels of the network, for all its nodes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def open(self, opener: str, peer: str, *, capacity_msat: int, pushed_msat: int, base_msat: int, ppm: int) -> None:
        """Open a channel; what is pushed belongs to the peer from the start, and is a move in both nodes' books."""
        with self._store.transaction():
            self._store.run(
                "INSERT INTO channels (opener, peer, capacity_msat, pushed_msat, opener_msat, fee_base_msat, fee_ppm,"
                " opened_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (opener, peer, capacity_msat, pushed_msat, capacity_msat - pushed_msat, base_msat, ppm, self._now()),
            )
            channel = self._store.number("SELECT last_insert_rowid()")
            if pushed_msat:
                self._book(opener, channel, debit=pushed_msat, tag="pushed")
                self._book(peer, channel, credit=pushed_msat, tag="pushed")

    def set_connected(self, node: str, connected: bool) -> None:  # noqa: FBT001 — the state itself
        """Connect or disconnect a node from all its peers."""
        self._store.run("UPDATE channels SET connected = ? WHERE ? IN (opener, peer)", (connected, node))

    def edges(self) -> list[Edge]:
        """Return every direction of every channel, as routes see them."""
        return [
            Edge(
                channel=row["id"],
                sender=sender,
                receiver=receiver,
                spendable_msat=self.spendable_msat(row, sender),
                fee_base_msat=row["fee_base_msat"],
                fee_ppm=row["fee_ppm"],
                connected=bool(row["connected"]),
            )
            for row in self._store.rows("SELECT * FROM channels ORDER BY id")
            for sender, receiver in ((row["opener"], row["peer"]), (row["peer"], row["opener"]))
        ]

    def spendable_msat(self, row: Row, node: str) -> int:
        """Return what `node` can send over this channel: its balance less its reserve and its HTLCs in flight."""
        in_flight = self._store.number(
            "SELECT sum(amount_msat) FROM htlcs WHERE channel = ? AND sender = ? AND state = 'live'", (row["id"], node)
        )
        reserve = row["capacity_msat"] * _RESERVE_PER_CENT // 100
        return max(0, _balance(row, node) - int(reserve) - in_flight)

    def receivable_msat(self, node: str) -> int:
        """Return what `node` can receive over all its channels together."""
        return sum(edge.spendable_msat for edge in self.edges() if edge.receiver == node)

    def short_ids(self, node: str) -> set[str]:
        """Return the short channel ids of a node's channels."""
        return {short_id(row["id"]) for row in self._of(node)}

    def move(self, hops: list[Hop], payment_hash: str) -> None:
        """Move one part's money along its hops, in the balances and in every node's books.

        A debit holds the fee inside it; what a forwarding node keeps stands as `fees` on both its rows.
        """
        first, last = hops[0], hops[-1]
        for position, hop in enumerate(hops):
            sign = 1 if self._is_opener(hop.channel, hop.receiver) else -1
            self._store.run(
                "UPDATE channels SET opener_msat = opener_msat + ? WHERE id = ?", (sign * hop.amount_msat, hop.channel)
            )
            before, after = hops[max(0, position - 1)], hops[min(position + 1, len(hops) - 1)]
            kept = (first.amount_msat - last.amount_msat) if hop is first else before.amount_msat - hop.amount_msat
            tag = "invoice" if hop is first else "routed"
            self._book(hop.sender, hop.channel, payment_hash, debit=hop.amount_msat, fees=kept, tag=tag)
            earned, tag = hop.amount_msat - after.amount_msat, "invoice" if hop is last else "routed"
            self._book(hop.receiver, hop.channel, payment_hash, credit=hop.amount_msat, fees=earned, tag=tag)

    def _book(
        self,
        node: str,
        channel: int,
        payment_hash: str | None = None,
        *,
        tag: str,
        credit: int = 0,
        debit: int = 0,
        fees: int = 0,
    ) -> None:
        self._store.run(
            "INSERT INTO moves (node, created_index, channel, payment_hash, credit_msat, debit_msat, fees_msat, tag,"
            " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                node,
                self._store.next_index(node, "channelmoves/created"),
                channel,
                payment_hash,
                credit,
                debit,
                fees,
                tag,
                self._now(),
            ),
        )

    def _is_opener(self, channel: int, node: str) -> bool:
        return self._store.row("SELECT 1 FROM channels WHERE id = ? AND opener = ?", (channel, node)) is not None

    def _of(self, node: str) -> list[Row]:
        return self._store.rows("SELECT * FROM channels WHERE ? IN (opener, peer) ORDER BY id", (node,))

    def _pubkey(self, node: str) -> str:
        row = self._store.row("SELECT pubkey FROM nodes WHERE name = ?", (node,))
        assert row is not None, f"no node {node}"
        return str(row["pubkey"])

    def _now(self) -> int:
        return self._clock.now()

    # The commands, each for one node.

    def listpeerchannels(self, node: str, given: Params) -> dict[str, Any]:
        """`listpeerchannels`."""
        peer, wanted = params.text(given, "id"), params.text(given, "short_channel_id")
        listed = [self._peer_channel(node, row) for row in self._of(node)]
        return {
            "channels": [
                each
                for each in listed
                if peer in (None, each["peer_id"]) and wanted in (None, each["short_channel_id"])
            ]
        }

    def funds(self, node: str) -> list[dict[str, Any]]:
        """Return the channels of `listfunds`."""
        return [
            {
                "peer_id": self._pubkey(_other(row, node)),
                "connected": bool(row["connected"]),
                "state": "CHANNELD_NORMAL",
                "channel_id": channel_id(row["id"]),
                "short_channel_id": short_id(row["id"]),
                "our_amount_msat": _balance(row, node),
                "amount_msat": row["capacity_msat"],
                "funding_txid": _digest("funding", row["id"]),
                "funding_output": 0,
            }
            for row in self._of(node)
        ]

    def listhtlcs(self, node: str, given: Params) -> dict[str, Any]:
        """`listhtlcs`: every HTLC of the node's channels, those that are over included."""
        wanted = params.text(given, "id")
        return {
            "htlcs": [
                {
                    "short_channel_id": short_id(row["id"]),
                    "created_index": htlc["id"],
                    "id": htlc["id"],
                    "expiry": _HTLC_HEIGHT + _CLTV_DELTA,
                    "amount_msat": htlc["amount_msat"],
                    "direction": _direction(htlc, node),
                    "payment_hash": htlc["payment_hash"],
                    "state": _state(htlc, node),
                }
                for row in self._of(node)
                if wanted in (None, short_id(row["id"]), channel_id(row["id"]))
                for htlc in self._store.rows("SELECT * FROM htlcs WHERE channel = ? ORDER BY id", (row["id"],))
            ]
        }

    def listchannelmoves(self, node: str, given: Params) -> dict[str, Any]:
        """`listchannelmoves`."""
        start, limit = page(given)
        rows = self._store.rows(
            "SELECT * FROM moves WHERE node = ? AND created_index >= ? ORDER BY created_index LIMIT ?",
            (node, start, limit),
        )
        return {"channelmoves": [_describe_move(row) for row in rows]}

    def _peer_channel(self, node: str, row: Row) -> dict[str, Any]:
        """Return one row of listpeerchannels."""
        connected, opened_here = bool(row["connected"]), row["opener"] == node
        ours, capacity = _balance(row, node), row["capacity_msat"]
        reserve = capacity * _RESERVE_PER_CENT // 100
        htlcs = self._store.rows("SELECT * FROM htlcs WHERE channel = ? ORDER BY id", (row["id"],))
        policy = _policy(row, capacity - reserve)
        peer = self._pubkey(_other(row, node))
        said = {
            "peer_id": peer,
            "peer_connected": connected,
            "channel_type": {"bits": [12, 22], "names": ["static_remotekey/even", "anchors/even"]},
            "ignore_fee_limits": True,
            "updates": {"local": policy, "remote": policy},
            "last_stable_connection": row["opened_at"],
            "state": "CHANNELD_NORMAL",
            "scratch_txid": _digest("scratch", row["id"]),
            "last_tx_fee_msat": 0,
            "lost_state": False,
            "feerate": {"perkw": 253, "perkb": 1012},
            "short_channel_id": short_id(row["id"]),
            "direction": 0 if self._pubkey(node) < peer else 1,
            "channel_id": channel_id(row["id"]),
            "funding_txid": _digest("funding", row["id"]),
            "funding_outnum": 0,
            "private": False,
            "opener": "local" if opened_here else "remote",
            "features": ["option_static_remotekey", "option_anchors"],
            "funding": {
                "local_funds_msat": capacity if opened_here else 0,
                "remote_funds_msat": 0 if opened_here else capacity,
                "pushed_msat": row["pushed_msat"],
                "withheld": False,
            },
            "to_us_msat": ours,
            "total_msat": capacity,
            "fee_base_msat": row["fee_base_msat"],
            "fee_proportional_millionths": row["fee_ppm"],
            "dust_limit_msat": _DUST_MSAT,
            "their_max_htlc_value_in_flight_msat": _UNLIMITED_MSAT,
            "our_max_htlc_value_in_flight_msat": _UNLIMITED_MSAT,
            "their_reserve_msat": reserve,
            "our_reserve_msat": reserve,
            "spendable_msat": self.spendable_msat(row, node),
            "receivable_msat": self.spendable_msat(row, _other(row, node)),
            "minimum_htlc_in_msat": 0,
            "minimum_htlc_out_msat": 0,
            "maximum_htlc_out_msat": capacity - reserve,
            "their_to_self_delay": _CLTV_DELTA,
            "our_to_self_delay": _CLTV_DELTA,
            "max_accepted_htlcs": 483,
            "state_changes": [],
            "status": ["CHANNELD_NORMAL:Channel ready for use."],
            **_totals(htlcs, node),
            "htlcs": [_describe_htlc(htlc, node) for htlc in htlcs if htlc["state"] == "live"],
        }
        return said | ({"reestablished": True, "owner": "channeld"} if connected else {})


def _policy(row: Row, most: int) -> dict[str, int]:
    """Return what a side of a channel asks for forwarding, as a peer hears it."""
    return {
        "htlc_minimum_msat": 0,
        "htlc_maximum_msat": most,
        "cltv_expiry_delta": _CLTV_DELTA,
        "fee_base_msat": row["fee_base_msat"],
        "fee_proportional_millionths": row["fee_ppm"],
    }


def short_id(channel: int) -> str:
    """Return the short channel id: the block, the transaction and the output of the funding."""
    return f"103x{channel}x0"


def channel_id(channel: int) -> str:
    """Return the channel id, 32 bytes."""
    return _digest("channel", channel)


def page(given: Params) -> tuple[int, int]:
    """Return start and limit of a listing by `created`; Fault for a limit without an index."""
    index = params.one_of(given, "index", ("created", "updated"))
    start, limit = params.integer(given, "start", 0), params.integer(given, "limit")
    if index is None and limit is not None:
        raise Fault(BAD_PARAMETERS, "Can only specify {limit} with {index}")
    return start or 0, -1 if limit is None else limit


def _balance(row: Row, node: str) -> int:
    return int(row["opener_msat"] if row["opener"] == node else row["capacity_msat"] - row["opener_msat"])


def _other(row: Row, node: str) -> str:
    return str(row["peer"] if row["opener"] == node else row["opener"])


def _digest(what: str, channel: int) -> str:
    return hashlib.sha256(f"{what} {channel}".encode()).hexdigest()


def _direction(htlc: Row, node: str) -> str:
    return "out" if htlc["sender"] == node else "in"


def _state(htlc: Row, node: str) -> str:
    return _STATES["live" if htlc["state"] == "live" else "done", _direction(htlc, node)]


def _describe_htlc(htlc: Row, node: str) -> dict[str, Any]:
    return {
        "direction": _direction(htlc, node),
        "id": htlc["id"],
        "amount_msat": htlc["amount_msat"],
        "expiry": _HTLC_HEIGHT + _CLTV_DELTA,
        "payment_hash": htlc["payment_hash"],
        "state": _state(htlc, node),
    } | ({"local_trimmed": True} if htlc["amount_msat"] < _DUST_MSAT else {})


def _totals(htlcs: list[Row], node: str) -> dict[str, int]:
    """Return the counters of a channel: all that was offered, and what of it was fulfilled, each way."""
    totals: dict[str, int] = {}
    for way in ("in", "out"):
        offered = [each["amount_msat"] for each in htlcs if _direction(each, node) == way]
        fulfilled = [
            each["amount_msat"] for each in htlcs if _direction(each, node) == way and each["state"] == "settled"
        ]
        totals |= {
            f"{way}_payments_offered": len(offered),
            f"{way}_offered_msat": sum(offered),
            f"{way}_payments_fulfilled": len(fulfilled),
            f"{way}_fulfilled_msat": sum(fulfilled),
        }
    return totals


def _describe_move(row: Row) -> dict[str, Any]:
    said = {
        "created_index": row["created_index"],
        "account_id": channel_id(row["channel"]),
        "credit_msat": row["credit_msat"],
        "debit_msat": row["debit_msat"],
        "timestamp": row["created_at"],
        "primary_tag": row["tag"],
        "payment_hash": row["payment_hash"],
        "fees_msat": row["fees_msat"],
    }
    return {name: value for name, value in said.items() if value is not None}
