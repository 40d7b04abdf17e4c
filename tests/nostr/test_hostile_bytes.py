"""Whatever bytes arrive: nothing but Rejected is raised, and no changed event is accepted."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from relaybot.nostr.event import encode_event, event_from, parse_event_and_raw
from relaybot.nostr.filters import matches, parse_filter
from relaybot.nostr.keys import KeyPair, verify
from relaybot.nostr.messages import (
    ClientEvent,
    RelayEvent,
    build_event_frame,
    build_event_message,
    parse_client_message,
    parse_relay_message,
)
from relaybot.nostr.strict_json import parse_json
from tests.nostr.conftest import NOW, patient, secret_of

ALICE = KeyPair(secret_of("alice"))
EVENT = ALICE.sign(kind=1, content='words "and" é\n', tags=(("p", ALICE.pubkey), ("t", "x")), created_at=NOW)
TEXT = encode_event(EVENT).encode()
READERS: list[Callable[[bytes], object]] = [
    parse_event_and_raw,
    parse_client_message,
    parse_relay_message,
    parse_json,
]

FRAMES = [b'["EVENT",', b'["REQ","s",', b'["CLOSE",', TEXT]
SIGNS = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"-", b"\\u", b"\x00", b"\xff"]
WORDS = [b'"id"', b'"kind"', b'"tags"', b'"#e"', b"null", b"true", b"1", b"1.0", b"d800"]
FRAGMENTS = st.sampled_from([*FRAMES, *SIGNS, *WORDS])
HOSTILE = st.binary(max_size=80) | st.lists(FRAGMENTS, max_size=12).map(b"".join)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
event_like = st.fixed_dictionaries(
    {},
    optional={
        "id": st.just(EVENT.id) | json_values,
        "pubkey": st.just(EVENT.pubkey) | json_values,
        "created_at": st.just(NOW) | json_values,
        "kind": st.just(1) | json_values,
        "tags": st.just([["t", "x"]]) | json_values,
        "content": json_values,
        "sig": st.just(EVENT.sig) | json_values,
    },
)


def refusal_of(read: Callable[[bytes], object], raw: bytes) -> Rejected | None:
    try:
        read(raw)
    except Rejected as refusal:
        return refusal
    return None


@patient
@given(raw=HOSTILE)
def test_i8_any_bytes_are_read_or_rejected(raw: bytes) -> None:
    for read in READERS:
        refusal = refusal_of(read, raw)
        assert refusal is None or (refusal.prefix == "invalid" and len(str(refusal)) < 300)


@patient
@given(text=st.text(st.characters(), max_size=60) | st.text(st.characters(categories=["Cs"]), max_size=3))
def test_i8_any_text_is_read_or_rejected(text: str) -> None:
    for read in (parse_event_and_raw, parse_client_message, parse_relay_message, parse_json):
        try:
            read(text)
        except Rejected:
            continue


@patient
@given(obj=json_values | event_like)
def test_i8_any_decoded_value_is_an_event_or_rejected(obj: object) -> None:
    try:
        event = event_from(obj)
    except Rejected:
        return
    assert not verify(event) or event == EVENT


@patient
@given(
    obj=st.dictionaries(
        st.sampled_from(["ids", "authors", "kinds", "#e", "#t", "since", "until", "limit", "x"]),
        json_values | st.lists(st.integers(0, 2), max_size=2) | st.lists(st.just(EVENT.id), max_size=2),
        max_size=4,
    )
)
def test_i8_any_filter_is_read_or_rejected(obj: dict[str, object]) -> None:
    try:
        found = parse_filter(obj)
    except Rejected:
        return
    assert matches(found, EVENT) in (True, False)


@patient
@given(
    at=st.integers(0, len(TEXT) - 1),
    cut=st.integers(0, 3),
    put=st.binary(max_size=3) | st.sampled_from([b" ", b"0", b"a", b'"', b"\\", b',"kind":1', b"\\u0061", b"\n"]),
)
def test_i2_no_changed_event_is_accepted(at: int, cut: int, put: bytes) -> None:
    changed = TEXT[:at] + put + TEXT[at + cut :]
    try:
        event, raw = parse_event_and_raw(changed)
    except Rejected:
        return
    if verify(event):
        assert event == EVENT, "only whitespace, foreign fields or other escapes were changed"
    assert raw in (changed, encode_event(event).encode())
    assert msgspec.json.decode(raw, type=dict[str, object]).keys() == msgspec.json.decode(TEXT).keys()
    assert parse_event_and_raw(raw) == (event, raw), "what is stored is read again as the same"


@patient
@given(at=st.integers(0, len(build_event_frame(EVENT).encode()) - 1), flip=st.integers(1, 255))
def test_i2_no_changed_frame_is_accepted(at: int, flip: int) -> None:
    frame = bytearray(build_event_frame(EVENT).encode())
    frame[at] ^= flip
    try:
        message = parse_client_message(bytes(frame))
    except Rejected:
        return
    assert isinstance(message, ClientEvent)
    assert not verify(message.event) or message.event == EVENT
    assert parse_relay_message(build_event_message("s", message.raw)) == RelayEvent("s", message.event)
