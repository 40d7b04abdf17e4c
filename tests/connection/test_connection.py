"""What a connection promises while a relay behaves, goes away, or lies."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection

from relaybot.connection import EVENTS_IN_A_ROW, ConnectionLimits, RelayConnection
from relaybot.nostr.event import Event, encode_event, event_id
from relaybot.nostr.filters import Filter
from tests.connection.conftest import ALICE, MALLORY, Pauses, ScriptedRelay, Seen, connected, note, until

NOTES = Filter(kinds=frozenset({1}), authors=frozenset({ALICE.pubkey}))


def notes() -> list[Filter]:
    return [NOTES]


# --- subscriptions


async def test_stored_events_come_first_then_eose_then_what_is_new(relay: ScriptedRelay) -> None:
    relay.events = [note("one"), note("two"), note("other", author=MALLORY)]
    seen = Seen()
    async with connected(relay.url) as connection:
        await connection.subscribe("notes", notes, seen.on_event, seen.on_eose)
        await seen.wait(3)
        await relay.send(relay.sockets[0], "notes", note("three"))
        await seen.wait(4)
    assert seen.order == ["one", "two", "EOSE", "three"]
    assert relay.requests() == [["REQ", "notes", {"authors": [ALICE.pubkey], "kinds": [1]}]]


async def test_a_subscription_may_begin_before_or_during_a_connection(relay: ScriptedRelay) -> None:
    relay.events = [note("one")]
    before, during = Seen(), Seen()
    connection = RelayConnection(relay.url, jitter=lambda: 0.0, pause=Pauses())
    await connection.subscribe("before", notes, before.on_event)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(connection.run())
        await before.wait(1)
        await connection.subscribe("during", notes, during.on_event, during.on_eose)
        await during.wait(2)
        running.cancel()
    assert (before.order, during.order) == (["one"], ["one", "EOSE"])


async def test_what_is_sent_for_an_ended_subscription_is_dropped(relay: ScriptedRelay) -> None:
    first, second = Seen(), Seen()
    async with connected(relay.url) as connection:
        await connection.subscribe("first", notes, first.on_event, first.on_eose)
        await first.wait(1)
        await connection.unsubscribe("first")
        await connection.unsubscribe("never begun")
        await until(lambda: ["CLOSE", "first"] in relay.frames)
        await relay.send(relay.sockets[0], "first", note("late"))
        await relay.sockets[0].send('["CLOSED","first","bye"]')
        await connection.subscribe("second", notes, second.on_event, second.on_eose)
        await second.wait(1)
    assert first.order == ["EOSE"]
    assert len(relay.requests()) == 2


async def test_filters_are_asked_for_anew_at_each_connection(relay: ScriptedRelay) -> None:
    since = iter([100, 200])
    seen = Seen()
    async with connected(relay.url) as connection:
        await connection.subscribe("notes", lambda: [Filter(since=next(since))], seen.on_event, seen.on_eose)
        await seen.wait(1)
        assert await connection.next_connection() == 1
        relay.events = [note("missed")]
        await relay.sockets[0].close()
        await seen.wait(3)
        assert await connection.next_connection(after=1) == 2
    assert relay.requests() == [["REQ", "notes", {"since": 100}], ["REQ", "notes", {"since": 200}]]
    assert seen.order == ["EOSE", "missed", "EOSE"]


async def test_a_subscription_the_relay_closes_is_asked_for_again_after_growing_pauses(relay: ScriptedRelay) -> None:
    refusals = 3

    async def on_req(socket: ServerConnection, sub_id: str) -> None:
        if len(relay.requests()) <= refusals:
            await socket.send(json.dumps(["CLOSED", sub_id, "rate-limited: slow down"]))
        else:
            await socket.send(json.dumps(["EOSE", sub_id]))

    relay.on_req, pauses, seen = on_req, Pauses(), Seen()
    async with connected(relay.url, pauses=pauses) as connection:
        await connection.subscribe("notes", notes, seen.on_event, seen.on_eose)
        await seen.wait(1)
    assert pauses.seconds[:refusals] == [0.5, 1.0, 2.0]
    assert len(relay.sockets) == 1


async def test_a_refused_subscription_waiting_for_its_turn_does_not_hold_up_the_next_connection(
    relay: ScriptedRelay,
) -> None:
    class Patient(Pauses):
        async def __call__(self, seconds: float) -> None:
            if not self.seconds:
                self.seconds.append(seconds)
                await asyncio.Event().wait()

    async def on_req(socket: ServerConnection, sub_id: str) -> None:
        answer = ["CLOSED", sub_id, "error: no"] if len(relay.sockets) == 1 else ["EOSE", sub_id]
        await socket.send(json.dumps(answer))

    relay.on_req, pauses, seen = on_req, Patient(), Seen()
    async with connected(relay.url, pauses=pauses) as connection:
        await connection.subscribe("notes", notes, seen.on_event, seen.on_eose)
        await until(lambda: bool(pauses.seconds))
        await relay.sockets[0].close()
        await seen.wait(1)


async def test_an_error_of_the_receiver_ends_the_connection_task(relay: ScriptedRelay) -> None:
    async def broken(event: Event) -> None:
        raise LookupError(event.content)

    relay.events = [note("one")]
    connection = RelayConnection(relay.url, jitter=lambda: 0.0, pause=Pauses())
    await connection.subscribe("notes", notes, broken)
    with pytest.raises(ExceptionGroup) as ended:
        await connection.run()
    assert ended.group_contains(LookupError)


# --- a relay that lies


def _forged(event: Event) -> list[str]:
    """Return frames that carry something like `event` and must not be believed."""
    other = note("other")
    wrong_signature = msgspec.structs.replace(event, sig=other.sig)
    moved = event_id(MALLORY.pubkey, event.created_at, event.kind, event.tags, event.content)
    stolen = Event(moved, MALLORY.pubkey, event.created_at, event.kind, event.tags, event.content, event.sig)
    changed = encode_event(event).replace('"content":"true"', '"content":"false"')
    assert changed != encode_event(event)
    return [
        f'["EVENT","notes",{encode_event(wrong_signature)}]',
        f'["EVENT","notes",{encode_event(stolen)}]',
        f'["EVENT","notes",{changed}]',
        f'["EVENT","notes",{encode_event(note("not mine", author=MALLORY))}]',
        f'["EVENT","notes",{encode_event(note("another kind", kind=2))}]',
        f'["EVENT","nobody asked",{encode_event(event)}]',
        '["EVENT","notes",{}]',
        '["EVENT","notes"]',
        '["EOSE","nobody asked"]',
        '["OK","' + event.id + '",true,""]',
        '["WHAT"]',
        '["NOTICE","hello"]',
        "{}",
        "",
        "[" * 5_000,
    ]


async def test_what_a_lying_relay_sends_is_dropped_and_the_truth_still_comes(relay: ScriptedRelay) -> None:
    true = note("true")

    async def on_req(socket: ServerConnection, sub_id: str) -> None:
        for frame in _forged(true):
            await socket.send(frame)
        await socket.send(b"\xff\x00")
        await relay.send(socket, sub_id, true)

    relay.on_req, seen = on_req, Seen()
    async with connected(relay.url) as connection:
        await connection.subscribe("notes", notes, seen.on_event, seen.on_eose)
        await seen.wait(1)
    assert seen.events == [true]
    assert len(relay.sockets) == 1


async def test_a_frame_that_is_too_large_ends_the_connection_and_another_begins(relay: ScriptedRelay) -> None:
    async def on_req(socket: ServerConnection, sub_id: str) -> None:
        await relay.send(socket, sub_id, note("x" * (10_000 if len(relay.sockets) == 1 else 10)))

    relay.on_req, seen = on_req, Seen()
    async with connected(relay.url, limits=ConnectionLimits(frame_bytes_max=5_000)) as connection:
        await connection.subscribe("notes", notes, seen.on_event)
        await seen.wait(1)
    assert seen.order == ["x" * 10]
    assert relay.ended[0] == 1009


# --- pace


async def test_events_are_handed_on_in_order_and_others_get_their_turn(relay: ScriptedRelay) -> None:
    count, ticks, at = 5 * EVENTS_IN_A_ROW, 0, list[int]()
    relay.events = [note(str(number)) for number in range(count)]
    seen = Seen()
    held = asyncio.Event()

    async def on_event(event: Event) -> None:
        await held.wait()
        at.append(ticks)
        await seen.on_event(event)

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    async with connected(relay.url) as connection:
        await connection.subscribe("notes", notes, on_event)
        await until(lambda: len(relay.sockets) == 1 and relay.frames != [])
        ticking = asyncio.create_task(tick())
        held.set()
        await seen.wait(count)
        ticking.cancel()
    assert seen.order == [str(number) for number in range(count)]
    assert max(at.count(tick) for tick in set(at)) <= EVENTS_IN_A_ROW + 1


async def test_a_slow_receiver_stops_the_relay_and_loses_nothing(relay: ScriptedRelay) -> None:
    count = 1_500
    events = [note(f"{number} " + "x" * 20_000) for number in range(count)]
    sent = 0

    async def on_req(socket: ServerConnection, sub_id: str) -> None:
        nonlocal sent
        for event in events:
            await relay.send(socket, sub_id, event)
            sent += 1

    release, seen = asyncio.Event(), Seen()

    async def on_event(event: Event) -> None:
        await release.wait()
        await seen.on_event(event)

    relay.on_req = on_req
    async with connected(relay.url, limits=ConnectionLimits(queue_events_max=4)) as connection:
        await connection.subscribe("notes", notes, on_event)
        await until(lambda: relay.sockets != [] and relay.sockets[0].transport.get_write_buffer_size() > 32_768)
        for _ in range(1_000):  # rounds of the loop in which the relay could go on, and cannot
            await asyncio.sleep(0)
        assert sent < count / 2
        release.set()
        await seen.wait(count)
    assert seen.events == events


async def test_what_arrived_before_the_end_of_a_connection_is_still_handed_on(relay: ScriptedRelay) -> None:
    release, seen = asyncio.Event(), Seen()

    async def on_event(event: Event) -> None:
        await release.wait()
        await seen.on_event(event)

    async def on_req(socket: ServerConnection, sub_id: str) -> None:
        for number in range(20):
            await relay.send(socket, sub_id, note(str(number)))
        await socket.close()

    relay.on_req = on_req
    async with connected(relay.url) as connection:
        await connection.subscribe("notes", notes, on_event)
        await until(lambda: len(relay.ended) == 1)
        release.set()
        await seen.wait(20)
    assert seen.order[:20] == [str(number) for number in range(20)]
