"""Random talk to the relay, from single bytes to whole conversations: nothing raises, nothing is believed wrongly."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from relaybot.errors import Rejected
from relaybot.nostr.event import parse_event_and_raw
from relaybot.nostr.filters import Filter, encode_filter, parse_filter
from relaybot.nostr.keys import KeyPair, verify
from relaybot.relay.session import RefuseSubscription, Send, Session, StoreEvent
from relaybot.relay.settings import RelayLimits
from relaybot.relay.websocket import Websocket
from tests.fuzz import talk
from tests.fuzz.conftest import fuzzed, fuzzed_slowly
from tests.relay.authors import note, obj
from tests.relay.conftest import Relay, running
from tests.relay.random_events import POOL, naive_answer
from tests.relay.test_queries import answer, opened, written_to
from tests.relay.wire import HANDSHAKE, masked, wire
from tests.relay.wire import opened as opened_socket

LIMITS = RelayLimits()
HONEST = note("honest", by=KeyPair(b"\x04" * 32))
SAID_BY_THE_RELAY = {"NOTICE", "OK", "CLOSED", "EOSE", "EVENT", "COUNT", "AUTH"}


def received(pieces: Sequence[bytes]) -> tuple[list[bytes], bytes, bool]:
    """Return the messages that a websocket makes of `pieces`, what it says itself, and whether it is open."""
    websocket = Websocket(HANDSHAKE, 10_000)
    messages = [message for piece in pieces for message in websocket.receive(piece)]
    return messages, b"".join(websocket.to_send()), websocket.open


@fuzzed
@given(st.lists(talk.websocket_frames(), max_size=5), st.lists(st.integers(0, 400), max_size=6))
def test_frames_are_text_or_the_end_however_the_bytes_arrive(frames: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frames)
    borders = sorted({0, len(data), *[cut for cut in cuts if cut < len(data)]})
    whole, said, is_open = received([data])
    # of two faults that arrive together, either may be told
    pieces = [data[start:end] for start, end in itertools.pairwise(borders)]
    assert received(pieces)[::2] == (whole, is_open)
    assert all(message.decode() is not None and len(message) <= 10_000 for message in whole)
    assert is_open or said.count(b"\x88") >= 1


@fuzzed
@given(st.lists(talk.texts(), min_size=1, max_size=6))
def test_messages_are_answered_in_words_and_what_is_stored_is_what_was_signed(said: list[bytes]) -> None:
    session = Session(LIMITS)
    for text in said:
        action = session.receive(text)
        match action:
            case Send(text=told):
                assert json.loads(told)[0] in SAID_BY_THE_RELAY
                assert len(told) < 1_000
            case RefuseSubscription(message=message):
                assert ": " in message
                assert len(message) < 500
            case StoreEvent(raw=raw, event=event):
                assert parse_event_and_raw(raw) == (event, raw)
                assert b"\n" not in raw
                assert json.loads(raw) == obj(event)
                assert not verify(event) or event in talk.EVENTS
            case _:
                json.loads(text)


@fuzzed
@given(talk.filters)
def test_filters_are_read_to_the_letter_or_refused(given_: dict[str, Any]) -> None:
    try:
        filter_ = parse_filter(given_)
    except Rejected:
        return
    again = encode_filter(filter_)
    assert parse_filter(again) == filter_
    assert {name: set(value) if isinstance(value, list) else value for name, value in given_.items()} == {
        name: set(value) if isinstance(value, list) else value for name, value in again.items()
    }


@fuzzed_slowly
@given(st.lists(st.lists(talk.right_filters, min_size=1, max_size=4), min_size=5, max_size=20))
async def test_whatever_is_asked_the_store_answers_as_a_naive_matcher(asked: list[list[dict[str, Any]]]) -> None:
    with TemporaryDirectory() as directory:
        async with opened(Path(directory) / "events.db") as store:
            await written_to(store, POOL)
            for filters in asked:
                read = [filter_ for one in filters if (filter_ := readable(one)) is not None]
                if read:
                    assert await answer(store, read) == naive_answer(POOL, read)


def readable(given_: dict[str, Any]) -> Filter | None:
    try:
        return parse_filter(given_)
    except Rejected:
        return None


@fuzzed_slowly
@given(st.lists(st.lists(talk.texts().map(masked) | talk.websocket_frames(), max_size=8), min_size=3, max_size=10))
async def test_conversations_end_well_and_others_are_served(conversations: list[list[bytes]]) -> None:
    with TemporaryDirectory() as directory, capture_logs() as logged:
        async with running(Path(directory) / "events.db") as relay:
            for frames in conversations:
                await converse(relay, frames)
            async with relay.client() as client:
                await client.accepted(HONEST)
                assert await client.stored({"ids": [HONEST.id]}) == [HONEST.id]
    assert not [line for line in logged if line["log_level"] in ("warning", "error", "critical")]


async def converse(relay: Relay, frames: list[bytes]) -> None:
    """Say all of it on a connection of its own, and hear the relay out."""
    async with wire(relay) as one:
        await opened_socket(one)
        one.writer.write(b"".join(frames))
        one.writer.write_eof()
        await one.ended()
