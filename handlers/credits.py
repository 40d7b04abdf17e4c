"""Money that a person's balance is fed with: it pays what they owe first, then the job that waits for it."""

from __future__ import annotations

from handlers.bot import Bot, new_user
from handlers.jobs import cause_of, held_job_changes
from handlers.states import JobState
from relaybot.db.database import Row
from relaybot.errors import Rejected
from wallet.accounts import NODE_LIGHTNING, Account, person, user
from wallet.charges import plan_hold
from wallet.deposits import plan_cleared
from wallet.ledger import Journal, Put, Transfer
from wallet.lots import Mix, Purse
from wallet.money import Msat
from wallet.purses import debt_of


async def plan_fed(bot: Bot, pubkey: str, amount: Msat, reason: str, *, source: Account = NODE_LIGHTNING) -> Journal:
    """Credit what came to the node, and pay a debt of the person's out of it. When that was first is remembered."""
    journal = Journal((Transfer(source, user(pubkey), amount, reason),), (await funded(bot, pubkey),))
    return journal + plan_cleared(pubkey, await debt_of(bot.book.database, pubkey), amount)


async def funded(bot: Bot, pubkey: str) -> Put:
    """Return the row that remembers when this person's balance was fed first: a referrer is named soon after that."""
    now = bot.clock.now()
    known = await bot.book.row("users", pubkey)
    first = known["first_funded_at"] if known is not None else None
    return Put("users", pubkey, {"first_funded_at": first or now}, fresh=new_user(now))


async def require_no_debt(bot: Bot, pubkey: str) -> None:
    """Raise Rejected if `pubkey` owes for money that was taken back: until that is paid, nothing leaves."""
    if (await debt_of(bot.book.database, pubkey)).owed_msat:
        raise Rejected("blocked", "this account owes for a payment that was taken back; a top-up clears it first")


async def plan_paid(bot: Bot, job: Row, amount: Msat) -> tuple[Journal, bool]:
    """Credit the customer, and hold the job's price from this money alone if it is enough and the job still waits.

    Tells whether the job goes on.
    """
    customer = job["customer"]
    journal = await plan_fed(bot, customer, amount, "job")
    spendable = amount - (await debt_of(bot.book.database, customer)).owed_msat
    goes_on = JobState(job["state"]) is JobState.AWAITING_PAYMENT and spendable >= job["price_msat"]
    if goes_on:
        journal += plan_hold(cause_of(job["id"]), Purse(person(customer)), Mix(sats=job["price_msat"]))
        journal += Journal(changes=held_job_changes(bot, job))
    return journal, goes_on
