"""Companies at work: who belongs to one, whether it pays for a member's job, and the Plans of its owner.

A job that a company pays holds money of `org/<id>/…`. Its Plan guards the company's row and
the member's by their versions, and adds the price to the member's sum of the month, which may
not pass the budget: so jobs of one member at once cannot exceed it, nor can one slip through
while the owner takes the member out. What a job did not need is taken off the sum again, as
long as its month lasts in the book. The commands that people give stand in
`company_commands.py`, and the operator's in `relaybot/operator/companies.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from handlers.bot import Bot, written
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.nostr import nip19
from splits.model import PAYER_PARAM
from wallet.accounts import Owner, company, person
from wallet.charges import plan_hold
from wallet.companies import Topup, budget_id, month_of
from wallet.ledger import Add, Change, Expect, Insert, Journal, Update, Values
from wallet.money import Msat, format_sat
from wallet.payout_notices import Notice
from wallet.purses import debt_of, purse_of

ORG = PAYER_PARAM  # the parameter of a request that names the company which pays
OPEN, DISSOLVED = "open", "dissolved"
INVITED, MEMBER, GONE = "invited", "member", "gone"
DAY = 86_400

NO_MEMBER = "org: you are no member of a company of this name"


class Unpaid(Rejected):
    """A company does not pay for a job of its member: `reason` is for the member only."""


@dataclass(frozen=True, slots=True)
class Charging:
    """A company that may be asked to pay for somebody's job: its row, and the member's; the owner needs none."""

    company: Row
    member: Row | None
    pubkey: str

    @property
    def needs_approval_above(self) -> Msat | None:
        """Return the price above which the owner is asked first, or None: the owner asks nobody."""
        limit = self.company["limit_msat"]
        return None if self.pubkey == self.company["owner"] or limit is None else Msat(limit)


def require_not_dissolved(found: Row) -> None:
    """Raise Rejected if the company of this row has ended."""
    if found["state"] != OPEN:
        raise Rejected("invalid", "this company is dissolved")


def payer_of(job: Row) -> Owner:
    """Return whose money pays for a job."""
    return company(job["company"]) if job["company"] else person(job["customer"])


async def charging(bot: Bot, org: str, pubkey: str) -> Charging:
    """Return the company `org` as one that pays for jobs of `pubkey`; Rejected, with the same words, if it does not."""
    found, member = await bot.book.row("companies", org), await bot.book.row("members", f"{org}/{pubkey}")
    belongs = found is not None and (found["owner"] == pubkey or (member is not None and member["state"] == MEMBER))
    if not bot.config.companies.enabled or found is None or not belongs or found["state"] != OPEN:
        raise Rejected("restricted", NO_MEMBER)
    return Charging(found, member if found["owner"] != pubkey else None, pubkey)


async def plan_charged(bot: Bot, cause: str, by: Charging, price: Msat, *, promo_max: Msat) -> tuple[Journal, int]:
    """Hold a job's price on a company's money, and return the month whose budget it counts in; Unpaid says why not."""
    org, now = by.company["id"], bot.clock.now()
    if (await debt_of(bot.book.database, by.company["owner"])).owed_msat:
        raise Unpaid("blocked", "its owner owes for a payment that was taken back: until that is paid, it pays nothing")
    purse = await purse_of(bot.book.database, company(org))
    mix = purse.draw(price, promo_max=promo_max)
    if mix is None:
        raise Unpaid("restricted", f"its balance does not cover {format_sat(price)}")
    month = month_of(now)
    changes: list[Change] = [Expect("companies", org, {"version": by.company["version"]})]
    budget = None
    if by.member is not None:
        budget = by.member["budget_msat"]
        used = await used_msat(bot, org, by.pubkey, month)
        if budget is not None and used + price > budget:
            left = format_sat(max(0, budget - used))
            raise Unpaid("restricted", f"the budget there is {format_sat(budget)} a month: {left} are left")
        changes.append(Expect("members", by.member["id"], {"version": by.member["version"]}))
    changes.append(Add("tallies", budget_id(org, by.pubkey, month), "msat", price, at_most=budget))
    return plan_hold(cause, purse, mix) + Journal(changes=tuple(changes)), month


async def used_msat(bot: Bot, org: str, pubkey: str, month: int) -> int:
    """Return what a member's jobs have cost a company in this month, what is held for them included."""
    row = await bot.book.row("tallies", budget_id(org, pubkey, month))
    return int(row["msat"]) if row is not None else 0


def not_used(job: Row, amount: int) -> tuple[Change, ...]:
    """Return what takes `amount` off the budget that `job` counts in; nothing, if it counts in none."""
    if not job["month"] or not amount:
        return ()
    return (Add("tallies", budget_id(job["company"], job["customer"], job["month"]), "msat", -amount),)


async def belonging(bot: Bot, org: str) -> frozenset[str]:
    """Return everybody who belongs to a company, or ever did: its own card money stays card money with them."""
    found = await bot.book.row("companies", org)
    assert found is not None, f"a job is paid by {org}, which is not there"
    rows = await bot.book.database.fetch(
        "SELECT pubkey FROM members WHERE company = :org AND state <> 'invited'", org=org
    )
    return frozenset({found["owner"], found["founder"], *(row["pubkey"] for row in rows)})


# ---- what an owner decides


async def plan_created(bot: Bot, org: str, name: str, owner: str) -> tuple[Change, ...]:
    """Return the row of a new company; Rejected if its id is taken, or its owner has enough of them."""
    if await bot.book.row("companies", org) is not None:
        raise Rejected("invalid", "this id is taken")
    most = bot.config.companies.per_owner_max
    rows = await bot.book.database.fetch(
        "SELECT COUNT(*) AS n FROM companies WHERE owner = :owner AND state = 'open'", owner=owner
    )
    if rows[0]["n"] >= most:
        raise Rejected("invalid", f"one owner has at most {most} companies")
    values: Values = {
        "name": name,
        "owner": owner,
        "founder": owner,
        "state": OPEN,
        "limit_msat": None,
        "created_at": bot.clock.now(),
    }
    counter = await bot.book.row("cursors", f"companies/{owner}")  # two at once are counted one by one
    counted = written("cursors", f"companies/{owner}", counter, {"value": bot.clock.now()})
    return Insert("companies", org, values), counted


async def plan_invited(bot: Bot, found: Row, pubkey: str, budget: Msat | None) -> tuple[Change, ...]:
    """Return the changes that invite somebody; Rejected for whom it makes no sense, or if there are too many.

    Who was taken out, or has left, is asked again after a day at the earliest.
    """
    row, now = await bot.book.row("members", f"{found['id']}/{pubkey}"), bot.clock.now()
    if pubkey == found["owner"] or (row is not None and row["state"] == MEMBER):
        raise Rejected("invalid", "they belong to the company already")
    if row is not None and now - row["stated_at"] < DAY:
        raise Rejected("rate-limited", "they were asked within the last day")
    rows = await bot.book.database.fetch("SELECT COUNT(*) AS n FROM members WHERE company = :org", org=found["id"])
    if row is None and rows[0]["n"] >= bot.config.companies.members_max:
        raise Rejected(
            "invalid", f"a company has at most {bot.config.companies.members_max} members, past ones included"
        )
    values: Values = {
        "company": found["id"],
        "pubkey": pubkey,
        "state": INVITED,
        "budget_msat": budget,
        "stated_at": now,
        "created_at": row["created_at"] if row is not None else now,
    }
    invited = (
        f"{nip19.encode_npub(found['owner'])} asks you to join the company {named(found)}, which would pay for your"
        f" jobs. To join, write: org accept {found['id']}\nIf you do not want to, do nothing."
    )
    told = await bot.tell(Notice(pubkey, invited, asked=False))
    touched = Update("companies", found["id"], {}, expect={"version": found["version"]})  # two at once are counted
    return written("members", f"{found['id']}/{pubkey}", row, values), touched, *told


def plan_member(bot: Bot, member: Row, **values: str | int | None) -> Update:
    """Return the change of a member's row, guarded by what was read."""
    stated: Values = {"stated_at": bot.clock.now()} if "state" in values else {}
    return Update("members", member["id"], {**stated, **values}, expect={"version": member["version"]})


def plan_company(found: Row, **values: str | int | None) -> Update:
    """Return the change of a company's row, guarded by what was read."""
    return Update("companies", found["id"], dict(values), expect={"version": found["version"]})


async def member_of(bot: Bot, org: str, pubkey: str) -> Row:
    """Return the row of somebody who is a member, or is asked to be; Rejected for all others."""
    row = await bot.book.row("members", f"{org}/{pubkey}")
    if row is None or row["state"] == GONE:
        raise Rejected("invalid", "they do not belong to the company")
    return row


async def topups_of(bot: Bot, org: str) -> Sequence[Topup]:
    """Return everything that came in for a company."""
    rows = await bot.book.database.fetch("SELECT * FROM company_topups WHERE company = :org ORDER BY id", org=org)
    return [Topup.of_row(row) for row in rows]


def named(found: Row) -> str:
    """Return a company as it is spoken of: its id, and its name if it has one."""
    return f"{found['id']} ({found['name']})" if found["name"] else str(found["id"])
