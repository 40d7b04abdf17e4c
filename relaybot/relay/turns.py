"""Whose turn it is at something that does one thing at a time: those who ask take turns, whoever asks how much.

Without it, one client that asks for a thousand slow things keeps everybody else waiting for
all of them. Who somebody is travels in the context of the task that asks (`ASKER`); '' is
this process itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

ASKER: ContextVar[str] = ContextVar("ASKER", default="")


class Turns:
    """A lock for which each asker has a line of their own."""

    def __init__(self) -> None:
        self._taken = False
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}  # whose turn is next stands first

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it while the block runs."""
        await self._acquire(ASKER.get())
        try:
            yield
        finally:
            self._pass_on()

    async def _acquire(self, who: str) -> None:
        if not self._taken:
            self._taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(who, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was ours already
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._lines:
            who = next(iter(self._lines))
            line = self._lines.pop(who)
            turn = line.popleft()
            if line:
                self._lines[who] = line  # behind all others
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False
