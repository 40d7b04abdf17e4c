"""Jobs that wait for the word of a company's owner: each is held, or released, by a Plan of its own.

The Plan of the owner's message only answers. A crash between the two is harmless: the first
Plan keeps by which message it was made, so the same message, read again, is answered as
obeyed, and any other that the job waits no more.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from handlers.bot import Bot
from handlers.companies import Charging, charging, plan_charged
from handlers.conversation import Asked, Reply
from handlers.jobs import (
    APPROVAL_DIGITS,
    WayOut,
    bot_agent,
    cause_of,
    check_no_way_out,
    held_job_changes,
    plan_released,
    promised_split,
)
from handlers.states import JobState
from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from wallet.ledger import Plan
from wallet.money import Msat

_DIGITS = re.compile(rf"[0-9a-f]{{{APPROVAL_DIGITS},64}}", re.ASCII)


async def approve(bot: Bot, asked: Asked, found: Row, words: Sequence[str]) -> Reply:
    """`org approve <job>`: the company pays for it, if balance and budget still suffice."""
    job = await named_job(bot, found["id"], words)
    await approve_job(bot, job["id"], by=asked.rumor)
    return Reply(f"Job {job['id'][:APPROVAL_DIGITS]} is approved, and goes on.")


async def refuse(bot: Bot, asked: Asked, found: Row, words: Sequence[str]) -> Reply:
    """`org refuse <job>`: it ends, and costs nothing."""
    job = await named_job(bot, found["id"], words)
    await refuse_job(bot, job["id"], by=asked.rumor)
    return Reply(f"Job {job['id'][:APPROVAL_DIGITS]} is refused.")


async def named_job(bot: Bot, org: str, words: Sequence[str]) -> Row:
    """Return the job that begins with these digits; Rejected if none does, or several do."""
    digits = words[0].lower() if len(words) == 1 else ""
    if not _DIGITS.fullmatch(digits):
        raise Rejected("invalid", f"say which job, by {APPROVAL_DIGITS} or more digits of its id")
    rows = await bot.book.database.fetch(
        "SELECT * FROM jobs WHERE company = :org AND id >= :first AND id <= :last LIMIT 2",
        org=org,
        first=digits,
        last=digits.ljust(64, "f"),
    )
    if len(rows) != 1:
        raise Rejected("invalid", "no job of the company begins with these digits" if not rows else "say more digits")
    return rows[0]


async def approve_job(bot: Bot, job_id: str, *, by: str = "") -> None:
    """Hold the price of a job that waits; Rejected says why it cannot be, or that it waits no more.

    `by` is the message that says so: it is obeyed by a Plan of its own, and perhaps answered in another life.
    """
    await _done(bot, job_id, partial(_plan_approved, bot), f"{cause_of(job_id)}/hold", by)


async def refuse_job(bot: Bot, job_id: str, *, by: str = "") -> None:
    """Release a job that waits; Rejected if it waits no more. `by` as for `approve_job`."""
    plan = partial(plan_released, bot, reason="the company refused it")
    await _done(bot, job_id, plan, f"{cause_of(job_id)}/release", by)


async def _done(bot: Bot, job_id: str, plan: Callable[[Row], Awaitable[Plan]], key: str, by: str) -> None:
    async def decide() -> Plan | None:
        job = await bot.book.row("jobs", job_id)
        assert job is not None, f"job {job_id} was just read"
        if JobState(job["state"]) is not JobState.AWAITING_APPROVAL:
            said = await bot.book.database.fetch("SELECT digest FROM plans WHERE id = :key", key=key)
            if by and [row["digest"] for row in said] == [by]:
                return None
            raise Rejected("invalid", f"this job waits for nobody's word: it is {job['state']}")
        decided = await plan(job)
        assert decided.key == key, f"{decided.key} is not {key}"
        return replace(decided, digest=by or None)

    answer = await bot.book.decide(decide)
    if not answer.done:  # it keeps moving
        raise Unavailable(f"this cannot be decided now: {answer.reason}")


async def _plan_approved(bot: Bot, job: Row) -> Plan:
    promo_max = (await promised_split(bot, job)).platform_part_min(job["price_msat"])
    by, cause = await charging(bot, job["company"], job["customer"]), cause_of(job["id"])
    await _check_no_way_out(bot, job, by)
    held, month = await plan_charged(bot, cause, by, Msat(job["price_msat"]), promo_max=promo_max)
    return held.plan(f"{cause}/hold", *held_job_changes(bot, job, month=month))


async def _check_no_way_out(bot: Bot, job: Row, by: Charging) -> None:
    """Raise Rejected if the agent is of who asks or pays, and they may not withdraw: it may be so since they asked."""
    agent = bot_agent(bot, job)
    if agent is None:  # it ends when it is to be assigned
        return
    try:
        for payer in (by.pubkey, by.company["owner"]):
            await check_no_way_out(bot, agent, payer)
    except WayOut:
        raise Rejected("restricted", "this agent is not for you, or not for who asks, at present") from None
