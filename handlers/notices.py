"""Word to people of what they were given: all gifts of one span of time in one message."""

from __future__ import annotations

from functools import partial

import structlog

from handlers.bot import Bot
from relaybot.db.database import Row
from relaybot.errors import Rejected
from wallet.accounts import user
from wallet.ledger import Change, Plan, Update
from wallet.payout_notices import Notice

log = structlog.get_logger()

BATCH_MAX = 100  # people told in one round

_GIVEN = (
    "SELECT COUNT(*) AS gifts, COALESCE(SUM(amount_msat), 0) AS amount_msat FROM transfers"
    " WHERE credit = :account AND created_at >= :since AND created_at < :until"
    " AND (reason = 'zap' OR reason LIKE '%:tip.%')"
)


async def tell_due(bot: Bot) -> bool:
    """Tell everybody whose span is over what they were given in it; tell whether more people wait."""
    rows = await bot.book.database.fetch(
        "SELECT * FROM notices WHERE due_at <= :now ORDER BY due_at LIMIT :limit", now=bot.clock.now(), limit=BATCH_MAX
    )
    for row in rows:
        await bot.stumbles.past("notices", row["id"], partial(_tell, bot, row), otherwise=None)
    return len(rows) == BATCH_MAX


async def _tell(bot: Bot, row: Row) -> None:
    await bot.book.apply(await _plan_told(bot, row))


async def _plan_told(bot: Bot, row: Row) -> Plan:
    pubkey, until = row["pubkey"], row["due_at"]
    since = row["created_at"] - row["created_at"] % bot.config.dm.batch_seconds
    found = await bot.book.database.fetch(_GIVEN, account=user(pubkey), since=since, until=until)
    gifts, amount = found[0]["gifts"], bot.shown(found[0]["amount_msat"])
    told = Update("notices", row["id"], {"due_at": None}, expect={"version": row["version"]})
    text = f"You were given {amount}." if gifts == 1 else f"You were given {amount}, in {gifts} payments."
    person = await bot.book.row("users", pubkey)
    wanted = person is None or person["notices"] == "on"
    try:
        words = await bot.tell(Notice(pubkey, text, asked=False)) if wanted else ()
        changes: tuple[Change, ...] = (told, *words)
    except Rejected as refusal:  # no key of anybody: once, such ones were paid, too
        log.info("notice_not_written", pubkey=pubkey, reason=str(refusal))
        changes = (told,)
    return Plan(f"notices/{row['id']}", changes=changes)
