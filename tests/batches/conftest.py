"""A counter: people withdraw to bitcoin addresses, beside a simulated node with coins and a chain that tests mine."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from handlers import commands
from handlers.bot import new_user
from handlers.conversation import Asked, Reply
from relaybot.clock import SetClock
from relaybot.config import parse_config
from relaybot.db.database import Row
from relaybot.nostr.keys import KeyPair
from relaybot.probe import Probe, no_probe
from relaybot.simulator.network import SimulatedNetwork
from tests.book.stores import SqliteStore
from tests.payouts.desk import NOW, Killed
from tests.settlements.conftest import BOB, Street, Till, data_dir
from wallet.accounts import CAPITAL, user
from wallet.audit import unsound
from wallet.batches import Batches, Quotes
from wallet.book import loose_ends
from wallet.ledger import Plan, Put, Transfer
from wallet.money import from_sat
from wallet.opening import PayoutRules
from wallet.payout_checks import PayoutChecks
from wallet.reconcile import book_by_rule

__all__ = ["data_dir"]

# Strangers' addresses, one of each form.
ADDRESSES = {
    "p2wpkh": "bcrt1qggua3q2v7r72f6lngvc3p4e0jc5r2fux0htvtt",
    "p2tr": "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6",
    "p2pkh": "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
    "p2wsh": "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry",
}
SEGWIT = ADDRESSES["p2wpkh"]
COINS, COIN_SAT = 40, 1_000_000


class Counter:
    """One process that sends money to bitcoin addresses."""

    def __init__(self, till: Till, rules: PayoutRules | None = None) -> None:
        self.till, self.bot, self.book = till, till.bot, till.book
        self.network = till.network
        bot = till.bot
        self.rules = rules or bot.payout_rules
        self.batches = Batches(
            bot.book, bot.lightning, bot.chain, bot.clock, rules=self.rules, batch_rules=bot.batch_rules, tell=bot.tell
        )
        quotes = Quotes(bot.lightning, bot.chain, bot.batch_rules)
        self.checks = PayoutChecks(bot.book, bot.clock, self.rules, look_up=_nowhere, quote=quotes.quote)

    async def say(self, words: str, who: KeyPair = BOB, *, number: int | None = None) -> str:
        """Let somebody say something; return the answer. The same `number` is the same message again."""
        said = hashlib.sha256(f"{words} {who.pubkey} {number}".encode()).hexdigest()
        command, *rest = words.split()
        asked = Asked(who.pubkey, said, self.bot.clock.now(), rest)
        answered: list[Reply] = []

        async def decide() -> Plan:
            answered.append(await commands._run(self.bot, command, asked))
            return Plan(f"dm/{said}", answered[-1].transfers, answered[-1].changes)

        answer = await self.book.decide(decide)
        assert answer.done, answer
        return answered[-1].text if answered else ""

    async def grant(self, sat: int, who: KeyPair = BOB, **columns: str | int) -> None:
        """Give somebody a balance out of the operator's capital."""
        now = self.bot.clock.now()
        row = Put("users", who.pubkey, columns, fresh=new_user(now))
        given = Transfer(CAPITAL, user(who.pubkey), from_sat(sat), "earned")
        count = (await self.book.database.fetch("SELECT COUNT(*) AS n FROM plans"))[0]["n"]
        assert (await self.book.apply(Plan(f"test/{count}", (given,), (row,)))).done

    async def go_on(self, rounds: int = 50) -> None:
        """Take every step that can be taken now."""
        for _ in range(rounds):
            if not await self.batches.step():
                return
        raise AssertionError("it goes round and round")

    async def later(self, seconds: int = 60) -> None:
        """Let time pass, then go on."""
        self.clock.advance(seconds)
        await self.go_on()

    @property
    def clock(self) -> SetClock:
        assert isinstance(self.bot.clock, SetClock)
        return self.bot.clock

    async def mined(self, blocks: int = 1) -> None:
        """Mine, and go on."""
        self.network.chain.mine(blocks)
        await self.later()

    async def finish(self) -> None:
        """Go on, in time and on the chain, until all is paid or given back."""
        for _ in range(30):
            await self.mined()
            if not await self.book.database.fetch("SELECT 1 FROM payouts WHERE next_at IS NOT NULL"):
                return
        raise AssertionError("something is still open")

    async def batch(self) -> Row:
        """Return the newest batch."""
        return (await self.book.database.fetch("SELECT * FROM batches ORDER BY CAST(id AS INTEGER) DESC LIMIT 1"))[0]

    async def states(self) -> list[tuple[str, str]]:
        rows = await self.book.database.fetch("SELECT state, reason FROM payouts ORDER BY created_at, rowid")
        return [(row["state"], row["reason"]) for row in rows]

    def received(self, address: str = SEGWIT) -> int:
        """Return what has been sent to somebody's address, in sat."""
        return self.network.chain.received_msat(address) // 1_000

    async def sound(self) -> None:
        """Assert that the book is sound, that all held money has an end, and that node and book agree."""
        assert await unsound(self.book.database) == []
        assert await loose_ends(self.book.database) == []
        await self.till.agrees()

    async def until_killed(self, work: Awaitable[object]) -> bool:
        """Let `work` run until the process dies of it; tell whether it did."""
        task = asyncio.ensure_future(work)
        await asyncio.wait({task, self.till.committing}, return_when=asyncio.FIRST_COMPLETED)
        if task.done() and task.exception() is None:
            return False
        dead = task if task.done() else self.till.committing
        assert isinstance(dead.exception(), Killed), dead
        task.cancel()
        await asyncio.wait({task})
        return True


async def _nowhere(_pubkey: str) -> None:
    """Find no further target."""


class Branch(Street):
    """What outlives every process, with a node that has coins."""

    @asynccontextmanager
    async def counter(self, probe: Probe = no_probe) -> AsyncIterator[Counter]:
        """Start a process on the file, and end it hard."""
        async with self.till(probe) as till:
            yield Counter(till)

    async def open(self) -> None:
        """Give the node its coins: they are the operator's, and our books begin with them."""
        async with self.counter() as counter:
            for _ in range(COINS):
                address = await counter.bot.chain.new_address()
                self.network.chain.send(address, from_sat(COIN_SAT))
            self.network.chain.mine(6)
            await book_by_rule(counter.book, counter.bot.lightning, counter.bot.chain)


@pytest.fixture
async def branch(tmp_path: Path, data_dir: Path) -> AsyncIterator[Branch]:
    clock = SetClock(NOW)
    network = SimulatedNetwork(data_dir, clock=clock)
    await network.start()
    settings = {"onchain": {"batch_seconds": 0, "spend_confirmations": 1}, "dm": {"confirm_above": "1 btc"}}
    config = parse_config(settings, config_dir=tmp_path)
    branch = Branch(SqliteStore(tmp_path / "book.sqlite3"), network, clock, config)
    await branch.open()
    yield branch
    await network.close()


@pytest.fixture
async def counter(branch: Branch) -> AsyncIterator[Counter]:
    async with branch.counter() as counter:
        yield counter
