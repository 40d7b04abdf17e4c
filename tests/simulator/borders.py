"""The borders of the bot: where it may die, where others get their turn, and where the world answers badly.

Everything the bot does to the world or learns from it passes here: statements, commits, calls of the node,
of wallets and of relays. A dead bot gets past no border, so dying at one is dying between any two steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulator.timeline import Chance


@dataclass(slots=True)
class Borders:
    """The borders of one life of the bot."""

    chance: Chance
    on_death: Callable[[str], None]  # is told at which border
    fuse: int | None = None  # how many borders are left before it dies
    alive: bool = True
    passed: int = field(default=0)

    def at(self, name: str) -> None:
        """Be at a border: die here, or stay dead."""
        if not self.alive:
            raise asyncio.CancelledError
        self.passed += 1
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                self.on_death(name)
                assert not self.alive, "whoever is told of the death makes it true"
                raise asyncio.CancelledError

    async def yielding(self, name: str) -> None:
        """Be at a border, and let others have their turn by chance."""
        self.at(name)
        for _ in range(self.chance.choice((0, 0, 1, 3))):
            await asyncio.sleep(0)
            self.at(name)
