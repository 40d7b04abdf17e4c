"""The simulated card company's messages to the shop: signed, tried again, and as unreliable as they are told to be."""

from __future__ import annotations

import asyncio
import contextlib
import json
from enum import Enum

import aiohttp
import structlog

from relaybot.cardsim.world import Object
from relaybot.clock import Clock
from wallet.card_signature import HEADER, TOLERANCE_SECONDS, sign

log = structlog.get_logger()

SECONDS_MAX = 5.0  # for one delivery
RETRY_SECONDS = 2.0
TRIES_MAX = 5


class Manner(Enum):
    """How messages are brought."""

    GOOD = "good"
    DOUBLED = "doubled"
    REORDERED = "reordered"  # two are waited for, and brought the other way round
    LOST = "lost"
    FORGED = "forged"  # signed with another secret
    STALE = "stale"  # signed too long ago


class Webhooks:
    """Bring events to one address, one after the other."""

    def __init__(self, url: str, secret: str, clock: Clock) -> None:
        self._url, self._secret, self._clock = url, secret, clock
        self._waiting: asyncio.Queue[Object] = asyncio.Queue()
        self.manner = Manner.GOOD
        self.answers: list[int] = []  # status of each delivery that was answered

    def tell(self, event: Object) -> None:
        """Bring an event soon."""
        self._waiting.put_nowait(event)

    async def all_brought(self) -> None:
        """Wait until nothing waits to be brought."""
        await self._waiting.join()

    async def run(self) -> None:
        """Bring what waits, for ever."""
        async with aiohttp.ClientSession(trust_env=False) as http:
            while True:
                events = [await self._waiting.get()]
                if self.manner is Manner.REORDERED:
                    events.insert(0, await self._waiting.get())
                times = {Manner.LOST: 0, Manner.DOUBLED: 2}.get(self.manner, 1)
                for event in events * times:
                    await self._bring(http, event)
                for _ in events:
                    self._waiting.task_done()

    async def _bring(self, http: aiohttp.ClientSession, event: Object) -> None:
        for _ in range(TRIES_MAX):
            status = await self._once(http, event)
            if status:
                self.answers.append(status)
            if status and status < 500:  # noqa: PLR2004  an error of the shop's is tried again
                return
            await asyncio.sleep(RETRY_SECONDS)
        log.warning("card_webhook_undelivered", url=self._url, event_id=event["id"])

    async def _once(self, http: aiohttp.ClientSession, event: Object) -> int:
        body, at = json.dumps(event).encode(), self._clock.now()
        if self.manner is Manner.STALE:
            at -= TOLERANCE_SECONDS + 1
        secret = "another" if self.manner is Manner.FORGED else self._secret
        headers = {HEADER: sign(body, secret, at), "Content-Type": "application/json"}
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(SECONDS_MAX), http.post(self._url, data=body, headers=headers) as answer:
                return answer.status
        return 0
