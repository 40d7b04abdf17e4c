"""Money that arrives: the node's settled invoices, credited once, in the order the node paid them.

The cursor moves in the Plan that credits, so nothing is missed while we were away and
nothing is credited twice. What arrived is credited, not what was asked. If the invoice
was a job's and the job still waits, its price is held in the same Plan.
"""

from __future__ import annotations

import structlog

from handlers.bot import Bot, written
from handlers.credits import plan_fed, plan_paid
from handlers.zaps import plan_given
from relaybot.db.database import Row
from wallet.accounts import CAPITAL, NODE_LIGHTNING
from wallet.ledger import Change, Journal, Plan, Transfer, Update, Values
from wallet.lightning import Settlement
from wallet.money import format_sat

log = structlog.get_logger()

CURSOR = "settlements"  # the last pay_index that is in the book
WAIT_SECONDS = 60  # one long poll at the node


async def follow_settlements(bot: Bot) -> bool:
    """Wait for the next settlement after the cursor and credit it; always asks to be called again."""
    row = await bot.book.row("cursors", CURSOR)
    after = row["value"] if row is not None else 0
    settlement = await bot.lightning.next_settlement(after_index=after, timeout_seconds=WAIT_SECONDS)
    if settlement is not None:
        answer = await bot.book.decide(lambda: _decide(bot, settlement))
        assert answer.done, f"settlement {settlement.pay_index}: {answer.reason}"
    return True


async def _decide(bot: Bot, settlement: Settlement) -> Plan | None:
    row = await bot.book.row("cursors", CURSOR)
    if row is not None and row["value"] >= settlement.pay_index:
        return None
    moved = written("cursors", CURSOR, row, {"value": settlement.pay_index})  # from where it was read: never back
    key = f"invoice/{settlement.payment_hash}/settled"
    if await bot.book.row("plans", key) is not None:  # seen before: the node's index was replayed or renumbered
        version = row["version"] if row is not None else 0  # a second replay moves the cursor over the same index again
        return Plan(f"cursors/{CURSOR}/{settlement.pay_index}/{version}", changes=(moved,))
    invoice = await bot.book.row("invoices", settlement.label)
    if invoice is None:  # a keysend, or an invoice made by hand at the node: the operator's own money
        log.warning("unknown_invoice_settled", pay_index=settlement.pay_index, amount_msat=settlement.amount_msat)
        return Plan(key, (Transfer(NODE_LIGHTNING, CAPITAL, settlement.amount_msat, "unknown invoice"),), (moved,))
    return await _plan_credit(bot, settlement, invoice, key, moved)


async def _plan_credit(bot: Bot, settlement: Settlement, invoice: Row, key: str, moved: Change) -> Plan:
    received = invoice["received_msat"] + settlement.amount_msat
    values: Values = {"received_msat": received, "preimage": settlement.preimage}
    paid = Update("invoices", invoice["id"], values, expect={"version": invoice["version"]})
    log.info("settled", label=invoice["id"], owner=invoice["owner"], amount_msat=settlement.amount_msat)
    if invoice["purpose"] == "gift":
        journal = await plan_given(bot, settlement, invoice["bolt11"])
    else:
        journal = await _plan_asked(bot, settlement, invoice)
    return journal.plan(key, moved, paid)


async def _plan_asked(bot: Bot, settlement: Settlement, invoice: Row) -> Journal:
    """Credit whoever asked for an invoice; their job goes on if it waits for this money, else a message tells them."""
    owner, amount = invoice["owner"], settlement.amount_msat
    job = await bot.book.row("jobs", invoice["job"]) if invoice["job"] else None
    if job is None:
        told = bot.message(owner, f"{format_sat(amount)} arrived: your balance is topped up.")
        return await plan_fed(bot, owner, amount, invoice["purpose"]) + Journal(changes=(told,))
    journal, goes_on = await plan_paid(bot, job, amount)
    if goes_on:
        return journal
    said = f"{format_sat(amount)} arrived after its job had ended: it is your balance now, for the next one."
    return journal + Journal(changes=(bot.message(owner, said),))
