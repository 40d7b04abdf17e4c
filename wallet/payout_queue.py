"""Which payouts are due, and how many are worked on at once; what happens to each stands in `payouts.py`.

Longest waiting and smallest first. What takes long makes room for the next, and one host
takes a part of the room only, so neither a payment that hangs nor a wallet that does not
answer keeps the others waiting (C16). While some are at the node, the next are made ready
and the last are booked: the node waits for neither.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from functools import partial

import structlog

from relaybot.clock import Clock
from relaybot.errors import Unavailable
from relaybot.loops import Stumbles
from wallet.book import Book
from wallet.opening import PayoutRules
from wallet.states import Rail

log = structlog.get_logger()

DUE_MAX = 200  # payouts looked at in one round
CALLS_MAX = 100  # at the node at once, until `run` is told how many
ROUND_SECONDS = 1.0  # between two looks for what is due
SLOW_SECONDS = 5.0  # what takes longer no longer counts against the concurrency

Step = Callable[[str], Awaitable[bool]]  # bring a payout on by one step; whether it goes on at once


class Places:
    """So many may be there at once; whoever stays longer than `slow_seconds` makes room for the next."""

    def __init__(self, count: int, slow_seconds: float) -> None:
        self.waiting = 0  # for a place
        self._free = asyncio.Semaphore(count)
        self._slow_seconds = slow_seconds

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a place, and have it while the block runs."""
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        leaving = contextlib.ExitStack()
        leaving.callback(self._free.release)  # once, by whichever comes first
        late = asyncio.get_running_loop().call_later(self._slow_seconds, leaving.close)
        try:
            yield
        finally:
            late.cancel()
            leaving.close()


class PayoutQueue:
    """Takes what is due, for ever. `calling` has the attempts with a call under way, which need no look."""

    def __init__(
        self, book: Book, clock: Clock, rules: PayoutRules, step: Step, *, calling: Collection[str], stumbles: Stumbles
    ) -> None:
        self.at_node = Places(CALLS_MAX, SLOW_SECONDS)
        self._book = book
        self._clock = clock
        self._rules = rules
        self._step = step
        self._calling = calling
        self._stumbles = stumbles

    async def run(self, *, concurrency: int, at_once: int, slow_seconds: float) -> None:
        """Bring on what is due: so many at the node, as many beside it, and `at_once` of all towards the same host."""
        self.at_node = Places(concurrency, slow_seconds)
        news, running, towards = self._book.watch("payouts"), set[str](), Counter[str]()

        async def bring_on(payout_id: str, host: str) -> None:
            step = tasks.create_task(self._steps_or_wait(payout_id))
            step.add_done_callback(lambda _: running.discard(payout_id))
            await asyncio.wait({step}, timeout=slow_seconds)
            towards[host] -= 1
            news.set()

        async with asyncio.TaskGroup() as tasks:
            while True:
                news.clear()
                towards = +towards  # hosts that nothing goes to are forgotten
                full = [host for host, count in towards.items() if count >= at_once]
                room = min(2 * concurrency - towards.total(), concurrency - self.at_node.waiting)
                for payout_id, host in await self._due_or_none(full, room + len(running)) if room > 0 else []:
                    if payout_id in running or not room:
                        continue
                    if towards[host] >= at_once:
                        if host not in full:  # but is now: the next round looks past it, at once
                            news.set()
                        continue
                    running.add(payout_id)
                    towards[host] += 1
                    room -= 1
                    tasks.create_task(bring_on(payout_id, host))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ROUND_SECONDS):  # wait_for of Python 3.11 can swallow a cancellation
                        await news.wait()

    async def _due_or_none(self, full: Sequence[str], most: int) -> list[tuple[str, str]]:
        try:
            return await self.due(full, most)
        except Unavailable as error:  # the database: the next round looks again
            log.warning("payouts_unavailable", reason=str(error))
            return []

    async def due(self, full: Sequence[str] = (), most: int = DUE_MAX) -> list[tuple[str, str]]:
        """Return what has something to do now, longest waiting and smallest first: its id, and the host it goes to.

        What goes to one of the `full` hosts is left out, or its queue would stand before everybody else's.
        """
        now, rules = self._clock.now(), self._rules
        others = "".join(
            f" AND target NOT LIKE :host{n} AND target NOT LIKE :link{n} AND target <> :text{n}"
            for n in range(len(full))
        )
        texts = {f"text{n}": host for n, host in enumerate(full)}  # an offer or invoice is its own
        hosts = {f"host{n}": f"%@{host}" for n, host in enumerate(full)}
        links = {f"link{n}": f"lnurlp://{host}/%" for n, host in enumerate(full)}
        rows = await self._book.database.fetch(
            "SELECT id, attempt, target FROM payouts WHERE (next_at <= :now OR next_at > :latest) AND rail = :rail"  # noqa: S608  our own placeholders
            f"{others} ORDER BY next_at, amount_msat LIMIT :limit",
            now=now,
            latest=now + max(rules.retry_seconds_max, rules.poll_seconds, rules.confirm_seconds),  # the clock was ahead
            rail=Rail.LIGHTNING.value,
            limit=most + len(self._calling),
            **texts,
            **hosts,
            **links,
        )
        return [(row["id"], _host_of(row["target"])) for row in rows if row["attempt"] not in self._calling]

    async def _steps_or_wait(self, payout_id: str) -> None:
        try:
            steps = partial(self._steps, payout_id)
            stepped = await self._stumbles.past("payouts", payout_id, steps, otherwise=False)
        except Unavailable as error:  # the node: what is sent stays sent, and is asked about in the next round
            log.warning("payout_unavailable", payout=payout_id, reason=str(error))
            stepped = False
        if not stepped:
            await asyncio.sleep(ROUND_SECONDS)

    async def _steps(self, payout_id: str) -> bool:
        """Take one step, and the next one too if it goes on at once: what was prepared is sent while it is fresh."""
        if await self._step(payout_id):
            await self._step(payout_id)
        return True


def _host_of(target: str) -> str:
    """Return the host that gives the invoices of a target; where none does, the target itself."""
    return target.rpartition("@")[2] if "@" in target else target.removeprefix("lnurlp://").partition("/")[0]
