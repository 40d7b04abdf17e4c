"""Where contributors want to be paid: kind 10133 (payto), the profile's lud16, or what they register with us."""

from __future__ import annotations

import json

from handlers.bot import Bot, check_payouts
from relaybot.errors import Rejected
from relaybot.inbox import Decision
from relaybot.nostr.event import Event
from wallet.ledger import Plan, Put, Values
from wallet.lnurl import parse_lightning_address

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
    named = [tag[2] for tag in event.tags_named("payto") if len(tag) > 2 and tag[1] == "lightning"]  # noqa: PLR2004
    return await plan_target(bot, event, "10133", named[0] if named else "")


async def plan_target(bot: Bot, event: Event, source: str, target: str) -> Decision:
    """Return the Plan that remembers `target` as what `source` says; '' forgets it. Older events change nothing."""
    if target:
        try:
            target = str(parse_lightning_address(target))
        except Rejected as refusal:
            return f"refused: {refusal}"
    row_id = f"{event.pubkey}/{source}"
    row = await bot.book.row("targets", row_id)
    if row is not None and row["stated_at"] > event.created_at:
        return "an older statement"
    values: Values = {
        "pubkey": event.pubkey,
        "source": source,
        "target": target,
        "stated_at": event.created_at,
        "event": event.id,
    }
    changes = (Put("targets", row_id, values), *check_payouts([event.pubkey], bot.clock.now()))
    return Plan(f"target/{event.id}", changes=changes)


async def is_followed(bot: Bot, pubkey: str) -> bool:
    """Tell whether the payout targets of `pubkey` matter to us: a named contributor, a node, a user."""
    return (
        pubkey in bot.contributors or pubkey in bot.workers_allowed or await bot.book.row("users", pubkey) is not None
    )
