"""What a payer remembers of ways that failed, as xpay does: for an hour it takes them to be too narrow.

After a temporary failure in front of a payee, the real node answers 205 to every larger payment
on that way, though the payee may be back; a smaller one goes. It outlives a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relaybot.clock import Clock
from relaybot.simulator.routes import Edge
from relaybot.simulator.store import Store

FORGOTTEN_SECONDS = 3_600


class Memory:
    """What each node thinks that channels carry at most."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def remember(self, node: str, into: Sequence[Edge], amount_msat: int) -> None:
        """Let `node` think, from now on, that all the channels `into` a payee together don't carry so much."""
        most, until = (amount_msat - 1) // len(into), self._clock.now() + FORGOTTEN_SECONDS
        for edge in into:
            self._store.run(
                "INSERT OR REPLACE INTO remembered (node, channel, sender, most_msat, until) VALUES (?, ?, ?, ?, ?)",
                (node, edge.channel, edge.sender, most, until),
            )

    def narrowed(self, node: str, edges: Sequence[Edge]) -> list[Edge]:
        """Return the channels as `node` takes them to be."""
        rows = self._store.rows(
            "SELECT channel, sender, most_msat FROM remembered WHERE node = ? AND until > ?", (node, self._clock.now())
        )
        most = {(row["channel"], row["sender"]): row["most_msat"] for row in rows}
        return [
            replace(
                edge,
                spendable_msat=min(edge.spendable_msat, most.get((edge.channel, edge.sender), edge.spendable_msat)),
            )
            for edge in edges
        ]
