"""Word to compute nodes of what they have earned by their jobs, each at most once a minute.

The sum is raised in the Plan that pays a job, so it is always the book's. A slip says all
that was earned since the beginning (`relaybot/nostr/pay_slips.py`), and the Plan that owes it
notes up to where the node was told: a crash tells nobody twice, and forgets nobody.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from handlers.bot import Bot, events_owed
from relaybot.db.database import Row
from relaybot.nostr.encryption import NIP04, NIP44, Encryption
from relaybot.nostr.pay_slips import PaySlip, build_pay_slip
from splits.compute import Part
from wallet.ledger import Add, Plan, Update
from wallet.money import Msat

TOLD_SECONDS = 60  # between two slips to one node
BATCH_MAX = 100  # nodes told in one round

_UNTOLD = """
SELECT id, schemes, paid_jobs, earned_msat, told_jobs FROM workers
WHERE paid_jobs > told_jobs AND told_at <= :before ORDER BY told_at LIMIT :limit
"""


def earned(worker: str, parts: Sequence[Part]) -> tuple[Add, ...]:
    """Return what a charge adds to the earnings of the node that did the job; it may hold other parts, too."""
    amount = sum(part.amount_msat for part in parts if part.to == worker)
    if not amount:
        return ()
    return (Add("workers", worker, "paid_jobs", 1), Add("workers", worker, "earned_msat", amount))


async def tell_nodes(bot: Bot) -> bool:
    """Tell every node that has earned something since it was last told; tell whether more nodes wait."""
    before = bot.clock.now() - TOLD_SECONDS
    rows = await bot.book.database.fetch(_UNTOLD, before=before, limit=BATCH_MAX)
    for row in rows:
        await bot.stumbles.past("pay slips", row["id"], partial(_tell, bot, row), otherwise=None)
    return len(rows) == BATCH_MAX


async def _tell(bot: Bot, row: Row) -> None:
    now, scheme = bot.clock.now(), NIP44 if NIP44 in json.loads(row["schemes"]) else NIP04
    slip = PaySlip(row["paid_jobs"], Msat(row["earned_msat"]))
    event = build_pay_slip(bot.service, row["id"], slip, encrypt=Encryption(scheme, bot.chance(32)), now=now)
    # Jobs that are paid meanwhile move the row, but not what this slip says: the next one says them.
    told = Update(
        "workers",
        row["id"],
        {"told_jobs": slip.jobs, "told_at": now, "changed_at": now},
        expect={"told_jobs": row["told_jobs"]},
    )
    await bot.book.apply(Plan(f"worker/{row['id']}/told/{slip.jobs}", changes=(told, *events_owed(now, event))))
