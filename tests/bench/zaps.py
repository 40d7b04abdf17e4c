"""`make bench-zap`: from a settled invoice to its published zap receipt, and zaps a second, beside the node alone.

The service is a process of its own, as `relaybot run` makes it, and so is the simulated node, with the wallet
that pays; this one asks for the invoices over HTTP, lets them be paid, and reads the receipts at a websocket.
The node alone makes and settles as many invoices for the same wallet, with nobody who credits them.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import aiohttp

from relaybot.connection import RelayConnection
from relaybot.demo.stage import HOST, until_ready
from relaybot.keyring import open_keyring
from relaybot.nostr import nip57
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.workings import agent_key
from tests.bench.processes import Node, cpu_seconds, node_beside, start
from tests.bench.rounds import Figures, run, seconds
from tests.flows.harness import World, world
from tests.flows.test_zaps import DOMAIN
from wallet.bolt11_invoice import parse_bolt11
from wallet.cln import CoreLightning
from wallet.money import from_sat

ALONE, TOGETHER, IN_FLIGHT = 150, 600, 40
AMOUNT = from_sat(21)
PAYER = "payer"

Item = TypeVar("Item")
Found = TypeVar("Found")


class Seen:
    """What was seen so far, by the text of an invoice, and when: somebody waits for each."""

    def __init__(self) -> None:
        self.when: dict[str, float] = {}
        self._news: dict[str, asyncio.Event] = {}

    def add(self, bolt11: str) -> None:
        """Note that something of `bolt11` was seen now."""
        self.when[bolt11] = time.perf_counter()
        self._news.setdefault(bolt11, asyncio.Event()).set()

    async def wait(self, bolt11: str) -> None:
        """Wait until something of `bolt11` was seen."""
        await self._news.setdefault(bolt11, asyncio.Event()).wait()


async def measure_service() -> Figures:
    """Return how long a receipt takes, and how many a second there are."""
    async with node_beside() as node, _service(node) as (w, pid), aiohttp.ClientSession() as http:
        receipts = Seen()

        async def on_receipt(event: Event) -> None:
            receipts.add(event.tag("bolt11") or "")

        reader = RelayConnection(f"ws://{HOST}:{w.port}", jitter=random.random)
        w.tasks.create_task(reader.run())
        await reader.next_connection()
        wanted = Filter(kinds=frozenset({nip57.ZAP_RECEIPT_KIND}), limit=1)
        await reader.subscribe("receipts", lambda: [wanted], on_receipt)
        invoices, made = await _made(partial(_zap_invoice, w, http))
        async with _followed(CoreLightning(node.socket), invoices) as settled:
            before = [cpu_seconds(one) for one in (pid, node.pid)]
            figures = await _paid(node, http, invoices, receipts.wait)
            spent = [cpu_seconds(one) - then for one, then in zip((pid, node.pid), before, strict=True)]
            waits = [max(0.0, receipts.when[one] - settled.when[one]) * 1_000 for one in invoices]
        await w.sound()
        service, simulator = (1_000 * each / len(invoices) for each in spent)
        return {
            **_percentiles("settled to receipt", waits[:ALONE]),
            **_percentiles(f"settled to receipt, {IN_FLIGHT} in flight", waits[ALONE:]),
            **figures,
            "invoices made/s": made,
            "service, CPU ms a zap": service,
            "node and wallet, CPU ms a zap": simulator,
        }


@asynccontextmanager
async def _service(node: Node) -> AsyncIterator[tuple[World, int]]:
    """Run the service beside us, on this node."""
    sections: dict[str, Any] = {
        "web": {"domain": DOMAIN},
        "zaps": {"requests_per_minute": 100_000},
        "payouts": {"enabled": False},
        "lightning": {"embedded": False, "socket": str(node.socket)},
        "outgoing": {"hosts": {"wallets.test": node.url}},
        "log": {"level": "error"},
    }
    async with world(start=False, **sections) as w:
        process = await start(w, "run", "--config", str(w.data / "config.yaml"))
        try:
            await until_ready(w.port, process, w.data / "run.log")
            yield w, process.pid
        finally:
            process.terminate()
            await process.wait()


async def _zap_invoice(w: World, http: aiohttp.ClientSession, number: int) -> str:
    """Ask for the invoice of a zap, as a wallet does."""
    keyring = open_keyring(w.config.keys.file, {}, b"")
    agent = agent_key(w.config, keyring, "autodev").pubkey
    request = nip57.build_zap_request(
        w.keys["bob"], recipient=agent, relays=[], amount_msat=AMOUNT, comment=str(number), now=int(time.time())
    )
    url = f"http://{HOST}:{w.port}/lnurlp/autodev/callback"
    query: dict[str, str | int] = {"amount": AMOUNT, "nostr": nip57.request_text(request)}
    async with http.get(url, params=query, headers={"Host": DOMAIN}) as answer:
        return str((await answer.json())["pr"])


async def measure_node() -> Figures:
    """Return the same for the node alone: until it says that the invoice was settled."""
    async with node_beside() as beside, aiohttp.ClientSession() as http:
        node = CoreLightning(beside.socket)

        async def invoice(number: int) -> str:
            made = await node.create_invoice(
                label=str(number), amount_msat=AMOUNT, description="", expiry_seconds=3_600
            )
            return made.bolt11

        invoices, made = await _made(invoice)
        async with _followed(node, invoices) as settled:
            return {**await _paid(beside, http, invoices, settled.wait), "invoices made/s": made}


async def _made(make: Callable[[int], Awaitable[str]]) -> tuple[list[str], float]:
    """Make all invoices, several at once; return them, and how many a second there were."""
    invoices: list[str] = []

    async def all_of_them() -> None:
        invoices.extend(await _at_once(make, range(ALONE + TOGETHER)))

    return invoices, (ALONE + TOGETHER) / await seconds(all_of_them)


@asynccontextmanager
async def _followed(node: CoreLightning, invoices: Sequence[str]) -> AsyncIterator[Seen]:
    """Follow what the node says was settled."""
    settled = Seen()
    texts = {parse_bolt11(bolt11).payment_hash: bolt11 for bolt11 in invoices}

    async def follow() -> None:
        index = 0
        while True:
            one = await node.next_settlement(after_index=index, timeout_seconds=60)
            if one is not None:
                index = one.pay_index
                settled.add(texts[one.payment_hash])

    following = asyncio.create_task(follow())
    try:
        yield settled
        for bolt11 in invoices:  # this one may be behind the service
            await settled.wait(bolt11)
    finally:
        following.cancel()
        await asyncio.wait({following})
        await node.close()


async def _paid(
    node: Node, http: aiohttp.ClientSession, invoices: Sequence[str], seen: Callable[[str], Awaitable[None]]
) -> Figures:
    """Pay the first invoices one after the other, and the others forty at a time; wait for what comes of each."""

    async def one(bolt11: str) -> None:
        async with http.post(f"{node.url}/wallets/{PAYER}/pay", json={"bolt11": bolt11}) as answer:
            answer.raise_for_status()
        await seen(bolt11)

    alone = [await seconds(partial(one, bolt11)) * 1_000 for bolt11 in invoices[:ALONE]]
    taken = await seconds(partial(_at_once, one, invoices[ALONE:]))
    return {
        **_percentiles("payment and that", alone),
        f"sustained/s, {IN_FLIGHT} in flight": TOGETHER / taken,
    }


async def _at_once(work: Callable[[Item], Awaitable[Found]], items: Sequence[Item]) -> list[Found]:
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(item: Item) -> Found:
        async with slots:
            return await work(item)

    return await asyncio.gather(*map(one, items))


def _percentiles(name: str, found: Sequence[float]) -> Figures:
    whole = statistics.quantiles(found, n=100)
    return {f"{name}, p50 ms": whole[49], f"{name}, p99 ms": whole[98]}


if __name__ == "__main__":
    run(__doc__, {"service": measure_service, "node alone": measure_node})
