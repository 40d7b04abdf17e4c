"""Do our books and the node's agree? Its movements against our legs, by payment hash.

The node keeps one row for each part of a payment; a group is all rows of one payment
hash. A group's sum must equal all we booked on `node/lightning` under that hash, in and
out, the fee included. What belongs to no payment of ours (channels opened, funds pushed,
payments routed, which have hashes of their own) is listed by its tag, for the operator.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from relaybot.db.database import Reader
from wallet.accounts import NODE_LIGHTNING
from wallet.lightning import Lightning

PAGE = 1_000  # movements asked for at a time
ROUTED = "routed"  # the tag of others' payments through our channels; their hash may be one of ours all the same

_LEGS = """
SELECT plan, SUM(CASE WHEN debit = :node THEN amount_msat ELSE -amount_msat END) AS amount_msat
FROM transfers WHERE debit = :node OR credit = :node GROUP BY plan
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """One payment hash on which the two books differ; amounts are what came in less what went out."""

    payment_hash: str
    node_msat: int
    book_msat: int

    def __str__(self) -> str:
        return f"payment {self.payment_hash}: the node says {self.node_msat} msat, the book {self.book_msat} msat"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The differences, and what the node moved that is no payment of ours, by tag."""

    differences: tuple[Difference, ...]
    others: dict[str, int]


async def reconcile(reader: Reader, lightning: Lightning) -> Reconciliation:
    """Compare every payment of both books. Unavailable if the node does not answer."""
    book: Counter[str] = Counter()
    for row in await reader.fetch(_LEGS, node=NODE_LIGHTNING):
        book[_hash_of(row["plan"])] += row["amount_msat"]
    node: Counter[str] = Counter()
    others: Counter[str] = Counter()
    after = 0
    while moves := await lightning.moves(after_index=after, limit=PAGE):
        for move in moves:
            amount = move.credit_msat - move.debit_msat
            if move.payment_hash is None or move.tag == ROUTED:
                others[move.tag] += amount
            else:
                node[move.payment_hash] += amount
        after = moves[-1].index
    hashes = sorted(book.keys() | {key for key, amount in node.items() if amount})
    differences = (Difference(key, node[key], book[key]) for key in hashes)
    return Reconciliation(tuple(one for one in differences if one.node_msat != one.book_msat), dict(others))


def _hash_of(plan: str) -> str:
    """Return the payment hash in a Plan's key: `invoice/<hash>/settled`, `payment/<hash>/settled`."""
    return plan.split("/")[1]
