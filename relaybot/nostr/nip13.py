"""NIP-13: proof of work, as the leading zero bits of an event's id."""

from __future__ import annotations

from relaybot.nostr.event import Event

_ID_BITS = 256
_BITS_DIGITS_MAX = 3


def leading_zero_bits(event_id: str) -> int:
    """Return the difficulty of an id in hex."""
    return _ID_BITS - int(event_id, 16).bit_length()


def committed_bits(event: Event) -> int | None:
    """Return the difficulty that was aimed at, by the third element of the nonce tag; None if it names none."""
    for tag in event.tags_named("nonce"):
        if len(tag) > 2 and tag[2].isascii() and tag[2].isdigit() and len(tag[2]) <= _BITS_DIGITS_MAX:  # noqa: PLR2004 - NIP-13's third
            return int(tag[2])
    return None
