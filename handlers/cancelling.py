"""Cancelling a job: released for nothing, or charged as its agent says once a part was delivered.

An agent's `on_cancel` counts from the first `partial` result that was passed on: `full` is
the price, `usage` what the node had reported by then, both within the hold. The node is
paid its share of that. The customer was told so when the node began.
"""

from __future__ import annotations

import json
from functools import partial

from handlers.assignments import parts_of, plan_charged
from handlers.bot import Bot
from handlers.companies import payer_of
from handlers.jobs import (
    OPEN_STATES,
    assignment_taken_back,
    cancelled,
    cause_of,
    changed_job,
    plan_released,
    promised_split,
    told_of,
)
from handlers.states import JobState, JobStep
from relaybot.db.database import Row
from relaybot.errors import Unavailable
from relaybot.inbox import Decision, handled
from relaybot.nostr import nip90
from relaybot.nostr.event import Event, stored_event
from wallet.ledger import Plan, Verdict
from wallet.money import Msat, format_sat
from wallet.purses import escrow_of

CANCELLED = "cancelled by the customer"


async def on_cancel(bot: Bot, event: Event) -> Decision:
    """Take a deletion (NIP-09): the customer's own jobs end if they are not delivered yet.

    Each ends by a Plan of its own, so a crash between two of them is harmless: they are decided again.
    """
    ended = 0
    for request_id in cancelled(event):
        answer = await bot.book.decide(partial(_decide_cancelled, bot, request_id, event.pubkey))
        if not answer.done:  # it keeps moving
            raise Unavailable(f"a job could not be cancelled now: {answer.reason}")
        ended += answer.verdict is Verdict.APPLIED
    return f"{ended} cancelled" if ended else "nothing of ours to cancel"


async def _decide_cancelled(bot: Bot, request_id: str, customer: str) -> Plan | None:
    job = await bot.book.row("jobs", request_id)
    if job is not None:
        # NIP-09: only the author of an event may delete it.
        own = job["customer"] == customer and JobState(job["state"]) in OPEN_STATES
        return await _plan_cancelled(bot, job) if own else None
    waiting = await bot.book.row("inbox", request_id)
    if waiting is None or waiting["state"] != "new" or waiting["kind"] not in nip90.REQUEST_KINDS:
        return None
    if stored_event(waiting["event"]).pubkey != customer:
        return None
    # Whoever handles the request meanwhile guards this mark, too: one of the two decides again.
    return Plan(f"{cause_of(request_id)}/cancel", changes=(handled(request_id, "cancelled before it was begun"),))


async def _plan_cancelled(bot: Bot, job: Row) -> Plan:
    charge = await _charge_so_far(bot, job)
    if charge is None:
        return await plan_released(bot, job, CANCELLED)
    escrow = await escrow_of(bot.book.database, cause_of(job["id"]), payer_of(job))
    if escrow.held.total != job["price_msat"]:  # it has ended since its row was read: the book says so
        return await plan_released(bot, job, CANCELLED)
    usage = json.loads(job["partial"])
    parts = await parts_of(bot, job, job["worker"], usage=usage, charge_msat=charge, held=escrow.held)
    said = f"{CANCELLED}; {format_sat(charge)} charged, for a part was delivered"
    return await plan_charged(
        bot,
        job,
        escrow,
        parts,
        changed_job(bot, job, JobStep.CHARGE, charged_msat=charge, reason=CANCELLED, due_at=None),
        *told_of(bot, job, "error", said),
        *assignment_taken_back(bot, job),
    )


async def _charge_so_far(bot: Bot, job: Row) -> Msat | None:
    """Return what a cancel costs now; None: nothing."""
    if job["on_cancel"] == "none" or not job["partial"]:
        return None
    if JobState(job["state"]) is not JobState.WORKING:
        return None
    price = Msat(job["price_msat"])
    if job["on_cancel"] == "full":
        return price
    return (await promised_split(bot, job)).price_for(json.loads(job["partial"]), bid_msat=price)
