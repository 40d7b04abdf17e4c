"""Waiting for something to change in the simulated network, with a limit, without polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


class Changes:
    """One bell for the whole network: it rings after every commit, and each waiter looks for itself."""

    def __init__(self) -> None:
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody who waits now."""
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()

    async def first(self, look: Callable[[], Found | None], *, seconds: float | None) -> Found | None:
        """Return what `look` finds as soon as it finds something; None after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    bell = self._bell
                    if (found := look()) is not None:
                        return found
                    await bell.wait()
        except TimeoutError:
            return None
