"""Who writes the events of these tests, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from relaybot.nostr.event import Event, encode_event
from relaybot.nostr.keys import KeyPair

ALICE = KeyPair(b"\x01" * 32)
BOB = KeyPair(b"\x02" * 32)
CAROL = KeyPair(b"\x03" * 32)

NOW = 1_800_000_000  # the time of every relay of these tests


def note(
    content: str = "",
    *,
    by: KeyPair = ALICE,
    kind: int = 1,
    tags: Sequence[Sequence[str]] = (),
    at: int = NOW,
) -> Event:
    """Return a signed event."""
    return by.sign(kind=kind, content=content, tags=tags, created_at=at)


def raw(event: Event) -> bytes:
    """Return the event's compact JSON."""
    return encode_event(event).encode()


def obj(event: Event) -> dict[str, Any]:
    """Return the event as decoded JSON."""
    decoded: dict[str, Any] = msgspec.json.decode(raw(event))
    return decoded


def in_order(events: Sequence[Event]) -> list[Event]:
    """Return events as NIP-01 wants them sent: newest first, ties by lowest id."""
    return sorted(events, key=lambda event: (-event.created_at, event.id))
