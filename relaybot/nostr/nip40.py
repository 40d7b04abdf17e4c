"""NIP-40: when an event expires."""

from __future__ import annotations

from relaybot.errors import Rejected
from relaybot.nostr.event import CREATED_AT_MAX, Event


def parse_expiration(event: Event) -> int | None:
    """Return the second at which `event` expires, None if it never does; Rejected if the tag is malformed."""
    for tag in event.tags:
        if tag[0] == "expiration":
            text = tag[1] if len(tag) > 1 else ""
            if not (text.isascii() and text.isdigit() and len(text) <= len(str(CREATED_AT_MAX))):
                raise Rejected("invalid", "expiration: not a time in seconds")
            return int(text)
    return None
