"""C15: two processes that share the book: a payout is brought on by the one that took it, what was sent by anyone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from relaybot.db.database import SharedDatabase
from relaybot.processes import Process, join
from relaybot.simulator.scripts import Outcome
from tests.payouts.desk import Desk, Life


@asynccontextmanager
async def named(desk: Desk, name: str) -> AsyncIterator[tuple[Life, Process]]:
    """Be one of several processes at the desk."""
    async with desk.life() as life:
        process = await join(cast("SharedDatabase", life.book.database), name)
        life.payouts._process = process
        yield life, process


async def test_a_payout_is_brought_on_by_the_process_that_took_it_and_by_another_when_that_is_gone(desk: Desk) -> None:
    async with named(desk, "left") as (left, process), named(desk, "right") as (right, _):
        await left.open("alice")
        assert (await left.step())["state"] == "paying"
        before = await right.step()
        assert (before["state"], before["holder"], (await right.attempt())["state"]) == ("paying", "left", "prepared")
        await process.leave()
        after = await right.step()
        assert (after["state"], after["holder"]) == ("paid", "right")
        assert desk.received("alice") == [after["amount_msat"]]
        assert (len(left.node.calls), len(right.node.calls)) == (0, 1)
        assert await right.differences() == []


async def test_what_was_sent_by_a_process_that_lives_is_settled_by_whoever_hears_of_it(desk: Desk) -> None:
    desk.script(Outcome.HOLD)
    async with named(desk, "left") as (left, _), named(desk, "right") as (right, _):
        await left.open("alice")
        await left.step()
        calling = asyncio.create_task(left.step())
        await right.in_flight((await right.attempt())["id"])
        assert (await right.look())["state"] == "paying"
        desk.network.payments.release(payment_hash=None, ending=None)
        assert (await right.looks_until("paid"))["holder"] == "left"
        await calling
        assert len(desk.received("alice")) == 1
        assert (len(left.node.calls), len(right.node.calls)) == (1, 0)
        assert await right.differences() == []


async def test_a_process_that_was_only_thought_to_be_gone_sends_nothing(desk: Desk) -> None:
    async with named(desk, "left") as (left, process), named(desk, "right") as (right, _):
        await left.open("alice")
        await left.step()
        stale = await left.payout()
        await process.leave()
        assert (await right.step())["state"] == "paid"
        await left.payouts._send(stale, await left.attempt())
        assert (len(left.node.calls), len(right.node.calls)) == (0, 1)
        assert len(desk.received("alice")) == 1


async def test_two_processes_that_hear_of_the_same_end_settle_it_once(desk: Desk) -> None:
    desk.script(Outcome.HOLD)
    async with named(desk, "left") as (left, _), named(desk, "right") as (right, _):
        await left.open("alice")
        await left.step()
        calling = asyncio.create_task(left.step())
        attempt = await right.attempt()
        await right.in_flight(attempt["id"])
        desk.network.payments.release(payment_hash=None, ending=None)
        await calling
        report = await right.node.payment(attempt["id"])
        await asyncio.gather(*(life.payouts.settle(attempt["id"], report) for life in (left, right) for _ in range(10)))
        assert (await right.payout())["state"] == "paid"
        assert await right.differences() == []
