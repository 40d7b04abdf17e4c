"""`make bench-payouts`: payouts a second beside the node's own rate, and what a payment that hangs costs the others.

The node is the simulator in a process of its own, each payment as slow as on a real one; with
`--real`, three Core Lightning nodes on this machine. All pay invoices that were asked for before;
`asking` measures what it is to ask for them, too, of wallets that share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import aiohttp
import structlog
import uvloop

from handlers.bot import new_user
from relaybot.clock import SystemClock
from relaybot.connection import RelayConnection
from relaybot.db.migrations import load_migrations
from relaybot.db.sqlite import open_sqlite
from relaybot.nostr import nip17, nip59
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.outgoing import Outgoing
from relaybot.simulator.people import ADDRESS_HOST
from relaybot.simulator.scripts import Outcome, Script
from tests.bench.processes import node_beside
from tests.bench.rounds import Figures, arguments, interleaved, report, seconds
from tests.flows.harness import World, world
from tests.regtest.rig import Rig
from tests.regtest.wallet_server import WalletServer
from wallet.accounts import CAPITAL, user
from wallet.book import Book, invariants, running
from wallet.cln import CoreLightning
from wallet.ledger import Plan, Put, Transfer, Values
from wallet.lightning import DecodedInvoice, PaymentState
from wallet.money import Msat, from_sat
from wallet.opening import PayoutRules, plan_opened, reserve_msat
from wallet.payees import Payees
from wallet.payouts import Payouts
from wallet.states import Rail

CALLERS = 40
PAYMENTS = 200  # in each round
AMOUNT = from_sat(200)
DELAY_SECONDS = 0.65  # a real node with 40 callers pays 50 to 67 a second: each has waited so long
QUESTIONS = 15  # of each sort, in each round
NAMES = count()
RULES = PayoutRules(
    threshold_msat=from_sat(100),
    fee_ppm_max=10_000,
    fee_minimum_msat=from_sat(5),
    retry_seconds=30,
    retry_seconds_max=3_600,
    poll_seconds=10,
    confirm_seconds=10,
    empty_seconds=60,
    failed_after_expiry_seconds=600,
    attempts_max=10,
    day_msat_max=from_sat(1_000_000_000),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A node, and where its payees' wallets answer."""

    socket: Path
    wallets: str


@asynccontextmanager
async def simulated() -> AsyncIterator[Place]:
    """Start the simulator, with a node that takes its time over each payment."""
    async with node_beside() as node:
        slow = {"outcome": Outcome.DELAY.value, "seconds": DELAY_SECONDS, "node": "service", "times": 1_000_000}
        async with aiohttp.ClientSession() as session, session.post(f"{node.url}/scripts", json=slow) as answer:
            answer.raise_for_status()
        yield Place(node.socket, node.url)


@asynccontextmanager
async def real() -> AsyncIterator[Place]:
    """Start three real nodes, and wallets behind one of them."""
    with tempfile.TemporaryDirectory(prefix="bp-") as name:
        rig = Rig(Path(name))
        await rig.start()
        wallets = WalletServer(rig)
        await wallets.start()
        yield Place(rig.sockets["service"], wallets.url)
        await wallets.close()
        rig.stop()


class Wallets:
    """The node's adapter, and how its payees are asked."""

    def __init__(self, place: Place) -> None:
        self.node = CoreLightning(place.socket)
        outgoing = Outgoing(hosts={ADDRESS_HOST: place.wallets})
        self.payees = Payees(self.node, outgoing, SystemClock())


def address() -> str:
    """Return the address of somebody who was never paid before."""
    return f"p{next(NAMES)}@{ADDRESS_HOST}"


async def node_alone(place: Place) -> Figures:
    """Let 40 callers pay invoices that are there already."""
    wallets = Wallets(place)
    invoices = [await wallets.payees.request_invoice(address(), AMOUNT) for _ in range(PAYMENTS)]

    async def caller() -> None:
        while invoices:
            report = await wallets.node.pay(invoices.pop().bolt11, maxfee_msat=from_sat(5), label="bench")
            assert report.state is PaymentState.SETTLED, report

    async def all_of_them() -> None:
        await asyncio.gather(*(caller() for _ in range(CALLERS)))

    used, taken = time.process_time(), await seconds(all_of_them)
    found = _figures(taken, time.process_time() - used)
    await wallets.node.close()
    return found


def _figures(taken: float, used: float) -> Figures:
    """Return the rate, and what this process itself worked for it: the node is another process."""
    return {"payments/s": PAYMENTS / taken, "our processor ms each": 1_000 * used / PAYMENTS}


async def payouts(place: Place, *, asking: bool = False) -> Figures:
    """Let the payouts bring on as many, 40 at once, with a book on the disk."""
    async with AsyncExitStack() as stack:
        name, clock, wallets = stack.enter_context(tempfile.TemporaryDirectory()), SystemClock(), Wallets(place)
        database = await open_sqlite(Path(name) / "book.sqlite3", load_migrations(), now=clock.now())
        stack.push_async_callback(database.close)
        stack.push_async_callback(wallets.node.close)
        book = await stack.enter_async_context(running(Book(database, clock)))
        targets = [address() for _ in range(PAYMENTS)]
        for target in targets:
            await _open_payout(book, target, clock.now())
        ask = wallets.payees.request_invoice
        asked = {} if asking else {target: await ask(target, AMOUNT) for target in targets}

        async def request_invoice(target: str, amount: Msat) -> DecodedInvoice:
            return asked[target] if target in asked else await ask(target, amount)

        desk = Payouts(book, wallets.node, clock, RULES, request_invoice=request_invoice)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        news = book.watch("payouts")

        async def all_of_them() -> None:
            running_on = tasks.create_task(desk.run(concurrency=CALLERS, at_once=2 * CALLERS))
            while await book.database.fetch("SELECT 1 FROM payouts WHERE next_at IS NOT NULL LIMIT 1"):
                news.clear()
                await news.wait()
            running_on.cancel()

        used, taken = time.process_time(), await seconds(all_of_them)
        used = time.process_time() - used
        paid = await book.database.fetch("SELECT COUNT(*) AS n FROM payouts WHERE state = 'paid'")
        assert paid[0]["n"] == PAYMENTS
        assert await invariants(book.database) == []
        return _figures(taken, used)


async def _open_payout(book: Book, target: str, now: int) -> None:
    pubkey = hashlib.sha256(target.encode()).hexdigest()
    reserve = reserve_msat(RULES, AMOUNT)
    earned = Transfer(CAPITAL, user(pubkey), Msat(AMOUNT + reserve), "earned")
    said: Values = {"pubkey": pubkey, "source": "registered", "target": target, "stated_at": 0, "event": ""}
    rows = (Put("users", pubkey, {}, fresh=new_user(now)), Put("targets", f"{pubkey}/registered", said))
    assert (await book.apply(Plan(f"bench/{pubkey}", (earned,), rows))).done
    owner = await book.row("users", pubkey)
    assert owner is not None
    opened = plan_opened(owner, target, rail=Rail.LIGHTNING, amount=AMOUNT, reserve=reserve, now=now)
    assert (await book.apply(opened)).done


class Neighbour:
    """Somebody who asks and is paid while another's payment hangs: Bob, over a connection that reads each word once."""

    def __init__(self, w: World) -> None:
        self._w = w
        self._heard: dict[str, asyncio.Future[str]] = {}  # by the rumor that is answered, or by how the text begins
        self._words = count(1)

    async def listen(self) -> None:
        relay = RelayConnection(f"ws://127.0.0.1:{self._w.port}", jitter=lambda: 0.0, keypair=self._w.keys["bob"])
        self._w.tasks.create_task(relay.run())
        await relay.next_connection()
        mine = Filter(kinds=frozenset({nip59.WRAP_KIND}), tags={"p": frozenset({self._w.keys["bob"].pubkey})})
        await relay.subscribe("bob", lambda: [mine], self._on_wrap)

    async def _on_wrap(self, event: Event) -> None:
        message = nip17.parse_message(nip59.unwrap(event, self._w.keys["bob"]))
        for key in (message.reply_to or "", " ".join(message.text.split()[:5])):
            self._future(key).set_result(message.text) if not self._future(key).done() else None

    def _future(self, key: str) -> asyncio.Future[str]:
        return self._heard.setdefault(key, asyncio.get_running_loop().create_future())

    async def ask(self, words: str) -> str:
        """Say something, and return the answer."""
        bob = await self._w.join("bob")
        _, rumor = await bob.say(self._w.bot, words)
        return await self._future(rumor)

    async def reads(self) -> None:
        number = next(self._words)
        letters = [letter.upper() if number >> place & 1 else letter for place, letter in enumerate("balance")]
        await self.ask("".join(letters))  # the same words in the same second would be the same message

    async def looks_back(self) -> None:
        await self.ask(f"history {next(self._words) % 50 + 1}")

    async def pays(self) -> None:
        sat = 1_000 + next(self._words)
        await self.ask(f"withdraw {sat} bob@{ADDRESS_HOST}")
        await self._future(f"Paid: your withdrawal of {sat:,}")


async def beside(w: World, bob: Neighbour, *, hanging: bool) -> Figures:
    """Measure what Bob waits for, with or without a payment of Alice's that hangs."""
    if hanging:
        w.network.scripts.add(Script(outcome=Outcome.HOLD, wallet="mallory"))
        alice = await w.join("alice")
        await alice.ask(w.bot, f"withdraw {1_000 + next(NAMES)} mallory@{ADDRESS_HOST}")
        await w.until(partial(_has, w, "paying"))
    sorts: Mapping[str, Callable[[], Awaitable[None]]] = {
        "balance, p50 ms": bob.reads,
        "history, p50 ms": bob.looks_back,
        "payment, p50 ms": bob.pays,
    }
    found = {}
    for name, work in sorts.items():
        found[name] = 1_000 * statistics.median([await seconds(work) for _ in range(QUESTIONS)])
    if hanging:
        w.network.payments.release(payment_hash=None, ending=None)
        await w.until(partial(_has_none, w))
    return found


async def _has(w: World, state: str) -> bool:
    rows = await w.rows("SELECT 1 FROM payouts JOIN attempts ON attempts.id = attempt WHERE attempts.state = 'sent'")
    return bool(rows) and state != ""


async def _has_none(w: World) -> bool:
    return not await w.rows("SELECT 1 FROM payouts WHERE next_at IS NOT NULL")


async def neighbours(rounds: int) -> dict[str, Figures]:
    """Measure a whole service, in turns with and without a payment that hangs."""
    async with world(limits={"topup_max": "2000000 sat", "balance_max": "9000000 sat"}) as w:
        for name in ("alice", "bob"):
            await w.fund(name, 900_000)
        bob = Neighbour(w)
        await bob.listen()
        await bob.pays()  # what is made at first use is made now
        return await interleaved(
            {
                "one hangs": partial(beside, w, bob, hanging=True),
                "none does": partial(beside, w, bob, hanging=False),
            },
            rounds,
        )


async def rates(options: argparse.Namespace) -> dict[str, Figures]:
    """Measure the payouts and the node alone, in turns."""
    async with real() if options.real else simulated() as place:
        return await interleaved(
            {
                "payouts": partial(payouts, place),
                "the node alone": partial(node_alone, place),
                "asking": partial(payouts, place, asking=True),
            },
            options.rounds,
        )


async def measure(options: argparse.Namespace) -> None:
    """Measure both, one after the other."""
    report(await rates(options), options)
    if not options.real:
        report(await neighbours(options.rounds), options)


def main() -> None:
    """Be `make bench-payouts`."""
    parser = arguments(__doc__ or "")
    parser.set_defaults(rounds=5)
    parser.add_argument(
        "--real", action="store_true", help="on three real Core Lightning nodes (lightningd on the PATH)"
    )
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # what hangs is wanted
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(options))


if __name__ == "__main__":
    main()
