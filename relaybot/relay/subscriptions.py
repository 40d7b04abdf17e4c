"""The open subscriptions, indexed so that an event meets only those that can match it.

Each filter stands under its narrowest condition: ids, else one tag, else authors, else
kinds. Who the subscribers are, and what they are sent, is not known here.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter, matches

Subscriber = TypeVar("Subscriber", bound=Hashable)
# An id, a (tag name, value), an author, or a kind. Ids and keys look alike, so each sort has its own shelf.
Place: TypeAlias = str | int | tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Entry(Generic[Subscriber]):
    subscriber: Subscriber
    filter: Filter


_Shelf: TypeAlias = dict[Place, dict[_Entry[Subscriber], None]]


class Subscriptions(Generic[Subscriber]):
    """Subscribers and their filters; a subscriber is any hashable object."""

    def __init__(self) -> None:
        self._entries: dict[Subscriber, list[_Entry[Subscriber]]] = {}
        self._ids: _Shelf[Subscriber] = {}
        self._tags: _Shelf[Subscriber] = {}
        self._authors: _Shelf[Subscriber] = {}
        self._kinds: _Shelf[Subscriber] = {}
        self._any: _Shelf[Subscriber] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, subscriber: Subscriber, filters: Iterable[Filter]) -> None:
        """Let `subscriber` be found by events that meet any of `filters`."""
        entries = [_Entry(subscriber, filter_) for filter_ in filters]
        self._entries[subscriber] = entries
        for entry in entries:
            shelf, places = self._stand(entry.filter)
            for place in places:
                shelf.setdefault(place, {})[entry] = None

    def remove(self, subscriber: Subscriber) -> None:
        """Forget `subscriber`; nothing happens if it is not known."""
        for entry in self._entries.pop(subscriber, ()):
            shelf, places = self._stand(entry.filter)
            for place in places:
                entries = shelf[place]
                del entries[entry]
                if not entries:
                    del shelf[place]

    def matching(self, event: Event) -> list[Subscriber]:
        """Return each subscriber with a filter that `event` meets, once; limits say nothing about new events."""
        found: dict[Subscriber, None] = {}
        for entries in self._candidates(event):
            for entry in entries:
                if entry.subscriber not in found and matches(entry.filter, event):
                    found[entry.subscriber] = None
        return list(found)

    def _candidates(self, event: Event) -> list[Iterable[_Entry[Subscriber]]]:
        found: list[Iterable[_Entry[Subscriber]]] = []
        if event.id in self._ids:
            found.append(self._ids[event.id])
        if event.pubkey in self._authors:
            found.append(self._authors[event.pubkey])
        if event.kind in self._kinds:
            found.append(self._kinds[event.kind])
        if self._tags:
            for tag in event.tags:
                entries = self._tags.get(tag[:2])  # a tag that has no value stands nowhere
                if entries:
                    found.append(entries)
        found.extend(self._any.values())
        return found

    def _stand(self, filter_: Filter) -> tuple[_Shelf[Subscriber], Iterable[Place]]:
        """Return the shelf and the places where an event that meets `filter_` will look."""
        if filter_.ids is not None:
            return self._ids, filter_.ids
        if filter_.tags:
            name, values = min(filter_.tags.items(), key=lambda item: len(item[1]))
            return self._tags, [(name, value) for value in values]
        if filter_.authors is not None:
            return self._authors, filter_.authors
        if filter_.kinds is not None:
            return self._kinds, filter_.kinds
        return self._any, [0]
