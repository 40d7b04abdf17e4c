"""Our books against the node's, without what is only on its way: what is left stands for a doubt.

A payment is in our book and in the node's at two moments. Each way in which they may differ in
between is looked up: HTLCs that are still in a channel, attempts whose end is not known,
settlements that were not read yet, deposits that were not taken in yet, channels that are not
deep enough. Our side is read first, as of one moment, then the node's channels, then its
books: so what we have booked is there, or in a channel still; and what came to the node
later is found among what is not read yet. Steps that fall between these reads remain: they
are over at a second look.
"""

from __future__ import annotations

from collections import Counter

from relaybot.db.database import Reader
from wallet.chain import Chain
from wallet.feed import UnderWay
from wallet.lightning import Lightning
from wallet.reconcile import Reconciliation, Standing, reconcile

SETTLEMENTS = "settlements"  # the cursor of the last pay_index that is in the book
UNREAD_MAX = 200  # settlements asked for, one by one

_SENT = """
SELECT attempts.id, payouts.amount_msat + payouts.reserve_msat AS most_msat
FROM payouts JOIN attempts ON attempts.id = payouts.attempt
WHERE payouts.next_at IS NOT NULL AND attempts.state IN ('prepared', 'sent')
"""


async def compare(
    reader: Reader, lightning: Lightning, chain: Chain, standing: Standing | None = None
) -> Reconciliation:
    """Compare both books; of the differences only those that nothing under way explains. Unavailable: no answer.

    `reader` is a snapshot: the younger, the fewer steps fall between the reads. With a
    `standing` what is new is read; if that differs, everything is.
    """
    left = await _compare(reader, lightning, chain, standing)
    if left.differences and standing is not None:
        standing.forget()
        return await _compare(reader, lightning, chain, standing)
    return left


async def _compare(reader: Reader, lightning: Lightning, chain: Chain, standing: Standing | None) -> Reconciliation:
    cursors = await reader.rows_by_id("cursors", [SETTLEMENTS])
    read_to = int(cursors[SETTLEMENTS]["value"]) if SETTLEMENTS in cursors else 0
    sent = {row["id"]: int(row["most_msat"]) for row in await reader.fetch(_SENT)}
    htlcs, channels = await lightning.htlc_hashes(), await lightning.opening_channels()
    found = await reconcile(reader, lightning, chain, standing)
    if not found.differences:
        return found
    arrived = await _unread(lightning, read_to)
    unseen = await _unseen(reader, chain)
    under_way = UnderWay(htlcs, channels, sent, arrived, len(arrived) == UNREAD_MAX, unseen)
    left = tuple(one for one in found.differences if not under_way.explains(one))
    return Reconciliation(left, found.unbooked)


async def _unread(lightning: Lightning, read_to: int) -> Counter[str]:
    """Return what was paid to us after `read_to`, by payment hash."""
    arrived: Counter[str] = Counter()
    while len(arrived) < UNREAD_MAX:
        settlement = await lightning.next_settlement(after_index=read_to, timeout_seconds=0)
        if settlement is None:
            break
        read_to = settlement.pay_index
        arrived[settlement.payment_hash] += settlement.amount_msat
    return arrived


async def _unseen(reader: Reader, chain: Chain) -> Counter[str]:
    """Return what transactions pay to our users' addresses and is no deposit in the book yet."""
    outputs = await chain.outputs()
    addresses = await reader.rows_by_id("addresses", {one.address for one in outputs})
    known = await reader.rows_by_id("deposits", [one.outpoint for one in outputs if one.address in addresses])
    unseen: Counter[str] = Counter()
    for one in outputs:
        if one.address in addresses and one.outpoint not in known:
            unseen[one.txid] += one.amount_msat
    return unseen
