"""The payouts at work: a real book, the real adapter, a real simulated network, and a clock that tests move.

A `Life` is one process's worth: a book on the file, an adapter on the node's socket. Several may live at
once or one after the other, and each can be killed at any border; the network lives on.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from handlers.bot import check_payouts
from relaybot.clock import SetClock
from relaybot.db.database import Row
from relaybot.errors import Unavailable
from relaybot.loops import Stumbles
from relaybot.probe import Probe, no_probe, probed
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.scripts import Outcome, Script
from tests.book.stores import SqliteStore, Store
from wallet.accounts import CAPITAL, hold, user
from wallet.batch_rules import Quote
from wallet.bolt11_invoice import parse_bolt11
from wallet.book import Book, invariants
from wallet.cln import CoreLightning
from wallet.ledger import Answer, Change, Plan, Put, Transfer, Value
from wallet.lightning import DecodedInvoice, NodeInfo, PaymentReport, PaymentState
from wallet.money import Msat, from_sat
from wallet.opening import PayoutRules
from wallet.payout_checks import PayoutChecks
from wallet.payout_notices import Notice
from wallet.payouts import Payouts
from wallet.reconcile import reconcile

NOW = 1_795_438_000
GRANTED = 1_000_000_000  # what a simulated person's wallet holds from the start
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
)
PATIENT = replace(RULES, poll_seconds=60)  # for long waits: fewer looks


async def nothing_on_chain(_address: str) -> Quote:
    raise Unavailable("nobody here is paid on the chain")


class Killed(BaseException):
    """The process died here."""


class CheckedBook(Book):
    """A book whose invariants are checked after every Plan."""

    async def apply(self, plan: Plan) -> Answer:
        answer = await super().apply(plan)
        broken = await invariants(self.database)
        assert not broken, f"{plan.key}: {broken}"
        return answer


@dataclass(frozen=True, slots=True)
class Call:
    """One call of `pay`."""

    bolt11: str
    maxfee_msat: Msat
    label: str


class Node(CoreLightning):
    """The adapter on the service's node: notes each payment call, and says what a test puts into its mouth."""

    def __init__(self, socket: Path) -> None:
        super().__init__(socket)
        self.calls: list[Call] = []
        self.answers: deque[PaymentReport] = deque()  # to the next payment calls, which then never reach the node
        self.reports: deque[PaymentReport] = deque()  # to the next look-ups
        self.lags = False
        self.fails_look_ups = 0  # so many of the next ones
        self.asked = asyncio.Event()  # a look-up was made
        self.asked_spendable = 0  # so often

    async def pay(
        self, bolt11: str, *, maxfee_msat: Msat, label: str, amount_msat: Msat | None = None
    ) -> PaymentReport:
        self.calls.append(Call(bolt11, maxfee_msat, label))
        if self.answers:
            return self.answers.popleft()
        return await super().pay(bolt11, maxfee_msat=maxfee_msat, label=label, amount_msat=amount_msat)

    async def payment(self, payment_hash: str) -> PaymentReport:
        self.asked.set()
        if self.fails_look_ups:
            self.fails_look_ups -= 1
            raise Unavailable("lightning node: listpays: no answer")
        return self.reports.popleft() if self.reports else await super().payment(payment_hash)

    async def spendable_msat(self) -> Msat:
        self.asked_spendable += 1
        return await super().spendable_msat()

    async def info(self) -> NodeInfo:
        said = await super().info()
        return NodeInfo(said.node_id, said.network, said.alias, said.block_height, said.synced and not self.lags)


class Wallets:
    """Where the targets' invoices come from: the simulated people, unless a test puts an answer in front."""

    def __init__(self, network: SimulatedNetwork) -> None:
        self._network = network
        self.asked: list[tuple[str, Msat]] = []
        self.answers: deque[DecodedInvoice | Exception] = deque()

    async def __call__(self, target: str, amount_msat: Msat) -> DecodedInvoice:
        self.asked.append((target, amount_msat))
        answer = self.answers.popleft() if self.answers else self.invoice(target, amount_msat)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def invoice(self, target: str, amount_msat: int) -> DecodedInvoice:
        """Return a fresh invoice, for ten minutes."""
        return parse_bolt11(self._network.people.invoice(target.partition("@")[0], amount_msat))


class Desk:
    """What outlives every process: the file of the book, the network, the clock, the people's wallets."""

    def __init__(self, path: Path, network: SimulatedNetwork, clock: SetClock, *, store: Store | None = None) -> None:
        self.path = path
        self.store = store  # else the book is the file
        self.network = network
        self.clock = clock
        self.wallets = Wallets(network)
        self._causes = 0

    def cause(self) -> str:
        """Return a key for a Plan of the story."""
        self._causes += 1
        return f"test/{self._causes}"

    @asynccontextmanager
    async def life(self, probe: Probe = no_probe, rules: PayoutRules = RULES) -> AsyncIterator[Life]:
        """Start a process on the file, and end it hard."""
        database = await (self.store or SqliteStore(self.path)).open(probe)
        node = Node(self.network.sockets["service"])
        book = CheckedBook(database, self.clock)
        committing = asyncio.create_task(book.run())
        try:
            yield Life(self, book, node, committing=committing, probe=probe, rules=rules)
        finally:
            committing.cancel()
            await asyncio.wait({committing})
            await node.close()
            await database.close()

    def script(self, outcome: Outcome, **more: Any) -> None:
        """Let the next payment that matches go so."""
        self.network.scripts.add(Script(outcome=outcome, **more))

    def received(self, name: str) -> list[int]:
        """Return every amount that reached somebody's wallet, in msat."""
        self.network.people.open(name)
        return [one["amount_msat"] for one in self.network.people.describe(name)["received"]]


class Life:
    """One process."""

    def __init__(
        self,
        desk: Desk,
        book: Book,
        node: Node,
        *,
        committing: asyncio.Task[None],
        probe: Probe,
        rules: PayoutRules,
    ) -> None:
        self.desk = desk
        self.book = book
        self.node = node
        self.looked_up: list[str] = []
        self.told: list[Notice] = []
        self.look_up_fails = False
        self.committing = committing

        async def request_invoice(target: str, amount_msat: Msat) -> DecodedInvoice:
            probe("invoice:before")
            invoice = await desk.wallets(target, amount_msat)
            probe("invoice:after")
            return invoice

        strict = Stumbles(desk.clock, patient=False)
        self.payouts = Payouts(
            book,
            node if probe is no_probe else probed(node, probe),
            desk.clock,
            rules,
            request_invoice=request_invoice,
            tell=self._tell,
            stumbles=strict,
        )
        self.checks = PayoutChecks(
            book,
            desk.clock,
            rules,
            look_up=self._look_up,
            quote=nothing_on_chain,
            stumbles=strict,
        )

    async def _tell(self, notice: Notice) -> Sequence[Change]:
        self.told.append(notice)
        return ()

    async def _look_up(self, pubkey: str) -> None:
        if self.look_up_fails:
            raise Unavailable("too many events are waiting")
        self.looked_up.append(pubkey)

    # The story's side

    async def earn(self, name: str, sat: int, *, target: str | None = None, msat: int = 0) -> None:
        """Let somebody earn from the operator's capital, and be paid at their wallet (`''`: no target)."""
        key, now = person(name), self.desk.clock.now()
        amount = Msat(from_sat(sat) + msat)
        await self.apply((Transfer(CAPITAL, user(key), amount, "earned"),), check_payouts([key], now))
        if target != "":
            await self.target(name, target or f"{name}@wallets.test")

    async def target(self, name: str, target: str, source: str = "registered") -> None:
        """Say where somebody wants to be paid."""
        key = person(name)
        event = self.desk.cause()
        values: dict[str, Value] = {"pubkey": key, "source": source, "target": target, "stated_at": 0, "event": event}
        put = Put("targets", f"{key}/{source}", values)
        plan = Plan(f"target/{event}", changes=(put, *check_payouts([key], self.desk.clock.now())))
        assert (await self.book.apply(plan)).done

    async def set_user(self, name: str, **values: Value) -> None:
        """Change somebody's row, as the operator or a command does."""
        await self.apply((), (Put("users", person(name), values),))

    async def apply(self, transfers: tuple[Transfer, ...], changes: tuple[Put, ...]) -> None:
        """Apply a Plan of the story."""
        answer = await self.book.apply(Plan(self.desk.cause(), transfers, changes))
        assert answer.done, answer

    # The payouts' side

    async def open(self, name: str, sat: int = 2_000) -> str:
        """Let somebody earn, open their payout, and return its id."""
        await self.earn(name, sat)
        await self.checks.open_due()
        return str((await self.payout(name))["id"])

    async def step(self, name: str = "alice") -> Row:
        """Bring somebody's payout on by one step, and return it."""
        await self.payouts.step((await self.payout(name))["id"])
        return await self.payout(name)

    async def sent(self, name: str = "alice", sat: int = 2_000) -> Row:
        """Bring somebody's payout as far as the call, and return its attempt."""
        await self.open(name, sat)
        await self.step(name)
        await self.step(name)
        return await self.attempt(name)

    async def look(self, name: str = "alice", *, after: int | None = None) -> Row:
        """Move the clock to somebody's next step, or by `after` seconds, and take it."""
        clock, payout = self.desk.clock, await self.payout(name)
        clock.advance(max(0, payout["next_at"] - clock.now()) if after is None else after)
        return await self.step(name)

    async def looks_until(self, state: str, name: str = "alice", *, looks: int = 300) -> Row:
        """Go on with somebody's payout, each step when it is due, until it is in `state`."""
        for _ in range(looks):
            if (await self.payout(name))["state"] == state:
                return await self.payout(name)
            await self.look(name)
        raise AssertionError(dict(await self.payout(name)))

    async def go_on(self, *, rounds: int = 300) -> None:
        """Open and bring on whatever is due, moving the clock to what is next, until nothing is open."""
        clock = self.desk.clock
        for _ in range(rounds):
            while await self.checks.open_due():
                pass
            rows = await self.book.database.fetch(
                "SELECT id, next_at FROM payouts WHERE next_at IS NOT NULL ORDER BY next_at, id"
            )
            if not rows:
                return
            clock.advance(max(0, rows[0]["next_at"] - clock.now()))
            for row in rows:
                if row["next_at"] <= clock.now():
                    await self.payouts.step(row["id"])
        raise AssertionError("something is still open")

    async def until_killed(self, work: Coroutine[None, None, Any]) -> None:
        """Let `work` run until the process dies of it."""
        task = asyncio.ensure_future(work)
        await asyncio.wait({task, self.committing}, return_when=asyncio.FIRST_COMPLETED)
        dead = task if task.done() else self.committing
        assert isinstance(dead.exception(), Killed), dead
        task.cancel()
        await asyncio.wait({task})

    async def in_flight(self, payment_hash: str) -> None:
        """Wait until the node has something on its way for this hash."""
        async with asyncio.timeout(10):
            while payment_hash not in await self.node.htlc_hashes():  # the node tells nobody that it has sent
                pass

    # What is there

    async def payout(self, name: str = "alice") -> Row:
        """Return somebody's newest payout."""
        rows = await self.book.database.fetch(
            "SELECT payouts.* FROM payouts JOIN users ON payouts.id = users.id || '/' || users.payouts"
            " WHERE pubkey = :key",
            key=person(name),
        )
        assert rows, f"{name} has no payout"
        return rows[0]

    async def attempts(self, name: str = "alice") -> list[Row]:
        """Return all attempts of somebody's newest payout."""
        payout = (await self.payout(name))["id"]
        sql = "SELECT * FROM attempts WHERE payout = :payout ORDER BY number"
        return list(await self.book.database.fetch(sql, payout=payout))

    async def attempt(self, name: str = "alice") -> Row:
        """Return the newest attempt."""
        return (await self.attempts(name))[-1]

    async def balance(self, name: str = "alice") -> int:
        """Return somebody's balance in msat."""
        return await self.book.balance(user(person(name)))

    async def held(self, name: str = "alice") -> int:
        """Return what is in the escrow of somebody's newest payout, in msat."""
        return await self.book.balance(hold(f"payout/{(await self.payout(name))['id']}"))

    async def differences(self) -> list[str]:
        """Return on what the node's books and ours differ."""
        async with self.book.database.snapshot() as reader:
            return [str(one) for one in (await reconcile(reader, self.node)).differences]


def person(name: str) -> str:
    """Return the pubkey of somebody in a story."""
    return hashlib.sha256(name.encode()).hexdigest()


def said(state: PaymentState, reason: str | None = None, *, sent: int | None = None) -> PaymentReport:
    """Return a report as the port makes it."""
    return PaymentReport(state, None if sent is None else Msat(sent), None if sent is None else "00" * 32, reason)


PENDING = said(PaymentState.PENDING)
FAILED = said(PaymentState.FAILED, "every attempt failed")
EMPTY = said(PaymentState.UNKNOWN, "no record")
LOST = said(PaymentState.UNKNOWN, "connection lost")
