"""How often a day the service speaks with somebody who never had money here: talk costs us, and them nothing."""

from __future__ import annotations

from handlers.bot import Bot, written
from relaybot.errors import Rejected
from wallet.accounts import person
from wallet.ledger import Change
from wallet.purses import purse_of

DAY = 86_400
_COUNTS = 1_000  # a cursor holds day and count in one number: more than any limit


async def heard(bot: Bot, pubkey: str) -> tuple[Change, ...]:
    """Return the change that counts a stranger's message of today; none for who was funded once, or has a balance.

    Rejected if the stranger was answered `dm.stranger_answers_per_day` times today.
    """
    if not await is_stranger(bot, pubkey):
        return ()
    today, cursor = bot.clock.now() // DAY, _cursor(pubkey)
    row = await bot.book.row("cursors", cursor)
    day, count = divmod(row["value"], _COUNTS) if row is not None else (today, 0)
    count = count + 1 if day == today else 1
    allowed = bot.config.dm.stranger_answers_per_day
    if count > allowed:
        raise Rejected("rate-limited", "a stranger who was answered often enough today", allowed=allowed)
    return (written("cursors", cursor, row, {"value": today * _COUNTS + count}),)


async def is_stranger(bot: Bot, pubkey: str) -> bool:
    """Tell whether somebody never had money here: such keys cost nothing, so there are as many as one likes."""
    user = await bot.book.row("users", pubkey)
    if user is not None and user["first_funded_at"] is not None:
        return False
    return not (await purse_of(bot.book.database, person(pubkey))).has.total


async def has_spoken(bot: Bot, pubkey: str) -> bool:
    """Tell whether a stranger has ever written to us."""
    return await bot.book.row("cursors", _cursor(pubkey)) is not None


def _cursor(pubkey: str) -> str:
    return f"strangers/{pubkey}"
