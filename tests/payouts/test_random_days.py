"""Days on which everything goes wrong by chance: earnings, outages, deaths, jumps of the clock; then a quiet evening.

After every Plan the invariants hold (CheckedBook); in the evening every msat is where it should be.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from relaybot.simulator.scripts import Ending, Outcome
from tests.payouts.desk import Desk, Killed, Life, person
from wallet.accounts import CAPITAL, EXPENSE_LIGHTNING, NODE_LIGHTNING, user
from wallet.money import from_sat

NAMES = ("alice", "bob", "carol", "dave")
STEPS = 80
MISHAPS: tuple[tuple[Outcome, dict[str, Any]], ...] = (
    (Outcome.FAIL, {"code": 203}),
    (Outcome.FAIL, {"code": 205}),
    (Outcome.FAIL, {"code": 206}),
    (Outcome.FAIL, {"code": 209}),
    (Outcome.LOST_CONNECTION, {}),
    (Outcome.LOST_CONNECTION, {"ending": "fail"}),
    (Outcome.ERROR_WHILE_PENDING, {}),
    (Outcome.WHOLE_MAXFEE, {}),
)


class Fuse:
    """A probe that kills when it has burnt down."""

    def __init__(self) -> None:
        self.left: int | None = None

    def __call__(self, border: str) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Killed(border)


class Day:
    """One random day."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self._desk = desk
        self._random = random.Random(seed)
        self.earned: Counter[str] = Counter()
        self.deaths = 0

    async def pass_by(self) -> None:
        """Let everything happen."""
        left = STEPS
        while left > 0:
            fuse = Fuse()
            async with self._desk.life(fuse) as life:
                alive = True
                while alive and left > 0:
                    left -= 1
                    await self._something_happens(life)
                    fuse.left = self._random.randrange(40)
                    alive = await self._work(life)
                    fuse.left = None
                self.deaths += not alive

    async def evening(self, life: Life) -> None:
        """End all mishaps, and go on until nothing is open."""
        self._desk.network.set_connected("service", True)
        self._desk.network.set_synced("service", True)
        self._desk.network._store.run("DELETE FROM scripts")
        self._desk.network.payments.release(payment_hash=None, ending=None)
        await life.go_on(rounds=1_000)

    async def _something_happens(self, life: Life) -> None:
        chance, desk = self._random, self._desk
        match chance.randrange(8):
            case 0 | 1:
                name, sat = chance.choice(NAMES), chance.randrange(50, 5_000)
                await life.earn(name, sat)
                self.earned[name] += from_sat(sat)
            case 2:
                outcome, more = chance.choice(MISHAPS)
                desk.script(outcome, **more)
            case 3:
                desk.clock.advance(chance.choice((1, 10, 70, 700, 5_000)))
            case 4:
                desk.network.set_connected("service", chance.random() < 0.6)
            case 5:
                desk.network.set_synced("service", chance.random() < 0.7)
            case 6:
                desk.network.payments.release(payment_hash=None, ending=chance.choice((Ending.SETTLE, Ending.FAIL)))
            case _:
                desk.clock.advance(10)

    async def _work(self, life: Life) -> bool:
        """Let the service do what is due; tell whether it lived."""
        work = asyncio.ensure_future(self._round(life))
        await asyncio.wait({work, life.committing}, return_when=asyncio.FIRST_COMPLETED)
        if life.committing.done() or isinstance(work.exception(), Killed):
            work.cancel()
            await asyncio.wait({work})
            return False
        await work
        return True

    async def _round(self, life: Life) -> None:
        await life.checks.open_due()
        for payout, _ in await life.payouts.queue.due():
            await life.payouts.step(payout)


@pytest.mark.parametrize("seed", range(3))
async def test_h2_whatever_goes_wrong_in_the_evening_every_msat_is_where_it_should_be(desk: Desk, seed: int) -> None:
    day = Day(desk, seed)
    await day.pass_by()
    async with desk.life() as life:
        await day.evening(life)
        paid: Counter[str] = Counter()
        fees: Counter[str] = Counter()
        rows = await life.book.database.fetch("SELECT * FROM payouts")
        for row in rows:
            assert row["state"] in {"paid", "stopped"}
            paid[row["pubkey"]] += row["paid_msat"]
            fees[row["pubkey"]] += row["fee_msat"]
        for name in NAMES:
            key = person(name)
            assert sum(desk.received(name)) == paid[key]
            assert await life.book.balance(user(key)) == day.earned[name] - paid[key] - fees[key]
        assert await life.book.balance(NODE_LIGHTNING) == paid.total() + fees.total()
        assert await life.book.balance(CAPITAL) == -day.earned.total()
        assert await life.book.balance(EXPENSE_LIGHTNING) == 0
        assert await life.differences() == []
    assert day.deaths > 0
    assert len(rows) > 3
