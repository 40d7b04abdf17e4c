"""Money that arrives: the node's settled invoices, credited once, in the order the node paid them.

The cursor moves in the Plan that credits, so nothing is missed while we were away and
nothing is credited twice. What arrived is credited, not what was asked. If the invoice
was a job's and the job still waits, its price is held in the same Plan.
"""

from __future__ import annotations

import structlog

from handlers.bot import Bot, new_user, written
from handlers.jobs import cause_of, held_job_changes
from handlers.states import JobState
from relaybot.db.database import Row
from wallet.accounts import CAPITAL, NODE_LIGHTNING, person, user
from wallet.charges import plan_hold
from wallet.deposits import plan_cleared
from wallet.ledger import Change, Journal, Plan, Put, Transfer, Update
from wallet.lightning import Settlement
from wallet.lots import Mix, Purse
from wallet.money import format_sat
from wallet.purses import debt_of

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
    now, owner = bot.clock.now(), invoice["owner"]
    known = await bot.book.row("users", owner)
    funded = known["first_funded_at"] if known is not None else None
    received = invoice["received_msat"] + settlement.amount_msat
    debt = await debt_of(bot.book.database, owner)
    journal = Journal((Transfer(NODE_LIGHTNING, user(owner), settlement.amount_msat, invoice["purpose"]),))
    journal += plan_cleared(owner, debt, settlement.amount_msat)
    spendable = settlement.amount_msat - debt.owed_msat
    changes: list[Change] = [
        moved,
        Update("invoices", invoice["id"], {"received_msat": received}, expect={"version": invoice["version"]}),
        Put("users", owner, {"first_funded_at": funded or now}, fresh=new_user(now)),
    ]
    log.info("settled", label=invoice["id"], owner=owner, amount_msat=settlement.amount_msat)
    job = await bot.book.row("jobs", invoice["job"]) if invoice["job"] else None
    arrived = format_sat(settlement.amount_msat)
    if job is None:
        changes.append(bot.message(owner, f"{arrived} arrived: your balance is topped up."))
    elif JobState(job["state"]) is JobState.AWAITING_PAYMENT and spendable >= job["price_msat"]:
        journal += plan_hold(cause_of(job["id"]), Purse(person(owner)), Mix(sats=job["price_msat"]))
        changes += held_job_changes(bot, job)
    else:
        changes.append(
            bot.message(owner, f"{arrived} arrived after its job had ended: it is your balance now, for the next one.")
        )
    return journal.plan(key, *changes)
