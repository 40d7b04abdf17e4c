"""Paying a finished job back, because the operator says so: out of the platform's revenue, once.

Contributors keep theirs; referrers do not, for they have done nothing for it.
"""

from __future__ import annotations

from collections import Counter

from handlers.bot import Bot, check_payouts
from handlers.companies import not_used, payer_of
from handlers.jobs import cause_of
from handlers.referrals import not_counted, referrals_in
from handlers.states import JobState
from relaybot.errors import Rejected
from wallet.accounts import owner, user
from wallet.book import transfers_of
from wallet.charges import charged_of, plan_referrals_back, plan_refund
from wallet.ledger import Change, Journal, Plan, Update
from wallet.lots import Escrow, Lot, Mix
from wallet.money import format_sat
from wallet.payout_notices import Notice


async def plan_refunded(bot: Bot, job_id: str) -> Plan:
    """Return the Plan that gives the customer back what the job has cost; contributors keep theirs.

    Rejected if there is no such job, or it was not charged.
    """
    job, cause = await bot.book.row("jobs", job_id), cause_of(job_id)
    if job is None:
        raise Rejected("invalid", "no job has this id", found=job_id[:80])
    if JobState(job["state"]) is not JobState.CAPTURED or not job["charged_msat"]:
        raise Rejected("invalid", "this job was not charged: there is nothing to pay back", state=job["state"])
    customer = job["customer"]
    async with bot.book.database.snapshot() as reader:
        booked = await transfers_of(reader, f"{cause}/capture")
        lots = await reader.fetch("SELECT * FROM lots WHERE cause = :cause ORDER BY id", cause=cause)
    escrow = Escrow(cause, payer_of(job), Mix())
    charged, pieces = charged_of(escrow, booked, [Lot.of_row(row) for row in lots])
    whose = f"the balance of {job['company']}" if job["company"] else "your balance"
    told = f"Your job {job_id[:8]} was paid back: {format_sat(charged.total)} are {whose} again."
    paid, refund = referrals_in(booked), plan_refund(escrow, charged, pieces)
    has = {pubkey: await _has(bot, pubkey, refund) for pubkey in paid}
    journal = refund + plan_referrals_back(paid, has)
    return journal.plan(
        f"{cause}/refund",
        *not_counted(paid, booked),
        *await _told(bot, job_id, journal),
        Update("jobs", job_id, {"reason": "paid back by the operator"}, expect={"version": job["version"]}),
        *not_used(job, job["charged_msat"]),
        bot.message(customer, told),
        *check_payouts([customer, *paid], bot.clock.now()),  # who may owe now is written, too (`require_no_debt`)
    )


async def _has(bot: Bot, pubkey: str, refund: Journal) -> int:
    """Return what somebody has in sats when the refund has come."""
    back = sum(move.amount_msat for move in refund.transfers if move.credit == user(pubkey))
    return await bot.book.balance(user(pubkey)) + back


async def _told(bot: Bot, job_id: str, journal: Journal) -> tuple[Change, ...]:
    """Return the word to referrers of whom something is taken back."""
    taken: Counter[str] = Counter()
    for move in journal.transfers:
        pubkey = owner(move.debit)
        if pubkey is not None:
            taken[pubkey] += move.amount_msat
    changes: list[Change] = []
    for pubkey, amount in sorted(taken.items()):
        text = f"Job {job_id[:8]} was paid back, and with it the {format_sat(amount)} you had for a referral."
        changes += await bot.tell(Notice(pubkey, text, asked=False))
    return tuple(changes)
