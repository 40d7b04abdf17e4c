"""How a compute node is seen: profile (kind 0), announcement (31990), heartbeat (11998).

All three are replaceable, so each heartbeat is dated at least a second after the one
before it, and a change of status is told once it has lasted a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog

from relaybot.clock import Clock
from relaybot.connection import Pause, RelayConnection
from relaybot.errors import Unavailable
from relaybot.nostr.event import Event
from relaybot.nostr.nip89 import (
    CONCURRENCY_MAX,
    HEARTBEAT_LIFETIME_SECONDS_MIN,
    WORKER_TOPIC,
    Capability,
    WorkerStatus,
    build_heartbeat,
    build_worker_announcement,
)
from relaybot.worker.settings import WorkerSettings

log = structlog.get_logger()

PROFILE_KIND = 0
ANNOUNCED_SECONDS = 86_400  # renewed after half of it
SETTLE_SECONDS = 1.0  # one tick of created_at
BEATS_LOST_MAX = 2  # a heartbeat outlives so many that do not arrive


class Presence:
    """Keeps the relays told; `status` is asked whenever it is about to be told."""

    def __init__(
        self,
        settings: WorkerSettings,
        connections: Sequence[RelayConnection],
        *,
        status: Callable[[], WorkerStatus],
        clock: Clock,
        pause: Pause,
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._status = status
        self._clock = clock
        self._pause = pause
        self._changed = asyncio.Event()
        self._announced_at = clock.now()
        self._beat: tuple[WorkerStatus, int] | None = None  # the last one made
        self._told: WorkerStatus | None = None  # to all relays

    def changed(self) -> None:
        """Say that the status may be another one."""
        self._changed.set()

    async def run(self) -> None:
        """Introduce the node to every relay at each connection, and keep its heart beating, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for connection in self._connections:
                tasks.create_task(self._introduce(connection))
            while True:
                await self._wait()
                self._told = self._status()
                await self._tell_all(self._heartbeat())
                if self._clock.now() - self._announced_at >= ANNOUNCED_SECONDS // 2:
                    self._announced_at = self._clock.now()
                    await self._tell_all(self._announcement())

    async def _introduce(self, connection: RelayConnection) -> None:
        number = 0
        while True:
            number = await connection.next_connection(after=number)
            for build in (self._profile, self._announcement, self._heartbeat):
                await _tell(connection, build())  # made when it is sent: a heartbeat that waited would come too late

    async def _wait(self) -> None:
        """Return when the next heartbeat is due, or the status has been another one for a while."""
        try:
            async with asyncio.timeout(self._settings.heartbeat_seconds):
                while True:
                    await self._changed.wait()
                    await self._pause(SETTLE_SECONDS)
                    self._changed.clear()
                    if self._told != self._status():
                        return
        except TimeoutError:
            return

    async def _tell_all(self, event: Event) -> None:
        await asyncio.gather(*(_tell(connection, event) for connection in self._connections))

    def _profile(self) -> Event:
        # NIP-24: lud16 is where zaps and payouts go
        known = {"name": self._settings.name, "about": self._settings.about, "lud16": self._settings.lud16}
        content = msgspec.json.encode({name: value for name, value in known.items() if value}).decode()
        return self._settings.keypair.sign(kind=PROFILE_KIND, content=content, tags=[], created_at=self._announced_at)

    def _announcement(self) -> Event:
        return build_worker_announcement(
            self._settings.keypair,
            identifier=WORKER_TOPIC,
            service=self._settings.service_pubkey,
            kinds=self._settings.kinds,
            name=self._settings.name,
            about=self._settings.about,
            expiration=self._announced_at + ANNOUNCED_SECONDS,
            capability=Capability(
                models=self._settings.models,
                least_msat=self._settings.least_msat,
                concurrency=min(self._settings.concurrency, CONCURRENCY_MAX),
            ),
            now=self._announced_at,
        )

    def _heartbeat(self) -> Event:
        status, now = self._status(), self._clock.now()
        if self._beat is not None and self._beat != (status, now):
            now = max(now, self._beat[1] + 1)  # of two with one date, relays keep the one with the lower id
        self._beat = (status, now)
        lifetime = max(HEARTBEAT_LIFETIME_SECONDS_MIN, int(self._settings.heartbeat_seconds * (BEATS_LOST_MAX + 1)))
        return build_heartbeat(
            self._settings.keypair,
            service=self._settings.service_pubkey,
            status=status,
            expiration=now + lifetime,
            now=now,
        )


async def _tell(connection: RelayConnection, event: Event) -> None:
    """Publish once: what does not arrive is told again soon enough."""
    try:
        ok = await connection.publish(event)
    except Unavailable as error:
        log.info("presence_not_told", kind=event.kind, reason=str(error))
        return
    if not ok.accepted:
        log.warning("presence_refused", kind=event.kind, relay=connection.url, reason=ok.message[:200])
