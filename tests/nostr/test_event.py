"""NIP-01 events: canonical form, ids, exact shapes, what may be stored and sent on."""

from __future__ import annotations

import hashlib
import importlib
import json
from typing import Any

import msgspec
import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from relaybot.nostr import event as events
from relaybot.nostr.event import (
    REMEMBERED_CHARACTERS_MAX,
    Event,
    canonical,
    encode_event,
    event_from,
    event_id,
    is_addressable,
    is_ephemeral,
    is_hex,
    is_regular,
    is_replaceable,
    parse_event,
    parse_event_and_raw,
    stored_event,
)
from relaybot.nostr.keys import KeyPair
from tests.nostr.conftest import NOW, patient, secret_of

PUBKEY = KeyPair(secret_of("alice")).pubkey

# What stands in the content, and how NIP-01 wants it written.
ODD_CONTENTS = {
    "empty": ("", ""),
    "the seven short escapes": ('\n"\\\r\t\b\f', r"\n\"\\\r\t\b\f"),
    "other control characters": ("\x00\x01\x0b\x1f", "\\u0000\\u0001\\u000b\\u001f"),
    "delete stands for itself": ("\x7f", "\x7f"),
    "a slash is not escaped": ("</script>", "</script>"),
    "line separators": ("\u2028\u2029\x85\xa0", "\u2028\u2029\x85\xa0"),
    "not normalised": ("e\u0301 \u00e9 \ufeff", "e\u0301 \u00e9 \ufeff"),
    "beyond the first plane": ("\U0001f600 \U0010ffff \uffff", "\U0001f600 \U0010ffff \uffff"),
    "an escape as text": ("\\u0041", "\\\\u0041"),
}


def sign(**fields: Any) -> Event:
    given_fields: dict[str, Any] = {"kind": 1, "content": "hello", "tags": (("p", PUBKEY),), "created_at": NOW} | fields
    return KeyPair(secret_of("alice")).sign(**given_fields)


def wire(event: Event, **changes: object) -> dict[str, Any]:
    """Return the event as decoded JSON, with some fields changed."""
    obj: dict[str, Any] = msgspec.json.decode(encode_event(event))
    return {**obj, **changes}


def refused(raw: bytes | str) -> Rejected:
    with pytest.raises(Rejected) as caught:
        parse_event(raw)
    assert caught.value.prefix == "invalid"
    return caught.value


@pytest.mark.parametrize(("content", "written"), ODD_CONTENTS.values(), ids=ODD_CONTENTS)
def test_the_canonical_form_of_odd_contents_is_nip_01s(content: str, written: str) -> None:
    form = canonical(PUBKEY, NOW, 1, (("t", content),), content)
    assert form.decode() == f'[0,"{PUBKEY}",{NOW},1,[["t","{written}"]],"{written}"]'


@pytest.mark.parametrize(("content", "_written"), ODD_CONTENTS.values(), ids=ODD_CONTENTS)
def test_nostr_sdk_agrees_with_the_id_and_signature_of_odd_contents(content: str, _written: str) -> None:
    event = sign(content=content, tags=(("t", content), ("empty", "")))
    theirs = nostr_sdk.Event.from_json(encode_event(event))
    assert theirs.verify()
    assert theirs.id().to_hex() == event.id


def test_every_character_is_written_as_nip_01_says() -> None:
    short = {"\n": "\\n", '"': '\\"', "\\": "\\\\", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
    for code in [*range(0xD800), *range(0xE000, 0x11000), 0x10FFFF]:
        character = chr(code)
        written = short.get(character, character if code >= 0x20 else f"\\u{code:04x}")
        assert canonical("", 0, 0, (), character).decode() == f'[0,"",0,0,[],"{written}"]', hex(code)


def test_the_id_of_a_known_event_is_its_known_id() -> None:
    # The rumor in NIP-59's example
    assert (
        event_id(
            "611df01bfcf85c26ae65453b772d8f1dfd25c264621c0277e1fc1518686faef9",
            1691518405,
            1,
            (),
            "Are you going to the party tonight?",
        )
        == "9dd003c6d3b73b74a85a9ab099469ce251653a7af76f523671ab828acd2a0ef9"
    )


def test_ids_do_not_change_when_pyln_replaces_the_json_encoder() -> None:
    before = sign(content="é\x00\n", tags=(("t", "\x7f"),))
    importlib.import_module("pyln.client")
    assert json.JSONEncoder.default.__module__.startswith("pyln"), "pyln no longer replaces it: drop this test"
    assert sign(content="é\x00\n", tags=(("t", "\x7f"),)) == before
    assert parse_event(encode_event(before)) == before


def test_an_event_survives_the_wire_as_text_bytes_and_decoded_json() -> None:
    event = sign()
    assert parse_event(encode_event(event)) == event
    assert parse_event(encode_event(event).encode()) == event
    assert event_from(wire(event)) == event
    assert list(wire(event)) == ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"]


def test_a_repr_shows_neither_content_nor_tags() -> None:
    event = sign(content="private words")
    assert repr(event) == f"Event(kind=1, id={event.id})"


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": -1},
        {"kind": 65_536},
        {"kind": 1.0},
        {"kind": True},
        {"kind": "1"},
        {"kind": None},
        {"created_at": -1},
        {"created_at": 2**53},
        {"created_at": 2**63},
        {"created_at": 2**64},
        {"created_at": 10**40},
        {"created_at": 1.5e9},
        {"created_at": False},
        {"created_at": str(NOW)},
        {"tags": None},
        {"tags": {}},
        {"tags": ["p"]},
        {"tags": [[]]},
        {"tags": [["p", 1]]},
        {"tags": [["p", None]]},
        {"tags": [["p", ["nested"]]]},
        {"content": None},
        {"content": 1},
        {"id": 1},
        {"pubkey": []},
        {"sig": {}},
    ],
    ids=repr,
)
def test_i2_a_field_of_a_wrong_type_or_range_is_refused(changes: dict[str, object]) -> None:
    obj = wire(sign(), **changes)
    assert refused(json.dumps(obj)).reason == "event has a wrong shape"
    with pytest.raises(Rejected, match="wrong shape"):
        event_from(obj)


@pytest.mark.parametrize("missing", ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"])
def test_i2_an_event_without_one_of_its_fields_is_refused(missing: str) -> None:
    obj = wire(sign())
    del obj[missing]
    assert "missing required field" in str(refused(json.dumps(obj)))


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("id", str.upper),
        ("id", lambda text: text[:-1] + ("0" if text[-1] != "0" else "1")),
        ("id", lambda text: text[:-1]),
        ("id", lambda _text: ""),
        ("pubkey", str.upper),
        ("pubkey", lambda text: text[:-2] + "  "),
        ("pubkey", lambda text: text[:-1] + "g"),
        ("pubkey", lambda text: text + "00"),
        ("pubkey", lambda text: text[:-1] + "\u0661"),
        ("sig", str.upper),
        ("sig", lambda text: text[:-2]),
        ("sig", lambda _text: ""),
    ],
)
def test_i2_ids_keys_and_signatures_are_exact_lowercase_hex(field: str, change: Any) -> None:
    obj = wire(sign(content="a"))
    obj[field] = change(obj[field])
    refused(json.dumps(obj))
    with pytest.raises(Rejected):
        event_from(obj)


@pytest.mark.parametrize(
    "changes", [{"content": "hello "}, {"created_at": NOW + 1}, {"kind": 2}, {"tags": []}, {"pubkey": "00" * 32}]
)
def test_i2_a_forged_id_is_refused(changes: dict[str, object]) -> None:
    assert refused(json.dumps(wire(sign(), **changes))).reason == "id does not match the event"


@pytest.mark.parametrize("lone", [r"\ud800", r"\udc00", r"\ud800A", r"\udfff\ud800", r"\ud800\u0041"])
def test_lone_surrogates_are_refused(lone: str) -> None:
    text = encode_event(sign(content="HERE"))
    refused(text.replace("HERE", lone))
    with pytest.raises(Rejected, match="lone surrogate"):
        event_from(wire(sign(), content="\ud800"))
    refused(text.replace("HERE", "\ud800"))


def test_a_surrogate_pair_is_one_character() -> None:
    event = sign(content="\U0001f600")
    escaped = encode_event(event).replace("\U0001f600", r"\ud83d\ude00")
    assert parse_event(escaped) == event


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}",
        b'{"id":NaN}',
        b"\xff",
        b'\xef\xbb\xbf{"id":""}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_i8_what_is_no_event_at_all_is_refused(raw: bytes) -> None:
    refused(raw)


@pytest.mark.parametrize(
    "insert",
    [
        '"id":"{id}",',
        '"kind":7,',
        '"content":"first",',
        '"\\u006bind":7,',
        '"x":1,"x":1,',
        '"x":{{"y":1,"y":2}},',
    ],
)
def test_i8_repeated_keys_are_refused(insert: str) -> None:
    event = sign()
    text = "{" + insert.format(id=event.id) + encode_event(event)[1:]
    assert refused(text).reason == "repeated key in JSON"


@pytest.mark.parametrize(
    "foreign", ["NaN", "Infinity", "01", r'"\ud800"', "[" * 5_000 + "]" * 5_000, "'x'", "9" * 5_000]
)
def test_i8_foreign_fields_must_be_strict_json_too(foreign: str) -> None:
    refused('{"x":' + foreign + "," + encode_event(sign())[1:])


def test_i8_foreign_fields_must_be_utf_8() -> None:
    refused(b'{"x":"\xff",' + encode_event(sign()).encode()[1:])


def test_compact_json_is_stored_as_it_came_whatever_the_order_of_its_fields() -> None:
    event = sign(content="é\x00/\n")
    obj = wire(event)
    for order in (list(obj), list(reversed(obj)), sorted(obj)):
        raw = msgspec.json.encode({name: obj[name] for name in order})
        assert parse_event_and_raw(raw) == (event, raw)


@pytest.mark.parametrize(
    "loosen",
    [
        lambda text: " " + text + "\n",
        lambda text: text.replace('"kind":', '"kind": '),
        lambda text: '{"seen_on":["wss://r.example"],' + text[1:],
        lambda text: text.replace("/", r"\/"),
        lambda text: text.replace("é", r"\u00e9"),
        lambda text: text.replace(r"\n", r"\u000a"),
        lambda text: text.replace('"kind":0', '"kind":-0'),
        lambda text: text.replace('"sig"', r'"s\u0069g"'),
    ],
)
def test_anything_longer_than_needed_is_stored_as_our_own_encoding(loosen: Any) -> None:
    event = sign(kind=0, content="é/\n")
    text = encode_event(event)
    assert loosen(text) != text
    assert parse_event_and_raw(loosen(text)) == (event, text.encode())


json_texts = st.text(max_size=12)


@patient
@given(
    content=json_texts,
    tags=st.lists(st.lists(json_texts, min_size=1, max_size=4), max_size=4),
    kind=st.integers(0, 65_535),
    created_at=st.integers(0, 2**53 - 1),
)
def test_any_event_survives_the_wire_and_nostr_sdk_finds_the_same_id(
    content: str, tags: list[list[str]], kind: int, created_at: int
) -> None:
    event = sign(content=content, tags=tags, kind=kind, created_at=created_at)
    text = encode_event(event)
    assert parse_event_and_raw(text) == (event, text.encode())
    assert parse_event(json.dumps(wire(event), indent=1)) == event
    by_hand = json.dumps([0, PUBKEY, created_at, kind, tags, content], separators=(",", ":"), ensure_ascii=False)
    assert event.id == hashlib.sha256(by_hand.encode()).hexdigest()
    assert nostr_sdk.Event.from_json(text).verify()


def test_kinds_fall_into_nip_01s_ranges() -> None:
    ranges = (is_regular, is_replaceable, is_ephemeral, is_addressable)
    wanted = {
        is_regular: (1, 2, 4, 44, 45, 999, 1000, 5050, 7000, 9999, 40_000, 65_535),
        is_replaceable: (0, 3, 10_000, 11_998, 19_999),
        is_ephemeral: (20_000, 29_999),
        is_addressable: (30_000, 37_170, 39_999),
    }
    for right, kinds in wanted.items():
        for kind in kinds:
            assert [check for check in ranges if check(kind)] == [right], kind


def test_tags_are_found_by_their_first_appearance() -> None:
    event = sign(kind=30_000, tags=(("encrypted",), ("d", "first", "more"), ("d", "second"), ("t", "")))
    assert event.tag("d") == "first"
    assert event.tag("t") == ""
    assert event.tag("encrypted") is None
    assert event.tag("x") is None
    assert event.tags_named("d") == [("d", "first", "more"), ("d", "second")]
    assert event.tags_named("encrypted") == [("encrypted",)]


def test_an_address_holds_d_only_for_addressable_kinds() -> None:
    tags = (("d", "x"),)
    assert sign(kind=31_990, tags=tags).address() == f"31990:{PUBKEY}:x"
    assert sign(kind=31_990, tags=()).address() == f"31990:{PUBKEY}:"
    assert sign(kind=10_002, tags=tags).address() == f"10002:{PUBKEY}:"


@pytest.mark.parametrize(
    ("text", "length", "answer"),
    [("00ff", 4, True), ("00FF", 4, False), ("0 f", 3, False), ("00f", 3, False), ("zz", 2, False), ("", 0, True)],
)
def test_hex_is_exact_and_lowercase(text: str, length: int, *, answer: bool) -> None:
    assert is_hex(text, length) is answer


def test_an_event_is_longer_than_its_canonical_form_by_a_constant() -> None:
    event = sign(content="x" * 100, kind=65_535)
    form = canonical(event.pubkey, event.created_at, event.kind, event.tags, event.content)
    assert len(encode_event(event)) - len(form) == events._ENVELOPE_BYTES


def test_an_event_of_a_row_is_read_as_any_other_and_read_once() -> None:
    short, long = (
        KeyPair(b"\x01" * 32).sign(kind=1, content="x" * length, tags=[], created_at=1)
        for length in (1, REMEMBERED_CHARACTERS_MAX)
    )
    assert stored_event(encode_event(short)) is stored_event(encode_event(short)) == short
    assert stored_event(encode_event(long)) == long
    with pytest.raises(Rejected, match="id does not match"):
        stored_event(encode_event(short).replace('"x"', '"y"'))
