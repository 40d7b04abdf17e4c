"""This process among those that share a book: its name, what it alone does, and who is gone.

A process has a lock of its own name for as long as it lives. Whoever gets that lock knows
that it is gone, and may take over what stands under its name. A task that one process
does for all has a lock, too. Both are freed when a process dies, however it dies. They
save double work and outside calls; that nothing is done twice is in the guards of Plans.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from relaybot.db.database import Lock, SharedDatabase


class Process:
    """One of several: `join` makes it."""

    def __init__(self, name: str = "", database: SharedDatabase | None = None) -> None:
        self.name = name
        self._database = database
        self._locks: dict[str, Lock] = {}

    async def is_named(self) -> bool:
        """Tell whether we have the lock of our name, taking it if it was lost with a connection."""
        return self._database is None or await self._has(self._database, f"process/{self.name}")

    async def leave(self) -> None:
        """Give back our name and all our tasks: others take them over at once."""
        for lock in self._locks.values():
            await lock.release()
        self._locks.clear()

    async def does(self, task: str) -> bool:
        """Tell whether `task` is ours to do, taking it over if nobody does it."""
        if self._database is None:
            return True
        await self.is_named()
        return await self._has(self._database, f"task/{task}")

    async def _has(self, database: SharedDatabase, name: str) -> bool:
        lock = self._locks.get(name)
        if lock is None or not lock.held:
            lock = await database.lock(name)
            if lock is not None:
                self._locks[name] = lock
        return lock is not None

    async def is_gone(self, name: str) -> bool:
        """Tell whether the process of this name is over; '' is nobody."""
        if self._database is None or not name:
            return True
        if name == self.name:
            return False
        lock = await self._database.lock(f"process/{name}")
        if lock is not None:
            await lock.release()
        return lock is not None

    def singly(self, task: str, step: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
        """Return a step of a standing task that does nothing while another process does it."""

        async def do() -> bool:
            return await step() if await self.does(task) else False

        return do


ALONE = Process()  # nobody else has this book


async def join(database: SharedDatabase, name: str) -> Process:
    """Be the process `name`, which nobody else ever was, until we end."""
    process = Process(name, database)
    assert await process.is_named(), f"there is a process {name} already"
    return process
