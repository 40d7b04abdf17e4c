"""Referrals: who may name whom as the one who referred them, and what a referrer gets of a charge.

A referrer is named once, early, and in no circle. They are paid out of sats, of charges that
were captured, on both sides: whoever referred the customer, and whoever referred a
contributor. Two limits hold, for one charge and for a UTC month; the month's sum is part of
the Plan that pays it, so charges at once cannot pass it. When a job is paid back, so are
its referrals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from handlers.bot import Bot, new_user, written
from handlers.conversation import Asked, Reply
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.nostr import nip19
from splits.compute import Part, is_referral, referrals_of
from wallet.accounts import owner
from wallet.companies import month_of
from wallet.ledger import Add, Change, Values

DAY = 86_400
REFERRAL_CHAIN_MAX = 1_000  # links followed in search of a circle: each is a look into the book
REFERRALS = "referrals"  # counts all of them; a decision over the whole set guards it


async def refer(bot: Bot, asked: Asked) -> Reply:
    """Name who referred the sender: once, early, not oneself, in no circle."""
    if len(asked.words) != 1:
        raise Rejected("invalid", "say who referred you")
    referrer = nip19.parse_somebody(asked.words[0])
    # Two that would close a circle together raise it one by one: read before all that is judged here.
    counter = await bot.book.row("cursors", REFERRALS)
    row = await bot.book.row("users", asked.sender)
    now = bot.clock.now()
    if row is not None and row["referrer"] is not None:
        raise Rejected("invalid", "you have named your referrer already")
    window = bot.config.referrals.window_days * DAY
    if row is not None and row["first_funded_at"] is not None and row["first_funded_at"] + window < now:
        raise Rejected("invalid", f"a referrer is named within {bot.config.referrals.window_days} days")
    await _check_no_circle(bot, asked.sender, referrer)
    name = nip19.encode_npub(referrer)
    fresh: Values = {**new_user(now), "referrer": referrer}
    change = written("users", asked.sender, row, fresh if row is None else {"referrer": referrer})
    counted = written("cursors", REFERRALS, counter, {"value": 1 + (counter["value"] if counter else 0)})
    return Reply(f"Thank you: {name} earns with you from now on, at no cost to you.", (change, counted))


async def _check_no_circle(bot: Bot, sender: str, referrer: str) -> None:
    link: str | None = referrer
    for _ in range(REFERRAL_CHAIN_MAX):
        if link is None:
            return
        if link == sender:
            raise Rejected("invalid", "referrals must not form a circle")
        row = await bot.book.row("users", link)
        link = row["referrer"] if row is not None else None
    raise Rejected("invalid", "too long a chain of referrals leads to that user")


# ---- what they are paid


@dataclass(frozen=True, slots=True)
class Referrers:
    """Who referred whom in one charge: by contributor, and who referred the payer."""

    of: Mapping[str, str]
    payer: str | None


NOBODY = Referrers({}, None)


async def referrers_in(bot: Bot, job: Row, contributors: Sequence[str], own: frozenset[str]) -> Referrers:
    """Return who referred whom in the charge of a job; `own` are the payer, and all who belong to a company that pays.

    A company was referred by whoever referred its founder. Nobody is paid for having referred
    their own company.
    """
    introduced = await _introduced(bot, job)
    users = await bot.book.database.rows_by_id("users", {introduced, *contributors})
    named = {pubkey: row["referrer"] for pubkey, row in users.items() if row["referrer"] is not None}
    payer = named.get(introduced)
    return Referrers(
        {pubkey: named[pubkey] for pubkey in contributors if pubkey in named}, None if payer in own else payer
    )


async def _introduced(bot: Bot, job: Row) -> str:
    """Return whom somebody had to refer to have referred the payer of a job."""
    found = await bot.book.row("companies", job["company"]) if job["company"] else None
    return str(found["founder"] if found is not None else job["customer"])


async def referral_max(bot: Bot, parts: Sequence[Part]) -> Mapping[str, int]:
    """Return what each referrer among `parts` may get of this charge."""
    rules, month = bot.config.referrals, month_of(bot.clock.now())
    referrers = referrals_of(parts)
    rows = await bot.book.database.rows_by_id("tallies", {tally_id(pubkey, month) for pubkey in referrers})
    earned = {pubkey: rows.get(tally_id(pubkey, month)) for pubkey in referrers}
    left = {pubkey: rules.month_max - (row["msat"] if row is not None else 0) for pubkey, row in earned.items()}
    return {pubkey: max(0, min(rules.charge_max, msat)) for pubkey, msat in left.items()}


def counted(bot: Bot, parts: Sequence[Part]) -> tuple[Change, ...]:
    """Return what counts these referrals in the month; a month's sum that would pass its limit is a conflict."""
    month, most = month_of(bot.clock.now()), bot.config.referrals.month_max
    paid = sorted(referrals_of(parts).items())
    return tuple(Add("tallies", tally_id(pubkey, month), "msat", msat, at_most=most) for pubkey, msat in paid)


def referrals_in(booked: Sequence[Row]) -> Counter[str]:
    """Return what each referrer was paid by the transfers of a capture, by hex pubkey."""
    paid: Counter[str] = Counter()
    for row in booked:
        pubkey = owner(row["credit"])
        if pubkey is not None and is_referral(row["reason"]):
            paid[pubkey] += row["amount_msat"]
    return paid


def not_counted(paid: Mapping[str, int], booked: Sequence[Row]) -> tuple[Change, ...]:
    """Return what takes referrals off the month in which they were paid."""
    return tuple(
        Add("tallies", tally_id(pubkey, month_of(booked[0]["created_at"])), "msat", -msat)
        for pubkey, msat in sorted(paid.items())
    )


def tally_id(pubkey: str, month: int) -> str:
    """Return the row of `tallies` in which is counted what a referrer gets in this month."""
    return f"referral/{pubkey}/{month}"
