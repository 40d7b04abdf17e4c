"""Time limits and pools of the adapter: a node that hangs costs a call, and nobody else anything."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from relaybot.errors import Unavailable
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.scripts import Outcome, Script
from tests.lightning.conftest import Connect
from tests.lightning.wire import SilentNode
from wallet.cln import CoreLightning, NodeLimits
from wallet.cln_calls import _Call
from wallet.lightning import PaymentState
from wallet.money import Msat

IMPATIENT = NodeLimits(read_seconds=0.05, wait_grace_seconds=0.05, payment_seconds=0.05)


async def test_a_read_that_hangs_is_unavailable_and_its_caller_hangs_up(silent: SilentNode, connect: Connect) -> None:
    with pytest.raises(Unavailable, match="took longer"):
        await connect(silent.path, IMPATIENT).info()
    await silent.hung_up.wait()


async def test_a_wait_ends_a_little_after_its_own_timeout(silent: SilentNode, connect: Connect) -> None:
    with pytest.raises(Unavailable, match="took longer"):
        await connect(silent.path, IMPATIENT).next_settlement(after_index=0, timeout_seconds=0)
    await silent.hung_up.wait()


async def test_a_payment_that_hangs_is_unknown(silent: SilentNode, connect: Connect) -> None:
    report = await connect(silent.path, IMPATIENT).pay("lnbcrt1", maxfee_msat=Msat(0), label="l")
    assert report.state is PaymentState.UNKNOWN
    assert "took longer" in (report.reason or "")
    await silent.hung_up.wait()


async def test_given_up_calls_free_their_threads(silent: SilentNode, connect: Connect) -> None:
    limits = NodeLimits(read_seconds=0.05, readers=2)
    node = connect(silent.path, limits)
    for _ in range(4):  # twice as many as there are threads
        with pytest.raises(Unavailable):
            await node.info()
        await silent.hung_up.wait()
        silent.hung_up.clear()
    assert sum(thread.name.startswith("lightning-read") for thread in threading.enumerate()) <= 2


async def test_offers_that_nobody_answers_keep_no_settlement_waiting(silent: SilentNode, connect: Connect) -> None:
    """For some sats, which come back, anybody has us ask for as many invoices as they like."""
    node = connect(silent.path)
    asking = [asyncio.create_task(node.fetch_invoice(f"lno1{n}", amount_msat=Msat(1_000))) for n in range(40)]
    await silent.silent.wait()
    waiting = asyncio.create_task(node.next_settlement(after_index=0, timeout_seconds=60))
    async with asyncio.timeout(10):
        while b"waitanyinvoice" not in b"".join(silent.said):
            silent.silent.clear()
            await silent.silent.wait()
    for task in (*asking, waiting):
        task.cancel()
    await asyncio.wait([*asking, waiting])


async def test_a_call_that_waits_for_a_thread_is_never_sent_once_it_is_given_up(
    silent: SilentNode, connect: Connect
) -> None:
    node = connect(silent.path, NodeLimits(payers=1))
    first = asyncio.create_task(node.pay("lnbcrt1", maxfee_msat=Msat(0), label="l"))
    await silent.silent.wait()
    second = asyncio.create_task(node.pay("lnbcrt2", maxfee_msat=Msat(0), label="l"))
    third = asyncio.create_task(node.pay("lnbcrt3", maxfee_msat=Msat(0), label="l"))
    await asyncio.sleep(0)  # both wait for the one thread
    silent.silent.clear()
    second.cancel()
    first.cancel()
    await silent.silent.wait()  # the thread is free, and takes the next one that is still wanted
    assert len(silent.heard) == 2
    third.cancel()
    await asyncio.wait([first, second, third])
    assert b"lnbcrt2" not in b"".join(silent.said)


async def test_a_cancelled_call_hangs_up(silent: SilentNode, connect: Connect) -> None:
    paying = asyncio.create_task(connect(silent.path).pay("lnbcrt1", maxfee_msat=Msat(0), label="l"))
    await silent.silent.wait()
    paying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await paying
    await silent.hung_up.wait()


async def test_closing_ends_the_calls_that_run_and_takes_no_more(silent: SilentNode) -> None:
    node = CoreLightning(silent.path)
    reading = asyncio.create_task(node.info())
    await silent.silent.wait()
    await node.close()
    with pytest.raises(Unavailable):
        await reading
    with pytest.raises(Unavailable, match="closed"):
        await node.info()
    assert (await node.pay("lnbcrt1", maxfee_msat=Msat(0), label="l")).state is PaymentState.UNKNOWN


async def test_without_a_node_calls_are_unavailable_and_payments_unknown(connect: Connect, data_dir: Path) -> None:
    node = connect(data_dir / "nothing-here")
    with pytest.raises(Unavailable, match="FileNotFoundError"):
        await node.info()
    assert (await node.pay("lnbcrt1", maxfee_msat=Msat(0), label="l")).state is PaymentState.UNKNOWN


async def test_a_dead_nodes_socket_is_unavailable(connect: Connect, data_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(data_dir / "dead"))  # bound, and nobody listens: what a killed node leaves
    with pytest.raises(Unavailable, match="ConnectionRefusedError"):
        await connect(data_dir / "dead").info()


async def test_c16_hanging_payments_and_waits_slow_no_read_and_no_other_payment(
    network: SimulatedNetwork, connect: Connect
) -> None:
    node = connect(network.sockets["service"], NodeLimits(waiters=2, payers=4))
    network.scripts.add(Script(outcome=Outcome.HOLD, times=3))
    held = [
        asyncio.create_task(node.pay(network.people.invoice("mallory", 1_000_000), maxfee_msat=Msat(5_000), label="l"))
        for _ in range(3)
    ]
    waits = [asyncio.create_task(node.next_settlement(after_index=0, timeout_seconds=60)) for _ in range(2)]
    await network.nodes["service"].answer("wait", ["sendpays", "created", 3])
    async with asyncio.timeout(20):
        assert (await node.info()).synced
        report = await node.pay(network.people.invoice("alice", 1_000_000), maxfee_msat=Msat(5_000), label="l")
    assert report.state is PaymentState.SETTLED
    assert not any(call.done() for call in (*held, *waits))
    for call in (*held, *waits):
        call.cancel()


async def test_a_call_given_up_before_its_thread_began_sends_nothing(silent: SilentNode) -> None:
    call = _Call(str(silent.path), timeout_seconds=1)
    call.give_up()
    with pytest.raises(TimeoutError, match="before it was sent"):
        await asyncio.to_thread(call.call, "getinfo", {})
    assert b"".join(silent.said) == b""
