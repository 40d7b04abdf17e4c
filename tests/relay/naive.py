"""What NIP-01 and NIP-09 say a relay keeps, in the plainest words: a list, and no index."""

from __future__ import annotations

from collections.abc import Sequence

from relaybot.nostr.event import Event, is_addressable, is_replaceable
from relaybot.nostr.filters import Filter
from relaybot.relay.event_writes import Outcome
from tests.relay.random_events import naive_answer

DELETION = 5


class NaiveRelay:
    """Events, and what became of each."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def take(self, event: Event) -> Outcome:
        """Keep an event, if it is to be kept."""
        if event in self.events:
            return Outcome.KNOWN
        if any(deletes(request, event) for request in self.events):
            return Outcome.DELETED
        rivals = [other for other in self.events if has_address(event) and other.address() == event.address()]
        # NIP-01: the newest counts; of equal dates, the lowest id
        if any((-rival.created_at, rival.id) < (-event.created_at, event.id) for rival in rivals):
            return Outcome.OUTDATED
        self.events = [other for other in self.events if other not in rivals and not deletes(event, other)]
        self.events.append(event)
        return Outcome.STORED

    def answer(self, filters: Sequence[Filter]) -> list[Event]:
        """Return what a REQ is answered."""
        return naive_answer(self.events, filters)


def has_address(event: Event) -> bool:
    """Tell whether only the newest of its address is kept."""
    return is_replaceable(event.kind) or is_addressable(event.kind)


def deletes(request: Event, event: Event) -> bool:
    """Tell whether `request` asks for the deletion of `event` and may."""
    # NIP-09: only the author's; a request against a request has no effect; by address up to the date of the request
    if request.kind != DELETION or event.kind == DELETION or request.pubkey != event.pubkey:
        return False
    named = {(tag[0], tag[1]) for tag in request.tags if len(tag) > 1}
    return ("e", event.id) in named or (
        has_address(event) and ("a", event.address()) in named and event.created_at <= request.created_at
    )
