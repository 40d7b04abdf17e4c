"""Sends what a compute node owes to one relay: the same stored event every time, until that relay says OK.

What is owed, and until when, stands in the journal; nothing is made or signed here.
"""

from __future__ import annotations

import asyncio

import structlog

from relaybot.clock import Clock
from relaybot.connection import Pause, RelayConnection
from relaybot.errors import Unavailable
from relaybot.nostr.event import Event
from relaybot.worker.journal import Journal

log = structlog.get_logger()

UNDER_WAY_MAX = 64  # events sent and not yet acknowledged
RETRY_SECONDS = 2.0
REFUSED_FOR_GOOD = ("invalid", "blocked", "restricted", "pow")  # NIP-01 prefixes that a retry will not change


class Delivery:
    """The way of events to one relay."""

    def __init__(self, journal: Journal, connection: RelayConnection, *, clock: Clock, pause: Pause) -> None:
        self._journal = journal
        self._connection = connection
        self._clock = clock
        self._pause = pause
        self._news = asyncio.Event()
        self._under_way: set[str] = set()

    def wake(self) -> None:
        """Say that there is something new to send."""
        self._news.set()

    async def run(self) -> None:
        """Send, and send again, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._connection.next_connection()
                self._news.clear()
                for event, until in self._journal.owed(self._connection.url, UNDER_WAY_MAX):
                    if event.id not in self._under_way:
                        self._under_way.add(event.id)
                        tasks.create_task(self._send(event, until))
                await self._news.wait()

    async def _send(self, event: Event, until: int) -> None:
        if self._clock.now() > until:
            log.error("publish_given_up", event_id=event.id, kind=event.kind, relay=self._connection.url)
            self._journal.settle(event.id, self._connection.url)
        elif await self._settled(event):
            self._journal.settle(event.id, self._connection.url)
        else:
            await self._pause(RETRY_SECONDS)
        self._under_way.discard(event.id)
        self._news.set()

    async def _settled(self, event: Event) -> bool:
        """Publish once; tell whether the relay has the event now, or never will."""
        try:
            ok = await self._connection.publish(event)
        except Unavailable as error:
            log.info("publish_waits", event_id=event.id, kind=event.kind, reason=str(error))
            return False
        # NIP-01: a relay that has the event already says OK true with `duplicate:`; some say false.
        if ok.accepted or ok.message.startswith("duplicate"):
            return True
        refused = ok.message.startswith(REFUSED_FOR_GOOD)
        level = log.error if refused else log.warning
        level(
            "publish_refused", event_id=event.id, kind=event.kind, relay=self._connection.url, reason=ok.message[:200]
        )
        return refused
