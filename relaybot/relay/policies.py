"""What the relay takes: one plain function per rule over (event, connection facts, now, limits).

Each returns None, or the Rejected to be told. A new rule is a new function in RULES. What
needs the store or other connections is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relaybot.errors import Rejected
from relaybot.nostr.event import Event
from relaybot.relay.settings import RelayLimits


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """What is known about whoever sends: `address` is the peer's, or empty inside this process."""

    address: str


INSIDE = ConnectionFacts(address="")

Rule = Callable[[Event, ConnectionFacts, int, RelayLimits], Rejected | None]


def content_length(event: Event, _facts: ConnectionFacts, _now: int, limits: RelayLimits) -> Rejected | None:
    """NIP-11, max_content_length: characters of the content."""
    if len(event.content) <= limits.content_characters_max:
        return None
    return Rejected(
        "invalid",
        "content is too long",
        found=len(event.content),
        allowed=f"{limits.content_characters_max} characters",
    )


def tag_count(event: Event, _facts: ConnectionFacts, _now: int, limits: RelayLimits) -> Rejected | None:
    """NIP-11, max_event_tags."""
    if len(event.tags) <= limits.tags_max:
        return None
    return Rejected("invalid", "too many tags", found=len(event.tags), allowed=limits.tags_max)


def not_from_the_future(event: Event, _facts: ConnectionFacts, now: int, limits: RelayLimits) -> Rejected | None:
    """NIP-11, created_at_upper_limit: NIP-01 lets a relay refuse what is dated too far ahead."""
    ahead = event.created_at - now
    if ahead <= limits.future_seconds:
        return None
    return Rejected("invalid", "created_at is in the future", ahead_seconds=ahead, allowed=limits.future_seconds)


def kind_taken(event: Event, _facts: ConnectionFacts, _now: int, limits: RelayLimits) -> Rejected | None:
    """Refuse the kinds this relay does not take."""
    if event.kind not in limits.kinds_refused:
        return None
    return Rejected("blocked", "this kind is not taken here", kind=event.kind)


RULES: tuple[Rule, ...] = (content_length, tag_count, not_from_the_future, kind_taken)


def refusal(event: Event, facts: ConnectionFacts, now: int, limits: RelayLimits) -> Rejected | None:
    """Return why the relay does not take `event`, or None."""
    for rule in RULES:
        rejected = rule(event, facts, now, limits)
        if rejected is not None:
            return rejected
    return None
