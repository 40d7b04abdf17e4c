"""A till: the bot on a real book, beside a real simulated node whose invoices people pay."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from handlers import assignments, jobs, settlements
from handlers.bot import Bot
from handlers.deposits import Deposits, deposit_address
from handlers.invoices import new_invoice
from handlers.settlements import Settlements
from relaybot.clock import SetClock
from relaybot.config import Config, parse_config
from relaybot.db.database import Row
from relaybot.db.sqlite import SqliteDatabase
from relaybot.keyring import Keyring
from relaybot.nostr import nip17, nip59
from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.keys import KeyPair
from relaybot.probe import Probe, no_probe, probed
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.people import Wanted
from relaybot.workings import build_bot
from tests.book.stores import SqliteStore, Store
from tests.payouts.desk import NOW, CheckedBook, Killed
from wallet.accounts import hold, owed, user
from wallet.book import Book
from wallet.cln import CoreLightning
from wallet.cln_chain import CoreLightningChain
from wallet.ledger import Insert, Plan, Put
from wallet.money import from_sat
from wallet.reconcile import reconcile
from wallet.under_way import SETTLEMENTS

PRICE = from_sat(12_000)
BOB, ALICE = KeyPair(b"\x02" * 32), KeyPair(b"\x03" * 32)
AGENT = {"name": "AutoDev", "about": "Resolves issues", "kinds": [5050], "price": "12000 sat"}


class Till:
    """One process that credits what arrives."""

    def __init__(self, bot: Bot, network: SimulatedNetwork, committing: asyncio.Task[None]) -> None:
        self.bot = bot
        self.book: Book = bot.book
        self.network = network
        self.settlements, self.deposits = Settlements(bot), Deposits(bot)
        self.committing = committing

    async def ask_for_job(self, customer: KeyPair = BOB, text: str = "Fix issue 42", *more: list[str]) -> Row:
        """Let a customer without money ask for a job; return the job that waits for its payment."""
        agent = next(iter(self.bot.agents))
        tags = [["i", text, "text"], ["p", agent], *more]
        request = customer.sign(kind=5050, content="", tags=tags, created_at=self.bot.clock.now())
        decision = await jobs.on_request(self.bot, request)
        assert isinstance(decision, Plan)
        assert (await self.book.apply(decision)).done
        return await self.job(request)

    async def top_up(self, sat: int, customer: KeyPair = BOB, number: int = 1) -> str:
        """Make a top-up's invoice, as the command does, and return its text."""
        invoice = await self.bot.lightning.create_invoice(
            label=f"topup/{number}", amount_msat=from_sat(sat), description="top-up", expiry_seconds=600
        )
        row = new_invoice(invoice, purpose="topup", owner=customer.pubkey, job="", now=self.bot.clock.now())
        assert (await self.book.apply(Plan(f"test/topup/{number}", changes=(row,)))).done
        return invoice.bolt11

    async def any_sum(self, customer: KeyPair = BOB) -> str:
        """Make an invoice that names no sum, and return its text."""
        invoice = await self.bot.lightning.create_invoice(
            label="topup/any", amount_msat=None, description="top-up", expiry_seconds=600
        )
        row = new_invoice(invoice, purpose="topup", owner=customer.pubkey, job="", now=self.bot.clock.now())
        assert (await self.book.apply(Plan("test/topup/any", changes=(row,)))).done
        return invoice.bolt11

    async def funded(self, sat: int, customer: KeyPair = BOB) -> None:
        """Let somebody top up over Lightning."""
        await self.pay(await self.top_up(sat, customer, number=len(await self.invoices())))
        await self.follow()

    async def invoices(self) -> Sequence[Row]:
        return await self.book.database.fetch("SELECT * FROM invoices ORDER BY id")

    async def address(self, customer: KeyPair = BOB) -> str:
        """Return where a customer may deposit now, as the command does."""
        address, changes = await deposit_address(self.bot, customer.pubkey)
        if changes:
            assert (await self.book.apply(Plan(f"test/address/{address}", changes=changes))).done
        return address

    async def mined(self, blocks: int = 1) -> None:
        """Mine, and take in what the chain shows then."""
        for _ in range(blocks):
            self.network.chain.mine()
            await self.deposits.look()

    async def reorganised(self, blocks: int = 1, **how: Any) -> None:
        """Reorganise, and take in what the chain shows then."""
        self.network.chain.reorganise(blocks, **how)
        await self.deposits.look()

    async def row(self, table: str, row_id: str) -> Row:
        """Return a row that is there."""
        row = await self.book.row(table, row_id)
        assert row is not None, f"no {table} {row_id}"
        return row

    async def set_row(self, table: str, row_id: str, **values: str | int) -> None:
        """Change a row, as the operator does."""
        count = (await self.book.database.fetch("SELECT COUNT(*) AS n FROM plans"))[0]["n"]
        assert (await self.book.apply(Plan(f"test/set/{count}", changes=(Put(table, row_id, values),)))).done

    async def deposit_states(self) -> list[str]:
        rows = await self.book.database.fetch("SELECT state FROM deposits ORDER BY amount_msat, id")
        return [row["state"] for row in rows]

    async def told(self, customer: KeyPair = BOB) -> list[str]:
        """Return what a customer was told in private messages, oldest first."""
        order = "rowid" if isinstance(self.book.database, SqliteDatabase) else "ctid"  # as they were written
        rows = await self.book.database.fetch(f"SELECT event FROM outbox ORDER BY created_at, {order}")  # noqa: S608  our own word
        events = [parse_event(row["event"]) for row in rows]
        mine = [event for event in events if event.kind == 1059 and event.tag("p") == customer.pubkey]
        return [nip17.parse_message(nip59.unwrap(event, customer)).text for event in mine]

    async def debt(self, customer: KeyPair = BOB) -> int:
        return await self.book.balance(owed(customer.pubkey))

    async def by_hand(self, label: str, sat: int) -> str:
        """Make an invoice at the node that the book knows nothing of."""
        invoice = await self.bot.lightning.create_invoice(
            label=label, amount_msat=from_sat(sat), description="by hand", expiry_seconds=600
        )
        return invoice.bolt11

    async def invoice_of(self, job: Row) -> str:
        """Return the invoice a job waits for."""
        row = await self.book.row("invoices", job["invoice"])
        assert row is not None
        return str(row["bolt11"])

    async def pay(self, bolt11: str, sat: int | None = None) -> None:
        """Let somebody out there pay; `sat` may be more than the invoice asks."""
        await self.network.people.pay("payer", Wanted(bolt11, None if sat is None else from_sat(sat)))

    async def follow(self) -> int:
        """Credit all that has settled, as the loop does; return how many rounds that took."""
        rounds = 0
        while True:
            before = await self.cursor()
            assert await self.settlements.follow() is True
            if await self.cursor() == before:
                return rounds
            rounds += 1

    async def release_due(self) -> None:
        """End what has waited too long."""
        await assignments.release_due(self.bot)

    async def rewind(self, to: int = 0) -> None:
        """Set the cursor back, as an operator might."""
        key = f"test/rewind/{await self.cursor_version()}"
        row = Put("cursors", SETTLEMENTS, {"value": to, "mark": ""})
        assert (await self.book.apply(Plan(key, changes=(row,)))).done

    async def cursor(self) -> int:
        row = await self.book.row("cursors", SETTLEMENTS)
        return 0 if row is None else int(row["value"])

    async def cursor_version(self) -> int:
        row = await self.book.row("cursors", SETTLEMENTS)
        return 0 if row is None else int(row["version"])

    async def job(self, request: Event) -> Row:
        row = await self.book.row("jobs", request.id)
        assert row is not None
        return row

    async def again(self, job: Row) -> Row:
        """Return a job as it is now."""
        row = await self.book.row("jobs", job["id"])
        assert row is not None
        return row

    async def balance(self, customer: KeyPair = BOB) -> int:
        return await self.book.balance(user(customer.pubkey))

    async def held(self, job: Row) -> int:
        return await self.book.balance(hold(f"job/{job['id']}"))

    async def owed_kinds(self) -> list[int]:
        """Return the kinds of all events owed so far, oldest first."""
        rows = await self.book.database.fetch(
            "SELECT json_extract(event, '$.kind') AS kind FROM outbox ORDER BY created_at, rowid"
        )
        return [row["kind"] for row in rows]

    async def agrees(self) -> None:
        """Assert that the node's books and ours are the same."""
        async with self.book.database.snapshot() as reader:
            assert (await reconcile(reader, self.bot.lightning, self.bot.chain)).differences == ()

    async def until_killed(self) -> None:
        """Follow until the process dies of it."""
        task = asyncio.ensure_future(self.follow())
        await asyncio.wait({task, self.committing}, return_when=asyncio.FIRST_COMPLETED)
        dead = task if task.done() else self.committing
        assert isinstance(dead.exception(), Killed), dead
        task.cancel()
        await asyncio.wait({task})


class Street:
    """What outlives every process: the file, the node, the clock."""

    def __init__(self, store: Store, network: SimulatedNetwork, clock: SetClock, config: Config) -> None:
        self.store = store
        self.network = network
        self.clock = clock
        self.config = config

    @asynccontextmanager
    async def till(self, probe: Probe = no_probe) -> AsyncIterator[Till]:
        """Start a process on the file, and end it hard."""
        database = await self.store.open(probe)
        node = CoreLightning(self.network.sockets["service"])
        book = CheckedBook(database, self.clock)
        committing = asyncio.create_task(book.run())
        wallet = CoreLightningChain(self.network.sockets["service"])
        lightning = node if probe is no_probe else probed(node, probe)
        chain = wallet if probe is no_probe else probed(wallet, probe)
        try:
            yield Till(
                build_bot(
                    self.config,
                    Keyring(bytes(32)),
                    book,
                    lightning,
                    self.clock,
                    chain=chain,
                    chance=secrets.token_bytes,
                ),
                self.network,
                committing,
            )
        finally:
            committing.cancel()
            await asyncio.wait({committing})
            await node.close()
            await wallet.close()
            await database.close()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A directory with a short name: the path of a Unix socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="st-") as directory:
        yield Path(directory)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Where the book is: attacks on money override it, and are made on both databases."""
    return SqliteStore(tmp_path / "book.sqlite3")


@pytest.fixture
async def street(
    tmp_path: Path, store: Store, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Street]:
    monkeypatch.setattr(settlements, "WAIT_SECONDS", 0)  # nothing new: say so at once
    clock = SetClock(NOW)
    network = SimulatedNetwork(data_dir, clock=clock)
    await network.start()
    config = parse_config({"agents": {"autodev": AGENT}}, config_dir=tmp_path)
    yield Street(store, network, clock, config)
    await network.close()


@pytest.fixture
async def till(street: Street) -> AsyncIterator[Till]:
    async with street.till() as till:
        yield till


async def reaches(till: Till, person: KeyPair) -> None:
    """Let somebody say where private messages reach them (10050)."""
    row = Insert("dm_relays", person.pubkey, {"relays": "[]", "stated_at": NOW, "event": ""})
    await till.book.apply(Plan("test/reached", changes=(row,)))
