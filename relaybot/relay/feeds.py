"""One subscription's life: stored events, EOSE, then new ones, each event once.

A feed is subscribed before it asks the store, so nothing falls between; what turns up in
both is sent once. Where the events go is the Sink's business, finding the feeds that an
event concerns is subscriptions.py's. Nothing here awaits anything but store and sink.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from msgspec.structs import replace

from relaybot.errors import Unavailable
from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.filters import Filter
from relaybot.nostr.nip40 import parse_expiration
from relaybot.relay.events import EventStore


class Sink(Protocol):
    """Where a feed's events go: a connection, or a listener of this process."""

    def has_room(self) -> bool:
        """Tell whether a page can be taken now."""

    async def room(self) -> None:
        """Wait until a page can be taken."""

    def stored(self, raws: Sequence[bytes]) -> None:
        """Take a page of stored events."""

    def eose(self, hint: str) -> None:
        """Learn that stored events were handed over (EOSE): all (`finish`), not all (`more`), or not known."""

    def live(self, raw: bytes, event: Event) -> None:
        """Take a new event."""

    def closed(self, message: str) -> None:
        """Learn that the relay ended the subscription (CLOSED)."""


class TooSlow(Unavailable):
    """More new events came than may wait for a reader of stored ones."""


class Feed:
    """Events that meet any of `filters`, on their way to one sink."""

    __slots__ = ("_early", "_early_bytes", "_early_bytes_max", "_sent_early", "durable", "filters", "sink")

    def __init__(self, filters: Sequence[Filter], sink: Sink, *, durable: bool, early_bytes_max: int) -> None:
        """Begin before EOSE; `durable` events reach the hub's before_ok before their sender is told."""
        self.filters = filters
        self.sink = sink
        self.durable = durable
        # New events that came before EOSE: they wait until the stored ones are sent. None after EOSE.
        self._early: dict[bytes, Event] | None = {}
        self._early_bytes = 0
        self._early_bytes_max = early_bytes_max
        # Events that were read from the store before they were handed out as new ones.
        self._sent_early: set[bytes] = set()

    def offer(self, raw: bytes, event: Event) -> None:
        """Take a new event; TooSlow if it cannot wait any more."""
        if self._sent_early and raw in self._sent_early:
            self._sent_early.remove(raw)
        elif self._early is None:
            self.sink.live(raw, event)
        else:
            self._early[raw] = event
            self._early_bytes += len(raw)
            if self._early_bytes > self._early_bytes_max:
                raise TooSlow("the reader is too slow")

    async def send_stored(self, store: EventStore, being_stored: AbstractSet[bytes], *, expired_by: int = 0) -> None:
        """Send what is stored, EOSE, and what came meanwhile.

        `being_stored` holds, at any time, what is or will soon be stored and has not been
        offered yet. What expires up to `expired_by` is left out; 0 means that nothing such is
        stored. Raises Unavailable if the store does not answer.
        """
        asked, room = self._asked()
        found = 0
        async for page in store.query(asked):
            await self.sink.room()
            found += len(page)
            self._pass_on(page if found <= room else page[:-1], being_stored, expired_by)
        await self.sink.room()
        self._finish(self._hint(found, room))

    def send_at_once(self, store: EventStore, being_stored: AbstractSet[bytes], *, expired_by: int = 0) -> bool:
        """Do as `send_stored`, if that needs no waiting; tell whether it is done."""
        asked, room = self._asked()
        page = store.answer(asked) if self.sink.has_room() else None
        if page is None:
            return False
        if page:
            self._pass_on(page if len(page) <= room else page[:-1], being_stored, expired_by)
        self._finish(self._hint(len(page), room))
        return True

    def _pass_on(self, page: Sequence[bytes], being_stored: AbstractSet[bytes], expired_by: int) -> None:
        if expired_by:
            page = [raw for raw in page if not _has_expired(raw, expired_by)]
        if self._early or being_stored:
            self._remember(page, being_stored)
        self.sink.stored(page)

    def _finish(self, hint: str) -> None:
        assert self._early is not None, "stored events are sent once"
        early, self._early = self._early, None
        self.sink.eose(hint)
        for raw, event in early.items():
            self.sink.live(raw, event)

    def _asked(self) -> tuple[Sequence[Filter], float]:
        """Return what the store is asked for, and how much is sent: one event more than that tells if it is all."""
        if len(self.filters) == 1 and (limit := self.filters[0].limit):
            return [replace(self.filters[0], limit=limit + 1)], limit
        return self.filters, math.inf

    def _hint(self, found: int, room: float) -> str:
        # NIP-67: "finish" if every stored event was sent, "more" if some were not, nothing where that is not known
        if found > room:
            return "more"
        if len(self.filters) == 1:
            return "" if self.filters[0].limit == 0 else "finish"
        return "finish" if all(filter_.limit is None or found < filter_.limit for filter_ in self.filters) else ""

    def _remember(self, page: Sequence[bytes], being_stored: AbstractSet[bytes]) -> None:
        assert self._early is not None, "pages come before EOSE"
        for raw in page:
            if raw in self._early:
                del self._early[raw]
                self._early_bytes -= len(raw)
            elif raw in being_stored:
                self._sent_early.add(raw)


def _has_expired(raw: bytes, now: int) -> bool:
    if b'"expiration"' not in raw:
        return False
    expiration = parse_expiration(parse_event(raw))
    return expiration is not None and expiration <= now
