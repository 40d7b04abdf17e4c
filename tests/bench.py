"""`make bench`: the book, the relay and whole jobs, measured on this machine in one run.

Figures of one run on one machine; compare them with each other, not with other days'.
Everything is the real thing: durable commits, signatures, websockets, encryption.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import structlog
import uvloop

from relaybot.clock import SystemClock
from relaybot.connection import RelayConnection
from relaybot.db.migrations import load_migrations
from relaybot.db.sqlite import open_sqlite
from relaybot.demo.work import resolve_issue
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.worker.node import run_worker
from relaybot.worker.settings import WorkerSettings
from tests.flows.harness import World, world
from wallet.accounts import NODE_LIGHTNING, hold, user
from wallet.book import Book, invariants, running
from wallet.ledger import Insert, Plan, Transfer, Values
from wallet.money import Msat

JOBS, SEQUENTIAL = 400, 50
SKILL = {
    "name": "Bench",
    "shares": [{"to": name, "amount": "20 sat"} for name in ("alice", "$worker", "dave", "grace", "heidi")],
}
AGENT = {"name": "Bench", "kinds": [5050], "price": "120 sat", "skills": ["bench"]}

Figures = dict[str, float]


async def measure_book() -> Figures:
    """Return durable charges per second: a hold, and a six-way split with an outbox row, by 1, 16, 128 callers."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as directory:
        database = await open_sqlite(Path(directory) / "book.sqlite3", load_migrations(), now=0)
        async with running(Book(database, SystemClock())) as book:
            payer = "a" * 64
            topup = Transfer(NODE_LIGHTNING, user(payer), Msat(10**15), "topup")
            await book.apply(Plan("bench/topup", (topup,)))
            for callers in (1, 16, 128):
                each = 400 if callers == 1 else 6_400 // callers

                seconds = await _seconds(partial(_charge_together, book, payer, callers, each))
                figures[f"charges/s, {callers} callers"] = callers * each / seconds
        assert await invariants(database) == []
        await database.close()
    return figures


async def _charge_together(book: Book, payer: str, callers: int, each: int) -> None:
    async def call(number: int) -> None:
        for index in range(each):
            await _charge(book, payer, f"{callers}-{number}-{index}")

    await asyncio.gather(*map(call, range(callers)))


async def _charge(book: Book, payer: str, name: str) -> None:
    escrow = hold(f"job/{name}")
    held = Transfer(user(payer), escrow, Msat(6_000), "hold")
    shares = tuple(Transfer(escrow, user(f"{index:064x}"), Msat(1_000), "share") for index in range(6))
    row: Values = {
        "event": "x" * 600,
        "relays": "[]",
        "state": "sent",
        "tries": 0,
        "next_at": 0,
        "note": "",
        "created_at": 0,
    }
    answer = await book.apply(Plan(f"job/{name}/charge", (held, *shares), (Insert("outbox", name, row),)))
    assert answer.done, answer


async def measure_relay(w: World) -> Figures:
    """Return published events per second: 8 connections with 64 events in flight, and one with one."""
    bob = await w.join("bob")
    now = int(time.time())
    events = [bob.keypair.sign(kind=1, content=f"{index}", tags=[], created_at=now) for index in range(4_000)]
    relays = [RelayConnection(f"ws://127.0.0.1:{w.port}", jitter=random.random) for _ in range(8)]
    for relay in relays:
        w.tasks.create_task(relay.run())
        await relay.next_connection()

    async def lane(relay: RelayConnection, mine: list[Event]) -> None:
        while mine:
            await relay.publish(mine.pop(), 30)

    shares = [events[index::512] for index in range(512)]
    many = await _seconds(lambda: asyncio.gather(*(lane(relays[i % 8], share) for i, share in enumerate(shares))))
    single = [bob.keypair.sign(kind=1, content=f"single {index}", tags=[], created_at=now) for index in range(200)]
    alone = await _seconds(lambda: lane(relays[0], single))
    return {"published/s, 8 x 64 in flight": len(events) / many, "published/s, 1 x 1": 200 / alone}


async def measure_jobs(w: World) -> Figures:
    """Return whole jobs per second, and the time of one job alone: customer and node in this process, too."""
    bob, done, all_done = await w.join("bob"), set[str](), asyncio.Event()
    settings = WorkerSettings(
        relay_urls=(f"ws://127.0.0.1:{w.port}",),
        service_pubkey=w.bot,
        kinds=frozenset({5050}),
        keypair=w.keys["carol"],
        name="bench",
        state_dir=w.data / "worker",
        work=resolve_issue,
        concurrency=64,
        queue_max=2 * JOBS,
    )
    node = run_worker(settings, clock=SystemClock(), chance=secrets.token_bytes, jitter=random.random)
    w.tasks.create_task(node)
    await w.fund("bob", 200_000)
    requests = [_request(w, f"issue {index}") for index in range(JOBS + SEQUENTIAL)]
    alone = [await _seconds(partial(_whole, w, one)) for one in requests[:SEQUENTIAL]]

    async def on_event(event: Event) -> None:
        if event.tag("status") == "success":
            done.add(event.tag("e") or "")
        if len(done) == JOBS + SEQUENTIAL:
            all_done.set()

    reader = RelayConnection(f"ws://127.0.0.1:{w.port}", jitter=random.random)
    w.tasks.create_task(reader.run())
    await reader.next_connection()
    feedback = Filter(kinds=frozenset({7000}), tags={"p": frozenset({bob.pubkey})}, limit=500)
    await reader.subscribe("feedback", lambda: [feedback], on_event)

    async def all_jobs() -> None:
        await asyncio.gather(*(reader.publish(one, 60) for one in requests[SEQUENTIAL:]))
        await all_done.wait()

    seconds = await _seconds(all_jobs)
    await w.sound()
    return {"jobs/s": JOBS / seconds, "one job alone, p50 ms": statistics.median(alone) * 1_000}


def _request(w: World, text: str) -> Event:
    tags = [["i", text, "text"], ["p", w.agent]]
    return w.keys["bob"].sign(kind=5050, content="", tags=tags, created_at=int(time.time()))


async def _whole(w: World, request: Event) -> None:
    await (await w.join("bob")).send(request)
    await w.feedback("bob", request, "success")


async def _seconds(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def main() -> Figures:
    """Measure everything, one after the other."""
    figures = await measure_book()
    async with world(
        skills={"bench": SKILL},
        agents={"autodev": AGENT},
        workers={"allowed": ["carol"], "open_jobs_max": JOBS},
        jobs={"open_per_customer_max": 2 * JOBS},
        payouts={"enabled": False},
    ) as w:
        return figures | await measure_relay(w) | await measure_jobs(w)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(main())
    if "--json" in sys.argv:
        print(json.dumps(found))  # noqa: T201  the command's answer
    else:
        for name, figure in found.items():
            print(f"{name:<32}{figure:>10,.1f}")  # noqa: T201  the command's answer
