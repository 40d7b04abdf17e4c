"""What stands against sending a payout now: a user's or the operator's switch, our own limits, the node's liquidity.

Asked before an invoice is fetched and again before it is sent; the switches are also
guards of the Plan that sends (`payout_plans.switches`), so one that is thrown in between
is not missed. None of it fails a payout: it waits and says why.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from relaybot.clock import Clock
from relaybot.db.database import Row
from wallet.accounts import NODE_LIGHTNING, owed
from wallet.book import Book
from wallet.lightning import Lightning
from wallet.money import Msat
from wallet.opening import DAY_SECONDS, PayoutRules
from wallet.payout_plans import scopes_of
from wallet.states import PayoutKind
from wallet.switches import RECONCILIATION, RESTORE

log = structlog.get_logger()

OWING = "you owe for a payment that was taken back, and that is paid first"

# What has left in 24 hours, and what is about to: prepared, or sent and its end not known.
_GONE = """
SELECT pubkey, paid_msat AS msat FROM payouts WHERE state = 'paid' AND updated_at > :since
UNION ALL SELECT pubkey, amount_msat FROM payouts WHERE next_at IS NOT NULL AND state = 'paying'
"""
_GONE_OF_ALL = f"SELECT COALESCE(SUM(msat), 0) AS msat FROM ({_GONE}) AS gone"  # noqa: S608  our own words
# Of each user only what is more than the same user brought to the node meanwhile: by invoices, as the node said, and on
# the chain. What was paid inside the book came from another user, and does not count.
_LOST_BY_ALL = f"""
SELECT COALESCE(SUM(CASE WHEN brought_msat < msat THEN msat - brought_msat ELSE 0 END), 0) AS msat FROM (
    SELECT msat, (
        SELECT COALESCE(SUM(entries.amount_msat), 0) FROM invoices
        JOIN plans ON plans.id = 'invoice/' || invoices.payment_hash || '/settled'
        JOIN entries ON entries.plan = plans.number
        JOIN accounts ON accounts.number = entries.debit AND accounts.id = :lightning
        WHERE invoices.owner = gone.pubkey AND invoices.created_at > :since
    ) + (
        SELECT COALESCE(SUM(deposits.amount_msat), 0) FROM deposits
        WHERE deposits.owner = gone.pubkey AND deposits.created_at > :since AND state IN ('credited', 'buried')
    ) AS brought_msat
    FROM (SELECT pubkey, SUM(msat) AS msat FROM ({_GONE}) AS each_one GROUP BY pubkey) AS gone
) AS net
"""  # noqa: S608  our own words


@dataclass(frozen=True, slots=True)
class _Room:
    """What may go out, as it was in one second."""

    second: int
    spendable_msat: int
    lost_msat: int  # what left in the 24 hours before; of it, if it would be too much, what those paid did not bring


class Obstacles:
    """Reads what stands against a payout; each answer is in words for its owner, or None."""

    def __init__(self, book: Book, lightning: Lightning, clock: Clock, rules: PayoutRules) -> None:
        self._book = book
        self._lightning = lightning
        self._clock = clock
        self._rules = rules
        self._room = _Room(-1, 0, 0)
        self._looking = asyncio.Lock()

    async def closed(self, pubkey: str) -> str | None:
        """Return why nothing may leave from this user, if it may not: they are closed, or owe us."""
        owner = await self._book.row("users", pubkey)
        if owner is None or owner["withdrawals"] != "open":
            return closed_words(owner["withdrawals_reason"] if owner is not None else "")
        return OWING if await self._book.balance(owed(pubkey)) < 0 else None

    async def switched_off(self, payout: Row) -> str | None:
        """Return what is paused of which this payout is a part, and why."""
        found = await self._book.database.rows_by_id("pauses", scopes_of(payout))
        for _, row in sorted(found.items()):
            if row["state"] != "open":
                return paused_words(row)
        return None

    async def before_asking(self, payout: Row) -> str | None:
        """Return what stands against asking for an invoice now."""
        return await self.switched_off(payout) or await self.cooling(payout) or await self.lacks(payout)

    async def cooling(self, payout: Row) -> str | None:
        """Return why a payout waits whose owner was paid elsewhere until a short while ago (F3)."""
        owner = await self._book.row("users", payout["pubkey"])
        asked_for = PayoutKind(payout["kind"]) is PayoutKind.WITHDRAWAL
        if owner is None or asked_for or not owner["target_since"]:
            return None
        left = owner["target_since"] + self._rules.cooldown_seconds - self._clock.now()
        return "the target was changed a short while ago: it goes there after a pause" if left > 0 else None

    async def lacks(self, payout: Row) -> str | None:
        """Return what of ours is missing: outbound liquidity, or room within the day's limit for all users."""
        amount, reserve = payout["amount_msat"], payout["reserve_msat"]
        async with self._looking:
            if self._room.second != self._clock.now():  # once a second: it is no guard, the node has the last word
                spendable = await self._lightning.spendable_msat()
                self._room = _Room(self._clock.now(), spendable, await self._lost_msat(amount))
        room = self._room
        if room.spendable_msat < amount + reserve:
            log.warning("liquidity_low", payout=payout["id"], spendable_msat=room.spendable_msat)
            return "no outbound liquidity: it goes on when there is some"
        if room.lost_msat + amount > self._rules.day_msat_max:
            log.warning("day_limit_reached", payout=payout["id"], lost_msat=room.lost_msat)
            return "the day's limit of all payouts is reached: it goes on later"
        self._room = _Room(room.second, room.spendable_msat - amount - reserve, room.lost_msat + amount)
        return None

    async def room_today(self) -> Msat:
        """Return what may go out yet within the day's limit for all users."""
        return Msat(max(0, self._rules.day_msat_max - await self._lost_msat(self._rules.day_msat_max)))

    async def _lost_msat(self, wanted_msat: int) -> int:
        """Return what left in 24 hours; what the same users brought counts as soon as `wanted_msat` more need it to."""
        since = self._clock.now() - DAY_SECONDS
        gone = int((await self._book.database.fetch(_GONE_OF_ALL, since=since))[0]["msat"])
        if gone + wanted_msat <= self._rules.day_msat_max:
            return gone
        return int((await self._book.database.fetch(_LOST_BY_ALL, since=since, lightning=NODE_LIGHTNING))[0]["msat"])


def closed_words(reason: str) -> str:
    """Return what a user is told whose withdrawals are closed."""
    return f"withdrawals are closed for you: {reason}" if reason else "withdrawals are closed for you: ask the operator"


def paused_words(row: Row) -> str:
    """Return what is said of something that is paused, a row of `pauses`."""
    scope, reason = row["id"], row["reason"]
    if row["paused_by"] in {RECONCILIATION, RESTORE}:
        return f"paused while the books are checked ({scope})"
    return f"paused by the operator ({scope}): {reason}" if reason else f"paused by the operator ({scope})"
