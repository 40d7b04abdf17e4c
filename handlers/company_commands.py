"""`org …`: what people say to a company by private message: its owner all, a member what is their own.

The company may be left out where somebody has to do with one only. Whoever has nothing to do
with a company hears the same, whether there is one of that name or not.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from handlers.bot import Bot
from handlers.companies import (
    GONE,
    INVITED,
    MEMBER,
    NO_MEMBER,
    member_of,
    named,
    plan_company,
    plan_created,
    plan_invited,
    plan_member,
    require_not_dissolved,
)
from handlers.company_approvals import approve, refuse
from handlers.company_ends import dissolve, hand_over
from handlers.company_words import as_member_sees, as_owner_sees, budget_told, listed, statement_parts
from handlers.conversation import Asked, Reply
from handlers.topups import topup_company
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.nostr import nip19
from wallet.companies import month_of, parse_company_id, parse_company_name, parse_month
from wallet.company_pages import belongings_of, company_shown, member_shown, statement_of
from wallet.ledger import Change
from wallet.money import Msat, format_sat, parse_amount

NO_LIMIT = "none"

_BUDGET = re.compile(r"([\d,]{1,20})/month", re.ASCII)

Run = Callable[[Bot, Asked, Row, Sequence[str]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class OrgCommand:
    """One thing that can be said to a company: how many words it needs at least, and who may say it."""

    usage: str
    words: int
    owners_only: bool
    run: Run


async def org(bot: Bot, asked: Asked) -> Reply:
    """`org`, `org <command> [<company>] …`."""
    if not bot.config.companies.enabled:
        raise Rejected("invalid", "this service has no companies")
    if not asked.words:
        async with bot.book.database.snapshot() as reader:
            return Reply(listed(await belongings_of(reader, asked.sender)))
    command = ORG_COMMANDS.get(asked.words[0].lower())
    try:
        return await run_org(bot, asked)
    except Rejected as refusal:
        if command is None:
            raise
        return Reply(f"{refusal.reason}.\nUsage: {command.usage}")


async def run_org(bot: Bot, asked: Asked) -> Reply:
    """`org <command> [<company>] …`; Rejected says what is wrong, without the command's usage."""
    name, words = asked.words[0].lower(), asked.words[1:]
    if not bot.config.companies.enabled:
        raise Rejected("invalid", "this service has no companies")
    if name == "create":
        return await _create(bot, asked, words)
    command = ORG_COMMANDS.get(name)
    if command is None:
        raise Rejected("invalid", f"after org, one of create, {', '.join(ORG_COMMANDS)}")
    found, rest = await _company(bot, asked.sender, words, command)
    return await command.run(bot, asked, found, rest)


async def _create(bot: Bot, asked: Asked, words: Sequence[str]) -> Reply:
    """`org create <id> [<name>]`: for whom was funded once; the name stands on invoices."""
    if not words:
        raise Rejected("invalid", "say what the company shall be called")
    org_id, name = parse_company_id(words[0]), parse_company_name(" ".join(words[1:])) if words[1:] else ""
    user = await bot.book.row("users", asked.sender)
    if user is None or user["first_funded_at"] is None:
        raise Rejected("invalid", "a company is for users: top up first")
    changes = await plan_created(bot, org_id, name, asked.sender)
    text = (
        f"{org_id} is your company. org topup {org_id} <sats> adds to its balance, org add {org_id} <npub> <sats>/month"
        f" asks somebody to join, and job <agent> org={org_id} <input> is paid by it."
    )
    return Reply(text, changes)


async def _company(bot: Bot, sender: str, words: Sequence[str], command: OrgCommand) -> tuple[Row, Sequence[str]]:
    """Return the company that is meant, and the words without its id."""
    async with bot.book.database.snapshot() as reader:
        mine = await belongings_of(reader, sender)
    first = words[0].lower() if words else ""
    if len(words) > command.words and first in {one.id for one in mine}:
        org_id, rest = first, words[1:]
    elif len(mine) == 1:
        org_id, rest = mine[0].id, words
    else:
        raise Rejected("restricted", "say which company" if mine else NO_MEMBER)
    found = await bot.book.row("companies", org_id)
    assert found is not None, f"{org_id} was just listed"
    if command.owners_only and found["owner"] != sender:
        raise Rejected("restricted", "only the company's owner decides about that")
    return found, rest


async def _show(bot: Bot, asked: Asked, found: Row, words: Sequence[str]) -> Reply:
    _require_no_more(words)
    month = month_of(bot.clock.now())
    async with bot.book.database.snapshot() as reader:
        if found["owner"] == asked.sender:
            shown = await company_shown(reader, found["id"], month)
            assert shown is not None, f"{found['id']} was just read"
            return Reply(as_owner_sees(shown))
        member = await member_shown(reader, found["id"], asked.sender, month)
    assert member is not None, f"{found['id']} was listed as theirs"
    if member.state == INVITED:
        return Reply(f"You are asked to join {named(found)}: org accept {found['id']}")
    return Reply(as_member_sees(named(found), member))


async def _add(bot: Bot, _asked: Asked, found: Row, words: Sequence[str]) -> Reply:
    require_not_dissolved(found)
    match words:
        case [npub]:
            budget = None
        case [npub, said]:
            budget = parse_budget(said)
        case _:
            raise Rejected("invalid", "say who, and how much they may spend in a month")
    pubkey = nip19.parse_somebody(npub)
    changes = await plan_invited(bot, found, pubkey, budget)
    text = f"{nip19.encode_npub(pubkey)} is asked to join {found['id']}, with {budget_told(budget)}."
    return Reply(f"{text} They write org accept {found['id']} if they want to.", changes)


async def _budget(bot: Bot, _asked: Asked, found: Row, words: Sequence[str]) -> Reply:
    if len(words) != 2:  # noqa: PLR2004  who, and how much
        raise Rejected("invalid", "say whose budget, and how much it is")
    pubkey, budget = nip19.parse_somebody(words[0]), parse_budget(words[1])
    member = await member_of(bot, found["id"], pubkey)
    changes = (plan_member(bot, member, budget_msat=budget),)
    return Reply(f"{nip19.encode_npub(pubkey)} has {budget_told(budget)} in {found['id']}.", changes)


async def _remove(bot: Bot, _asked: Asked, found: Row, words: Sequence[str]) -> Reply:
    if len(words) != 1:
        raise Rejected("invalid", "say who shall belong to it no more")
    pubkey = nip19.parse_somebody(words[0])
    member = await member_of(bot, found["id"], pubkey)
    text = f"{nip19.encode_npub(pubkey)} belongs to {found['id']} no more. What is under way goes on."
    return Reply(text, (plan_member(bot, member, state=GONE),))


async def _limit(_bot: Bot, _asked: Asked, found: Row, words: Sequence[str]) -> Reply:
    if len(words) != 1:
        raise Rejected("invalid", f"say above how many sats you are asked, or {NO_LIMIT}")
    if words[0].lower() == NO_LIMIT:
        return Reply("You are asked for no job any more.", (plan_company(found, limit_msat=None),))
    limit = parse_amount(f"{words[0]} sat")
    text = f"Jobs of members above {format_sat(limit)} wait for your word: org approve, or org refuse."
    return Reply(text, (plan_company(found, limit_msat=limit),))


async def _topup(bot: Bot, asked: Asked, found: Row, words: Sequence[str]) -> Reply:
    require_not_dissolved(found)
    return await topup_company(bot, asked, found, words)


async def _statement(bot: Bot, asked: Asked, found: Row, words: Sequence[str]) -> Reply:
    if len(words) > 1:
        raise Rejected("invalid", "too many words")
    month = parse_month(words[0]) if words else month_of(bot.clock.now())
    if found["owner"] != asked.sender:
        await _require_joined(bot, found, asked.sender)
    async with bot.book.database.snapshot() as reader:
        whose = "" if found["owner"] == asked.sender else asked.sender
        first, *more = statement_parts(await statement_of(reader, found["id"], month, whose), found["id"], month)
    later: Sequence[Change] = [bot.message(asked.sender, part, as_nip04=asked.nip04) for part in more]
    return Reply(first, tuple(later))


async def _answer(state: str, bot: Bot, asked: Asked, found: Row, words: Sequence[str]) -> Reply:
    """`org accept`, `org leave`: what somebody who was asked says, or a member."""
    _require_no_more(words)
    member = await member_of(bot, found["id"], asked.sender)
    if state == MEMBER and member["state"] == MEMBER:
        raise Rejected("invalid", "you belong to it already")
    text = (
        f"You belong to {named(found)}: job <agent> org={found['id']} <input> is paid by it, with"
        f" {budget_told(member['budget_msat'])}."
        if state == MEMBER
        else f"You have nothing to do with {found['id']} any more."
    )
    return Reply(text, (plan_member(bot, member, state=state),))


async def _require_joined(bot: Bot, found: Row, pubkey: str) -> None:
    member = await member_of(bot, found["id"], pubkey)
    if member["state"] != MEMBER:
        raise Rejected("restricted", f"join it first: org accept {found['id']}")


def _require_no_more(words: Sequence[str]) -> None:
    """Raise Rejected if words are left over: they name a company that is another, or nobody's business."""
    if words:
        raise Rejected("restricted", NO_MEMBER)


def parse_budget(text: str) -> Msat | None:
    """Read `5000/month`, or `none` for no limit; Rejected for anything else."""
    if text.lower() == NO_LIMIT:
        return None
    said = _BUDGET.fullmatch(text)
    if said is None:
        raise Rejected("invalid", f"a budget is such as 5000/month, or {NO_LIMIT}")
    return parse_amount(f"{said[1]} sat")


ORG_COMMANDS: Mapping[str, OrgCommand] = MappingProxyType(
    {
        "show": OrgCommand("org show [<company>]", 0, False, _show),
        "add": OrgCommand("org add [<company>] <npub> [<sats>/month]", 1, True, _add),
        "budget": OrgCommand("org budget [<company>] <npub> <sats>/month | none", 2, True, _budget),
        "remove": OrgCommand("org remove [<company>] <npub>", 1, True, _remove),
        "limit": OrgCommand("org limit [<company>] <sats> | none", 1, True, _limit),
        "approve": OrgCommand("org approve [<company>] <job>", 1, True, approve),
        "refuse": OrgCommand("org refuse [<company>] <job>", 1, True, refuse),
        "topup": OrgCommand("org topup [<company>] <sats> [lightning | onchain]", 1, True, _topup),
        "statement": OrgCommand("org statement [<company>] [<month>]", 0, False, _statement),
        "owner": OrgCommand("org owner [<company>] <npub> [confirm]", 1, True, hand_over),
        "dissolve": OrgCommand("org dissolve [<company>] [confirm]", 0, True, dissolve),
        "accept": OrgCommand("org accept [<company>]", 0, False, partial(_answer, MEMBER)),
        "leave": OrgCommand("org leave [<company>]", 0, False, partial(_answer, GONE)),
    }
)
