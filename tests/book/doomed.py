"""What other processes do to a book: spend in parallel, die at a border, run out of disk.

They are started from a fork server, so that each is a process of its own within
milliseconds; what they have to say comes through a pipe, so that nothing is waited for
by the clock.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, cast

from relaybot.db.database import SharedDatabase
from relaybot.errors import Unavailable
from relaybot.probe import Probe
from tests.book.stores import Store, connected, opened, payment, sats_of
from wallet.accounts import NODE_LIGHTNING, REVENUE, Class, hold
from wallet.ledger import Insert, Plan, Put, Transfer, Update
from wallet.money import Msat

Pipe = Connection  # one end of it: what is said there is heard at the other
Work = Callable[..., None]

_servers = multiprocessing.get_context("forkserver")
_servers.set_forkserver_preload(["tests.book.doomed"])

ALICE, BOB = sats_of("alice"), sats_of("bob")


@contextmanager
def process(work: Work, *args: object) -> Iterator[tuple[BaseProcess, Any]]:
    """Run `work` in a process of its own, which is gone when the block ends."""
    ours, theirs = _servers.Pipe()
    running = _servers.Process(target=work, args=(*args, theirs))
    running.start()
    theirs.close()
    try:
        yield running, ours
    finally:
        running.kill()
        running.join()
        running.close()
        ours.close()


def the_story() -> list[Plan]:
    """Return a job from the top-up to the payout, with the rows of its work."""
    escrow = hold("job/1")
    shares = [(ALICE, 2_000), (sats_of("carol"), 1_000), (REVENUE[Class.SATS], 9_000)]
    captured = tuple(Transfer(escrow, account, Msat(sat * 1_000), "share") for account, sat in shares)
    paid = (Transfer(ALICE, NODE_LIGHTNING, Msat(1_990_000), "payout"), Transfer(ALICE, NODE_LIGHTNING, Msat(1), "fee"))
    return [
        Plan(
            "topup/1",
            (Transfer(NODE_LIGHTNING, BOB, Msat(12_000_000), "top-up"),),
            (Put("cursors", "paid", {"value": 1}),),
        ),
        Plan(
            "job/1/hold", (Transfer(BOB, escrow, Msat(12_000_000), "hold"),), (Insert("cursors", "job", {"value": 1}),)
        ),
        Plan("job/1/capture", captured, (Update("cursors", "job", {"value": 2}, {"version": 1}),)),
        Plan("payout/1", paid, (Update("cursors", "job", {"value": 3}, {"version": 2}),)),
    ]


async def tell(store: Store, plans: list[Plan], probe: Probe, *, every_statement: bool) -> list[str]:
    """Apply `plans` one after the other; return their verdicts."""
    async with opened(store, probe, every_statement=every_statement) as book:
        return [(await book.apply(plan)).verdict.value for plan in plans]


def die_at(store: Store, plans: list[Plan], border: int, every_statement: bool, pipe: Pipe) -> None:  # noqa: FBT001  a process takes its arguments by place
    """Apply `plans`, and be killed at border number `border`."""
    numbers = count()

    def probe(_name: str) -> None:
        if next(numbers) == border:
            os.kill(os.getpid(), signal.SIGKILL)

    pipe.send(asyncio.run(tell(store, plans, probe, every_statement=every_statement)))


def spend(store: Store, name: str, times: int, pipe: Pipe) -> None:
    """Say ready, wait for the word, spend 100 sat of Bob's `times` times at once, and tell how often it went well."""

    async def spending() -> int:
        async with opened(store) as book:
            pipe.send("ready")
            pipe.recv()
            plans = [
                payment(f"spend/{name}/{number}", debit=BOB, credit=ALICE, msat=100_000) for number in range(times)
            ]
            return sum(answer.done for answer in await asyncio.gather(*map(book.apply, plans)))

    pipe.send(asyncio.run(spending()))


def spend_for_ever(store: Store, pipe: Pipe) -> None:
    """Spend with sixteen callers, and tell the key of each payment that was confirmed."""

    async def caller(book: Any, name: int) -> None:
        for number in count():
            plan = payment(f"spend/{name}/{number}", debit=BOB, credit=ALICE, msat=1 + name)
            if (await book.apply(plan)).done:
                pipe.send(plan.key)

    async def spending() -> None:
        async with opened(store) as book:
            await asyncio.gather(*(caller(book, name) for name in range(16)))

    asyncio.run(spending())


def hold_a_lock(store: Store, name: str, pipe: Pipe) -> None:
    """Take a lock, tell whether it is ours, and keep it for ever."""

    async def holding() -> None:
        async with connected(store) as database:
            lock = await cast("SharedDatabase", database).lock(name)
            pipe.send("mine" if lock is not None else "not mine")
            await asyncio.Event().wait()

    asyncio.run(holding())


def fill_the_disk(store: Store, pipe: Pipe) -> None:
    """Grow the book until no file may grow any more, free the space, and tell what happened."""

    async def filling() -> tuple[list[str], str, list[str]]:
        async with opened(store) as book:
            applied: list[str] = []
            for number in count():
                plan = Plan(f"big/{number}", (Transfer(NODE_LIGHTNING, BOB, Msat(1), "x" * 50_000),))
                try:
                    await book.apply(plan)
                except Unavailable as error:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                    again = await book.apply(plan)
                    return applied, str(error), [again.verdict.value, (await book.apply(plan)).verdict.value]
                applied.append(plan.key)
        raise AssertionError("the disk is endless")

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
    pipe.send(asyncio.run(filling()))
