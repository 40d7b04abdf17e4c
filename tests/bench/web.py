"""`make bench-web`: how long pages take under 50 requests a second, while jobs run and while none do.

The service is a process of its own, as `relaybot run` makes it, with a month of published accounts, and so is
the compute node; who reads the pages, signed in, and who asks for jobs is this one. Requests are sent by the
clock, whether those before are answered or not: a page that is slow makes the next ones no rarer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

from tests.account.browser import Browser, browsing
from tests.bench.jobs.whole import SECTIONS, customer_of, percentiles, request_of, service_and_node, stages_of
from tests.bench.processes import cpu_seconds
from tests.bench.rounds import Figures, run
from tests.browser.town import publish_month
from tests.flows.harness import World, world

PAGES = ("/", "/agents", "/account")
PER_SECOND, SECONDS = 50, 6
JOBS_IN_FLIGHT = 4
FUNDS_SAT = 900_000  # of 120 each


async def measure(*, jobs: bool) -> Figures:
    """Return the percentiles of each page, and the jobs a second beside them."""
    sections = SECTIONS | {"web": {"requests_per_minute": 1_000_000}}
    async with world(start=False, **sections) as w, service_and_node(w) as running, browsing(w) as bob:
        await publish_month(w)
        await w.fund("bob", FUNDS_SAT)
        await bob.sign_in(w.keys["bob"])
        async with _jobs(w, JOBS_IN_FLIGHT if jobs else 0) as done:
            figures: Figures = {}
            for path in PAGES:
                before, spent = len(done), cpu_seconds(running[0])
                figures |= percentiles(path, await _asked(bob, path))
                figures[f"{path}, jobs/s beside"] = (len(done) - before) / SECONDS
                if not jobs:
                    figures[f"{path}, service CPU ms"] = (cpu_seconds(running[0]) - spent) * 1_000 / _REQUESTS
        return figures


_REQUESTS = PER_SECOND * SECONDS


async def _asked(browser: Browser, path: str) -> Sequence[float]:
    """Ask for a page so often a second; return how long each answer took, in ms."""

    async def one(at: float) -> float:
        due = asyncio.Event()
        loop.call_at(at, due.set)
        await due.wait()
        async with browser.session.get(browser.url + path) as answer:
            assert answer.status == 200, answer.status
            await answer.read()
        return (loop.time() - at) * 1_000

    loop = asyncio.get_running_loop()
    start = loop.time() + 0.1
    return await asyncio.gather(*(one(start + number / PER_SECOND) for number in range(_REQUESTS)))


@asynccontextmanager
async def _jobs(w: World, at_once: int) -> AsyncIterator[list[float]]:
    """Let Bob have so many jobs done at any time; yield when each was done."""
    done: list[float] = []
    numbers, first = count(), asyncio.Event()

    async def again_and_again() -> None:
        while True:
            await stages_of(connection, watcher, request_of(w, f"issue {next(numbers)}"))
            done.append(time.perf_counter())
            first.set()

    if not at_once:
        yield done
        return
    connection, watcher = await customer_of(w)
    working = [asyncio.create_task(again_and_again()) for _ in range(at_once)]
    await asyncio.wait_for(first.wait(), 120)
    yield done
    for task in working:
        task.cancel()
    await asyncio.wait(working)
    assert all(task.cancelled() for task in working), "a job failed"


if __name__ == "__main__":
    run(__doc__, {"jobs run": partial(measure, jobs=True), "no jobs": partial(measure, jobs=False)})
