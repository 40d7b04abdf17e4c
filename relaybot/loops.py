"""How a standing task of the service goes round: a step, then a wait for news or for the next look."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from relaybot.errors import Unavailable

log = structlog.get_logger()

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
