"""`make bench-jobs`: whole jobs, from the request over a websocket to the result, on one machine.

Everything is the real thing: durable commits, signatures, websockets, encryption. Customer
and node share the process with the service.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import statistics
import time
from functools import partial

from relaybot.clock import SystemClock
from relaybot.connection import RelayConnection
from relaybot.demo.work import resolve_issue
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.worker.node import run_worker
from relaybot.worker.settings import WorkerSettings
from tests.bench.rounds import Figures, run, seconds
from tests.flows.harness import World, world

JOBS, SEQUENTIAL = 400, 50
SKILL = {
    "name": "Bench",
    "shares": [{"to": name, "amount": "20 sat"} for name in ("alice", "$worker", "dave", "grace", "heidi")],
}
AGENT = {"name": "Bench", "kinds": [5050], "price": "120 sat", "skills": ["bench"]}


async def measure_service() -> Figures:
    """Return jobs per second, and the time of one job alone."""
    async with world(
        skills={"bench": SKILL},
        agents={"autodev": AGENT},
        workers={"allowed": ["carol"], "open_jobs_max": JOBS},
        jobs={"open_per_customer_max": 2 * JOBS},
        payouts={"enabled": False},
    ) as w:
        return await _measure(w)


async def _measure(w: World) -> Figures:
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
    alone = [await seconds(partial(_whole, w, one)) for one in requests[:SEQUENTIAL]]

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

    taken = await seconds(all_jobs)
    await w.sound()
    return {"jobs/s": JOBS / taken, "one job alone, p50 ms": statistics.median(alone) * 1_000}


def _request(w: World, text: str) -> Event:
    tags = [["i", text, "text"], ["p", w.agent]]
    return w.keys["bob"].sign(kind=5050, content="", tags=tags, created_at=int(time.time()))


async def _whole(w: World, request: Event) -> None:
    await (await w.join("bob")).send(request)
    await w.feedback("bob", request, "success")


if __name__ == "__main__":
    run(__doc__, {"service": measure_service})
