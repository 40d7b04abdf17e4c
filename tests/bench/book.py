"""`make bench-book`: what the book does a second, on each database, empty and with a million transfers in it.

A charge is one Plan: a hold, a split among six, and the row of an event that is owed. All
commits are durable. LNbits, where it is installed, makes internal payments beside it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from pathlib import Path

import structlog
import uvloop

from relaybot.clock import SystemClock
from relaybot.db.database import Database
from relaybot.db.migrations import load_migrations
from relaybot.db.postgres import open_postgres
from relaybot.db.sqlite import open_sqlite
from tests.bench.rounds import NOT_IN_TIME, Figures, arguments, interleaved, report, say, seconds
from tests.postgres import new_schema, unavailable
from wallet.accounts import NODE_LIGHTNING, Account, Owner, hold, user
from wallet.book import Book, running
from wallet.ledger import Insert, Plan, Transfer, Values
from wallet.money import Msat
from wallet.statements import history_of

LNBITS = Path("build/lnbits/bin/python")
LNBITS_SECONDS = 120  # for all its payments of one round
CALLERS = (1, 16, 128)
USERS = 100  # contributors, among whom shares are dealt out
TRANSFERS_OF_CHARGE = 7
FILLING = 512  # callers that fill a book: a whole commit's worth


def person(number: int) -> Account:
    """Return the account of one of the users."""
    return user(hashlib.sha256(f"user {number % USERS}".encode()).hexdigest())


class Bench:
    """One book; its charges are numbered from the first to the last, so that none is made twice."""

    def __init__(self, name: str, book: Book) -> None:
        self._name = name
        self._book = book
        self._numbers = count()
        self._payer = user("a" * 64)

    async def begin(self, transfers: int) -> None:
        """Bring money in, and fill the book."""
        await self._book.apply(Plan("begin", (Transfer(NODE_LIGHTNING, self._payer, Msat(10**17), "topup"),)))
        charges = -(-transfers // TRANSFERS_OF_CHARGE)
        each = -(-charges // FILLING)
        if charges:
            say(f"{self._name}: filling")
            await self._together(self.charge, FILLING, each)

    async def charge(self) -> None:
        """Charge one job."""
        number = next(self._numbers)
        name = hashlib.sha256(f"{self._name} {number}".encode()).hexdigest()  # ids of events are as scattered
        escrow = hold(f"job/{name}")
        held = Transfer(self._payer, escrow, Msat(6_000), "hold")
        shares = tuple(Transfer(escrow, person(number + index), Msat(1_000), "compute:shares[0]") for index in range(6))
        row: Values = {
            "event": "x" * 600,
            "about": name,
            "place": 0,
            "relays": "[]",
            "state": "sent",
            "tries": 0,
            "next_at": 0,
            "note": "",
            "created_at": 0,
        }
        answer = await self._book.apply(Plan(f"job/{name}/charge", (held, *shares), (Insert("outbox", name, row),)))
        assert answer.done, answer

    async def transfer(self) -> None:
        """Move money once."""
        number = next(self._numbers)
        paid = Transfer(self._payer, person(number), Msat(1), "payment")
        assert (await self._book.apply(Plan(f"pay/{self._name}/{number}", (paid,)))).done

    async def balance(self) -> None:
        """Ask for somebody's balance."""
        await self._book.balance(person(next(self._numbers)))

    async def history(self) -> None:
        """Ask for somebody's last twenty entries."""
        whose = person(next(self._numbers)).removesuffix("/sats")
        await history_of(self._book.database, Owner(whose), limit=20)

    async def measure(self) -> Figures:
        """Return what it does a second."""
        figures: Figures = {}
        for callers in CALLERS:
            each = 300 if callers == 1 else 4_800 // callers
            taken = await seconds(partial(self._together, self.charge, callers, each))
            figures[f"charges/s, {callers} callers"] = callers * each / taken
        for callers in CALLERS:
            each = 300 if callers == 1 else 4_800 // callers
            taken = await seconds(partial(self._together, self.transfer, callers, each))
            figures[f"single transfers/s, {callers} callers"] = callers * each / taken
        alone = [await seconds(self.charge) for _ in range(200)]
        figures["one caller's charge, p50 ms"] = 1_000 * statistics.median(alone)
        for name, query in (("balances/s", self.balance), ("histories of 20 entries/s", self.history)):
            figures[name] = 16 * 60 / await seconds(partial(self._together, query, 16, 60))
        return figures

    async def _together(self, work: Callable[[], Awaitable[None]], callers: int, each: int) -> None:
        async def call() -> None:
            for _ in range(each):
                await work()

        await asyncio.gather(*(call() for _ in range(callers)))


async def measure_lnbits() -> Figures:
    """Return the internal payments a second of LNbits; what it does not end within `LNBITS_SECONDS` is not in time."""
    command = [str(LNBITS), "-m", "tests.bench.lnbits_peer"]
    figures: Figures = {f"single transfers/s, {callers} callers": NOT_IN_TIME for callers in CALLERS}
    try:
        done = await asyncio.to_thread(
            subprocess.run, command, stdout=subprocess.PIPE, check=True, text=True, timeout=LNBITS_SECONDS
        )
        said = done.stdout
    except subprocess.TimeoutExpired as error:  # it is killed; what it had said until then counts
        said = (error.stdout or b"").decode()
        say(f"LNbits did not end within {LNBITS_SECONDS} s")
    for line in said.splitlines():
        if line.startswith("{"):  # LNbits says other things there, too
            figures |= json.loads(line)
    return figures


async def main(rounds: int, transfers: int, only: Sequence[str]) -> dict[str, Figures]:
    """Measure all subjects in turns."""
    subjects: dict[str, Callable[[], Awaitable[Figures]]] = {}
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        places: dict[str, Callable[[], Awaitable[Database]]] = {"SQLite": partial(_sqlite, directory)}
        if why := await asyncio.to_thread(unavailable, durable=True):
            say(why)
        else:
            places["PostgreSQL"] = _postgres
        for filled in (0, transfers):
            for place, open_it in places.items():
                name = f"{place}, {filled:,} transfers" if filled else place
                if only and place not in only:
                    continue
                database = await open_it()
                stack.push_async_callback(database.close)
                bench = Bench(name, await stack.enter_async_context(running(Book(database, SystemClock()))))
                await bench.begin(filled)
                subjects[name] = bench.measure
        if not only and await asyncio.to_thread(LNBITS.exists):
            subjects["LNbits 1.6.2"] = measure_lnbits
        return await interleaved(subjects, rounds)


async def _sqlite(directory: Path) -> Database:
    return await open_sqlite(directory / f"{time.monotonic_ns()}.sqlite3", load_migrations(), now=0)


async def _postgres() -> Database:
    return await open_postgres(await asyncio.to_thread(new_schema, durable=True), load_migrations(), now=0)


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--transfers", type=int, default=1_000_000, help="in the books that are not empty")
    parser.add_argument("--only", nargs="*", default=[], help="SQLite or PostgreSQL")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # errors only
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report(runner.run(main(options.rounds, options.transfers, options.only)), options)
