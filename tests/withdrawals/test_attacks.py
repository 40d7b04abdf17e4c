"""A user who withdraws again and again while the node hangs: A3, A4, A5, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relaybot.clock import SetClock
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.scripts import Outcome
from tests.book.stores import KINDS, store_of
from tests.payouts.desk import Desk, Life
from tests.withdrawals.window import Window

FEE = 1_100  # msat of the way there, for 1,000 sat


@pytest.fixture(params=KINDS)
def desk(request: pytest.FixtureRequest, tmp_path: Path, network: SimulatedNetwork, clock: SetClock) -> Desk:
    path = tmp_path / "book.sqlite3"
    return Desk(path, network, clock, store=store_of(request.param, path))


async def hangs(window: Window, life: Life, name: str = "alice") -> asyncio.Task[object]:
    """Let somebody withdraw 1,000 sat, and the node hang over it."""
    life.desk.script(Outcome.HOLD)
    assert "1,000 sat go to" in await window.say(name, f"withdraw 1000 {window.invoice('bob', 1_000_000)}")
    [row] = await life.book.database.fetch("SELECT id FROM payouts")
    await life.payouts.step(row["id"])  # prepared
    call: asyncio.Task[object] = asyncio.create_task(life.payouts.step(row["id"]))
    [attempt] = await life.book.database.fetch("SELECT id FROM attempts")
    await life.in_flight(attempt["id"])
    return call


async def ends(life: Life, call: asyncio.Task[object]) -> None:
    life.desk.network.payments.release(payment_hash=None, ending=None)
    await call


async def test_a3_a_retry_while_the_node_hangs_pays_nothing_a_second_time(window: Window, life: Life) -> None:
    await window.grant("alice", 2_000)
    call = await hangs(window, life)
    [row] = await life.book.database.fetch("SELECT id, target FROM payouts")
    life.desk.clock.advance(500)  # longer than any lease; the invoice lives
    for _ in range(3):
        await life.payouts.step(row["id"])
    again = await window.say("alice", f"withdraw 1000 {row['target']}")
    assert "go to" not in again
    assert len(life.node.calls) == 1
    await ends(life, call)
    assert life.desk.received("bob") == [1_000_000]
    assert await life.balance("alice") == 1_000_000 - FEE
    assert await life.differences() == []


async def test_a4_a_retry_with_a_fresh_invoice_while_the_first_is_unknown_needs_its_own_funds(
    window: Window, life: Life
) -> None:
    await window.grant("alice", 1_500)
    call = await hangs(window, life)
    refused = await window.say("alice", f"withdraw 1000 {window.invoice('bob', 1_000_000)}")
    assert "can be sent" in refused
    taken = await window.say("alice", f"withdraw 400 {window.invoice('bob', 400_000)}")  # she has as much
    assert "400 sat go to" in taken
    await ends(life, call)
    await window.finish()
    assert sorted(life.desk.received("bob")) == [400_000, 1_000_000]
    assert await life.balance("alice") >= 0
    assert await life.differences() == []


async def test_a5_the_same_message_again_is_the_same_withdrawal(window: Window, life: Life) -> None:
    await window.grant("alice", 2_000)
    words, rumor = f"withdraw 500 {window.invoice('bob', 500_000)}", "ab" * 32
    for _ in range(3):
        await window.say("alice", words, rumor=rumor)
    await window.finish()
    assert life.desk.received("bob") == [500_000]
    assert len(await life.book.database.fetch("SELECT id FROM payouts")) == 1
