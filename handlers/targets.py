"""Where contributors want to be paid: kind 10133 (payto), the profile's lud16, or what they register with us."""

from __future__ import annotations

import json
from dataclasses import dataclass

from handlers.bot import Bot, new_user, written
from handlers.conversation import Asked, Reply
from handlers.strangers import has_spoken
from handlers.wishes import payout_zaps
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.inbox import Decision
from relaybot.nostr.event import Event
from wallet.bolt11_invoice import CURRENCIES
from wallet.bolt12_offer import Offer
from wallet.chain_address import ChainAddress
from wallet.destinations import LightningAddress, parse_lightning_address, parse_target
from wallet.ledger import Change, Plan, Put, Values
from wallet.money import format_sat, parse_amount
from wallet.payout_notices import Notice, shown
from wallet.targets import KEEP, in_order, statements_of, targets_of

NOTHING_YET = "Nothing was paid out to you yet."
PROFILE_BYTES_MAX = 32_768  # a kind 0 larger than this is not read


async def on_profile(bot: Bot, event: Event) -> Decision:
    """Take a kind 0: its `lud16` is the last resort of payout targets."""
    if len(event.content) > PROFILE_BYTES_MAX:
        return "refused: the profile is too large"
    try:
        profile = json.loads(event.content)
    except (ValueError, RecursionError):
        return "refused: the profile is not JSON"
    address = profile.get("lud16") if isinstance(profile, dict) else None
    return await plan_target(bot, event, "profile", address if isinstance(address, str) else "")


async def on_payto(bot: Bot, event: Event) -> Decision:
    """Take a kind 10133: its first `["payto", "lightning", <address>]`."""
    named = [tag[2] for tag in event.tags_named("payto") if len(tag) > 2 and tag[1] == "lightning"]  # noqa: PLR2004  payto, rail, address
    return await plan_target(bot, event, "10133", named[0] if named else "")


async def plan_target(bot: Bot, event: Event, source: str, target: str) -> Decision:
    """Return the Plan that remembers `target` as what `source` says; '' forgets it. Older events change nothing."""
    if target:
        try:
            address = parse_lightning_address(target, onions=bot.config.outgoing.onions)
            target = KEEP if address.host == bot.config.web.domain else str(address)  # a wallet of ours: balance
        except Rejected as refusal:
            return f"refused: {refusal}"
    stated = await _stated(bot, event.pubkey, source, target, stated_at=event.created_at, event=event.id)
    if stated is None:
        return "an older statement"
    changes = stated.changes
    told = _change_told(bot, stated.changed_to) if stated.changed_to else _second_told(bot, stated.second)
    if stated.changed_to or stated.second:
        changes += tuple(await bot.tell(Notice(event.pubkey, told, asked=False)))
    return Plan(f"target/{event.id}", changes=changes)


@dataclass(frozen=True, slots=True)
class _Stated:
    """What a statement changes; `changed_to` if the user is paid elsewhere from now on than before.

    `second` is a new place for what the first choice does not take.
    """

    changes: tuple[Change, ...]
    changed_to: str
    second: str


async def _stated(bot: Bot, pubkey: str, source: str, target: str, *, stated_at: int, event: str) -> _Stated | None:
    """Return what remembers `target`; None if `pubkey` has said something newer by the same way.

    Whoever was paid elsewhere before is paid at the new place after a cool-down only: a
    stolen key must not empty what its owner has earned meanwhile (F3).
    """
    stated_at, now = bot.believed_date(stated_at), bot.clock.now()
    said = await statements_of(bot.book, pubkey)
    row = said.get(source)
    if row is not None and row["stated_at"] > stated_at:
        return None
    owner = await bot.book.row("users", pubkey)
    before = in_order({name: one["target"] for name, one in said.items()})
    after = in_order({name: one["target"] for name, one in said.items()} | {source: target})
    noted = (owner["target"] if owner is not None else "") or (before[0] if before else "")
    place: Values = {"target": after[0]} if after else {}
    changed = bool(after and noted and after[0] != noted)
    if changed:
        place = {**place, "target_since": now}
    values: Values = {"pubkey": pubkey, "source": source, "target": target, "stated_at": stated_at, "event": event}
    look: Values = {"payout_check_at": now, **place}
    changes = (
        written("targets", f"{pubkey}/{source}", row, values),
        written("users", pubkey, owner, look if owner is not None else {**new_user(now), **look}),
    )
    second = [place for place in after[1:] if place == target and place not in before]
    return _Stated(changes, after[0] if changed else "", second[0] if second and not changed else "")


def _change_told(bot: Bot, target: str) -> str:
    return f"What you earn is sent to {shown(target)} from now on; {_pause_told(bot, 'the first payout there is made')}"


def _second_told(bot: Bot, target: str) -> str:
    return f"Where your first wallet takes no payout, {shown(target)} has its turn; {_pause_told(bot, 'it has one')}"


def _pause_told(bot: Bot, what: str) -> str:
    hours = -(-bot.config.payouts.target_cooldown_seconds // 3_600)
    return (
        f"{what} in {hours} hours."
        " If it was not you who changed it, somebody else has your key: write payout keep, and withdraw what is yours."
    )


async def payout(bot: Bot, asked: Asked) -> Reply:
    """`payout`, `payout <target>`, `payout keep`, `payout threshold <sats>`, both together, or `payout zaps on`."""
    match asked.words:
        case []:
            return Reply(await _payout_state(bot, asked.sender))
        case ["zaps", *_]:
            return await payout_zaps(bot, asked)
        case ["threshold", sats]:
            return _with_threshold(bot, asked, sats, Reply(""))
        case [target]:
            return await _with_target(bot, asked, target)
        case [target, "threshold", sats]:
            return _with_threshold(bot, asked, sats, await _with_target(bot, asked, target))
        case _:
            raise Rejected("invalid", "too many words")


async def _with_target(bot: Bot, asked: Asked, target: str) -> Reply:
    if target.lower() == KEEP:
        target = KEEP
    else:
        target = await _read_target(bot, target)
    stated = await _stated(bot, asked.sender, "registered", target, stated_at=asked.created_at, event=asked.rumor)
    if stated is None:
        raise Rejected("invalid", "you have said something newer")
    if stated.changed_to:
        return Reply(_change_told(bot, stated.changed_to), stated.changes)
    text = "What you earn stays your balance." if target == KEEP else f"What you earn is sent to {shown(target)}."
    return Reply(text, stated.changes)


async def _read_target(bot: Bot, text: str) -> str:
    """Return a target as it is stored: KEEP for a wallet of our own."""
    node = await bot.lightning.info()
    currency, onions = CURRENCIES[node.network], bot.config.outgoing.onions
    said = parse_target(text, currency=currency, now=bot.clock.now(), onions=onions)
    if isinstance(said, ChainAddress):
        if not bot.config.onchain.enabled:
            raise Rejected("invalid", "this service sends no bitcoin on-chain: name a Lightning Address or an offer")
        return KEEP if await bot.chain.is_own(said.text) else said.text
    ours = said.issuer_id == node.node_id if isinstance(said, Offer) else False
    ours = ours or (isinstance(said, LightningAddress) and said.host == bot.config.web.domain)
    return KEEP if ours else str(said)


def _with_threshold(bot: Bot, asked: Asked, sats: str, reply: Reply) -> Reply:
    threshold, now = parse_amount(f"{sats} sat"), bot.clock.now()
    values: Values = {"threshold_msat": threshold, "payout_check_at": now}
    row = Put("users", asked.sender, values, fresh=new_user(now))
    text = f"You are paid when your balance reaches {format_sat(threshold)}."
    return Reply(f"{reply.text} {text}".strip(), (*reply.changes, row))


async def _payout_state(bot: Bot, sender: str) -> str:
    rows = await bot.book.database.fetch(
        "SELECT payouts.*, zap_payouts.receipt FROM payouts LEFT JOIN zap_payouts ON zap_payouts.id = payouts.id"
        " WHERE pubkey = :pubkey ORDER BY payouts.created_at DESC, payouts.id LIMIT 5",
        pubkey=sender,
    )
    targets = await targets_of(bot.book, sender)
    where = f"What you earn is sent to {shown(targets[0])}." if targets else "What you earn stays your balance."
    return "\n".join([where, *(_line(row, bot.clock.now()) for row in rows)] if rows else [where, NOTHING_YET])


def _line(row: Row, now: int) -> str:
    """Return one payout as its owner sees it: what is not over yet with its age, for its money is held."""
    age = "" if row["state"] in {"paid", "stopped"} else f", for {_age(now - row['created_at'])}"
    why = f" ({row['reason']})" if row["reason"] else " (a zap; its receipt was seen)" if row["receipt"] else ""
    return f"{row['kind']} of {format_sat(row['amount_msat'])} to {shown(row['target'])}: {row['state']}{age}{why}"


def _age(seconds: int) -> str:
    minutes = max(0, seconds) // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"  # noqa: PLR2004  two hours


async def is_followed(bot: Bot, pubkey: str) -> bool:
    """Tell whether it matters where `pubkey` is paid and reached: a named contributor, a node, a user, a guest."""
    return (
        pubkey in bot.contributors
        or pubkey in bot.workers_allowed
        or await bot.book.row("users", pubkey) is not None
        or await has_spoken(bot, pubkey)
    )
