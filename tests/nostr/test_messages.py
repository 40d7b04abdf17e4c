"""The frames of NIP-01, both ways."""

from __future__ import annotations

import json

import msgspec
import nostr_sdk
import pytest

from relaybot.errors import Rejected
from relaybot.nostr import messages
from relaybot.nostr.event import Event, encode_event
from relaybot.nostr.filters import Filter
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.messages import (
    Auth,
    Challenge,
    ClientEvent,
    Close,
    Closed,
    Count,
    Eose,
    Notice,
    Ok,
    RejectedEvent,
    RejectedRequest,
    RelayEvent,
    Req,
    parse_client_message,
    parse_relay_message,
)
from tests.nostr.conftest import NOW


@pytest.fixture
def event(alice: KeyPair) -> Event:
    return alice.sign(kind=1, content='odd "content"\x00 ]} é', tags=(("t", "[]"),), created_at=NOW)


def test_an_event_frame_keeps_its_bytes(event: Event) -> None:
    raw = encode_event(event).encode()
    for frame in (messages.build_event_frame(event), messages.build_event_frame(event).encode()):
        assert parse_client_message(frame) == ClientEvent(event, raw)


@pytest.mark.parametrize(
    "frame",
    [
        '["EVENT", {}]',
        '[ "EVENT" , {} ]\n',
        '["\\u0045VENT",{}]',
        '["EVENT",{} ]',
    ],
)
def test_an_event_frame_with_whitespace_is_normalised(event: Event, frame: str) -> None:
    text = encode_event(event)
    assert parse_client_message(frame.replace("{}", text)) == ClientEvent(event, text.encode())
    assert parse_client_message(frame.replace("{}", json.dumps(json.loads(text)))) == ClientEvent(event, text.encode())


def test_the_bytes_of_fields_in_another_order_are_kept(event: Event) -> None:
    obj = dict(reversed(msgspec.json.decode(encode_event(event)).items()))
    raw = msgspec.json.encode(obj)
    assert parse_client_message(b'["EVENT",' + raw + b"]") == ClientEvent(event, raw)


@pytest.mark.parametrize(
    ("change", "claimed"),
    [
        (lambda text: text.replace('"kind":1', '"kind":2'), True),
        (lambda text: text.replace('"kind":1', '"kind":1.0'), True),
        (lambda text: text[:-1] + ',"kind":1}', True),
        (lambda text: text + ",1", False),
        (lambda text: text + "]", False),
        (lambda _text: "1", False),
        (lambda _text: "", False),
        (lambda _text: '{"id":"short"}', False),
        (lambda _text: '{"id":7}', False),
        (lambda _text: "[" * 9_999, False),
    ],
)
def test_i2_a_refused_event_is_answered_by_the_id_it_claims(event: Event, change: object, *, claimed: bool) -> None:
    assert callable(change)
    for start in ('["EVENT",', ' ["EVENT",'):
        with pytest.raises(Rejected) as caught:
            parse_client_message(start + change(encode_event(event)) + "]")
        if isinstance(caught.value, RejectedEvent):
            assert caught.value.event_id == (event.id if claimed else "")
            assert str(caught.value).startswith("invalid: ")
        else:
            assert not claimed


def test_a_subscription_holds_its_filters() -> None:
    first, second = Filter(kinds=frozenset({1})), Filter(tags={"t": frozenset({'"'})}, limit=5)
    frame = messages.build_req("my sub", [first, second])
    assert parse_client_message(frame) == Req("my sub", (first, second))
    assert parse_client_message(f" {json.dumps(json.loads(frame), indent=2)}") == Req("my sub", (first, second))
    theirs = nostr_sdk.ClientMessage.from_json(frame)
    assert json.loads(theirs.as_json()) == json.loads(frame)


def test_a_count_holds_its_filters() -> None:
    frame = messages.build_req("q", [Filter(kinds=frozenset({1}), limit=5)]).replace("REQ", "COUNT")
    assert parse_client_message(frame) == Count("q", (Filter(kinds=frozenset({1}), limit=5),))
    theirs = nostr_sdk.RelayMessage.from_json(messages.build_count("q", 7))
    assert json.loads(theirs.as_json()) == ["COUNT", "q", {"count": 7}]


def test_nip_42_an_answer_to_a_challenge_is_an_event(event: Event) -> None:
    frame = messages.build_auth(event)
    assert parse_client_message(frame) == Auth(event)
    with pytest.raises(RejectedEvent) as caught:
        parse_client_message(frame.replace('"kind":1', '"kind":2'))
    assert caught.value.event_id == event.id
    theirs = nostr_sdk.ClientMessage.from_json(frame)
    assert json.loads(theirs.as_json()) == json.loads(frame)


@pytest.mark.parametrize("hints", [[], ["finish"], ["more", "unheard of"]])
def test_nip_67_the_hints_of_eose_are_passed_over(hints: list[str]) -> None:
    assert parse_relay_message(json.dumps(["EOSE", "s", hints])) == Eose("s")
    assert json.loads(messages.build_eose("s", "more")) == ["EOSE", "s", ["more"]]


def test_a_subscription_is_closed() -> None:
    assert parse_client_message(messages.build_close("s")) == Close("s")


@pytest.mark.parametrize(
    "filters", ['{"kinds":[-1]}', '{"kinds":[1],"kinds":[2]}', "1", '{"x":1}', '{},{"ids":"a"}', '{"#t":[""],"#t":[]}']
)
def test_a_refused_request_is_answered_by_its_subscription(filters: str) -> None:
    with pytest.raises(RejectedRequest) as caught:
        parse_client_message(f'["REQ","s",{filters}]')
    assert caught.value.sub_id == "s"
    assert caught.value.prefix == ("unsupported" if filters == '{"x":1}' else "invalid")


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "[]",
        "{}",
        "null",
        "[1]",
        '["EVENT"]',
        '["EVENT",{},{}]x',
        '[ "EVENT",{},{}]',
        '["REQ"]',
        '["REQ","s"]',
        '["REQ","",{}]',
        '["REQ","' + "s" * 65 + '",{}]',
        '["REQ",1,{}]',
        '["CLOSE"]',
        '["CLOSE",1]',
        '["CLOSE","s","t"]',
        '["CLOSE","\\ud800"]',
        '["REQ","s",{"#t":["\\ud800"]}]',
        '["event",{}]',
        '["AUTH",{}]',
        '["AUTH"]',
        '["COUNT"]',
        '["COUNT","q"]',
        '["' + "x" * 99_999 + '"]',
        "[" * 99_999,
        "\ud800",
        b"\xff",
        b'["CLOSE","\xff"]',
        b'["\xff"]',
    ],
    ids=lambda frame: repr(frame[:20]),
)
def test_i8_a_malformed_frame_is_refused(frame: bytes | str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_client_message(frame)
    assert caught.value.prefix == "invalid"
    assert len(str(caught.value)) < 200


def test_a_subscription_id_has_up_to_64_characters() -> None:
    assert parse_client_message(messages.build_close("é" * 64)) == Close("é" * 64)


def test_the_relays_frames_are_read_back(event: Event) -> None:
    raw = encode_event(event)
    frames = {
        messages.build_event_message('s"', raw): RelayEvent('s"', event),
        messages.build_event_message("s", raw.encode()): RelayEvent("s", event),
        messages.build_ok(event.id, True, ""): Ok(event.id, True, ""),
        messages.build_ok(event.id, False, "invalid: no\n"): Ok(event.id, False, "invalid: no\n"),
        messages.build_eose("s"): Eose("s"),
        messages.build_closed("s", "error: gone"): Closed("s", "error: gone"),
        messages.build_notice('words "said"'): Notice('words "said"'),
        messages.build_challenge("c\n"): Challenge("c\n"),
    }
    for frame, wanted in frames.items():
        assert parse_relay_message(frame) == wanted
        assert parse_relay_message(frame.encode()) == wanted
        theirs = nostr_sdk.RelayMessage.from_json(frame)
        assert json.loads(theirs.as_json()) == json.loads(frame)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "[]",
        "{}",
        '["OK","id",1,""]',
        '["OK","id",true]',
        '["OK",1,true,""]',
        '["EOSE"]',
        '["EOSE","s","t"]',
        '["EOSE","s",["finish"],1]',
        '["CLOSED","s"]',
        '["NOTICE",1]',
        '["EVENT","s"]',
        '["EVENT","s",{}]',
        '["EVENT",1,{}]',
        '["AUTH",1]',
        "\ud800",
        b"\xff",
        "[" * 99_999,
    ],
    ids=lambda frame: repr(frame[:20]),
)
def test_a_malformed_frame_of_a_relay_is_refused(frame: bytes | str) -> None:
    with pytest.raises(Rejected):
        parse_relay_message(frame)


def test_a_forged_event_from_a_relay_is_refused(event: Event) -> None:
    with pytest.raises(Rejected, match="id does not match"):
        parse_relay_message(messages.build_event_message("s", encode_event(event).replace('"kind":1', '"kind":2')))
