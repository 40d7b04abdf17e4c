"""What stands against sending a payout now: a user's or the operator's switch, our own limits, the node's liquidity.

Asked before an invoice is fetched and again before it is sent; the switches are also
guards of the Plan that sends (`payout_plans.switches`), so one that is thrown in between
is not missed. None of it fails a payout: it waits and says why.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from relaybot.clock import Clock
from relaybot.db.database import Row
from wallet.book import Book
from wallet.lightning import Lightning
from wallet.money import Msat
from wallet.opening import DAY_SECONDS, PayoutRules
from wallet.payout_plans import scopes_of
from wallet.states import PayoutKind
from wallet.switches import RECONCILIATION

log = structlog.get_logger()

# Batches of transactions on the chain count from when they are gathered.
_ON_THE_CHAIN = (
    "SELECT COALESCE(SUM(amount_msat), 0) AS amount_msat FROM payouts"
    " WHERE next_at IS NOT NULL AND rail = 'onchain' AND state = 'paying'"
)
_PAID_SINCE = (
    "SELECT COALESCE(SUM(paid_msat), 0) AS paid_msat FROM payouts WHERE state = 'paid' AND updated_at > :since"
)


@dataclass(frozen=True, slots=True)
class _Room:
    """What may go out, as it was in one second."""

    second: int
    spendable_msat: int
    paid_msat: int  # in the 24 hours before


class Obstacles:
    """Reads what stands against a payout; each answer is in words for its owner, or None."""

    def __init__(self, book: Book, lightning: Lightning, clock: Clock, rules: PayoutRules) -> None:
        self._book = book
        self._lightning = lightning
        self._clock = clock
        self._rules = rules
        self._room = _Room(-1, 0, 0)

    async def closed(self, pubkey: str) -> str | None:
        """Return why nothing may leave from this user, if it may not."""
        owner = await self._book.row("users", pubkey)
        if owner is not None and owner["withdrawals"] == "open":
            return None
        return closed_words(owner["withdrawals_reason"] if owner is not None else "")

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
        if self._room.second != self._clock.now():  # asked once a second: it is no guard, the node has the last word
            self._room = await self._look()
        if self._room.spendable_msat < payout["amount_msat"] + payout["reserve_msat"]:
            log.warning("liquidity_low", payout=payout["id"], spendable_msat=self._room.spendable_msat)
            return "no outbound liquidity: it goes on when there is some"
        if self._room.paid_msat + payout["amount_msat"] > self._rules.day_msat_max:
            log.warning("day_limit_reached", payout=payout["id"], paid_msat=self._room.paid_msat)
            return "the day's limit of all payouts is reached: it goes on later"
        return None

    async def room_today(self) -> Msat:
        """Return what may go out yet within the day's limit for all users."""
        return Msat(max(0, self._rules.day_msat_max - await self._paid_msat()))

    async def _look(self) -> _Room:
        return _Room(self._clock.now(), await self._lightning.spendable_msat(), await self._paid_msat())

    async def _paid_msat(self) -> int:
        paid = await self._book.database.fetch(_PAID_SINCE, since=self._clock.now() - DAY_SECONDS)
        on_their_way = await self._book.database.fetch(_ON_THE_CHAIN)
        return int(paid[0]["paid_msat"]) + int(on_their_way[0]["amount_msat"])


def closed_words(reason: str) -> str:
    """Return what a user is told whose withdrawals are closed."""
    return f"withdrawals are closed for you: {reason}" if reason else "withdrawals are closed for you: ask the operator"


def paused_words(row: Row) -> str:
    """Return what is said of something that is paused, a row of `pauses`."""
    scope, reason = row["id"], row["reason"]
    if row["paused_by"] == RECONCILIATION:
        return f"paused while the books are checked ({scope})"
    return f"paused by the operator ({scope}): {reason}" if reason else f"paused by the operator ({scope})"
