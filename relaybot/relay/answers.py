"""What a client asked for, until it is answered or taken back: a subscription, a count.

Each is told by the hub what there is, and tells the client's connection. Where messages
then go, and what is asked, is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.nostr.messages import build_closed, build_count, build_eose
from relaybot.relay.frames import event_prefix
from relaybot.relay.hub import Hub


class Line(Protocol):
    """A client's connection, as far as answers need it."""

    def send_text(self, text: str) -> None:
        """Send one message."""

    def send_live(self, prefix: bytes, raw: bytes) -> None:
        """Send a new event."""

    def has_room(self) -> bool:
        """Tell whether a page of stored events may be sent now."""

    async def room(self) -> None:
        """Wait for a slow reader."""

    def send_stored(self, prefix: bytes, raws: Sequence[bytes]) -> None:
        """Send a page of stored events."""

    def answered(self) -> None:
        """Count one message as dealt with."""

    def count_ended(self, query_id: str) -> None:
        """Forget a COUNT that is answered."""

    def subscription_closed(self, sub_id: str, message: str) -> None:
        """Tell the client that its subscription has ended."""


class Subscription:
    """The sink of one subscription of a client."""

    __slots__ = ("_answered", "_feed", "_hub", "_line", "_prefix", "_sub_id")

    def __init__(self, line: Line, sub_id: str, hub: Hub, filters: Sequence[Filter]) -> None:
        self._line = line
        self._sub_id = sub_id
        self._prefix = event_prefix(sub_id)
        self._answered = False
        self._hub = hub
        self._feed = hub.open(filters, self)

    def has_room(self) -> bool:
        """Tell whether the client can be sent a page now."""
        return self._line.has_room()

    async def room(self) -> None:
        """Wait until the client can be sent a page."""
        await self._line.room()

    def stored(self, raws: Sequence[bytes]) -> None:
        """Pass on a page of stored events."""
        self._line.send_stored(self._prefix, raws)

    def eose(self, hint: str) -> None:
        """Tell that stored events have been sent."""
        self._line.send_text(build_eose(self._sub_id, hint))
        self._note_answer()

    def live(self, raw: bytes, _event: Event) -> None:
        """Pass on a new event."""
        self._line.send_live(self._prefix, raw)

    def closed(self, message: str) -> None:
        """Tell that the relay ended it."""
        self._line.subscription_closed(self._sub_id, message)
        self._note_answer()

    def end(self) -> None:
        """End it from the client's side."""
        self._hub.end(self._feed)
        self._note_answer()

    def _note_answer(self) -> None:
        if not self._answered:
            self._answered = True
            self._line.answered()


class Counting:
    """A COUNT that is being worked on (NIP-45)."""

    __slots__ = ("_answered", "_line", "_query_id", "_task")

    def __init__(self, line: Line, query_id: str, hub: Hub, filters: Sequence[Filter]) -> None:
        self._line = line
        self._query_id = query_id
        self._answered = False
        self._task = hub.count(filters, self._counted, self._refused)

    def end(self) -> None:
        """Stop counting: nobody waits for it any more."""
        self._task.cancel()
        if not self._answered:
            self._answered = True
            self._line.answered()

    def _counted(self, count: int) -> None:
        self._tell(build_count(self._query_id, count))

    def _refused(self, message: str) -> None:
        # NIP-45: whenever the relay decides to refuse to fulfil the request, it MUST return a CLOSED message
        self._tell(build_closed(self._query_id, message))

    def _tell(self, text: str) -> None:
        self._line.send_text(text)
        self._line.count_ended(self._query_id)
        self._answered = True
        self._line.answered()
