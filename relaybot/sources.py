"""What is looked up in the world: a text on the web, events of our relays or of one that a stranger names.

Every address a stranger names is guarded (`outgoing.py`, `visitor.py`). What is found means something
for a job (`handlers/inputs.py`) or a payout (`handlers/zap_payouts.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from itertools import count

import structlog

from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.filters import Filter, matches
from relaybot.nostr.nip59 import WRAP_KINDS
from relaybot.outgoing import Outgoing
from relaybot.reader import Connected, Stored
from relaybot.visitor import Visitor

log = structlog.get_logger()

LOOK_SECONDS = 5.0  # for the answer of a relay we are connected with
TEXTS_MAX = 8  # fetched at once, of all jobs


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
        self._looks = count()  # names of subscriptions

    async def text_at(self, url: str, *, bytes_max: int) -> str:
        """Return the text at a public https address. Rejected if there is none; Unavailable if nobody answers."""
        async with self._slots:
            return await self._outgoing.get_text(url, max_bytes=bytes_max)

    async def event(self, event_id: str, hint: str) -> Event | None:
        """Return an event of our relays, or of the one at `hint`; None if none of them has it.

        Rejected for a gift wrap, which is its recipient's, and for a hint that is no public relay.
        """
        wanted = Filter(ids=frozenset({event_id}), limit=1)
        found = await self._stored(wanted) or await self._of_others(wanted)
        if not found and hint:
            found = await self._visitor.find_all(hint, wanted)
        if not found:
            return None
        if found[0].kind in WRAP_KINDS:
            raise Rejected("invalid", "a private message is no input")
        return found[0]

    async def events(self, wanted: Filter, relays: Sequence[str]) -> list[Event]:
        """Return what our relays and these have of it, each once; a relay that does not answer has nothing."""
        visited = await asyncio.gather(*(self._visited(url, wanted) for url in relays))
        found = [
            *await self._stored(wanted),
            *await self._of_others(wanted),
            *(one for some in visited for one in some),
        ]
        return list({event.id: event for event in found}.values())

    async def _visited(self, url: str, wanted: Filter) -> list[Event]:
        try:
            return await self._visitor.find_all(url, wanted)
        except (Rejected, Unavailable) as error:
            log.info("relay_not_asked", reason=str(error))
            return []

    async def _stored(self, wanted: Filter) -> list[Event]:
        if self._store is None:
            return []
        return [parse_event(raw) async for raws in self._store.query([wanted]) for raw in raws]

    async def _of_others(self, wanted: Filter) -> list[Event]:
        looks = [self._ask(other, wanted) for other in self._others]
        return [event for found in await asyncio.gather(*looks) for event in found]

    async def _ask(self, other: Connected, wanted: Filter) -> list[Event]:
        """Return events of one relay; none if it has none, or does not answer in time."""
        found: list[Event] = []
        answered, name = asyncio.Event(), f"look {next(self._looks)}"

        async def on_event(event: Event) -> None:
            if matches(wanted, event):
                found.append(event)
            if len(found) == wanted.limit:
                answered.set()

        async def on_eose() -> None:
            answered.set()

        await other.subscribe(name, lambda: [wanted], on_event, on_eose=on_eose)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await answered.wait()
        finally:
            await other.unsubscribe(name)
        return found
