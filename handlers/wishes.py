"""What people want of us beside their money: `notices` of gifts, and what of theirs is public, by zaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from handlers.answers import is_public
from handlers.bot import Bot, new_user, written
from handlers.conversation import Asked, Reply
from relaybot.errors import Rejected
from relaybot.nostr import nip57
from relaybot.nostr.event import Event
from splits.compute import Part
from splits.tips import REFERRER

TAGS_MAX = 20  # of one result: who got most; the others share in what the agent is zapped

_NOTICES = {
    "on": "You are told when you are given something: all of a minute in one message.",
    "off": "You are not told any more when you are given something; history shows it.",
}
_PAYOUT_ZAPS = {
    "on": "Payouts to your Lightning Address are public zaps, where its wallet does that: everybody can read that this"
    " service paid you, how much, and when.",
    "off": "Your payouts are private.",
}
_ZAPS = {
    "on": "Results of public jobs to which you contribute name you, with your part, so that people can zap you.",
    "off": "No result names you.",
}


async def notices(bot: Bot, asked: Asked) -> Reply:
    """`notices`, `notices on`, `notices off`: whether somebody is told of gifts."""
    return await _wish(bot, asked, "notices", _NOTICES)


async def zaps(bot: Bot, asked: Asked) -> Reply:
    """`zaps`, `zaps on`, `zaps off`: whether results of public jobs carry a `zap` tag for the sender."""
    return await _wish(bot, asked, "zaps", _ZAPS)


async def payout_zaps(bot: Bot, asked: Asked) -> Reply:
    """`payout zaps`, `payout zaps on`, `payout zaps off`: whether payouts to the sender are public zaps."""
    return await _wish(bot, replace(asked, words=asked.words[1:]), "payout_zaps", _PAYOUT_ZAPS)


async def _wish(bot: Bot, asked: Asked, column: str, words: dict[str, str]) -> Reply:
    row = await bot.book.row("users", asked.sender)
    match [word.lower() for word in asked.words]:
        case []:
            return Reply(words[str((row or new_user(0))[column])])
        case [wish] if wish in words:
            fresh = {**new_user(bot.clock.now()), column: wish}
            return Reply(words[wish], (written("users", asked.sender, row, fresh if row is None else {column: wish}),))
        case _:
            raise Rejected("invalid", "on, or off")


async def zap_tags(bot: Bot, agent: str, request: Event, parts: Sequence[Part]) -> list[tuple[str, ...]]:
    """Return the tags by which a result names those of its contributors who want it (NIP-57, Appendix G).

    Weights are what each was paid; the agent stands for all others. None on a private result, or if nobody wants it.
    """
    weights: Counter[str] = Counter()
    for part in parts:
        if part.to is not None and part.role != REFERRER:
            weights[part.to] += part.amount_msat
    if not is_public(request) or not weights:
        return []
    users = await bot.book.database.rows_by_id("users", weights.keys())
    named = [(who, msat) for who, msat in weights.most_common() if who in users and users[who]["zaps"] == "on"]
    if not named:
        return []
    rest = sum(weights.values()) - sum(msat for _, msat in named[:TAGS_MAX])
    others = [(agent, rest)] if bot.config.web.domain is not None else []  # else the agent has no address to zap
    return nip57.zap_tags([*named[:TAGS_MAX], *others], bot.config.relay.public_url)
