"""Companies from the operator's side: the same decisions as their owners', said for them."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence

from handlers import company_approvals
from handlers.bot import Bot
from handlers.companies import (
    GONE,
    member_of,
    plan_company,
    plan_created,
    plan_invited,
    plan_member,
    require_not_dissolved,
)
from handlers.company_ends import plan_ended, plan_handed_over
from handlers.conversation import Asked
from handlers.topups import topup_company
from relaybot.config import Config
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.keyring import Keyring
from relaybot.nostr import nip19
from relaybot.operator.opening import Answer, decide, opened, opened_bot
from wallet.accounts import user
from wallet.companies import format_month, month_of, month_span, parse_company_id, parse_company_name
from wallet.company_pages import StatementRow, company_shown, statement_csv, statement_of, why
from wallet.journals import BulkTier, bulk_bonus
from wallet.ledger import Change, Insert, Journal, Plan
from wallet.money import MSAT_PER_SAT, Msat
from wallet.wording import class_in_words

Decided = Callable[[Bot, Row], Awaitable[Journal]]


async def list_companies(config: Config, limit: int) -> Sequence[Answer]:
    """Return the newest companies."""
    sql = "SELECT id, name, owner, state, created_at FROM companies ORDER BY created_at DESC, id LIMIT :limit"
    async with opened(config) as book:
        rows = await book.database.fetch(sql, limit=limit)
    return [{**row, "owner": nip19.encode_npub(row["owner"])} for row in rows]


async def show_company(config: Config, org: str, now: int) -> Answer:
    """Return what a company has, who belongs to it, and what waits for its owner. Rejected if there is none."""
    async with opened(config) as book, book.database.snapshot() as reader:
        shown = await company_shown(reader, org, month_of(now))
    if shown is None:
        raise _no_company(org)
    return {
        "id": org,
        "name": shown.name,
        "owner": nip19.encode_npub(shown.owner),
        "state": shown.state,
        "sats_msat": shown.has.sats,
        "card_msat": shown.has.card,
        "promo_msat": shown.has.promo,
        "held_msat": shown.held_msat,
        "limit_msat": shown.limit_msat,
        "month": format_month(month_of(now)),
        "members": [
            f"{nip19.encode_npub(one.pubkey)}: {one.state}, {one.used_msat} msat of"
            f" {'any sum' if one.budget_msat is None else f'{one.budget_msat} msat'} used"
            for one in shown.members
        ],
        "waiting": [f"{one.job}: {one.price_msat} msat, {one.agent}" for one in shown.approvals],
    }


async def statement(config: Config, org: str, month: int | None) -> list[Answer]:
    """Return the entries on a company's accounts in a month, or ever, oldest first, each with its cause in words."""
    return [_shown(row) for row in await _statement(config, org, month)]


async def statement_as_csv(config: Config, org: str, month: int | None) -> str:
    """Return the same as CSV."""
    return statement_csv(await _statement(config, org, month))


async def create(config: Config, keyring: Keyring, org: str, owner: str, name: str) -> Answer:
    """Make a company of `owner`, whether they were funded or not."""
    parse_company_id(org)
    called = parse_company_name(name) if name else ""

    async def decided() -> Plan:
        return Plan(f"org/{org}/create", changes=await plan_created(bot, org, called, owner))

    async with opened_bot(config, keyring) as bot:
        return {"id": org, **await decide(bot, decided)}


async def add(config: Config, keyring: Keyring, org: str, pubkey: str, budget: Msat | None) -> Answer:
    """Ask somebody to join a company: they still have to accept."""

    async def decided(bot: Bot, found: Row) -> Journal:
        return _changing(*await plan_invited(bot, found, pubkey, budget))

    return await _decided(config, keyring, org, "add", decided)


async def set_budget(config: Config, keyring: Keyring, org: str, pubkey: str, budget: Msat | None) -> Answer:
    """Change what a member may spend in a month."""

    async def decided(bot: Bot, _found: Row) -> Journal:
        return _changing(plan_member(bot, await member_of(bot, org, pubkey), budget_msat=budget))

    return await _decided(config, keyring, org, "budget", decided)


async def remove(config: Config, keyring: Keyring, org: str, pubkey: str) -> Answer:
    """Take a member out of a company; what is under way goes on."""

    async def decided(bot: Bot, _found: Row) -> Journal:
        return _changing(plan_member(bot, await member_of(bot, org, pubkey), state=GONE))

    return await _decided(config, keyring, org, "remove", decided)


async def top_up(config: Config, keyring: Keyring, org: str, amount: Msat) -> Answer:
    """Make one more invoice over `amount` for a company, as its owner would get it, who answers for what comes in."""
    request, made = f"{org}/{secrets.token_hex(16)}", list[Insert]()

    async def decided(bot: Bot, found: Row) -> Journal:
        require_not_dissolved(found)
        words = [str(amount // MSAT_PER_SAT)]
        reply = await topup_company(bot, Asked(found["owner"], request, bot.clock.now(), words), found, words)
        made.extend(change for change in reply.changes if isinstance(change, Insert))
        return _changing(*reply.changes)

    done = await _decided(config, keyring, org, "topup", decided)
    invoice = made[-1].values
    bonus = bulk_bonus(amount, [BulkTier(step.least, step.bonus) for step in config.companies.bulk])
    return {**done, "amount_msat": invoice["amount_msat"], "bonus_msat": bonus, "invoice": invoice["bolt11"]}


async def set_limit(config: Config, keyring: Keyring, org: str, limit: Msat | None) -> Answer:
    """Change above which price jobs of members wait for the owner."""

    async def decided(_bot: Bot, found: Row) -> Journal:
        return _changing(plan_company(found, limit_msat=limit))

    return await _decided(config, keyring, org, "limit", decided)


async def hand_over(config: Config, keyring: Keyring, org: str, pubkey: str) -> Answer:
    """Make a member the owner, by the rules that hold for its owner's own word."""

    async def decided(bot: Bot, found: Row) -> Journal:
        return _changing(*await plan_handed_over(bot, found, pubkey))

    return await _decided(config, keyring, org, "owner", decided)


async def dissolve(config: Config, keyring: Keyring, org: str) -> Answer:
    """End a company: what is left of its sats becomes its owner's, by the rules that hold for their own word."""
    moved: list[int] = []

    async def decided(bot: Bot, found: Row) -> Journal:
        ended = await plan_ended(bot, found)
        moved.append(sum(move.amount_msat for move in ended.transfers if move.credit == user(found["owner"])))
        return ended

    return {**await _decided(config, keyring, org, "dissolve", decided), "to_owner_msat": moved[-1]}


async def say(config: Config, keyring: Keyring, org: str, job: str, *, approved: bool) -> Answer:
    """Approve or refuse a job that waits for the owner's word."""
    async with opened_bot(config, keyring) as bot:
        found = await company_approvals.named_job(bot, org, [job])
        await (company_approvals.approve_job if approved else company_approvals.refuse_job)(bot, found["id"])
        after = await bot.book.row("jobs", found["id"])
    assert after is not None, f"job {found['id']} was just decided"
    return {"job": found["id"], "state": after["state"]}


async def _decided(config: Config, keyring: Keyring, org: str, what: str, decided: Decided) -> Answer:
    async def plan() -> Plan:
        found = await bot.book.row("companies", org)
        if found is None:
            raise _no_company(org)
        count = await bot.book.database.fetch(
            "SELECT COUNT(*) AS n FROM plans WHERE id LIKE :keys", keys=f"org/{org}/{what}/%"
        )
        return (await decided(bot, found)).plan(f"org/{org}/{what}/{count[0]['n']}")

    async with opened_bot(config, keyring) as bot:
        return {"id": org, **await decide(bot, plan)}


async def _statement(config: Config, org: str, month: int | None) -> list[StatementRow]:
    if month is not None:
        month_span(month)
    async with opened(config) as book, book.database.snapshot() as reader:
        if org not in await reader.rows_by_id("companies", [org]):
            raise _no_company(org)
        return await statement_of(reader, org, month)


def _shown(row: StatementRow) -> Answer:
    entry = row.entry
    return {
        "time": entry.created_at,
        "class": class_in_words(entry.account),
        "amount_msat": entry.amount_msat,
        "balance_msat": entry.balance_msat,
        "what": why(entry),
        "member": nip19.encode_npub(row.member) if row.member else "",
        "id": entry.id,
    }


def _changing(*changes: Change) -> Journal:
    return Journal(changes=tuple(changes))


def _no_company(org: str) -> Rejected:
    return Rejected("invalid", "no company has this id", found=org[:40])
