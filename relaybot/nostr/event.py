"""The event of NIP-01: its shape, its canonical form, its id.

Reading checks shape, types, ranges and the id; the signature is checked by `keys.verify`,
so that a relay can answer for ids it knows before it verifies. No keys stand here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

import msgspec

from relaybot.errors import Rejected
from relaybot.nostr.strict_json import UNREADABLE, refuse_repeated_keys

KIND_MAX = 65_535  # NIP-01
CREATED_AT_MAX = 2**53 - 1  # the largest integer every JSON implementation reads exactly

Kind = Annotated[int, msgspec.Meta(ge=0, le=KIND_MAX)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=CREATED_AT_MAX)]
Tag = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]  # NIP-01: one or more strings
Tags = tuple[Tag, ...]

_REPLACEABLE = range(10_000, 20_000)  # NIP-01, with 0 and 3
_EPHEMERAL = range(20_000, 30_000)  # NIP-01
_ADDRESSABLE = range(30_000, 40_000)  # NIP-01

REMEMBERED_MAX = 1_024  # events of our rows: a job reads its request five times, and 64 are under way
REMEMBERED_CHARACTERS_MAX = 8_192  # of one of them: 16 MiB all together, at most

HEX32_LENGTH = 64  # characters of an id or a public key
HEX64_LENGTH = 128  # characters of a signature


class Event(msgspec.Struct, frozen=True, gc=False):
    """A Nostr event; the fields stand in NIP-01's order."""

    id: str
    pubkey: str
    created_at: Seconds
    kind: Kind
    tags: Tags
    content: str
    sig: str

    def __repr__(self) -> str:
        return f"Event(kind={self.kind}, id={self.id})"

    def tag(self, name: str) -> str | None:
        """Return the value of the first tag called `name`; None if there is none or it has no value."""
        return first_value(self.tags, name)

    def tags_named(self, name: str) -> list[tuple[str, ...]]:
        """Return every tag called `name`, names included."""
        return [tag for tag in self.tags if tag[0] == name]

    def address(self) -> str:
        """Return `kind:pubkey:d`, the value of an `a` tag; d is empty unless the kind is addressable."""
        # NIP-01: the trailing colon stays for normal replaceable events
        identifier = (self.tag("d") or "") if is_addressable(self.kind) else ""
        return f"{self.kind}:{self.pubkey}:{identifier}"


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Event)


def parse_event(raw: bytes | str) -> Event:
    """Read one event and check all but its signature; Rejected(`invalid`) says what is wrong."""
    return parse_event_and_raw(raw)[0]


def parse_event_and_raw(raw: bytes | str) -> tuple[Event, bytes]:
    """Read one event as `parse_event`, and return the JSON by which it may be stored and sent on.

    That JSON is `raw` itself if it holds nothing but the seven fields, each once, without
    whitespace and shortest (in any order); otherwise the event is encoded anew.
    """
    try:
        data = raw.encode() if isinstance(raw, str) else raw
        event = _DECODER.decode(data)
    except msgspec.ValidationError as error:
        raise Rejected("invalid", "event has a wrong shape", detail=str(error)) from None
    except UNREADABLE:
        raise Rejected("invalid", "event is not strict JSON") from None
    # Our encoding is the shortest there is, so a text of its length has room for nothing else.
    if len(data) == len(_checked_form(event)) + _ENVELOPE_BYTES:
        return event, data
    refuse_repeated_keys(data)
    return event, _ENCODER.encode(event)


def stored_event(text: str) -> Event:
    """Read an event of one of our own rows, exactly as `parse_event`; what was read lately is remembered."""
    return _remembered(text) if len(text) <= REMEMBERED_CHARACTERS_MAX else parse_event(text)


@lru_cache(maxsize=REMEMBERED_MAX)
def _remembered(text: str) -> Event:
    return parse_event(text)


def event_from(obj: object) -> Event:
    """Check an already decoded JSON value exactly as `parse_event` checks text."""
    try:
        event = msgspec.convert(obj, Event)
    except msgspec.ValidationError as error:
        raise Rejected("invalid", "event has a wrong shape", detail=str(error)) from None
    _checked_form(event)
    return event


def encode_event(event: Event) -> str:
    """Return the event as compact JSON, fields in NIP-01's order."""
    return _ENCODER.encode(event).decode()


def canonical(pubkey: str, created_at: int, kind: int, tags: Sequence[Sequence[str]], content: str) -> bytes:
    r"""Return the bytes whose SHA-256 is the id.

    NIP-01: UTF-8, no whitespace, seven short escapes. Other control characters are written
    `\u00XX`, as every implementation does; all else, U+007F too, stands for itself.
    """
    return _ENCODER.encode((0, pubkey, created_at, kind, tags, content))


def event_id(pubkey: str, created_at: int, kind: int, tags: Sequence[Sequence[str]], content: str) -> str:
    """Return the id of an event with these fields, as lowercase hex."""
    return hashlib.sha256(canonical(pubkey, created_at, kind, tags, content)).hexdigest()


def first_value(tags: Sequence[Sequence[str]], name: str) -> str | None:
    """Return the value of the first tag called `name`; None if there is none or it has no value."""
    for tag in tags:
        if tag[0] == name:
            return tag[1] if len(tag) > 1 else None
    return None


def is_hex(text: str, length: int) -> bool:
    """Tell whether `text` is exactly `length` lowercase hex digits."""
    try:
        return len(text) == length and bytes.fromhex(text).hex() == text
    except ValueError:
        return False


def is_replaceable(kind: int) -> bool:
    """NIP-01: only the newest of each (pubkey, kind) counts."""
    return kind in _REPLACEABLE or kind in (0, 3)


def is_ephemeral(kind: int) -> bool:
    """NIP-01: not expected to be stored."""
    return kind in _EPHEMERAL


def is_addressable(kind: int) -> bool:
    """NIP-01: only the newest of each (pubkey, kind, d) counts."""
    return kind in _ADDRESSABLE


def is_regular(kind: int) -> bool:
    """Every event is kept: NIP-01's regular kinds, and those to which it gives no range (45 to 999, from 40000)."""
    return not (is_replaceable(kind) or is_ephemeral(kind) or is_addressable(kind))


def _checked_form(event: Event) -> bytes:
    """Return the canonical form; Rejected unless key and signature are hex and the id is its hash."""
    if not is_hex(event.pubkey, HEX32_LENGTH):
        raise Rejected("invalid", "pubkey is not 64 lowercase hex digits")
    if not is_hex(event.sig, HEX64_LENGTH):
        raise Rejected("invalid", "sig is not 128 lowercase hex digits")
    try:
        form = _ENCODER.encode((0, event.pubkey, event.created_at, event.kind, event.tags, event.content))
    except UnicodeEncodeError:
        raise Rejected("invalid", "lone surrogate in a string") from None
    if hashlib.sha256(form).hexdigest() != event.id:
        raise Rejected("invalid", "id does not match the event")
    return form


def _envelope_bytes() -> int:
    """Return by how much an event's compact JSON is longer than its canonical form: always the same."""
    blank = Event(id="0" * HEX32_LENGTH, pubkey="", created_at=0, kind=0, tags=(), content="", sig="0" * HEX64_LENGTH)
    form = canonical("", 0, 0, (), "")
    return len(_ENCODER.encode(blank)) - len(form)


_ENVELOPE_BYTES = _envelope_bytes()
