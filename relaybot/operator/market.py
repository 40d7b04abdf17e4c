"""What the operator decides about others' skills and agents: a list, what a version changes, yes or no."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial

from handlers.bot import Bot
from handlers.market import (
    Market,
    disagreeing,
    listing_of,
    plan_approved,
    plan_refused,
    version_agreed,
)
from handlers.registered import declined_shares, own_paths, pins_of, read_version, shares_of, skills_used, split_of
from relaybot.clock import SystemClock
from relaybot.config import Config
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.keyring import Keyring
from relaybot.nostr import nip19
from relaybot.operator.opening import Answer, opened
from relaybot.workings import build_bot
from splits.changes import Line, changes_of_agent, changes_of_skill
from splits.market import Listed
from splits.model import AgentModel, SkillModel
from splits.problems import BadConfigs
from splits.resolved import Pot, ResolvedSplit
from splits.shown import format_percent, parts_by_role
from wallet.book import Book
from wallet.cln import CoreLightning
from wallet.cln_chain import CoreLightningChain
from wallet.ledger import Plan
from wallet.money import format_sat

REASON_CHARACTERS_MAX = 200

_VERSIONS = (
    "SELECT listing_versions.id AS event, listing, listing_versions.author, state, listing_versions.created_at"
    " FROM listing_versions JOIN listings ON listings.id = listing"
    " WHERE listing_versions.id IN (listings.waiting, listings.approved)"
    " ORDER BY CASE WHEN state = 'waiting' THEN 0 ELSE 1 END, listing_versions.created_at, listing_versions.id"
)

Decide = Callable[[Bot], Awaitable[Plan]]


async def list_versions(config: Config) -> Sequence[Answer]:
    """Return every version that waits for approval, then every one in service."""
    async with opened(config) as book:
        rows = await book.database.fetch(_VERSIONS)
    return [{**row, "author": nip19.encode_npub(row["author"])} for row in rows]


async def show_version(config: Config, keyring: Keyring, event_id: str) -> Answer:
    """Return what a version is, and what it changes for whom. Rejected if there is none."""
    async with opened(config) as book:
        return await shown_version(_bot(config, keyring, book), event_id)


async def approve(config: Config, keyring: Keyring, event_id: str) -> Answer:
    """Put exactly this version into service. Rejected says why that cannot be."""
    return await _decided(config, keyring, event_id, partial(_approved, event_id))


async def refuse(config: Config, keyring: Keyring, event_id: str, reason: str) -> Answer:
    """Refuse a version that waits, or take an approved one out of service. Rejected if there is none."""
    return await _decided(config, keyring, event_id, partial(_refused, event_id, reason[:REASON_CHARACTERS_MAX]))


async def _approved(event_id: str, bot: Bot) -> Plan:
    return await plan_approved(bot, event_id)


async def _refused(event_id: str, reason: str, bot: Bot) -> Plan:
    return await plan_refused(bot, event_id, reason)


async def _decided(config: Config, keyring: Keyring, event_id: str, decide: Decide) -> Answer:
    async with opened(config) as book:
        bot = _bot(config, keyring, book)
        await Market(bot, keyring.key).refresh()
        answer = await book.decide(lambda: decide(bot))
        if not answer.done:
            raise Rejected("error", "the book did not take it", detail=answer.reason)
        version = await book.row("listing_versions", event_id)
        assert version is not None, f"{event_id} was decided about, and is not there"
        return {"event": event_id, "listing": version["listing"], "state": version["state"]}


def _bot(config: Config, keyring: Keyring, book: Book) -> Bot:
    """Return what the rules work with; the node is not asked."""
    node, chain = CoreLightning(config.lightning.socket), CoreLightningChain(config.lightning.socket)
    return build_bot(config, keyring, book, node, SystemClock(), chain=chain, chance=secrets.token_bytes)


async def shown_version(bot: Bot, event_id: str) -> Answer:
    """Return what a version is, and what it changes for whom, by the rules of `bot`."""
    version = await bot.book.row("listing_versions", event_id)
    if version is None:
        raise Rejected("invalid", "there is no such version of a skill or an agent", found=event_id[:80])
    listing, model = await listing_of(bot, version), read_version(version)
    before = await version_agreed(bot, listing)
    old = before if before is not None and before["id"] != event_id else None
    shown: Answer = {
        "event": event_id,
        "listing": version["listing"],
        "author": nip19.encode_npub(version["author"]),
        "state": version["state"],
        "instead_of": old["id"] if old is not None else "",
        **_words(model, read_version(old) if old is not None else None),
    }
    missing = await disagreeing(bot, listing, version, model)
    try:
        money = await _money(bot, version, model, old)
    except BadConfigs as problems:
        money = {"cannot_be_approved": own_paths(_full(version), problems)}
    return {**shown, **money, "must_agree_first": [nip19.encode_npub(one) for one in missing]}


def _words(model: Listed, old: Listed | None) -> Mapping[str, str]:
    """Return what it says of itself, with what it said before where that differs."""

    def both(shown: Callable[[Listed], str]) -> str:
        after = shown(model)
        return after if old is None or shown(old) == after else f"{shown(old)} → {after}"

    words = {"name": both(lambda one: one.name), "about": both(lambda one: one.about)}
    words["skills"] = both(lambda one: ", ".join(one.skills))
    if isinstance(model, AgentModel):
        words |= {
            "kinds": both(lambda one: ", ".join(map(str, _agent(one).kinds))),
            "params": both(lambda one: ", ".join(_agent(one).params)),
            "takes_open_requests": both(lambda one: "yes" if _agent(one).open else "no"),
        }
    return words


def _agent(model: Listed) -> AgentModel:
    assert isinstance(model, AgentModel), "an agent became a skill"
    return model


async def _money(bot: Bot, version: Row, model: Listed, old: Row | None) -> Answer:
    """Return the price and who gets what, before and after; BadConfigs if it cannot be paid."""
    after = await _paid(bot, version, model, pinned=version["state"] == "approved")
    before = await _paid(bot, old, read_version(old), pinned=True) if old is not None else None
    if isinstance(after, Pot):
        assert before is None or isinstance(before, Pot), "an agent became a skill"
        return {"who_gets_what": [_line(line) for line in changes_of_skill(before, after)]}
    assert not isinstance(before, Pot), "a skill became an agent"
    now = bot.clock.now()
    lines = changes_of_agent(before, after, now=now)
    price = (
        _price(after) if before is None or _price(before) == _price(after) else f"{_price(before)} → {_price(after)}"
    )
    roles = {role: f"{format_percent(part)} %" for role, part in parts_by_role(after, now=now).items()}
    return {
        "price": price,
        "highest_price": format_sat(after.price_max),
        "by_role": roles,
        "who_gets_what": [_line(line) for line in lines],
    }


async def _paid(bot: Bot, version: Row, model: Listed, *, pinned: bool) -> Pot | ResolvedSplit:
    pins = pins_of(version) if pinned else None
    used, declined = await skills_used(bot.book, model, pinned=pins, waiting=True), await declined_shares(bot.book)
    if used.missing:
        raise Rejected("invalid", "it uses a skill that is not in service", skills=", ".join(sorted(used.missing)))
    if isinstance(model, SkillModel):
        return shares_of(bot, _full(version), model, used, declined)
    return split_of(bot, _full(version), model, used, declined)


def _price(split: ResolvedSplit) -> str:
    low, high = split.price_min, split.price_max
    return format_sat(high) if low == high else f"{format_sat(low)} to {format_sat(high)}"


def _line(line: Line) -> Mapping[str, str]:
    who = line.who if line.who.startswith("$") or " " in line.who else nip19.encode_npub(line.who)
    return {**asdict(line), "who": who}


def _full(version: Row) -> str:
    full: str = version["listing"].partition(":")[2]
    return full
