"""Where the inputs of jobs come from: a text on the web, an event of our relays or of one that the customer names.

Every address a customer names is guarded (`outgoing.py`, `visitor.py`). What it means for a job
stands in `handlers/inputs.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from relaybot.errors import Rejected
from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.filters import Filter
from relaybot.nostr.nip59 import WRAP_KINDS
from relaybot.outgoing import Outgoing
from relaybot.reader import Connected, Stored
from relaybot.visitor import Visitor

LOOK_SECONDS = 5.0  # for the answer of a relay we are connected with
TEXTS_MAX = 8  # fetched at once: payouts use the same client


class WorldSources:
    """The real ones: our relay's store, the relays we read, the guarded clients."""

    def __init__(
        self, store: Stored | None, others: Sequence[Connected], *, visitor: Visitor, outgoing: Outgoing
    ) -> None:
        self._store = store
        self._others = others
        self._visitor = visitor
        self._outgoing = outgoing
        self._slots = asyncio.Semaphore(TEXTS_MAX)

    async def text_at(self, url: str, *, bytes_max: int) -> str:
        """Return the text at a public https address. Rejected if there is none; Unavailable if nobody answers."""
        async with self._slots:
            return await self._outgoing.get_text(url, max_bytes=bytes_max)

    async def event(self, event_id: str, hint: str) -> Event | None:
        """Return an event of our relays, or of the one at `hint`; None if none of them has it.

        Rejected for a gift wrap, which is its recipient's, and for a hint that is no public relay.
        """
        found = await self._stored(event_id) or await self._of_others(event_id)
        if found is None and hint:
            found = await self._visitor.find(hint, event_id)
        if found is not None and found.kind in WRAP_KINDS:
            raise Rejected("invalid", "a private message is no input")
        return found

    async def _stored(self, event_id: str) -> Event | None:
        if self._store is None:
            return None
        async for raws in self._store.query([Filter(ids=frozenset({event_id}))]):
            for raw in raws:
                return parse_event(raw)
        return None

    async def _of_others(self, event_id: str) -> Event | None:
        looks = [self._ask(other, event_id) for other in self._others]
        return next((found for found in await asyncio.gather(*looks) if found is not None), None)

    async def _ask(self, other: Connected, event_id: str) -> Event | None:
        """Return an event of one relay; None if it has it not, or does not answer in time."""
        found: list[Event] = []
        answered, name = asyncio.Event(), f"input {event_id[:16]}"

        async def on_event(event: Event) -> None:
            if event.id == event_id:
                found.append(event)
                answered.set()

        async def on_eose() -> None:
            answered.set()

        wanted = [Filter(ids=frozenset({event_id}))]
        await other.subscribe(name, lambda: wanted, on_event, on_eose=on_eose)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await answered.wait()
        finally:
            await other.unsubscribe(name)
        return found[0] if found else None
