"""Several at once: payouts beside one that hangs, executor beside poller, process beside process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from relaybot.errors import Unavailable
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.scripts import Ending, Outcome
from tests.payouts.desk import LOST, Desk, Life
from wallet import payout_queue as module
from wallet.money import Msat

AT_ONCE = 10  # to one host
SLOW = 0.05  # seconds after which a hanging call no longer counts, in these tests


@asynccontextmanager
async def at_work(life: Life, concurrency: int = 1) -> AsyncIterator[None]:
    """Let the payouts run."""
    task = asyncio.create_task(life.payouts.run(concurrency=concurrency, at_once=AT_ONCE, slow_seconds=SLOW))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled(), task.exception()


async def until(life: Life, true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something in the book."""
    news = life.book.watch("payouts", "attempts")
    async with asyncio.timeout(10):
        while True:
            news.clear()
            if await true():
                return
            await news.wait()


async def states(life: Life, *names: str) -> list[str]:
    return [(await life.payout(name))["state"] for name in names]


async def test_c16_one_payment_that_hangs_stalls_nobody_even_with_one_at_a_time(life: Life, desk: Desk) -> None:
    desk.script(Outcome.HOLD, wallet="alice")
    others = [f"user{number}" for number in range(5)]
    for name in ("alice", *others):
        await life.earn(name, 2_000)
    await life.checks.open_due()

    async def others_are_paid() -> bool:
        return await states(life, *others) == ["paid"] * 5

    async def alice_is_paid() -> bool:
        return await states(life, "alice") == ["paid"]

    async with at_work(life):
        await until(life, others_are_paid)
        assert (await life.attempt())["state"] == "sent"
        assert await life.held() == 2_000_000
        assert await life.balance("user1") > 0  # and balances are read meanwhile
        desk.network.payments.release(payment_hash=None, ending=None)
        await until(life, alice_is_paid)
    assert len(life.node.calls) == 6
    assert await life.differences() == []


async def test_what_is_due_is_brought_on_by_itself_to_the_end(life: Life, desk: Desk) -> None:
    async with at_work(life, concurrency=3):
        for number in range(6):
            await life.earn(f"user{number}", 1_000)
        await life.checks.open_due()

        async def all_paid() -> bool:
            return await states(life, *(f"user{number}" for number in range(6))) == ["paid"] * 6

        await until(life, all_paid)
    assert await life.differences() == []


async def test_what_waits_longest_is_brought_on_first_and_of_one_age_the_smallest(life: Life, desk: Desk) -> None:
    for earned in ({"large": 9_000, "small": 1_000}, {"middle": 3_000, "tiny": 200}):
        for name, sat in earned.items():
            await life.earn(name, sat)
        await life.checks.open_due()
        desk.clock.advance(60)
    names = {(await life.payout(name))["id"]: name for name in ("large", "small", "tiny", "middle")}
    assert [names[payout] for payout, _ in await life.payouts.queue.due()] == ["small", "large", "tiny", "middle"]


async def test_a_hanging_call_is_not_looked_at_by_the_process_that_makes_it(life: Life, desk: Desk) -> None:
    desk.script(Outcome.HOLD)
    await life.open("alice")
    await life.step()
    call = asyncio.create_task(life.step())
    attempt = await life.attempt()
    await life.in_flight(attempt["id"])
    desk.clock.advance(60)
    assert await life.payouts.queue.due() == []
    desk.network.payments.release(payment_hash=None, ending=None)
    await call
    assert await states(life, "alice") == ["paid"]


async def test_payments_that_hang_do_not_hide_those_that_are_due(
    life: Life, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DUE_MAX", 1)
    desk.script(Outcome.HOLD)
    await life.open("alice")
    await life.step()
    call = asyncio.create_task(life.step())
    await life.in_flight((await life.attempt())["id"])
    desk.clock.advance(60)
    await life.open("bob")
    assert await life.payouts.queue.due() == [((await life.payout("bob"))["id"], "wallets.test")]
    call.cancel()
    await asyncio.wait({call})


async def test_c15_two_processes_at_the_same_payout_make_one_call(desk: Desk) -> None:
    async with desk.life() as one, desk.life() as other:
        await one.open("alice")
        payout = (await one.payout())["id"]
        for _ in range(3):
            await asyncio.gather(*(life.payouts.step(payout) for life in (one, other)))
        assert await states(one, "alice") == ["paid"]
        assert len(one.node.calls) + len(other.node.calls) == 1
        assert len(await one.attempts()) == 1
        assert desk.received("alice") == [1_980_000]
        assert await other.differences() == []


async def test_c15_two_processes_at_work_on_many_payouts_pay_each_once(desk: Desk) -> None:
    names = [f"user{number}" for number in range(8)]
    async with desk.life() as one, desk.life() as other:
        for name in names:
            await one.earn(name, 2_000)
        await asyncio.gather(one.checks.open_due(), other.checks.open_due())
        async with at_work(one, 4), at_work(other, 4):

            async def all_paid() -> bool:
                return await states(one, *names) == ["paid"] * 8

            async with asyncio.timeout(10):
                while not await all_paid():  # noqa: ASYNC110  the other process's commits are told to nobody here
                    await asyncio.sleep(0)
        assert [desk.received(name) for name in names] == [[1_980_000]] * 8
        assert sorted(call.label for call in one.node.calls + other.node.calls) == sorted(
            {call.label for call in one.node.calls + other.node.calls}
        )
        assert await one.differences() == []


async def test_c15_executor_and_poller_hear_of_the_same_end(desk: Desk) -> None:
    """One process makes the call and waits; the other asks the records meanwhile. Both hear that it is paid."""
    desk.script(Outcome.HOLD)
    async with desk.life() as caller, desk.life() as poller:
        await caller.open("alice")
        await caller.step()
        call = asyncio.create_task(caller.step())
        attempt = await caller.attempt()
        await caller.in_flight(attempt["id"])
        for _ in range(20):
            await poller.look()
        assert await poller.held() == 2_000_000
        desk.network.payments.release(payment_hash=attempt["id"], ending=Ending.SETTLE)
        await asyncio.gather(call, poller.step())
        assert await states(poller, "alice") == ["paid"]
        assert await poller.balance() == 20_000 - 1_198
        assert poller.node.calls == []
        assert await poller.differences() == []


async def test_c15_two_processes_that_find_nothing_sent_call_again_once(desk: Desk) -> None:
    async with desk.life() as one, desk.life() as other:
        one.node.answers.append(LOST)
        await one.sent()
        while desk.clock.now() < (await one.attempt())["doubt_since"] + 50 or not (await one.attempt())["doubt"]:
            await one.look()
        payout = await one.payout()
        desk.clock.advance(payout["next_at"] - desk.clock.now())
        await asyncio.gather(*(life.payouts.step(payout["id"]) for life in (one, other)))
        assert await states(one, "alice") == ["paid"]
        assert len(one.node.calls) + len(other.node.calls) == 2
        assert desk.received("alice") == [1_980_000]


async def test_a4_a_second_step_during_the_call_changes_nothing(life: Life, desk: Desk) -> None:
    desk.script(Outcome.HOLD)
    await life.open("alice")
    await life.step()
    call = asyncio.create_task(life.step())
    await life.in_flight((await life.attempt())["id"])
    for _ in range(3):
        await life.step()
    assert len(life.node.calls) == len(desk.wallets.asked) == 1
    desk.network.payments.release(payment_hash=None, ending=None)
    await call
    assert await life.differences() == []


async def test_a_finished_payout_is_left_alone(life: Life, desk: Desk) -> None:
    await life.open("alice")
    paid = await life.looks_until("paid")
    assert await life.step() == paid
    await life.payouts.settle((await life.attempt())["id"], await life.node.payment((await life.attempt())["id"]))
    assert await life.payout() == paid


async def test_a_node_that_is_away_is_tried_again_and_ends_nothing(
    life: Life, desk: Desk, network: SimulatedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.01)
    life.node.answers.append(LOST)
    await life.sent()
    desk.clock.advance(10)
    before = await life.payout()
    await network.close()

    async def doubted_again() -> bool:
        return bool((await life.payout())["version"] > before["version"])

    async with at_work(life):
        for _ in range(3):
            life.node.asked.clear()
            await life.node.asked.wait()
        assert await life.payout() == before
        assert await life.held() == 2_000_000
        await network.start()
        await until(life, doubted_again)
    await life.looks_until("paid")
    assert desk.received("alice") == [1_980_000]


async def test_h2_a_database_that_refuses_for_a_while_ends_nothing(
    life: Life, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.01)
    real, refusals = life.book.database.fetch, 3

    async def fetch(sql: str, **values: str | int | None) -> object:
        nonlocal refusals
        if "FROM payouts WHERE (next_at" in sql and refusals:
            refusals -= 1
            raise Unavailable("database: disk I/O error")
        return await real(sql, **values)

    await life.open("alice")
    monkeypatch.setattr(life.book.database, "fetch", fetch)

    async def paid() -> bool:
        return await states(life, "alice") == ["paid"]

    async with at_work(life):
        await until(life, paid)
    assert refusals == 0


async def test_a_fault_of_ours_ends_the_loop_and_the_money_stays_held(life: Life, desk: Desk) -> None:
    await life.open("alice")
    desk.wallets.answers.append(desk.wallets.invoice("alice", 1_000))
    with pytest.raises(ExceptionGroup) as ended:
        await life.payouts.run(concurrency=1, at_once=AT_ONCE, slow_seconds=SLOW)
    assert ended.group_contains(AssertionError)
    assert await life.held() == Msat(2_000_000)


async def test_the_next_is_made_ready_while_the_node_is_busy(life: Life, desk: Desk) -> None:
    desk.script(Outcome.HOLD, wallet="alice")
    for name in ("alice", "bob"):
        await life.earn(name, 2_000)
    await life.checks.open_due()
    running = asyncio.create_task(life.payouts.run(concurrency=1, at_once=AT_ONCE, slow_seconds=60))

    async def bob_is_ready() -> bool:
        return [row["state"] for row in await life.attempts("bob")] == ["prepared"]

    async def all_are_paid() -> bool:
        return await states(life, "alice", "bob") == ["paid", "paid"]

    await until(life, bob_is_ready)
    assert [call.label for call in life.node.calls] == [f"payout/{(await life.payout('alice'))['id']}"]
    desk.network.payments.release(payment_hash=None, ending=None)
    await until(life, all_are_paid)
    running.cancel()
    await asyncio.wait({running})


async def test_c16_an_offer_or_a_host_to_which_enough_is_on_its_way_hides_nobody(life: Life) -> None:
    for number, target in enumerate(("lno1slow", "a@slow.test", "lnurlp://slow.test/b", "c@quick.test")):
        await life.earn(f"user{number}", 2_000, target=target)
    await life.checks.open_due()
    assert [host for _, host in await life.payouts.queue.due(["lno1slow", "slow.test"])] == ["quick.test"]


async def test_what_the_node_can_send_is_asked_once_for_all_that_wait_for_it(life: Life) -> None:
    names = [f"user{number}" for number in range(5)]
    for name in names:
        await life.earn(name, 2_000)
    await life.checks.open_due()
    await asyncio.gather(*(life.step(name) for name in names))
    assert await states(life, *names) == ["paying"] * 5
    assert life.node.asked_spendable == 1
