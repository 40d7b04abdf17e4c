"""What goes from the relay's store by itself: the expired, the forgotten, and what retention lets go.

All of it in small steps between other commits, each found by a reader first, so neither
clients nor the writer wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from relaybot.clock import Clock
from relaybot.relay.events import EventStore
from relaybot.relay.removals import BEYOND, EXPIRED, KINDS, OLDER, REST, VANISHING, Removal, Retention, vanishing

log = structlog.get_logger()

STEP_EVENTS = 200  # removed by one commit: about 20 ms
RETENTION_SECONDS = 60  # between two looks at what is kept too long


class Upkeep:
    """Keeps the store as small as the operator wants it."""

    def __init__(self, store: EventStore, retention: Sequence[Retention], clock: Clock) -> None:
        self._store = store
        self._retention = retention
        self._clock = clock
        self._look_at = 0

    async def step(self) -> bool:
        """Remove some of what is to go; tell whether there is more. Unavailable if the store does not answer."""
        now = self._clock.now()
        removed = 0
        if now >= self._store.next_expiry:
            removed += await self._remove("expired", EXPIRED, (now, STEP_EVENTS))
        removed += await self._forget()
        if self._retention and now >= self._look_at:
            kept_too_long = await self._retain(now)
            removed += kept_too_long
            if not kept_too_long:
                self._look_at = now + RETENTION_SECONDS
        return removed > 0

    async def _forget(self) -> int:
        """Remove more of what a key wrote that asked to vanish (NIP-62)."""
        found = await self._store.look_up(REST)
        if not found:
            return 0
        pubkey, until = found.split(" ")
        listed = await self._store.look_up(VANISHING, vanishing(pubkey, int(until), STEP_EVENTS))
        seqs = _numbers(listed)
        await self._store.remove(Removal(seqs, last_of="" if len(seqs) == STEP_EVENTS else pubkey))
        return max(1, len(seqs))

    async def _retain(self, now: int) -> int:
        removed = 0
        kinds = _numbers(await self._store.look_up(KINDS))
        for rule in self._retention:
            for kind in [kind for kind in kinds if any(kind in some for some in rule.kinds)]:
                if rule.seconds is not None:
                    removed += await self._remove("too old", OLDER, (kind, now - rule.seconds, STEP_EVENTS))
                if rule.events_max is not None:
                    removed += await self._remove("too many", BEYOND, (kind, rule.events_max, STEP_EVENTS))
        return removed

    async def _remove(self, why: str, sql: str, values: tuple[int, ...]) -> int:
        seqs = _numbers(await self._store.look_up(sql, values))
        if seqs:
            await self._store.remove(Removal(seqs))
            log.debug("relay_events_removed", why=why, events=len(seqs))
        return len(seqs)


def _numbers(listed: str) -> list[int]:
    return [int(number) for number in listed.split(",")] if listed else []
