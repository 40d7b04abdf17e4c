"""`make bench-zap`: from a payment to its published zap receipt, and zaps a second, beside what the node does alone.

Everything is the real thing but the Lightning network, which is simulated in this process: the
invoice comes over HTTP, the settlement over the node's socket, the receipt over a websocket. The
node alone makes and settles the same invoices, with nobody who credits them.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from relaybot.connection import RelayConnection
from relaybot.demo.stage import HOST
from relaybot.nostr import nip57
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.people import Wanted
from tests.bench.rounds import Figures, run, seconds
from tests.flows.harness import World, world
from tests.flows.test_zaps import DOMAIN, get
from wallet.bolt11_invoice import parse_bolt11
from wallet.cln import CoreLightning
from wallet.money import from_sat

ALONE, TOGETHER = 40, 120
AMOUNT = from_sat(21)
PAYER = "payer"


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
    limits = {"requests_per_minute": 100_000}
    async with world(web={"domain": DOMAIN}, zaps=limits, payouts={"enabled": False}) as w:
        receipts = Seen()

        async def on_receipt(event: Event) -> None:
            receipts.add(event.tag("bolt11") or "")

        reader = RelayConnection(f"ws://{HOST}:{w.port}", jitter=random.random)
        w.tasks.create_task(reader.run())
        await reader.next_connection()
        wanted = Filter(kinds=frozenset({nip57.ZAP_RECEIPT_KIND}), limit=1)
        await reader.subscribe("receipts", lambda: [wanted], on_receipt)
        invoices = [await _zap_invoice(w, number) for number in range(ALONE + TOGETHER)]
        async with _followed(CoreLightning(w.network.sockets["service"]), invoices) as settled:
            figures = await _paid(w.network, invoices, receipts.wait)
            waits = sorted(max(0.0, receipts.when[one] - settled.when[one]) * 1_000 for one in invoices[:ALONE])
        await w.sound()
        return {"settled to receipt, p50 ms": statistics.median(waits), "the same, p99 ms": waits[-1], **figures}


async def _zap_invoice(w: World, number: int) -> str:
    request = nip57.build_zap_request(
        w.keys["bob"], recipient=w.agent, relays=[], amount_msat=AMOUNT, comment=str(number), now=int(time.time())
    )
    answer = await get(w, "/lnurlp/autodev/callback", amount=AMOUNT, nostr=nip57.request_text(request))
    return str(answer["pr"])


async def measure_node() -> Figures:
    """Return the same for the node alone: until it says that the invoice was settled."""
    with tempfile.TemporaryDirectory(prefix="bz-") as directory:
        network = SimulatedNetwork(Path(directory))
        await network.start()
        node = CoreLightning(network.sockets["service"])
        invoices = [
            (await node.create_invoice(label=str(n), amount_msat=AMOUNT, description="", expiry_seconds=600)).bolt11
            for n in range(ALONE + TOGETHER)
        ]
        async with _followed(node, invoices) as settled:
            figures = await _paid(network, invoices, settled.wait)
        await network.close()
        return figures


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
    finally:
        following.cancel()
        await asyncio.wait({following})
        await node.close()


async def _paid(network: SimulatedNetwork, invoices: Sequence[str], seen: Callable[[str], Awaitable[None]]) -> Figures:
    """Pay the first invoices one after the other, and the others at once; wait for what comes of each."""

    async def one(bolt11: str) -> None:
        await network.people.pay(PAYER, Wanted(bolt11))
        await seen(bolt11)

    async def all_at_once() -> None:
        await asyncio.gather(*(one(bolt11) for bolt11 in invoices[ALONE:]))

    network.people.open(PAYER)
    alone = sorted([await seconds(partial(one, bolt11)) * 1_000 for bolt11 in invoices[:ALONE]])
    return {
        "payment and that, p50 ms": statistics.median(alone),
        "payment and that, p99 ms": alone[-1],
        "paid and ended/s, all at once": TOGETHER / await seconds(all_at_once),
    }


if __name__ == "__main__":
    run(__doc__, {"service": measure_service, "node alone": measure_node})
