"""How a standing task of the service goes round: a step, then a wait for news or for the next look.

A stranger may find a fault of ours before we do. It shall cost them their own row, not
everybody the service: what breaks on one row is contained there (`Stumbles`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from relaybot.clock import Clock
from relaybot.errors import Unavailable

log = structlog.get_logger()

REST_SECONDS = 60  # of a row on which we stumbled; doubled each time
REST_SECONDS_MAX = 3_600
RESTING_MAX = 10_000  # rows that are remembered

T = TypeVar("T")

Step = Callable[[], Awaitable[bool]]  # True: there is more to do right now


async def repeat(name: str, step: Step, *, wake: asyncio.Event, seconds: float) -> None:
    """Run `step` for ever: at once after `wake` was set or while it says there is more, else every `seconds`.

    What is unavailable is logged and tried again at the next round; every other error ends the task.
    """
    while True:
        wake.clear()
        try:
            more = await step()
        except Unavailable as error:
            log.warning("unavailable", loop=name, reason=str(error))
            more = False
        if not more:
            try:
                async with asyncio.timeout(seconds):
                    await wake.wait()
            except TimeoutError:
                continue


class Stumbles:
    """Rows on which a loop stumbled by a fault of ours: each rests for a while, and the others go on.

    Only for loops whose rows stand for themselves. `patient` is False where every fault shall
    be seen at once, as in the simulator of the tests.
    """

    def __init__(self, clock: Clock, *, patient: bool = True) -> None:
        self._clock = clock
        self._patient = patient
        self._resting: dict[tuple[str, str], tuple[int, int]] = {}  # (loop, row) -> (until, how often)

    async def past(self, loop: str, row_id: str, work: Callable[[], Awaitable[T]], otherwise: T) -> T:
        """Do `work` on a row, or return `otherwise` if it breaks or rests. Unavailable goes through."""
        until, times = self._resting.get((loop, row_id), (0, 0))
        if self._clock.now() < until:
            return otherwise
        try:
            done = await work()
        except Unavailable:
            raise
        except Exception:
            if not self._patient:
                raise
            log.exception("row_failed", loop=loop, row=row_id[:200])
            rest = min(REST_SECONDS * 2 ** min(times, 6), REST_SECONDS_MAX)
            self._resting[loop, row_id] = (self._clock.now() + rest, times + 1)
            if len(self._resting) > RESTING_MAX:
                del self._resting[next(iter(self._resting))]
            return otherwise
        self._resting.pop((loop, row_id), None)
        return done
