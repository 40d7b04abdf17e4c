"""The standing look at the node: whether the books agree, can all be paid, and is no more there than should be.

Theory of operation. Every few minutes what the node did by itself is booked, and both books
are compared: whole at the first look, once a day, and whenever something differs, else from
where the last look ended (`Standing`). What differs although nothing under way explains it (`under_way.py`) is looked
at again some seconds later. If it still differs, contributors' payouts and all that users
send away are paused, by the switch the operator has, and an alarm says which side has how
much more. Looks go on every few seconds until one finds that the books agree; then what was
paused for this reason goes on by itself. What the operator paused stays paused. Coins that came
and are nobody's deposit pause nothing: whoever has seen our change could send such (ADR 30).

While a restore has closed what goes out, payments that were made after the backup are booked
to their payouts first (`replay.py`).

Nothing is sent before the first look is over (`begun`), for the book may be yesterday's (H3).
The pause is a row of the book: a crash leaves it, and the first look after it decides anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from relaybot.alarms import Alarms
from relaybot.clock import Clock
from relaybot.db.database import Row
from relaybot.figures import gauge
from wallet.book import Book
from wallet.chain import Chain, OutputState
from wallet.feed import Difference, sum_of, who_has_more
from wallet.figures import stuck_payments
from wallet.ledger import Plan
from wallet.lightning import Lightning
from wallet.money import Msat, format_sat
from wallet.reconcile import Standing, book_by_rule
from wallet.replay import replay
from wallet.switches import PAUSED, PAUSED_BY_DOUBT, RECONCILIATION, RESTORED, plan_pause, plan_resume
from wallet.under_way import compare

log = structlog.get_logger()

AGAIN_SECONDS = 5  # to the next look while something differs
WHOLE_SECONDS = 86_400  # until both books are read from their beginning again, though nothing differs
REST = 9  # times as long as a look took, at least: a long book is not read all the time
DIFFER, LIQUIDITY, HOT_WALLET, STUCK = "books_differ", "liquidity_low", "hot_wallet_full", "payments_stuck"
UNASKED = "coins_unasked"

_WAITING = """
SELECT COALESCE(SUM(amount_msat + reserve_msat), 0) AS msat FROM payouts
WHERE next_at IS NOT NULL AND rail = 'lightning' AND state IN ('open', 'waiting')
"""


class Watch:
    """Looks at the node; `step` is called by the service's loop every `AGAIN_SECONDS`."""

    def __init__(
        self,
        book: Book,
        lightning: Lightning,
        chain: Chain,
        clock: Clock,
        alarms: Alarms,
        *,
        seconds: int,
        stuck_seconds: int,
        hot_wallet_msat_max: Msat,
    ) -> None:
        self.begun = asyncio.Event()  # the books agreed, or what goes out is paused
        self._book = book
        self._lightning = lightning
        self._chain = chain
        self._clock = clock
        self._alarms = alarms
        self._seconds = seconds
        self._stuck_seconds = stuck_seconds
        self._hot_wallet_msat_max = hot_wallet_msat_max
        self._differed: frozenset[str] = frozenset()  # at the last look
        self._unasked: frozenset[str] = frozenset()  # the same of coins that came by themselves
        self._looked_at = self._rest = self._whole_at = 0
        self._standing = Standing()

    async def step(self) -> bool:
        """Look if it is time to; never asks for another step at once. Unavailable if the node does not answer."""
        again = not self.begun.is_set() or bool(self._differed)
        pause = max(AGAIN_SECONDS, self._rest) if again else max(self._seconds, self._rest)
        if not 0 <= self._clock.now() - self._looked_at < pause:  # a clock that was set back looks at once
            await self.look()
        return False

    async def look(self) -> None:
        """Look once, and pause or let go on what follows from it."""
        began = self._clock.now()
        if not 0 <= began - self._whole_at < WHOLE_SECONDS:
            self._standing.forget()
        is_whole = not self._standing.is_read
        await book_by_rule(self._book, self._lightning, self._chain, self._standing)
        found = await self._compared()
        if found and await self._is_restored() and await replay(self._book, self._lightning, _keys(found), began):
            found = await self._compared()
        if is_whole or found:
            self._whole_at = began
        left = sum_of(found)
        self._alarms.note(
            gauge("books_looked_at", began),
            gauge("books_differ", len(found)),
            gauge("books_differ_msat", left.lightning, where="lightning"),
            gauge("books_differ_msat", left.onchain, where="onchain"),
        )
        self._tell_unasked([one for one in found if one.is_unasked])
        await self._follow([one for one in found if not one.is_unasked])
        await self._look_at_funds()
        self._looked_at = self._clock.now()
        self._rest = REST * max(0, self._looked_at - began)

    async def _compared(self) -> tuple[Difference, ...]:
        async with self._book.database.snapshot() as reader:
            return (await compare(reader, self._lightning, self._chain, self._standing)).differences

    async def _follow(self, found: Sequence[Difference]) -> None:
        doubt = [one for one in found if one.key in self._differed]
        self._differed = frozenset(_keys(found))
        if doubt:
            await self._pause()
            self._alarms.report(DIFFER, f"{who_has_more(doubt)}: payouts and withdrawals are paused")
            self.begun.set()
        elif not found:
            await self._resume()
            self._alarms.report(DIFFER, None)
            self.begun.set()

    def _tell_unasked(self, came: Sequence[Difference]) -> None:
        """Tell the operator of coins that are nobody's deposit; were it to stop us, anybody could, with dust."""
        stay = [one for one in came if one.key in self._unasked]
        self._unasked = frozenset(_keys(came))
        sum_ = format_sat(Msat(sum_of(stay).onchain))
        words = f"{sum_} came in coins and are nobody's deposit, such as those of {stay[0].key}" if stay else None
        self._alarms.report(UNASKED, words, stops=False)

    async def _look_at_funds(self) -> None:
        now, spendable = self._clock.now(), await self._lightning.spendable_msat()
        waiting = (await self._book.database.fetch(_WAITING))[0]["msat"]
        self._alarms.note(gauge("payouts_waiting_msat", int(waiting)))
        few = f"payouts of {format_sat(waiting)} wait, and the channels can send {format_sat(spendable)}"
        self._alarms.report(LIQUIDITY, few if spendable < waiting else None, stops=False)
        coins = sum(one.amount_msat for one in await self._chain.outputs() if one.state is OutputState.CONFIRMED)
        full = f"the node holds more than {format_sat(self._hot_wallet_msat_max)}: move some to where no service runs"
        is_full = spendable + coins > self._hot_wallet_msat_max
        self._alarms.report(HOT_WALLET, full if is_full else None, stops=False)
        stuck = await stuck_payments(self._book.database, before=now - self._stuck_seconds)
        unknown = f"the end of {stuck} payments is not known for too long: relaybot payouts list --stuck"
        self._alarms.report(STUCK, unknown if stuck else None, stops=False)

    async def _is_restored(self) -> bool:
        row = await self._book.row("pauses", RESTORED)
        return row is not None and row["state"] == PAUSED

    async def _pause(self) -> None:
        for row in await self._switches():
            await self._throw(row, plan_pause(row, reason="", by=RECONCILIATION, now=self._clock.now()))

    async def _resume(self) -> None:
        for row in await self._switches():
            await self._throw(row, plan_resume(row, by=RECONCILIATION, now=self._clock.now()))

    async def _switches(self) -> list[Row]:
        rows = await self._book.database.rows_by_id("pauses", PAUSED_BY_DOUBT)
        return [rows[scope] for scope in PAUSED_BY_DOUBT]

    async def _throw(self, row: Row, plan: Plan | None) -> None:
        """Apply a switch; if somebody else was faster, the next look sees it."""
        if plan is not None and (await self._book.apply(plan)).done:
            log.warning("switched", scope=row["id"], before=row["state"], by=RECONCILIATION)


def _keys(found: Sequence[Difference]) -> list[str]:
    return [one.key for one in found]
