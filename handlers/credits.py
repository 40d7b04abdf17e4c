"""Money that comes in: a person's pays what they owe first, then the job that waits; a company's brings its bonus."""

from __future__ import annotations

from functools import partial

from handlers.bot import Bot, new_user
from handlers.companies import OPEN
from handlers.jobs import cause_of, held_job_changes
from handlers.states import JobState
from relaybot.db.database import Row
from relaybot.errors import Rejected
from wallet.accounts import NODE_LIGHTNING, Account, owed, person, user
from wallet.charges import plan_hold
from wallet.companies import Topup, plan_topped_up
from wallet.deposits import plan_cleared
from wallet.journals import bulk_bonus
from wallet.ledger import Expect, Journal, Plan, Put, Transfer
from wallet.lots import Mix, Purse
from wallet.money import Msat
from wallet.purses import debt_of


async def plan_fed(bot: Bot, pubkey: str, amount: Msat, reason: str, *, source: Account = NODE_LIGHTNING) -> Journal:
    """Credit what came to the node, and pay a debt of the person's out of it. When that was first is remembered."""
    journal = Journal((Transfer(source, user(pubkey), amount, reason),), (await funded(bot, pubkey),))
    return journal + plan_cleared(pubkey, await debt_of(bot.book.database, pubkey), amount)


async def plan_company_fed(
    bot: Bot,
    cause: str,
    org: str,
    pubkey: str,
    amount: Msat,
    *,
    source: Account = NODE_LIGHTNING,
    brings_bonus: bool = True,
) -> Journal:
    """Credit what came in for a company by what `pubkey` had asked for, with the bonus for so much at once.

    There is none for money that was here before, or if the company has ended meanwhile.
    """
    found = await bot.book.row("companies", org)
    assert found is not None, f"{cause} is for {org}, which is not there"
    bonus = bulk_bonus(amount, bot.bulk) if brings_bonus and found["state"] == OPEN else Msat(0)
    fed = plan_topped_up(Topup(cause, org, pubkey, amount, bonus), source, bot.clock.now())
    still = Expect("companies", org, {"state": found["state"]})
    return fed + Journal(changes=(still, await funded(bot, pubkey)))


async def funded(bot: Bot, pubkey: str) -> Put:
    """Return the row that remembers when this person's balance was fed first: a referrer is named soon after that."""
    now = bot.clock.now()
    known = await bot.book.row("users", pubkey)
    first = known["first_funded_at"] if known is not None else None
    return Put("users", pubkey, {"first_funded_at": first or now}, fresh=new_user(now))


async def require_no_debt(bot: Bot, pubkey: str) -> Expect:
    """Return the guard that `pubkey` owes nothing for money that was taken back; Rejected if they do.

    Until that is paid, nothing leaves. The guard is their row of `users`, which every Plan
    writes that may make them owe (`check_payouts`); so it stands before changes of that row.
    """
    row = await bot.book.row("users", pubkey)  # first: a debt that comes after it moves it
    if (await debt_of(bot.book.database, pubkey)).owed_msat:
        raise Rejected("blocked", "this account owes for a payment that was taken back; a top-up clears it first")
    return Expect("users", pubkey, None if row is None else {"version": row["version"]})


async def clear_debts(bot: Bot) -> None:
    """Pay what people owe out of what came to them since by other ways than a top-up."""
    rows = await bot.book.database.fetch(
        "SELECT id FROM accounts WHERE balance_msat < 0 AND id LIKE 'user/%/owed' ORDER BY id"
    )
    for row in rows:
        await bot.book.decide(partial(_decide_clearing, bot, row["id"].split("/")[1]))


async def _decide_clearing(bot: Bot, pubkey: str) -> Plan | None:
    debt, has = await debt_of(bot.book.database, pubkey), Msat(await bot.book.balance(user(pubkey)))
    journal = plan_cleared(pubkey, debt, has)
    if not journal.transfers:
        return None
    rows = await bot.book.database.fetch("SELECT count(*) AS n FROM transfers WHERE credit = :owed", owed=owed(pubkey))
    return journal.plan(f"owed/{pubkey}/{rows[0]['n']}")


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
