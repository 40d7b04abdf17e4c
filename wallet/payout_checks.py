"""Whose balance is due: each user that something happened to is looked at, and their payout is opened.

A look is asked for by whatever changes a balance, a target or a threshold, in the same
Plan. What is opened goes on in `payouts.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from relaybot.clock import Clock
from relaybot.errors import Rejected, Unavailable
from relaybot.loops import Stumbles
from wallet.accounts import user
from wallet.batch_rules import Quote
from wallet.book import Book
from wallet.ledger import Plan
from wallet.money import Msat, floor_to_sat
from wallet.opening import (
    DAY_SECONDS,
    Outflow,
    PayoutRules,
    left_today,
    plan_looked,
    plan_opened,
    whole_balance,
    whole_less,
)
from wallet.states import Rail
from wallet.targets import rail_of, targets_of

log = structlog.get_logger()

CHECKS_MAX = 200  # users looked at in one round
LATER_SECONDS = 3_600  # until the next look at somebody whose day's limit is reached

AskQuote = Callable[[str], Awaitable[Quote]]  # (address): Unavailable if nobody knows what fees are now
LookUp = Callable[[str], Awaitable[None]]  # (pubkey): ask the relays where this user wants to be paid

_OUTFLOW = """
SELECT COUNT(CASE WHEN next_at IS NOT NULL THEN 1 END) AS open_count,
       COALESCE(SUM(CASE WHEN created_at > :since THEN amount_msat ELSE 0 END), 0) AS day_msat
FROM payouts WHERE pubkey = :pubkey AND (next_at IS NOT NULL OR (created_at > :since AND state <> 'stopped'))
"""


class PayoutChecks:
    """Opens what is due; `open_due` is called by the service's loop."""

    def __init__(
        self,
        book: Book,
        clock: Clock,
        rules: PayoutRules,
        *,
        look_up: LookUp,
        quote: AskQuote,
        stumbles: Stumbles | None = None,
    ) -> None:
        self._book = book
        self._clock = clock
        self._rules = rules
        self._look_up = look_up
        self._quote = quote
        self._stumbles = stumbles or Stumbles(clock)

    async def open_due(self) -> bool:
        """Open a payout for each user whose balance is due; tell whether more users are waiting for a look."""
        paused = await self._book.row("pauses", "payouts")
        if paused is not None and paused["state"] != "open":
            return False  # whoever is due is looked at when it goes on
        rows = await self._book.database.fetch(
            "SELECT id FROM users WHERE payout_check_at <= :now ORDER BY payout_check_at LIMIT :limit",
            now=self._clock.now(),
            limit=CHECKS_MAX,
        )
        failed = False
        for row in rows:
            try:
                await self._stumbles.past("payout checks", row["id"], partial(self._open, row["id"]), otherwise=None)
            except Unavailable as error:  # this one is looked at again in the next round; the others go on
                log.warning("payout_not_opened", pubkey=row["id"], reason=str(error))
                failed = True
        return len(rows) == CHECKS_MAX and not failed

    async def _open(self, pubkey: str) -> None:
        if not await targets_of(self._book, pubkey):
            await self._look_up(pubkey)  # what is found comes in by the inbox, and asks for another look
        await self._book.decide(partial(self._decide_open, pubkey))

    async def _decide_open(self, pubkey: str) -> Plan | None:
        row = await self._book.row("users", pubkey)
        assert row is not None, f"no row of user {pubkey}"
        balance = await self._book.balance(user(pubkey))
        threshold = self._rules.threshold_msat if row["threshold_msat"] is None else row["threshold_msat"]
        targets = await targets_of(self._book, pubkey)
        if balance < threshold or not targets or row["withdrawals"] != "open":
            return plan_looked(row)
        amount, reserve = whole_balance(self._rules, balance)
        try:
            on_chain = await self._quote(targets[0]) if rail_of(targets[0]) is Rail.ONCHAIN else None
        except Rejected as refusal:  # an address of another network, say: nothing can go there
            log.warning("target_refused", pubkey=pubkey, reason=refusal.reason)
            return plan_looked(row)
        if on_chain is not None:
            amount, reserve = whole_less(balance, on_chain.reserve_msat), on_chain.reserve_msat
            amount = amount if amount >= on_chain.minimum_msat else Msat(0)
        if amount == 0 or await self._has_open_payout(pubkey):
            return plan_looked(row)
        now = self._clock.now()
        cooled_at = row["target_since"] + self._rules.cooldown_seconds if row["target_since"] else 0
        left = floor_to_sat(left_today(self._rules, await outflow_of(self._book, pubkey, now)))
        target, amount = targets[0], min(amount, left)
        later = not left or (on_chain is not None and (on_chain.is_dear(amount) or amount < on_chain.minimum_msat))
        if cooled_at > now or later:
            return plan_looked(row, again_at=max(cooled_at, now + LATER_SECONDS if later else 0))
        return plan_opened(row, target, rail=rail_of(target), amount=amount, reserve=reserve, now=now)

    async def _has_open_payout(self, pubkey: str) -> bool:
        sql = "SELECT 1 FROM payouts WHERE pubkey = :pubkey AND kind = 'payout' AND next_at IS NOT NULL LIMIT 1"
        return bool(await self._book.database.fetch(sql, pubkey=pubkey))


async def outflow_of(book: Book, pubkey: str, now: int) -> Outflow:
    """Return what of this user's money is under way or went out in the last 24 hours."""
    rows = await book.database.fetch(_OUTFLOW, pubkey=pubkey, since=now - DAY_SECONDS)
    return Outflow(int(rows[0]["open_count"]), Msat(int(rows[0]["day_msat"])))
