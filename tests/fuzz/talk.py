"""What a hostile or broken client might say: nearly right bytes, frames, messages, events and filters."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from relaybot.nostr.event import Event
from tests.relay.authors import ALICE, BOB, CAROL, NOW, note, obj
from tests.relay.random_events import POOL

TAGS = [["t", "x"], ["p", BOB.pubkey], ["d", "a"], ["e", "0" * 64], ["-"], ["expiration", "1"], ["relay", "ALL_RELAYS"]]
KINDS = (0, 1, 5, 7, 62, 1059, 10_002, 20_001, 22_242, 30_023)
EVENTS = [
    note(f"{kind} é \u2028 \\", by=(ALICE, BOB, CAROL)[n % 3], kind=kind, tags=TAGS[n % 5 : n % 5 + n % 3], at=NOW - n)
    for n, kind in enumerate(KINDS)
]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
sub_ids = st.sampled_from(["s", "t", "", "s" * 64, "s" * 65, '"', "\u0000", "ü"]) | st.text(max_size=70)
hexes = st.sampled_from([ALICE.pubkey, BOB.pubkey, *[event.id for event in POOL[:6]], "0" * 64, "A" * 64, "ab", ""])
kinds = st.sampled_from([*KINDS, 2, -1, 65_535, 65_536]) | st.integers()
numbers = st.sampled_from([0, 1, 500, 501, NOW, NOW - 1, NOW + 1, 2**53 - 1, 2**53, 2**63, -1])
words = st.sampled_from(["", "x", "y", "ü", "\u0000", "\n", ALICE.pubkey]) | st.text(max_size=6)

_ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    "ids": st.lists(hexes, max_size=4),
    "authors": st.lists(hexes, max_size=4),
    "kinds": st.lists(kinds, max_size=4),
    "#e": st.lists(hexes, max_size=3),
    "#p": st.lists(hexes, max_size=3),
    "#t": st.lists(words, max_size=3),
    "#T": st.lists(words, max_size=3),
    "#a": st.lists(words, max_size=3),
    "#d": st.lists(words, max_size=3),
    "since": numbers,
    "until": numbers,
    "limit": numbers,
}
right_filters = st.fixed_dictionaries({}, optional=_ELEMENTS)
filters = right_filters | st.dictionaries(st.sampled_from([*_ELEMENTS, "search", "##", "#tt"]), values, max_size=3)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Return an event as JSON has it, right or with something else in a field."""
    event: Event = draw(st.sampled_from(EVENTS))
    changes: dict[str, Any] = draw(st.dictionaries(st.sampled_from([*obj(event), "seen"]), values, max_size=2))
    return obj(event) | (changes if draw(st.booleans()) else {})


messages = (
    st.tuples(st.just("EVENT"), events())
    | st.tuples(st.sampled_from(["REQ", "COUNT"]), sub_ids, filters)
    | st.tuples(st.sampled_from(["REQ", "COUNT"]), sub_ids, filters, filters)
    | st.tuples(st.just("CLOSE"), sub_ids)
    | st.tuples(st.just("AUTH"), events() | values)
    | st.lists(st.sampled_from(["EVENT", "REQ", "NEG-OPEN", "x"]) | values, max_size=4).map(tuple)
)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Return a message as bytes, written in some way of JSON, and now and then damaged."""
    form: dict[str, Any] = draw(
        st.sampled_from([{}, {"separators": (",", ":")}, {"ensure_ascii": False}, {"indent": 1}])
    )
    text = json.dumps(draw(messages), **form).encode(errors="surrogatepass")
    if draw(st.integers(0, 3)):
        return text
    at = draw(st.integers(0, len(text)))
    put = draw(
        st.binary(max_size=3) | st.sampled_from([b",", b'"', b"]", b"{", b"\\ud800", b"NaN", b"1e9", b"[" * 2_000])
    )
    return text[:at] + put + text[at + draw(st.integers(0, 5)) :]


@st.composite
def websocket_frames(draw: st.DrawFn) -> bytes:
    """Return a client's frame as RFC 6455 has it, or nearly."""
    payload: bytes = draw(texts() | st.binary(max_size=130))
    opcode = draw(st.sampled_from([1, 1, 1, 1, 0, 2, 8, 9, 10, 3, 15]))
    flags = draw(st.sampled_from([0x80, 0x80, 0x80, 0x00, 0xC0]))
    mask = draw(st.sampled_from([b"\x00\x00\x00\x00", b"\x01\x02\x03\x04", b""]))
    size = draw(st.sampled_from([len(payload)] * 4 + [0, len(payload) + 1, 2**40]))
    masked = 0x80 if mask else 0
    if size < 126:
        length = bytes([masked | size])
    elif size < 2**16:
        length = bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([masked | 127]) + size.to_bytes(8, "big")
    key = (mask or b"\x00\x00\x00\x00") * (len(payload) // 4 + 1)
    return bytes([flags | opcode]) + length + mask + bytes(a ^ b for a, b in zip(payload, key, strict=False))
