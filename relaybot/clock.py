"""The time, as an argument: rules take `now`, the shell takes a Clock, tests pass their own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tell the time in whole seconds since 1970 (UTC), as Nostr's created_at counts it."""

    def now(self) -> int:
        """Return the current Unix time in seconds."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> int:
        """Return the current Unix time in seconds."""
        return int(time.time())


class SetClock:
    """A clock that stands still until it is moved: for tests and replays."""

    def __init__(self, now: int) -> None:
        """Start at `now` seconds."""
        self._now = now

    def now(self) -> int:
        """Return the time it was set to."""
        return self._now

    def advance(self, seconds: int) -> None:
        """Move on by `seconds`; negative values are what a jumping clock does."""
        self._now += seconds
