"""The hub without sockets: publishing and listening inside the process."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Sequence
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from relaybot.clock import SetClock
from relaybot.errors import Unavailable
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.nostr.messages import Ok
from relaybot.relay import hub as hub_module
from relaybot.relay.events import EventStore
from relaybot.relay.hub import Hub
from relaybot.relay.policies import INSIDE
from relaybot.relay.settings import RelayLimits
from tests.relay.authors import ALICE, BOB, NOW, in_order, note, raw
from tests.relay.test_queries import answer, written_to

NOTES = [note(f"note {number}", at=NOW - number) for number in range(120)]
ONE, TWO = NOTES[:2]
EVERYTHING = [Filter()]


def publish(hub: Hub, event: Event) -> Awaitable[Ok]:
    return hub.publish(raw(event), event)


def forged(event: Event) -> Event:
    return msgspec.structs.replace(event, sig="0" * 128)


async def test_a_published_event_is_stored_when_it_is_answered(hub: Hub, store: EventStore) -> None:
    assert await publish(hub, ONE) == Ok(ONE.id, True, "")
    assert await answer(store, EVERYTHING) == [ONE]


async def test_many_events_at_once_are_each_answered_by_name(hub: Hub, store: EventStore) -> None:
    offered = [forged(event) if number % 7 == 0 else event for number, event in enumerate(NOTES)]
    answers = await asyncio.gather(*[publish(hub, event) for event in offered])
    assert [ok.event_id for ok in answers] == [event.id for event in NOTES]
    assert [ok.accepted for ok in answers] == [number % 7 != 0 for number in range(len(NOTES))]
    assert {ok.message for ok in answers if not ok.accepted} == {"invalid: the signature does not fit"}
    assert await answer(store, EVERYTHING) == [event for number, event in enumerate(NOTES) if number % 7]


async def test_one_forged_event_is_refused(hub: Hub, store: EventStore) -> None:
    assert await publish(hub, forged(ONE)) == Ok(ONE.id, False, "invalid: the signature does not fit")
    assert await answer(store, EVERYTHING) == []


async def test_what_this_process_has_signed_or_checked_is_not_checked_again(hub: Hub, store: EventStore) -> None:
    unchecked = forged(ONE)
    assert (await hub.publish(raw(unchecked), unchecked, signed=True)).accepted
    assert await answer(store, EVERYTHING) == [unchecked]


async def test_an_event_offered_by_many_at_once_is_stored_once_and_a_duplicate_for_the_others(hub: Hub) -> None:
    seen: list[Event] = []
    await hub.subscribe(EVERYTHING, seen.append)
    answers = await asyncio.gather(*[publish(hub, ONE) for _ in range(5)])
    assert answers == [Ok(ONE.id, True, "")] + [Ok(ONE.id, True, "duplicate: already have this event")] * 4
    assert seen == [ONE]


async def test_those_who_offer_the_same_bad_event_are_all_told_why(hub: Hub) -> None:
    answers = await asyncio.gather(*[publish(hub, forged(ONE)) for _ in range(2)])
    assert answers == [Ok(ONE.id, False, "invalid: the signature does not fit")] * 2


@pytest.mark.parametrize("count", [1, 50])
async def test_a_known_id_is_answered_before_its_signature_is_looked_at(hub: Hub, count: int) -> None:
    for event in NOTES[:count]:
        await publish(hub, event)
    answers = await asyncio.gather(*[publish(hub, forged(event)) for event in NOTES[:count]])
    assert {(ok.accepted, ok.message) for ok in answers} == {(True, "duplicate: already have this event")}


async def test_a_policy_refuses_before_anything_else_happens(hub: Hub) -> None:
    late = note(at=NOW + 901)
    assert await publish(hub, late) == Ok(
        late.id, False, "invalid: created_at is in the future (ahead_seconds=901, allowed=900)"
    )


async def test_only_so_many_ephemeral_ids_are_remembered(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "EPHEMERAL_REMEMBERED", 2)
    first, second, third = [note(str(number), kind=20_000) for number in range(3)]
    told = [(await publish(hub, event)).message for event in (first, second, third, second, first)]
    assert told == ["", "", "", "duplicate: already have this event", ""]
    assert list(hub._ephemeral) == [third.id, first.id]


# ---- listening


async def test_a_listener_has_all_stored_events_when_subscribe_returns(hub: Hub, store: EventStore) -> None:
    await written_to(store, NOTES)
    heard: list[Event] = []
    feed = await hub.subscribe(EVERYTHING, heard.append)
    assert heard == NOTES
    new = note("new")
    await publish(hub, new)
    assert heard == [*NOTES, new]
    hub.end(feed)
    await publish(hub, note("unheard"))
    assert heard == [*NOTES, new]


async def test_listeners_hear_only_what_they_asked_for(hub: Hub) -> None:
    heard: list[Event] = []
    await hub.subscribe([Filter(authors=frozenset({BOB.pubkey}))], heard.append)
    for by in (ALICE, BOB):
        await publish(hub, note("hello", by=by))
    assert [event.pubkey for event in heard] == [BOB.pubkey]


async def test_every_event_is_heard_once_however_publishing_and_subscribing_fall_together(hub: Hub) -> None:
    heard: list[list[Event]] = []
    publishing = []
    for number, event in enumerate(NOTES):
        publishing.append(asyncio.create_task(hub.publish(raw(event), event)))
        if number % 4 == 0:
            heard.append([])
            publishing.append(asyncio.create_task(hub.subscribe(EVERYTHING, heard[-1].append)))  # type: ignore[arg-type]
        for _ in range(number % 9):
            await asyncio.sleep(0)
    await asyncio.gather(*publishing)
    assert len(heard) == 30
    for events in heard:
        assert in_order(events) == NOTES


async def test_a_listener_is_told_when_the_store_cannot_answer(path: Path) -> None:
    class Silent(EventStore):
        async def _row(self, sql: str, values: Sequence[object]) -> tuple[object, ...]:
            raise Unavailable("the query took too long")

    store = await Silent.open(path, RelayLimits())
    hub = Hub(store, RelayLimits(), SetClock(NOW))
    with pytest.raises(Unavailable, match="error: the query took too long"):
        await hub.subscribe(EVERYTHING, list[Event]().append)
    assert len(hub._subscriptions) == 0
    await hub.close()
    await store.close()


async def test_a_listener_that_gives_up_waiting_is_forgotten(hub: Hub) -> None:
    subscribing = asyncio.create_task(hub.subscribe(EVERYTHING, list[Event]().append))
    await asyncio.sleep(0)
    subscribing.cancel()
    await asyncio.wait([subscribing])
    assert len(hub._subscriptions) == 0
    assert (await publish(hub, ONE)).accepted


async def test_too_many_new_events_before_eose_end_the_subscription(store: EventStore) -> None:
    hub = Hub(store, RelayLimits(unsent_bytes_max=500), SetClock(NOW))
    heard: list[Event] = []
    subscribing = asyncio.create_task(hub.subscribe(EVERYTHING, heard.append))
    await asyncio.sleep(0)
    flood = [note(str(number), kind=20_000) for number in range(2)]
    for event in flood:  # both are handed out in the turn in which the store is asked
        hub.submit(raw(event), event, INSIDE, lambda _: None)
    with pytest.raises(Unavailable, match="too slow"):
        await subscribing
    await hub.close()


# ---- before OK


class Inbox:
    """What the bot does with an event before its sender is told."""

    def __init__(self) -> None:
        self.taken: list[Event] = []
        self.open = asyncio.Event()
        self.error: Exception | None = None

    async def take(self, event: Event) -> None:
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.taken.append(event)


@pytest.fixture
async def inbox(hub: Hub) -> Inbox:
    inbox = Inbox()
    hub.before_ok = inbox.take
    await hub.subscribe([Filter(kinds=frozenset({1, 20_000}))], list[Event]().append, durable=True)
    return inbox


@pytest.mark.parametrize("kind", [1, 20_000])
async def test_a_durable_listener_has_the_event_before_its_sender_is_told(hub: Hub, inbox: Inbox, kind: int) -> None:
    event = note("request", kind=kind)
    answered = asyncio.ensure_future(publish(hub, event))
    again = asyncio.ensure_future(publish(hub, event))
    other = note("of no concern", kind=7)
    assert (await publish(hub, other)).accepted
    assert not answered.done()
    inbox.open.set()
    assert (await answered, await again) == (
        Ok(event.id, True, ""),
        Ok(event.id, True, "duplicate: already have this event"),
    )
    assert inbox.taken == [event]


async def test_other_listeners_do_not_hold_up_ok(hub: Hub, inbox: Inbox) -> None:
    await hub.subscribe([Filter(kinds=frozenset({7}))], list[Event]().append)
    assert (await publish(hub, note(kind=7))).accepted
    assert inbox.taken == []


async def test_an_event_that_cannot_be_taken_in_may_be_sent_again(hub: Hub, inbox: Inbox) -> None:
    inbox.open.set()
    inbox.error = Unavailable("the book is closed")
    event = note("request", kind=20_000)
    with capture_logs() as logs:
        assert await publish(hub, event) == Ok(
            event.id, False, "error: the event could not be taken in, try again later"
        )
    assert [(line["event"], line["error"]) for line in logs] == [("relay_before_ok_failed", "the book is closed")]
    inbox.error = None
    assert await publish(hub, event) == Ok(event.id, True, "")
    assert inbox.taken == [event]


async def test_closing_waits_for_what_was_offered(store: EventStore) -> None:
    inbox = Inbox()
    hub = Hub(store, RelayLimits(), SetClock(NOW), before_ok=inbox.take)
    await hub.subscribe(EVERYTHING, list[Event]().append, durable=True)
    answered = asyncio.ensure_future(publish(hub, ONE))
    await asyncio.sleep(0)
    closing = asyncio.create_task(hub.close())
    inbox.open.set()
    await closing
    assert answered.result() == Ok(ONE.id, True, "")


# ---- faults


async def _answered_by(store: EventStore, events: Sequence[Event]) -> list[Ok]:
    hub = Hub(store, RelayLimits(), SetClock(NOW))
    answers = await asyncio.gather(*[publish(hub, event) for event in events])
    await hub.close()
    await store.close()
    return answers


@pytest.mark.parametrize("count", [1, 10])
async def test_a_store_that_cannot_look_up_accepts_nothing(path: Path, count: int) -> None:
    class Blind(EventStore):
        def known(self, ids: Sequence[str]) -> set[str]:
            raise sqlite3.OperationalError("disk I/O error")

    with capture_logs() as logs:
        answers = await _answered_by(await Blind.open(path, RelayLimits()), NOTES[:count])
    assert {ok.message for ok in answers} == {"error: the event could not be stored, try again later"}
    assert not any(ok.accepted for ok in answers)
    assert [line["event"] for line in logs] == ["relay_lookup_failed"]


async def test_a_store_that_cannot_write_accepts_nothing(path: Path) -> None:
    store = await EventStore.open(path, RelayLimits())
    vandal = sqlite3.connect(path)
    vandal.execute("DROP TABLE tag")
    vandal.close()
    with capture_logs() as logs:
        answers = await _answered_by(store, NOTES[:3])
    assert {(ok.accepted, ok.message) for ok in answers} == {
        (False, "error: the event could not be stored, try again later")
    }
    assert [line["event"] for line in logs] == ["relay_store_failed"]
