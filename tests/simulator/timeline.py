"""Time and chance of a simulated world: an event loop whose time jumps to the next timer, and seeded random numbers.

The loop has no selector, no self-pipe, no executor: what is not a timer or ready at once never happens.
"""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import Executor
from typing import NoReturn

START = 1_795_000_000  # the second at which every world begins
TURNS_MAX = 400_000  # of the loop: more in one story means that something spins


class Stuck(Exception):
    """Nothing is ready and no timer runs, or the loop turns and turns: the bot would hang for ever."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop on which waiting costs nothing: time is a number, moved on when all have had their turn."""

    def __init__(self) -> None:
        super().__init__()
        self.grain = 0.0  # the least a jump covers: what is due within it happens late and together
        self._seconds = 0.0
        self._turns = 0
        self._selector = _Jump(self)

    def time(self) -> float:
        """Return the seconds since the world began."""
        return self._seconds

    def rest(self) -> None:
        """Be told that the story is over: what is left to do at its end may take turns of its own."""
        self.grain, self._turns = 0.0, 0

    def jump(self, seconds: float | None) -> None:
        """Move the time on to the next timer."""
        self._turns += 1
        if self._turns > TURNS_MAX:
            raise Stuck(f"the loop has turned {TURNS_MAX} times")
        if seconds is None:
            raise Stuck("nothing is left that could happen")
        if seconds > 0:
            self._seconds += max(seconds, self.grain)

    def run_in_executor(self, executor: Executor | None, func: object, *args: object) -> NoReturn:
        """Refuse: there are no threads here."""
        raise AssertionError(f"{func} wants a thread")

    def _process_events(self, event_list: list[object]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """Do nothing: nobody else can wake us."""


class _Jump:
    """What a loop takes for its selector."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        self._loop.jump(timeout)
        return []


async def wait(seconds: float) -> None:
    """Let so much of the world's own time pass; not at all for nothing: on a coarse grain even a moment is long."""
    if seconds > 0:
        passed = asyncio.Event()
        timer = asyncio.get_running_loop().call_later(seconds, passed.set)
        try:
            await passed.wait()
        finally:
            timer.cancel()


class WorldClock:
    """Whole seconds, as everybody's clock shows them, but for `ahead`: by how much this one is wrong."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.ahead = 0

    def now(self) -> int:
        return START + int(self._loop.time()) + self.ahead


class Chance(random.Random):
    """Random numbers of one part of the world: what another part draws does not change them."""

    def __init__(self, seed: int, part: str) -> None:
        super().__init__(f"{seed}/{part}")  # a text is hashed by SHA-512, not by the process's own salt

    def of(self, percent: float) -> bool:
        """Tell whether something happens that happens so often in a hundred times."""
        return self.random() * 100 < percent

    def seconds(self, most: float) -> float:
        """Return a time between 0 and `most`: often short, seldom long."""
        return most * self.random() ** 2
