"""A company in other hands, and the end of one: both only while nothing keeps its owner's money in.

What is left of a company's sats leaves by its owner's balance alone, so whoever may not withdraw,
or owes us, can neither take it nor hand the company to somebody who might. A dissolved
company pays for nothing; what comes to it later (a refund, a late payment) can be taken the
same way.
"""

from __future__ import annotations

from collections.abc import Sequence

from handlers.bot import Bot, check_payouts
from handlers.companies import DISSOLVED, GONE, MEMBER, member_of, named, plan_company, plan_member, topups_of
from handlers.conversation import CONFIRM, Asked, Reply
from handlers.credits import require_no_debt
from handlers.withdrawals import require_open
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.nostr import nip19
from wallet.accounts import company, user
from wallet.companies import plan_dissolved
from wallet.ledger import Change, Expect, Insert, Journal, Values
from wallet.money import format_sat
from wallet.purses import purse_of


async def hand_over(bot: Bot, _asked: Asked, found: Row, words: Sequence[str]) -> Reply:
    """`org owner <npub> confirm`: a member becomes the owner."""
    if not 1 <= len(words) <= 2 or (len(words) == 2 and words[1].lower() != CONFIRM):  # noqa: PLR2004  who, and the word
        raise Rejected("invalid", "say who shall be the owner")
    pubkey = nip19.parse_somebody(words[0])
    npub = nip19.encode_npub(pubkey)
    changes = await plan_handed_over(bot, found, pubkey)
    if len(words) == 1:
        text = f"{npub} will decide about everything in {found['id']}, and its money is theirs if they end it."
        return Reply(f"{text} To hand it over, write:\norg owner {found['id']} {npub} {CONFIRM}")
    told = bot.message(pubkey, f"You are the owner of {named(found)} now: org show {found['id']}")
    return Reply(f"{npub} is the owner of {found['id']} now.", (*changes, told))


async def plan_handed_over(bot: Bot, found: Row, pubkey: str) -> tuple[Change, ...]:
    """Return the changes that make a member the owner; the owner before belongs to the company no more."""
    before = found["owner"]
    free = await _require_free(bot, before)
    member, now = await member_of(bot, found["id"], pubkey), bot.clock.now()
    if member["state"] != MEMBER:
        raise Rejected("invalid", "only who belongs to the company can become its owner")
    was = await bot.book.row("members", f"{found['id']}/{before}")
    if was is not None:
        left: Change = plan_member(bot, was, state=GONE)
    else:
        values: Values = {
            "company": found["id"],
            "pubkey": before,
            "state": GONE,
            "budget_msat": None,
            "stated_at": now,
            "created_at": now,
        }
        left = Insert("members", f"{found['id']}/{before}", values)
    return *free, plan_company(found, owner=pubkey), plan_member(bot, member, state=GONE), left


async def dissolve(bot: Bot, _asked: Asked, found: Row, words: Sequence[str]) -> Reply:
    """`org dissolve confirm`: the company ends; what is left of its sats becomes its owner's."""
    if [word.lower() for word in words] not in ([], [CONFIRM]):
        raise Rejected("invalid", "too many words")
    ended = await plan_ended(bot, found)
    back = sum(move.amount_msat for move in ended.transfers if move.credit == user(found["owner"]))
    if not words:
        text = f"{found['id']} would pay for nothing any more, and {format_sat(back)} would be your balance."
        lost = sum(move.amount_msat for move in ended.transfers) - back
        bonus = f" {format_sat(lost)} of bonus would go back." if lost else ""
        return Reply(f"{text}{bonus} It cannot be undone. To do it, write:\norg dissolve {found['id']} {CONFIRM}")
    return Reply(f"{found['id']} is dissolved: {format_sat(back)} are your balance.", ended.changes, ended.transfers)


async def plan_ended(bot: Bot, found: Row) -> Journal:
    """Return what the end of a company moves and changes; Rejected while something stands against it."""
    org, owner = found["id"], found["owner"]
    free = await _require_free(bot, owner)
    rows = await bot.book.database.fetch(
        "SELECT COUNT(*) AS n FROM jobs WHERE company = :org AND due_at IS NOT NULL", org=org
    )
    if rows[0]["n"]:
        raise Rejected("invalid", "jobs of the company are under way, or wait for your word: let them end first")
    purse = await purse_of(bot.book.database, company(org))
    if purse.has.card:
        raise Rejected(
            "invalid", f"{format_sat(purse.has.card)} were bought by card and pay for jobs only: use them first"
        )
    moved = plan_dissolved(org, owner, purse.has, await topups_of(bot, org))
    ended = plan_company(found, state=DISSOLVED)
    changes: tuple[Change, ...] = (*free, ended, *check_payouts([owner], bot.clock.now()))
    return moved + Journal(changes=changes)


async def _require_free(bot: Bot, owner: str) -> tuple[Expect, ...]:
    """Return the guards that nothing keeps this owner's money in; Rejected if something does."""
    row = await bot.book.row("users", owner)
    if row is None:  # an owner was funded once
        raise Rejected("invalid", "you have no balance yet")
    await require_open(bot, row)
    return await require_no_debt(bot, owner), Expect("users", owner, {"withdrawals": "open"})
