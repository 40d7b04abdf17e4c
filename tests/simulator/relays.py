"""Two relays without sockets: the embedded one, which lives and dies with the bot but for its store, and a far one.

A relay stores what it is given, once, and hands it to whoever listens. What the bot says is seen by everybody in
the story; what people say reaches the bot by the way of the real hub (`take` before OK) and the real connection
(subscriptions asked anew after a loss, events one by one).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from relaybot.connection import OnEose, OnEvent
from relaybot.errors import RelaybotError, Unavailable
from relaybot.nostr.event import Event, encode_event
from relaybot.nostr.filters import Filter, matches
from relaybot.nostr.messages import Ok
from tests.simulator.borders import Borders
from tests.simulator.timeline import Chance, wait

FAR = "wss://far.test"
PAGE = 20  # stored events handed over at a time

Take = Callable[[Event], Awaitable[None]]
Heard = Callable[[Event], None]


class Shelf:
    """What one relay has stored. It outlives every life of the bot."""

    def __init__(self, name: str, heard: Heard) -> None:
        self.name = name
        self.events: dict[str, Event] = {}  # by id, in the order of their coming
        self._heard = heard

    def put(self, event: Event) -> bool:
        """Store an event and let everybody hear it; False if it is there already."""
        if event.id in self.events:
            return False
        self.events[event.id] = event
        self._heard(event)
        return True

    def found(self, filters: Sequence[Filter]) -> list[Event]:
        """Return what is stored and meets any of `filters`, newest first (NIP-01)."""
        met = [event for event in self.events.values() if any(matches(one, event) for one in filters)]
        return sorted(met, key=lambda event: (-event.created_at, event.id))


class OwnRelay:
    """The embedded relay of one life: what the reader and the outbox want of store and hub."""

    def __init__(self, shelf: Shelf, borders: Borders) -> None:
        self._shelf = shelf
        self._borders = borders
        self._durable: list[Filter] = []
        self.take: Take | None = None

    async def query(self, filters: Sequence[Filter]) -> AsyncIterator[list[bytes]]:
        """Yield what is stored, page by page."""
        found = self._shelf.found(filters)
        for start in range(0, len(found), PAGE):
            await self._borders.yielding("own relay: a page")
            yield [encode_event(event).encode() for event in found[start : start + PAGE]]

    async def subscribe(
        self, filters: Sequence[Filter], callback: Callable[[Event], None], *, durable: bool = False
    ) -> object:
        """Say what is taken before its sender hears OK; the callback is not needed here."""
        await self._borders.yielding("own relay: subscribe")
        assert durable, "the bot listens to its own relay durably"
        self._durable = list(filters)
        return callback

    def end(self, _feed: object) -> None:
        """End a subscription: the newest alone says what is taken."""

    async def publish(self, event: Event) -> Ok:
        """Store an event of the bot."""
        await self._borders.yielding("own relay: publish")
        return await self.offer(event)

    async def offer(self, event: Event) -> Ok:
        """Store an event, have the bot take it if it wants it, and say OK, as the hub does."""
        self._borders.at("own relay: before it is stored")
        if not self._shelf.put(event):
            return Ok(event.id, True, "duplicate: already have this event")
        self._borders.at("own relay: stored, not taken")
        if self.take is not None and any(matches(one, event) for one in self._durable):
            try:
                await self.take(event)
            except RelaybotError:
                return Ok(event.id, False, "error: the event could not be taken in, try again later")
        self._borders.at("own relay: taken, no OK yet")
        return Ok(event.id, True, "")


@dataclass(slots=True)
class Manners:
    """How the far relay behaves; it outlives every life of the bot."""

    chance: Chance
    down: bool = False
    slow_seconds: float = 0.3
    doubles_percent: float = 0.0  # of events that are handed over twice
    loses_ok_percent: float = 0.0  # of OKs
    refuses_percent: float = 0.0  # of events, for now
    swaps_percent: float = 0.0  # of events that are overtaken by the next
    generation: int = 0  # raised whenever all connections are lost

    def loses_ok(self) -> bool:
        """Tell whether an OK gets lost now."""
        return self.down or self.chance.of(self.loses_ok_percent)


@dataclass(slots=True)
class _Subscription:
    filters: Callable[[], Sequence[Filter]]
    on_event: OnEvent
    on_eose: OnEose | None
    asked: Sequence[Filter] = ()
    waiting: deque[Event | None] = field(default_factory=deque)  # None: EOSE


class FarRelay:
    """One life's connection to the far relay: what the reader and the outbox want of a connection."""

    url = FAR

    def __init__(self, shelf: Shelf, manners: Manners, borders: Borders) -> None:
        self._shelf = shelf
        self._manners = manners
        self._borders = borders
        self._subscriptions: dict[str, _Subscription] = {}
        self._news = asyncio.Event()
        self._connected = False

    async def run(self) -> None:
        """Be connected, hand on what comes, and connect again after a loss, for ever."""
        while True:
            while self._manners.down:
                await self._pause(3)
            connection, self._connected = self._manners.generation, True
            for subscription in list(self._subscriptions.values()):
                self._ask(subscription)
            while self._manners.generation == connection:
                await self._hand_on()
            self._connected = False
            for subscription in self._subscriptions.values():
                subscription.waiting.clear()
            await self._pause(2)

    async def subscribe(
        self, name: str, filters: Callable[[], Sequence[Filter]], on_event: OnEvent, on_eose: OnEose | None = None
    ) -> None:
        """Ask for events, now and after every reconnect."""
        await self._borders.yielding("far relay: subscribe")
        subscription = self._subscriptions[name] = _Subscription(filters, on_event, on_eose)
        if self._connected:
            self._ask(subscription)

    async def unsubscribe(self, name: str) -> None:
        """End a subscription; what is still queued for it is dropped."""
        self._subscriptions.pop(name, None)

    async def publish(self, event: Event) -> Ok:
        """Send an event; the OK may be lost, and the relay may refuse for now."""
        manners = self._manners
        await self._borders.yielding("far relay: publish")
        if not self._connected or manners.down:
            raise Unavailable(f"{FAR} is not connected")
        await self._pause(manners.slow_seconds)
        if manners.chance.of(manners.refuses_percent):
            return Ok(event.id, False, "rate-limited: slow down")
        new = self._shelf.put(event)
        await self._pause(manners.slow_seconds)
        if manners.loses_ok():
            raise Unavailable(f"{FAR} gave no OK in time")
        return Ok(event.id, True, "" if new else "duplicate: already have this event")

    def heard(self, event: Event) -> None:
        """Have a new event on its way to whoever asked for it."""
        if not self._connected:
            return
        for subscription in self._subscriptions.values():
            if any(matches(one, event) for one in subscription.asked):
                subscription.waiting.append(event)
        self._news.set()

    def _ask(self, subscription: _Subscription) -> None:
        subscription.asked = subscription.filters()
        subscription.waiting = deque([*self._shelf.found(subscription.asked), None])
        self._news.set()

    async def _hand_on(self) -> None:
        """Hand on what has come, one after the other, some of it twice or overtaken by the next."""
        for name, subscription in list(self._subscriptions.items()):
            while subscription.waiting and self._subscriptions.get(name) is subscription:
                await self._hand_over(subscription, subscription.waiting.popleft())
        try:
            async with asyncio.timeout(2):  # then it is seen whether the connection is lost
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    async def _hand_over(self, subscription: _Subscription, event: Event | None) -> None:
        chance = self._manners.chance
        self._borders.at("far relay: an event arrives")
        if event is None:
            if subscription.on_eose is not None:
                await subscription.on_eose()
            return
        waiting = subscription.waiting
        if waiting and waiting[0] is not None and chance.of(self._manners.swaps_percent):
            await self._hand_over(subscription, waiting.popleft())
        for _ in range(1 + chance.of(self._manners.doubles_percent)):
            await subscription.on_event(event)

    async def _pause(self, seconds: float) -> None:
        await wait(self._manners.chance.seconds(seconds))
        self._borders.at("far relay: a moment later")
