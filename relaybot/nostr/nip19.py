"""NIP-19: keys, ids and pointers as bech32 text, for people to read and paste.

On pynostr's bech32, with the prefix, the variant and the length checked around it.
Never used inside events: there all is hex.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pynostr import bech32

from relaybot.errors import Rejected
from relaybot.nostr.event import HEX32_LENGTH, KIND_MAX, is_hex
from relaybot.nostr.points import is_point

TEXT_LENGTH_MAX = 5_000  # NIP-19: strings should be limited to 5000 characters
_KEY_BYTES = 32
_VALUE_BYTES_MAX = 255  # the length of a TLV is one byte

_SPECIAL, _RELAY, _AUTHOR, _KIND = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class ProfilePointer:
    """What an nprofile says."""

    pubkey: str
    relays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventPointer:
    """What an nevent says."""

    event_id: str
    relays: tuple[str, ...] = ()
    author: str | None = None
    kind: int | None = None


@dataclass(frozen=True, slots=True)
class AddressPointer:
    """What an naddr says."""

    identifier: str
    author: str
    kind: int
    relays: tuple[str, ...] = ()


def encode_npub(pubkey: str) -> str:
    """Return the npub of a public key in hex."""
    return _encode("npub", _from_hex(pubkey))


def decode_npub(text: str) -> str:
    """Return the public key in hex; Rejected for anything but an npub."""
    return _decode_key("npub", text).hex()


def encode_nsec(secret: bytes) -> str:
    """Return the nsec of a secret key. The result is a secret."""
    if len(secret) != _KEY_BYTES:
        raise Rejected("invalid", "a secret key has 32 bytes", found=len(secret))
    return _encode("nsec", secret)


def decode_nsec(text: str) -> bytes:
    """Return the secret key; Rejected, without the text, for anything but an nsec."""
    return _decode_key("nsec", text)


def parse_pubkey(text: str) -> str:
    """Return the public key of 64 lowercase hex digits or an npub, in hex; Rejected for anything else."""
    return text if is_hex(text, HEX32_LENGTH) else decode_npub(text)


def parse_somebody(text: str) -> str:
    """Return the public key that a stranger gives, as `parse_pubkey`; Rejected, too, where nobody can hold it."""
    pubkey = parse_pubkey(text)
    # BIP-340: a public key is the x coordinate of a point. Nothing can be written to anything else.
    if not is_point(pubkey):
        raise Rejected("invalid", "pubkey is not a point of the curve")
    return pubkey


def encode_nprofile(profile: ProfilePointer) -> str:
    """Return the nprofile of a profile."""
    return _encode("nprofile", _tlv([(_SPECIAL, _from_hex(profile.pubkey)), *_relay_values(profile.relays)]))


def decode_nprofile(text: str) -> ProfilePointer:
    """Read an nprofile; Rejected for anything else."""
    values = _parse_tlv(_decode("nprofile", text))
    return ProfilePointer(_key(values, _SPECIAL), _relays(values))


def encode_nevent(pointer: EventPointer) -> str:
    """Return the nevent of an event pointer."""
    values = [(_SPECIAL, _from_hex(pointer.event_id)), *_relay_values(pointer.relays)]
    if pointer.author is not None:
        values.append((_AUTHOR, _from_hex(pointer.author)))
    if pointer.kind is not None:
        values.append((_KIND, _kind_value(pointer.kind)))
    return _encode("nevent", _tlv(values))


def decode_nevent(text: str) -> EventPointer:
    """Read an nevent; Rejected for anything else."""
    values = _parse_tlv(_decode("nevent", text))
    author = _key(values, _AUTHOR) if _AUTHOR in values else None
    kind = _kind(values) if _KIND in values else None
    return EventPointer(_key(values, _SPECIAL), _relays(values), author, kind)


def encode_naddr(pointer: AddressPointer) -> str:
    """Return the naddr of an addressable event's coordinate."""
    values = [
        (_SPECIAL, pointer.identifier.encode()),
        *_relay_values(pointer.relays),
        (_AUTHOR, _from_hex(pointer.author)),
        (_KIND, _kind_value(pointer.kind)),
    ]
    return _encode("naddr", _tlv(values))


def decode_naddr(text: str) -> AddressPointer:
    """Read an naddr; Rejected for anything else."""
    values = _parse_tlv(_decode("naddr", text))
    identifier = _text(_first(values, _SPECIAL))
    return AddressPointer(identifier, _key(values, _AUTHOR), _kind(values), _relays(values))


def _encode(prefix: str, data: bytes) -> str:
    text: str = bech32.bech32_encode(prefix, bech32.convertbits(data, 8, 5), bech32.Encoding.BECH32)
    if len(text) > TEXT_LENGTH_MAX:
        raise Rejected("invalid", f"{prefix} would be too long", allowed=TEXT_LENGTH_MAX)
    return text


def _decode(prefix: str, text: str) -> bytes:
    """Return the bytes behind `text`. Errors never repeat the text: it may be a secret in the wrong place."""
    if len(text) > TEXT_LENGTH_MAX:
        raise Rejected("invalid", f"{prefix} is too long", allowed=TEXT_LENGTH_MAX)
    found, groups, variant = bech32.bech32_decode(text)
    # NIP-19: bech32, not bech32m
    if found != prefix or variant is not bech32.Encoding.BECH32:
        raise Rejected("invalid", f"not an {prefix}")
    data = bech32.convertbits(groups, 5, 8, pad=False)
    if data is None:
        raise Rejected("invalid", f"{prefix} is badly padded")
    return bytes(data)


def _decode_key(prefix: str, text: str) -> bytes:
    data = _decode(prefix, text)
    if len(data) != _KEY_BYTES:
        raise Rejected("invalid", f"{prefix} does not hold 32 bytes", found=len(data))
    return data


def _from_hex(text: str) -> bytes:
    if not is_hex(text, HEX32_LENGTH):
        raise Rejected("invalid", "not 64 lowercase hex digits")
    return bytes.fromhex(text)


def _tlv(values: Iterable[tuple[int, bytes]]) -> bytes:
    packed = bytearray()
    for number, value in values:
        if len(value) > _VALUE_BYTES_MAX:
            raise Rejected("invalid", "a value is too long for NIP-19", allowed=_VALUE_BYTES_MAX)
        packed += bytes((number, len(value))) + value
    return bytes(packed)


def _parse_tlv(data: bytes) -> dict[int, list[bytes]]:
    values: dict[int, list[bytes]] = {}
    rest = data
    while rest:
        length = rest[1] if len(rest) > 1 else len(rest)
        value, after = rest[2 : 2 + length], rest[2 + length :]
        if len(value) != length:
            raise Rejected("invalid", "a value is cut off")
        # NIP-19: types that are not known are ignored
        values.setdefault(rest[0], []).append(value)
        rest = after
    return values


def _first(values: dict[int, list[bytes]], number: int) -> bytes:
    if number not in values:
        raise Rejected("invalid", "a required value is missing", type=number)
    return values[number][0]


def _key(values: dict[int, list[bytes]], number: int) -> str:
    value = _first(values, number)
    if len(value) != _KEY_BYTES:
        raise Rejected("invalid", "a key or id does not have 32 bytes", type=number)
    return value.hex()


def _kind_value(kind: int) -> bytes:
    if not 0 <= kind <= KIND_MAX:
        raise Rejected("invalid", "kind out of range", found=kind, allowed=f"0..{KIND_MAX}")
    return kind.to_bytes(4, "big")


def _kind(values: dict[int, list[bytes]]) -> int:
    value = _first(values, _KIND)
    kind = int.from_bytes(value, "big")
    if len(value) != len(_kind_value(0)) or kind > KIND_MAX:
        raise Rejected("invalid", "kind out of range", allowed=f"0..{KIND_MAX}")
    return kind


def _relay_values(relays: Iterable[str]) -> list[tuple[int, bytes]]:
    if not all(relay.isascii() for relay in relays):
        raise Rejected("invalid", "a relay address is not ASCII")  # NIP-19: encoded as ascii
    return [(_RELAY, relay.encode()) for relay in relays]


def _relays(values: dict[int, list[bytes]]) -> tuple[str, ...]:
    return tuple(_text(value) for value in values.get(_RELAY, ()))


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Rejected("invalid", "a text is not UTF-8") from None
