"""Figures of the running service, for the operator's monitoring: their names, and what each says.

Whoever knows a figure returns it as a `Figure`; `relaybot/web/metrics.py` writes all of them
as Prometheus reads them. A figure whose name does not stand in `NAMES` is a fault of ours.
Sums are whole msat, times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Sort = Literal["gauge", "counter"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One value of the figure `name`, beside others of it with other labels."""

    name: str
    value: int
    labels: Mapping[str, str] = field(default_factory=dict)


NAMES: Mapping[str, tuple[Sort, str]] = {
    # The book
    "owed_msat": ("gauge", "What we owe: by holder (user, org, hold) and class"),
    "debts_msat": ("gauge", "What users owe us after a deposit or card payment was taken back"),
    "account_msat": ("gauge", "The balance of one of the operator's accounts, or of what the outside holds for us"),
    "jobs": ("gauge", "Jobs that have not ended, by state"),
    "jobs_oldest": ("gauge", "When the oldest job in this state was asked for"),
    "payouts": ("gauge", "Payouts and withdrawals that have not ended, by kind, rail and state"),
    "payouts_msat": ("gauge", "What they pay"),
    "payouts_oldest": ("gauge", "When the oldest of them was opened"),
    "payments_stuck": ("gauge", "Payments that were sent payouts.stuck_seconds ago and whose end is not known"),
    "batches": ("gauge", "Transactions of ours that are still looked at, by state"),
    "deposits_pending_msat": ("gauge", "Deposits on the chain that are not deep enough yet"),
    "inbox_waiting": ("gauge", "Events that wait to be handled"),
    "inbox_oldest": ("gauge", "When the oldest of them was received"),
    "outbox_waiting": ("gauge", "Events that wait to be sent"),
    "outbox_oldest": ("gauge", "When the oldest of them was written"),
    "workers_alive": ("gauge", "Compute nodes whose last heartbeat is young enough, by status"),
    "paused": ("gauge", "1 while this scope is paused"),
    "rows_total": ("counter", "Rows this process has written, by table and by the state they were given"),
    # The node
    "node_up": ("gauge", "1 if the node answered"),
    "node_synced": ("gauge", "1 if the node sees the chain as it is now"),
    "node_block_height": ("gauge", "The height of the chain, as the node sees it"),
    "node_spendable_msat": ("gauge", "What all connected channels can send now"),
    "node_receivable_msat": ("gauge", "What they can receive now"),
    "node_onchain_msat": ("gauge", "The coins of the node's wallet, by whether they are confirmed"),
    # The look at both books
    "books_looked_at": ("gauge", "When both books were compared last"),
    "books_differ": ("gauge", "Payments and transactions on which they differed then"),
    "books_differ_msat": ("gauge", "How much more the node had there than our book, by where"),
    "payouts_waiting_msat": ("gauge", "What waited then for outbound liquidity, or for its turn"),
    "alarm": ("gauge", "1 while this alarm stands"),
    # The relay
    "relay_connections": ("gauge", "Open connections"),
    "relay_events_total": ("counter", "Events that were answered, by the answer: ok, or the prefix of the refusal"),
}


def gauge(name: str, value: int, **labels: str) -> Figure:
    """Return one value of the figure `name`."""
    return Figure(name, value, labels)
