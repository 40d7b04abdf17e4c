"""Where contributors want to be paid: kind 10133 (payto), the profile's lud16, or what they register with us."""

from __future__ import annotations

import json

from handlers.bot import Bot, check_payouts, written
from relaybot.errors import Rejected
from relaybot.inbox import Decision
from relaybot.nostr.event import Event
from wallet.destinations import parse_lightning_address
from wallet.ledger import Change, Plan, Values

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
            target = str(parse_lightning_address(target))
        except Rejected as refusal:
            return f"refused: {refusal}"
    changes = await stated_target(bot, event.pubkey, source, target, stated_at=event.created_at, event=event.id)
    return Plan(f"target/{event.id}", changes=changes) if changes else "an older statement"


async def stated_target(
    bot: Bot, pubkey: str, source: str, target: str, *, stated_at: int, event: str
) -> tuple[Change, ...]:
    """Return the changes that remember `target`; none if `pubkey` has said something newer by the same way."""
    stated_at = bot.believed_date(stated_at)
    row_id = f"{pubkey}/{source}"
    row = await bot.book.row("targets", row_id)
    if row is not None and row["stated_at"] > stated_at:
        return ()
    values: Values = {"pubkey": pubkey, "source": source, "target": target, "stated_at": stated_at, "event": event}
    return (written("targets", row_id, row, values), *check_payouts([pubkey], bot.clock.now()))


async def is_followed(bot: Bot, pubkey: str) -> bool:
    """Tell whether the payout targets of `pubkey` matter to us: a named contributor, a node, a user."""
    return (
        pubkey in bot.contributors or pubkey in bot.workers_allowed or await bot.book.row("users", pubkey) is not None
    )
