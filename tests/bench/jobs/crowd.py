"""What one job costs while many wait and many nodes are known: processor time of service and node together."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from typing import Any, cast

from handlers.jobs import on_request
from relaybot.clock import SystemClock
from relaybot.demo.work import resolve_issue
from relaybot.keyring import open_keyring
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip90 import JobRequest
from relaybot.worker.node import run_worker
from relaybot.worker.settings import WorkerSettings
from relaybot.worker.work import Done, Say
from relaybot.workings import build_bot
from tests.bench.jobs.whole import SECTIONS
from tests.bench.rounds import Figures
from tests.flows.harness import World, world
from wallet.accounts import CAPITAL, user
from wallet.book import Book, running
from wallet.ledger import Insert, Plan, Transfer, Values
from wallet.money import from_sat

COUNTED = 300  # jobs done, after the first hundred
WARM_UP = 100
CUSTOMERS = 50
ATONCE = 200  # Plans applied together
NOBODY = cast("Any", None)


async def measure_crowd() -> Figures:
    """Return what a job costs with 10,000 waiting and 1,000 nodes announced."""
    return await _measure(waiting=10_000, nodes=1_000)


async def measure_few() -> Figures:
    """Return what a job costs with 400 waiting and one node."""
    return await _measure(waiting=WARM_UP + COUNTED, nodes=1)


async def _measure(*, waiting: int, nodes: int) -> Figures:
    async with world(start=False, **SECTIONS) as w:
        works = _Works()
        await _fill(w, waiting, nodes)
        await w.start()
        settings = WorkerSettings(
            relay_urls=(f"ws://127.0.0.1:{w.port}",),
            service_pubkey=w.bot,
            kinds=frozenset({5050}),
            keypair=w.keys["carol"],
            name="bench",
            state_dir=w.data / "worker",
            work=works,
            concurrency=16,
            queue_max=1_000,
        )
        node = run_worker(settings, clock=SystemClock(), chance=secrets.token_bytes, jitter=random.random)
        w.tasks.create_task(node)
        first, before = await works.reach(WARM_UP), time.process_time()
        done = await works.reach(WARM_UP + COUNTED)
        spent = time.process_time() - before
        return {"CPU ms a job": spent / (done - first) * 1_000}


class _Works:
    """The demonstration's work, counted."""

    def __init__(self) -> None:
        self.done = 0
        self._reached: dict[int, asyncio.Event] = {}

    async def __call__(self, job: JobRequest, say: Say) -> Done:
        done = await resolve_issue(job, say)
        self.done += 1
        if self.done in self._reached:
            self._reached[self.done].set()
        return done

    async def reach(self, count: int) -> int:
        """Wait until so many jobs are done; return how many are."""
        event = self._reached.setdefault(count, asyncio.Event())
        if self.done < count:
            await event.wait()
        return self.done


async def _fill(w: World, waiting: int, nodes: int) -> None:
    """Let so many jobs wait, of fifty customers, and so many nodes be there, all but one of another kind."""
    customers = [KeyPair(secrets.token_bytes(32)) for _ in range(CUSTOMERS)]
    keyring = open_keyring(w.config.keys.file, {}, secrets.token_bytes(32))
    async with w.database() as database, running(Book(database, SystemClock())) as book:
        bot = build_bot(w.config, keyring, book, NOBODY, SystemClock(), chain=NOBODY, chance=secrets.token_bytes)
        agent = next(iter(bot.agents))
        given = from_sat(120 * (waiting // CUSTOMERS + 1))
        for rich in customers:
            await _applied(book, Plan(f"given/{rich.pubkey}", (Transfer(CAPITAL, user(rich.pubkey), given, "given"),)))
        await _applied(book, *(_dead_end(number) for number in range(nodes - 1)))
        requests = [_request(customers[number % CUSTOMERS], agent, number) for number in range(waiting)]
        for start in range(0, waiting, ATONCE):
            lots: dict[str, list[Event]] = {}
            for one in requests[start : start + ATONCE]:
                lots.setdefault(one.pubkey, []).append(one)
            while lots:  # a customer's next job is decided on what the one before has left
                round_ = [events.pop(0) for events in lots.values()]
                lots = {pubkey: events for pubkey, events in lots.items() if events}
                await _applied(book, *[cast("Plan", await on_request(bot, one)) for one in round_])
    await w.tamper("UPDATE outbox SET state = 'sent'")


def _request(customer: KeyPair, agent: str, number: int) -> Event:
    tags = [["i", f"issue {number}", "text"], ["p", agent]]
    return customer.sign(kind=5050, content="", tags=tags, created_at=int(time.time()))


def _dead_end(number: int) -> Plan:
    """Return a node that is there, idle, and does jobs of another kind."""
    now = int(time.time())
    values: Values = {
        "kinds": json.dumps([5100]),
        "announced_at": now,
        "announced_until": now + 86_400,
        "status": "idle",
        "beat_at": now,
        "beat_until": now + 86_400,
        "said": "approved",
        "assigned_at": 0,
        "changed_at": now,
    }
    pubkey = f"{number + 1:064x}"
    return Plan(f"node/{pubkey}", changes=(Insert("workers", pubkey, values),))


async def _applied(book: Book, *plans: Plan) -> None:
    answers = await asyncio.gather(*map(book.apply, plans))
    assert all(answer.done for answer in answers), [answer for answer in answers if not answer.done][:3]
