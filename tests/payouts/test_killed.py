"""The process dies at every border of a payout's life: commits and outside calls. One payment, right books."""

from __future__ import annotations

import asyncio

import pytest

from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.scripts import Ending, Outcome
from tests.payouts.desk import Desk, Killed, Life

# What an undisturbed payout passes, in order, from the moment it is due. `test_c7_these_are_all_borders` holds it.
BORDERS = (
    "commit:before opened",
    "commit:after opened",
    "spendable_msat:before",
    "spendable_msat:after",
    "invoice:before",
    "invoice:after",
    "commit:before prepared",
    "commit:after prepared",
    "commit:before sent",
    "commit:after sent",
    "pay:before",
    "pay:after",
    "commit:before paid",
    "commit:after paid",
)
# The same after a call that ended in doubt: the records are asked, and what they say is noted.
DOUBTFUL = (
    *BORDERS[:12],
    "payment:before",
    "payment:after",
    "info:before",
    "info:after",
    "htlc_hashes:before",
    "htlc_hashes:after",
    "commit:before noted",
    "commit:after noted",
)


def named(border: str) -> str:
    return border.partition(" ")[0]


class Border:
    """A probe that counts what it passes, and kills at one of them."""

    def __init__(self, at: int | None = None) -> None:
        self.passed: list[str] = []
        self.armed = False
        self._at = at

    def __call__(self, border: str) -> None:
        if not self.armed:
            return
        self.passed.append(border)
        if len(self.passed) - 1 == self._at:
            self.armed = False
            raise Killed(border)


async def pay_out(life: Life) -> None:
    """Do what the service's loops do to one payout that goes well."""
    await life.checks.open_due()
    await life.step()
    await life.step()


async def ends_right(desk: Desk) -> None:
    """Start again on the same file, go on until nothing is open, and look at everything."""
    async with desk.life() as life:
        await life.go_on()
        assert (await life.payout())["state"] == "paid"
        assert desk.received("alice") == [1_980_000]
        assert await life.balance() == 20_000 - 1_198
        assert await life.held() == 0
        assert await life.differences() == []
        paid = [one for one in await life.attempts() if one["state"] == "paid"]
        assert len(paid) == 1


async def test_c7_these_are_all_borders_of_a_payout(desk: Desk) -> None:
    probe = Border()
    async with desk.life(probe) as life:
        await life.earn("alice", 2_000)
        probe.armed = True
        await pay_out(life)
    assert probe.passed == [named(border) for border in BORDERS]


@pytest.mark.parametrize("at", range(len(BORDERS)), ids=lambda at: BORDERS[at].replace(" ", "-"))
async def test_c7_killed_anywhere_it_ends_with_one_payment_and_right_books(desk: Desk, at: int) -> None:
    probe = Border(at)
    async with desk.life(probe) as life:
        await life.earn("alice", 2_000)
        probe.armed = True
        await life.until_killed(pay_out(life))
    assert probe.passed[-1] == named(BORDERS[at])
    await ends_right(desk)


async def test_c7_these_are_all_borders_of_a_call_that_ends_in_doubt(desk: Desk) -> None:
    probe = Border()
    desk.script(Outcome.FAIL, code=205)
    async with desk.life(probe) as life:
        await life.earn("alice", 2_000)
        probe.armed = True
        await pay_out(life)
    assert probe.passed == [named(border) for border in DOUBTFUL]


@pytest.mark.parametrize("at", range(len(BORDERS) - 2, len(DOUBTFUL)), ids=lambda at: DOUBTFUL[at].replace(" ", "-"))
@pytest.mark.parametrize(
    ("outcome", "code"),
    [(Outcome.FAIL, 205), (Outcome.FAIL, 203)],
    ids=["nothing was sent", "what was sent failed"],
)
async def test_c7_killed_after_a_call_in_doubt_it_is_paid_once_all_the_same(
    desk: Desk, outcome: Outcome, code: int, at: int
) -> None:
    desk.script(outcome, code=code)
    probe = Border(at)
    async with desk.life(probe) as life:
        await life.earn("alice", 2_000)
        probe.armed = True
        await life.until_killed(pay_out(life))
    await ends_right(desk)


@pytest.mark.parametrize("ending", [Ending.SETTLE, Ending.FAIL])
async def test_c7_killed_during_the_call_the_payment_goes_on_without_its_caller(
    desk: Desk, network: SimulatedNetwork, ending: Ending
) -> None:
    desk.script(Outcome.HOLD)
    async with desk.life() as life:
        await life.open("alice")
        await life.step()
        call = asyncio.create_task(life.step())
        attempt = await life.attempt()
        await life.in_flight(attempt["id"])
        call.cancel()
        await asyncio.wait({call})
    async with desk.life() as life:
        for _ in range(5):
            await life.look()
        assert (await life.attempt())["state"] == "sent"
        assert await life.held() == 2_000_000
        assert life.node.calls == []
        network.payments.release(payment_hash=attempt["id"], ending=ending)
    await ends_right(desk)


async def test_c7_killed_again_and_again_at_every_border_it_passes_it_is_paid_once(desk: Desk) -> None:
    """Each life is killed at the first border it has not yet been killed at, by name and payout state."""
    seen: set[str] = set()
    async with desk.life() as life:
        await life.earn("alice", 2_000)
    for _ in range(40):
        probe = _FirstTime(seen)
        async with desk.life(probe) as life:
            before = len(seen)
            task = asyncio.ensure_future(life.go_on())
            await asyncio.wait({task, life.committing}, return_when=asyncio.FIRST_COMPLETED)
            over = task.done() and not task.cancelled() and task.exception() is None
            task.cancel()
            await asyncio.wait({task})
            if over:
                break
            assert len(seen) == before + 1
    assert len(seen) > 12
    await ends_right(desk)


class _FirstTime:
    """A probe that kills at each border of the whole story once: the n-th commit of a life, the n-th call."""

    def __init__(self, seen: set[str]) -> None:
        self._seen = seen
        self._passed = 0

    def __call__(self, border: str) -> None:
        self._passed += 1
        name = f"{self._passed} {border}"
        if name not in self._seen:
            self._seen.add(name)
            raise Killed(border)
