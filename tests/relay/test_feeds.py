"""Each event reaches a feed once, whether it comes from the store, as a new one, or as both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import cast

import pytest

from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.relay.events import EventStore
from relaybot.relay.feeds import Feed, TooSlow
from tests.relay.authors import note, raw

A, B, C = (note(name) for name in "abc")
EOSE = "EOSE"


class Heard:
    """A sink that writes down what it is sent."""

    def __init__(self) -> None:
        self.told: list[bytes | str] = []
        self.reads = True
        self.waited = 0

    def has_room(self) -> bool:
        return self.reads

    async def room(self) -> None:
        self.waited += 1

    def stored(self, raws: Sequence[bytes]) -> None:
        self.told += raws

    def eose(self, _hint: str) -> None:
        self.told.append(EOSE)

    def live(self, raw: bytes, _event: Event) -> None:
        self.told.append(raw)

    def closed(self, message: str) -> None:
        self.told.append(message)


class Pages:
    """A store that answers with these pages; something happens after each was read."""

    def __init__(self, *pages: tuple[list[Event], Callable[[], None]]) -> None:
        self._pages = pages

    async def query(self, _filters: Sequence[Filter]) -> AsyncIterator[list[bytes]]:
        for events, then in self._pages:
            then()
            yield [raw(event) for event in events]

    def answer(self, _filters: Sequence[Filter]) -> list[bytes] | None:
        if len(self._pages) > 1:
            return None
        return [raw(event) for events, _ in self._pages for event in events]


def opened(early_bytes_max: int = 10_000) -> tuple[Feed, Heard]:
    heard = Heard()
    return Feed([Filter()], heard, durable=False, early_bytes_max=early_bytes_max), heard


async def fed(feed: Feed, *pages: tuple[list[Event], Callable[[], None]], being_stored: Sequence[Event] = ()) -> None:
    await feed.send_stored(cast("EventStore", Pages(*pages)), {raw(event) for event in being_stored})


async def test_new_events_wait_for_eose_and_keep_their_order() -> None:
    feed, heard = opened()
    feed.offer(raw(B), B)
    await fed(feed, ([A], lambda: feed.offer(raw(C), C)))
    feed.offer(raw(A), A)
    assert heard.told == [raw(A), EOSE, raw(B), raw(C), raw(A)]


async def test_what_is_stored_and_new_is_sent_with_the_stored() -> None:
    feed, heard = opened()
    await fed(feed, ([A, B], lambda: feed.offer(raw(B), B)), ([C], lambda: None))
    assert heard.told == [raw(A), raw(B), raw(C), EOSE]


async def test_what_was_read_before_it_was_handed_out_is_not_sent_again() -> None:
    feed, heard = opened()
    await fed(feed, ([A, B], lambda: None), ([C], lambda: feed.offer(raw(A), A)), being_stored=[A, B])
    for event in (B, C):
        feed.offer(raw(event), event)
    assert heard.told == [raw(A), raw(B), raw(C), EOSE, raw(C)]


@pytest.mark.parametrize("events", [[], [A, B]])
def test_what_is_known_at_once_is_sent_at_once(events: list[Event]) -> None:
    feed, heard = opened()
    assert feed.send_at_once(cast("EventStore", Pages((events, lambda: None))), {raw(A)})
    for event in (A, C):
        feed.offer(raw(event), event)
    new = [C] if events else [A, C]
    assert heard.told == [*map(raw, events), EOSE, *map(raw, new)]


@pytest.mark.parametrize(("pages", "reads"), [(1, False), (2, True)])
async def test_what_needs_time_or_a_reader_waits_for_them(pages: int, reads: bool) -> None:  # noqa: FBT001 - a table
    feed, heard = opened()
    heard.reads = reads
    store = cast("EventStore", Pages(*[([A], lambda: None)] * pages))
    assert not feed.send_at_once(store, set())
    assert heard.told == []
    await feed.send_stored(store, set())
    assert heard.told == [raw(A)] * pages + [EOSE]
    assert heard.waited == pages + 1, "before each page, and before EOSE"


async def test_only_so_much_may_wait_for_eose() -> None:
    feed, _ = opened(early_bytes_max=len(raw(A)))
    feed.offer(raw(A), A)
    with pytest.raises(TooSlow):
        feed.offer(raw(B), B)
