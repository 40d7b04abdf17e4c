"""The simulator as a process of its own, killed with SIGKILL and started again: nothing lost, doubled or stuck."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.environment import untraced
from tests.lightning.conftest import Connect
from wallet.bolt11_invoice import parse_bolt11
from wallet.cln import CoreLightning
from wallet.lightning import PaymentState
from wallet.money import Msat, from_sat

PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from relaybot.simulator.network import run_node

def ready(running):
    print(json.dumps({"url": running.url, "socket": str(running.sockets["service"])}), flush=True)

asyncio.run(run_node(
    data_dir=Path(sys.argv[1]), http_host="127.0.0.1", http_port=0, ready=ready, delay_seconds=float(sys.argv[2])
))
"""
MAXFEE = Msat(5_000)


@dataclass
class Simulator:
    """One life of the process."""

    process: asyncio.subprocess.Process
    url: str
    socket: Path

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


class Lives:
    """Starts the process, again and again, on one directory."""

    def __init__(self, data_dir: Path, http: aiohttp.ClientSession) -> None:
        self._data_dir = data_dir
        self._http = http
        self.started: list[Simulator] = []

    async def start(self, *, delay_seconds: float = 0.0) -> Simulator:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            str(self._data_dir),
            str(delay_seconds),
            env=untraced(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        line = b""
        while not line.startswith(b"{"):  # log lines stand before it
            line = await process.stdout.readline()
        said = json.loads(line)
        simulator = Simulator(process, said["url"], Path(said["socket"]))
        self.started.append(simulator)
        return simulator

    async def get(self, url: str) -> dict[str, Any]:
        async with self._http.get(url) as response:
            answer: dict[str, Any] = await response.json()
            return answer

    async def post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self._http.post(url, json=body) as response:
            answer: dict[str, Any] = await response.json()
            return answer

    async def asked_of(self, simulator: Simulator, name: str, sat: int) -> str:
        """Return an invoice of a person, as a Lightning Address gives it."""
        said = await self.get(f"{simulator.url}/.well-known/lnurlp/{name}")
        return str((await self.get(f"{said['callback']}?amount={from_sat(sat)}"))["pr"])


@pytest.fixture
async def lives(data_dir: Path) -> AsyncIterator[Lives]:
    async with AsyncExitStack() as closing:
        http = await closing.enter_async_context(aiohttp.ClientSession())
        lives = Lives(data_dir, http)
        yield lives
        for each in lives.started:
            if each.process.returncode is None:
                await each.kill()


async def until_settled(node: CoreLightning, payment_hash: str) -> Msat | None:
    """Wait for the node's own word; each look-up is a call to another process, so this spins on nothing else."""
    async with asyncio.timeout(30):
        while True:
            report = await node.payment(payment_hash)
            if report.state is not PaymentState.PENDING:
                assert report.state is PaymentState.SETTLED
                return report.amount_sent_msat


async def test_killed_during_a_payment_it_finishes_the_payment_in_its_next_life(lives: Lives, connect: Connect) -> None:
    first = await lives.start(delay_seconds=3_600)  # longer than the test: it cannot settle in this life
    bolt11 = await lives.asked_of(first, "alice", 2_000)
    payment_hash = parse_bolt11(bolt11).payment_hash
    node = connect(first.socket)
    paying = asyncio.create_task(node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1"))
    while (await node.payment(payment_hash)).state is not PaymentState.PENDING:
        assert not paying.done()
    await first.kill()
    assert (await paying).state is PaymentState.UNKNOWN

    second = await lives.start()
    node = connect(second.socket)
    assert await until_settled(node, payment_hash) == from_sat(2_000) + 1_200
    alice = await lives.get(f"{second.url}/wallets/alice")
    assert [each["payment_hash"] for each in alice["received"]] == [payment_hash]
    assert alice["balance_msat"] == from_sat(1_002_000)
    assert [move.payment_hash for move in await node.moves(after_index=0, limit=10)] == [payment_hash]
    assert await node.htlc_hashes() == frozenset()


async def test_what_it_answered_it_still_knows_after_sigkill(lives: Lives, connect: Connect) -> None:
    first = await lives.start()
    node = connect(first.socket)
    invoice = await node.create_invoice(
        label="top-up", amount_msat=from_sat(12_000), description="d", expiry_seconds=600
    )
    paid = await lives.post(f"{first.url}/wallets/bob/pay", {"bolt11": invoice.bolt11})
    settlement = await node.next_settlement(after_index=0, timeout_seconds=20)
    info = await node.info()
    await first.kill()

    second = await lives.start()
    node = connect(second.socket)
    assert paid["status"] == "complete"
    assert await node.info() == info
    assert await node.find_invoice("top-up") == invoice
    assert await node.next_settlement(after_index=0, timeout_seconds=0) == settlement
    bob = await lives.get(f"{second.url}/wallets/bob")
    assert bob["balance_msat"] == from_sat(1_000_000) - paid["amount_sent_msat"]
    again = await node.create_invoice(label="next", amount_msat=from_sat(1), description="d", expiry_seconds=600)
    await lives.post(f"{second.url}/wallets/bob/pay", {"bolt11": again.bolt11})
    after = await node.next_settlement(after_index=1, timeout_seconds=20)
    assert after is not None
    assert (after.label, after.pay_index) == ("next", 2)


async def test_a_held_payment_is_still_held_in_the_next_life(lives: Lives, connect: Connect) -> None:
    first = await lives.start()
    bolt11 = await lives.asked_of(first, "alice", 2_000)
    payment_hash = parse_bolt11(bolt11).payment_hash
    await lives.post(f"{first.url}/scripts", {"outcome": "error_while_pending", "wallet": "alice"})
    assert (await connect(first.socket).pay(bolt11, maxfee_msat=MAXFEE, label="l")).state is PaymentState.UNKNOWN
    await first.kill()

    second = await lives.start()
    node = connect(second.socket)
    assert (await node.payment(payment_hash)).state is PaymentState.PENDING
    assert await node.htlc_hashes() == {payment_hash}
    assert await lives.post(f"{second.url}/scripts/release", {"payment_hash": payment_hash}) == {"released": 1}
    assert (await node.payment(payment_hash)).state is PaymentState.SETTLED


async def test_killed_in_the_middle_of_many_payments_every_one_is_whole(lives: Lives, connect: Connect) -> None:
    first = await lives.start()
    bolt11s = [await lives.asked_of(first, "alice", 1_000) for _ in range(20)]
    node = connect(first.socket)
    paying = [asyncio.create_task(node.pay(each, maxfee_msat=MAXFEE, label="l")) for each in bolt11s]
    await asyncio.wait(paying, return_when=asyncio.FIRST_COMPLETED)
    await first.kill()
    told = [report.state for report in await asyncio.gather(*paying)]

    second = await lives.start()
    node = connect(second.socket)
    hashes = [parse_bolt11(each).payment_hash for each in bolt11s]
    reports = [await node.payment(each) for each in hashes]
    settled = {each for each, report in zip(hashes, reports, strict=True) if report.state is PaymentState.SETTLED}
    for each, before in zip(reports, told, strict=True):
        assert each.state in (PaymentState.SETTLED, PaymentState.UNKNOWN, PaymentState.PENDING)
        assert before is not PaymentState.SETTLED or each.state is PaymentState.SETTLED
    alice = await lives.get(f"{second.url}/wallets/alice")
    assert {each["payment_hash"] for each in alice["received"]} >= settled
    for bolt11 in bolt11s:  # pay them all again: each is paid exactly once
        await node.pay(bolt11, maxfee_msat=MAXFEE, label="l")
    assert sum([await until_settled(node, each) or 0 for each in hashes]) == 20 * (from_sat(1_000) + 1_100)
    assert sorted(move.payment_hash or "" for move in await node.moves(after_index=0, limit=100)) == sorted(hashes)
    assert (await lives.get(f"{second.url}/wallets/alice"))["balance_msat"] == from_sat(1_020_000)
