"""Money earned from card payments: it matures, is advanced, or pays a debt it came back to.

Three questions, asked again and again: which lot is due and covered, which may be advanced
today, and which belongs to a payment that was taken back. Each answer is a Plan of one
step; the rules stand in `wallet/maturing.py` and `wallet/deposits.py`. At last, whoever owes
for such a payment pays it out of what they have earned since.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import structlog

from handlers.bot import Bot, check_payouts
from handlers.credits import clear_debts
from wallet.accounts import owner
from wallet.deposits import plan_collected
from wallet.ledger import Plan, Verdict
from wallet.lots import Lot
from wallet.maturing import COUNTER, Cover, next_advanced, next_matured
from wallet.money import Msat, from_sat
from wallet.purses import card_payment_of

log = structlog.get_logger()

LOTS_MAX = 100  # lots looked at for one step

_GOOD = """
SELECT lots.* FROM lots JOIN card_deposits ON card_deposits.id = lots.deposit AND (card_deposits.state = 'good' OR (
    card_deposits.state = 'lost' AND card_deposits.written_off_msat = 0 AND NOT EXISTS (
        SELECT 1 FROM accounts WHERE id = 'user/' || card_deposits.pubkey || '/owed' AND balance_msat < 0)))
WHERE lots.amount_msat > 0 AND lots.matures_at IS NOT NULL AND lots.matures_at > :after AND lots.matures_at <= :until
ORDER BY lots.matures_at, lots.id LIMIT :limit
"""
_COVER = """
SELECT COALESCE(SUM(CASE WHEN id LIKE 'node/%' THEN -balance_msat ELSE 0 END), 0) AS funds_msat,
       COALESCE(SUM(CASE WHEN id LIKE 'node/%' THEN 0 ELSE balance_msat END), 0) AS owed_msat
FROM accounts WHERE id LIKE 'node/%' OR (id LIKE '%/sats' AND id NOT LIKE 'platform/%')
"""
_TAKEN_BACK = """
SELECT DISTINCT card_deposits.id FROM card_deposits JOIN lots ON lots.deposit = card_deposits.id
WHERE card_deposits.state <> 'good' AND lots.amount_msat > 0 AND lots.account NOT LIKE 'hold/%'
"""
_END = 2**62  # later than any lot matures


async def follow_lots(bot: Bot) -> bool:
    """Take every step that can be taken now; never asks to be called again at once."""
    for decide in (_decide_matured, _decide_advanced):
        await _until_nothing_is_left(bot, partial(decide, bot))
    for row in await bot.book.database.fetch(_TAKEN_BACK):
        await bot.book.decide(partial(_decide_collected, bot, row["id"]))
    await clear_debts(bot)
    return False


async def _until_nothing_is_left(bot: Bot, decide: Callable[[], Awaitable[Plan | None]]) -> None:
    while (await bot.book.decide(decide)).verdict is Verdict.APPLIED:
        pass


async def _decide_matured(bot: Bot) -> Plan | None:
    lots, counter = await _lots(bot, after=-1, until=bot.clock.now()), await bot.book.row("cursors", COUNTER)
    if not lots:
        return None
    cover = await _cover(bot)
    plan = next_matured(lots, cover, counter, now=bot.clock.now())
    if plan is None:
        log.warning("lots_not_covered", lots=len(lots), spare_msat=cover.spare_msat)
        return None
    return _told(bot, plan)


async def _decide_advanced(bot: Bot) -> Plan | None:
    per_day = from_sat(bot.config.card.advance_sats_per_day)
    if not per_day:
        return None
    now = bot.clock.now()
    day = datetime.fromtimestamp(now, UTC).date().isoformat()
    counter, today = await bot.book.row("cursors", COUNTER), await bot.book.row("cursors", f"advances/{day}")
    lots = await _lots(bot, after=now, until=_END)
    plan = next_advanced(lots, await _cover(bot), counter, today, day=day, per_day=per_day) if lots else None
    return _told(bot, plan) if plan is not None else None


def _told(bot: Bot, plan: Plan) -> Plan:
    """Let the payouts look at the balance that has grown."""
    earner = owner(plan.transfers[-1].credit)
    assert earner is not None, f"{plan.key} credits nobody"
    log.info("lot_moved", plan=plan.key, earner=earner, amount_msat=plan.transfers[-1].amount_msat)
    return replace(plan, changes=(*plan.changes, *check_payouts([earner], bot.clock.now())))


async def _decide_collected(bot: Bot, deposit_id: str) -> Plan | None:
    found = await card_payment_of(bot.book.database, deposit_id)
    assert found is not None, f"a lot of deposit {deposit_id}, which is not there"
    deposit, lots, debt = found
    collected = plan_collected(deposit, lots, debt)
    if not collected.transfers:
        return None
    return collected.plan(f"card/{deposit_id}/collected/{sum(lot.version for lot in lots)}/{lots[0].id}")


async def _lots(bot: Bot, *, after: int, until: int) -> list[Lot]:
    rows = await bot.book.database.fetch(_GOOD, after=after, until=until, limit=LOTS_MAX)
    return [Lot.of_row(row) for row in rows]


async def _cover(bot: Bot) -> Cover:
    [row] = await bot.book.database.fetch(_COVER)
    return Cover(Msat(row["funds_msat"]), Msat(row["owed_msat"]))
