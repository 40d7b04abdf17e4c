"""The frames between clients and relays, both ways: NIP-01's, AUTH (NIP-42), COUNT (NIP-45), hints of EOSE (NIP-67).

An event that a client sends keeps its bytes, so that a relay stores and sends it on by
splicing. Nothing here knows connections, limits or subscriptions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from relaybot.errors import Rejected
from relaybot.nostr.event import HEX32_LENGTH, Event, encode_event, event_from, is_hex, parse_event_and_raw
from relaybot.nostr.filters import Filter, encode_filter, parse_filter
from relaybot.nostr.strict_json import UNREADABLE, parse_json

SUBSCRIPTION_ID_LENGTH_MAX = 64  # NIP-01

_REQ_PARTS_MIN = 3  # its name, the subscription, at least one filter
_EVENT_START = b'["EVENT",'
_PARTS = msgspec.json.Decoder(list[msgspec.Raw])
_ENCODER = msgspec.json.Encoder()


class ClientEvent(msgspec.Struct, frozen=True, gc=False):
    """EVENT of a client: the event, and its JSON without whitespace, foreign fields or repetitions."""

    event: Event
    raw: bytes


class Req(msgspec.Struct, frozen=True):
    """REQ: a subscription opened or replaced."""

    sub_id: str
    filters: tuple[Filter, ...]


class Close(msgspec.Struct, frozen=True):
    """CLOSE: a subscription ended by the client."""

    sub_id: str


class Count(msgspec.Struct, frozen=True):
    """COUNT of a client: how many events meet any of the filters."""

    query_id: str
    filters: tuple[Filter, ...]


class Auth(msgspec.Struct, frozen=True):
    """AUTH of a client: the id is checked, all else is not."""

    event: Event


class RelayEvent(msgspec.Struct, frozen=True):
    """EVENT of a relay: the id is checked, the signature is not."""

    sub_id: str
    event: Event


class Ok(msgspec.Struct, frozen=True):
    """OK: whether the relay took an event, and why."""

    event_id: str
    accepted: bool
    message: str


class Eose(msgspec.Struct, frozen=True):
    """EOSE: what was stored has been sent."""

    sub_id: str


class Closed(msgspec.Struct, frozen=True):
    """CLOSED: a subscription refused or ended by the relay."""

    sub_id: str
    message: str


class Notice(msgspec.Struct, frozen=True):
    """NOTICE: words for people."""

    text: str


class Challenge(msgspec.Struct, frozen=True):
    """AUTH of a relay: what a client signs to show whose it is."""

    text: str


ClientMessage = ClientEvent | Req | Close | Count | Auth
RelayMessage = RelayEvent | Ok | Eose | Closed | Notice | Challenge


class RejectedEvent(Rejected):
    """An EVENT or AUTH frame is refused; `event_id` is the id it claims, for the OK, or empty if it claims none."""

    def __init__(self, cause: Rejected, *, event_id: str) -> None:
        super().__init__(cause.prefix, cause.reason, **cause.fields)
        self.event_id = event_id


class RejectedRequest(Rejected):
    """A REQ or COUNT frame is refused; `sub_id` is to be named in CLOSED."""

    def __init__(self, cause: Rejected, *, sub_id: str) -> None:
        super().__init__(cause.prefix, cause.reason, **cause.fields)
        self.sub_id = sub_id


# ---- client to relay


def parse_client_message(frame: bytes | str) -> ClientMessage:
    """Read one frame of a client.

    Raises RejectedEvent or RejectedRequest where the answer can name what it answers
    (OK, CLOSED), otherwise Rejected (NOTICE).
    """
    data = _bytes(frame)
    if data.startswith(_EVENT_START) and data.endswith(b"]"):
        return _client_event(data[len(_EVENT_START) : -1])
    parts = _split(data)
    verb = _verb(parts)
    match verb, len(parts):
        case "EVENT", 2:
            return _client_event(bytes(parts[1]))
        case "REQ", count if count >= _REQ_PARTS_MIN:
            return Req(*_request(parts))
        case "CLOSE", 2:
            return Close(_subscription_id(parse_json(bytes(parts[1]))))
        case "COUNT", count if count >= _REQ_PARTS_MIN:
            return Count(*_request(parts))
        case "AUTH", 2:
            return Auth(_client_event(bytes(parts[1])).event)
        case "EVENT" | "REQ" | "CLOSE" | "COUNT" | "AUTH", _:
            raise Rejected("invalid", f"{verb} has a wrong number of elements")
        case _:
            raise Rejected("invalid", "unknown message", found=verb[:20])


def build_event_frame(event: Event) -> str:
    """Return the frame by which a client publishes `event`."""
    return f'["EVENT",{encode_event(event)}]'


def build_req(sub_id: str, filters: Iterable[Filter]) -> str:
    """Return the frame by which a client subscribes."""
    return _frame("REQ", sub_id, *(encode_filter(filter_) for filter_ in filters))


def build_close(sub_id: str) -> str:
    """Return the frame by which a client ends a subscription."""
    return _frame("CLOSE", sub_id)


def build_auth(event: Event) -> str:
    """Return the frame by which a client shows whose it is (NIP-42)."""
    return f'["AUTH",{encode_event(event)}]'


# ---- relay to client


def parse_relay_message(frame: bytes | str) -> RelayMessage:
    """Read one frame of a relay; Rejected for what is malformed or not known."""
    match parse_json(_bytes(frame)):
        case ["EVENT", str(sub_id), event]:
            return RelayEvent(sub_id, event_from(event))
        case ["OK", str(event_id), bool(accepted), str(message)]:
            return Ok(event_id, accepted, message)
        case ["EOSE", str(sub_id)] | ["EOSE", str(sub_id), [*_]]:  # NIP-67: hints, which tell us nothing
            return Eose(sub_id)
        case ["CLOSED", str(sub_id), str(message)]:
            return Closed(sub_id, message)
        case ["NOTICE", str(text)]:
            return Notice(text)
        case ["AUTH", str(text)]:
            return Challenge(text)
        case _:
            raise Rejected("invalid", "unknown message")


def build_event_message(sub_id: str, raw_json: bytes | str) -> str:
    """Return the frame by which a relay sends a stored event, by splicing in its JSON."""
    text = raw_json.decode() if isinstance(raw_json, bytes) else raw_json
    return f'["EVENT",{_ENCODER.encode(sub_id).decode()},{text}]'


def build_ok(event_id: str, accepted: bool, message: str) -> str:  # noqa: FBT001 - NIP-01's order of elements
    """Return the answer to an EVENT; a refusal's message starts with a machine-readable prefix."""
    return _frame("OK", event_id, accepted, message)


def build_eose(sub_id: str, hint: str = "") -> str:
    """Return the frame that ends the stored events of a subscription; `hint` is NIP-67's, if there is one."""
    return _frame("EOSE", sub_id, [hint]) if hint else _frame("EOSE", sub_id)


def build_count(query_id: str, count: int) -> str:
    """Return the answer to a COUNT."""
    return _frame("COUNT", query_id, {"count": count})


def build_challenge(text: str) -> str:
    """Return the frame by which a relay asks whose a client is (NIP-42)."""
    return _frame("AUTH", text)


def build_closed(sub_id: str, message: str) -> str:
    """Return the frame by which a relay refuses or ends a subscription."""
    return _frame("CLOSED", sub_id, message)


def build_notice(text: str) -> str:
    """Return a frame with words for people."""
    return _frame("NOTICE", text)


# ---- inside


def _frame(*elements: object) -> str:
    return _ENCODER.encode(elements).decode()


def _bytes(frame: bytes | str) -> bytes:
    try:
        return frame.encode() if isinstance(frame, str) else frame
    except UnicodeEncodeError:
        raise Rejected("invalid", "lone surrogate in the message") from None


def _split(data: bytes) -> list[msgspec.Raw]:
    try:
        return _PARTS.decode(data)
    except UNREADABLE:
        raise Rejected("invalid", "message is not a JSON array") from None


def _verb(parts: Sequence[msgspec.Raw]) -> str:
    verb = parse_json(bytes(parts[0])) if parts else None
    if not isinstance(verb, str):
        raise Rejected("invalid", "message does not start with its name")
    return verb


def _client_event(raw: bytes) -> ClientEvent:
    try:
        return ClientEvent(*parse_event_and_raw(raw))
    except Rejected as error:
        raise RejectedEvent(error, event_id=_claimed_id(raw)) from None


class _Claim(msgspec.Struct):
    id: str


def _claimed_id(raw: bytes) -> str:
    try:
        claimed = msgspec.json.decode(raw, type=_Claim).id
    except UNREADABLE:
        return ""
    return claimed if is_hex(claimed, HEX32_LENGTH) else ""


def _request(parts: Sequence[msgspec.Raw]) -> tuple[str, tuple[Filter, ...]]:
    sub_id = _subscription_id(parse_json(bytes(parts[1])))
    try:
        return sub_id, tuple(parse_filter(parse_json(bytes(part))) for part in parts[2:])
    except Rejected as error:
        raise RejectedRequest(error, sub_id=sub_id) from None


def _subscription_id(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= SUBSCRIPTION_ID_LENGTH_MAX:
        raise Rejected("invalid", "subscription id must be text of 1 to 64 characters")
    return value
