"""What the relay takes: one plain function per rule over (event, connection facts, now, limits).

Each returns None, or the Rejected to be told. A new rule is a new function in RULES, with
the condition under which it is in force. What needs the store, the book or other
connections is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from relaybot.errors import Rejected
from relaybot.nostr.event import Event
from relaybot.nostr.nip13 import committed_bits, leading_zero_bits
from relaybot.nostr.nip40 import parse_expiration
from relaybot.nostr.nip42 import relay_name
from relaybot.nostr.nip62 import ALL_RELAYS, VANISH_KIND
from relaybot.nostr.strict_json import UNREADABLE
from relaybot.relay.reading import NOBODY
from relaybot.relay.settings import RelayLimits

_PROTECTED = ("-",)  # NIP-70
_REPOSTS = (6, 16)  # NIP-18


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """What is known about whoever sends."""

    address: str  # of the peer, or of whom a trusted proxy speaks for; empty inside this process
    origin: str = ""  # what rates and connections are counted by; empty where they are not
    known_as: frozenset[str] = NOBODY  # the names of this relay (nip42.relay_name)
    keys: frozenset[str] = NOBODY  # that the client has shown to be its own (NIP-42)


INSIDE = ConnectionFacts(address="")

Rule = Callable[[Event, ConnectionFacts, int, RelayLimits], Rejected | None]


# ---- shape and time


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


def not_too_old(event: Event, _facts: ConnectionFacts, now: int, limits: RelayLimits) -> Rejected | None:
    """NIP-11, created_at_lower_limit."""
    age = now - event.created_at
    if age <= limits.past_seconds:
        return None
    return Rejected("invalid", "created_at is too long ago", age_seconds=age, allowed=limits.past_seconds)


def not_expired(event: Event, _facts: ConnectionFacts, now: int, _limits: RelayLimits) -> Rejected | None:
    """NIP-40: relays SHOULD drop any events that are published to them if they are expired."""
    try:
        expiration = parse_expiration(event)
    except Rejected as rejected:
        return rejected
    if expiration is None or expiration > now:
        return None
    return Rejected("invalid", "the event has expired", expiration=expiration)


def proof_of_work(event: Event, _facts: ConnectionFacts, _now: int, limits: RelayLimits) -> Rejected | None:
    """NIP-11, min_pow_difficulty: the id's leading zero bits, and no fewer were aimed at (NIP-13)."""
    found = leading_zero_bits(event.id)
    if found < limits.pow_bits_min:
        return Rejected("pow", "difficulty is too low", found=found, allowed=limits.pow_bits_min)
    aimed = committed_bits(event)
    if aimed is not None and aimed < limits.pow_bits_min:
        return Rejected("pow", "the difficulty that was aimed at is too low", found=aimed, allowed=limits.pow_bits_min)
    return None


# ---- kinds and keys


def kind_refused(event: Event, _facts: ConnectionFacts, _now: int, limits: RelayLimits) -> Rejected | None:
    """Refuse the kinds this relay does not take."""
    if event.kind not in limits.kinds_refused:
        return None
    return Rejected("blocked", "this kind is not taken here", kind=event.kind)


def kind_allowed(event: Event, facts: ConnectionFacts, _now: int, limits: RelayLimits) -> Rejected | None:
    """Take no kinds but these; the service itself writes what it must."""
    if event.kind in limits.kinds_allowed or facts is INSIDE:
        return None
    return Rejected("blocked", "only some kinds are taken here", kind=event.kind)


def author_denied(event: Event, _facts: ConnectionFacts, _now: int, limits: RelayLimits) -> Rejected | None:
    """Refuse what certain keys write."""
    return Rejected("blocked", "this key may not write here") if event.pubkey in limits.authors_denied else None


def author_allowed(event: Event, facts: ConnectionFacts, _now: int, limits: RelayLimits) -> Rejected | None:
    """Take what certain keys write, or send over a connection on which they AUTH, and nothing else."""
    if event.pubkey in limits.authors_allowed or facts is INSIDE or not facts.keys.isdisjoint(limits.authors_allowed):
        return None
    return Rejected("restricted", "only some keys may write here")


def authenticated(_event: Event, facts: ConnectionFacts, _now: int, _limits: RelayLimits) -> Rejected | None:
    """NIP-42: only those who AUTH may write."""
    return None if facts.keys or facts is INSIDE else Rejected("auth-required", "this relay is for those who AUTH")


def protected(event: Event, facts: ConnectionFacts, _now: int, _limits: RelayLimits) -> Rejected | None:
    """NIP-70: an event with the tag `-` is taken from its author only, and never inside a repost."""
    if _PROTECTED in event.tags and event.pubkey not in facts.keys and facts is not INSIDE:
        prefix = "restricted" if facts.keys else "auth-required"
        return Rejected(prefix, "this event may only be published by its author")
    if event.kind in _REPOSTS and _embeds_protected(event.content):
        return Rejected("blocked", "a repost must not embed a protected event")
    return None


def to_vanish_from_here(event: Event, facts: ConnectionFacts, _now: int, _limits: RelayLimits) -> Rejected | None:
    """NIP-62: a request to vanish names the relays it is for."""
    if event.kind != VANISH_KIND:
        return None
    named = [tag[1] for tag in event.tags_named("relay") if len(tag) > 1]
    if ALL_RELAYS in named or any(relay_name(one) in facts.known_as for one in named):
        return None
    return Rejected("invalid", "the request to vanish does not name this relay")


RULES: tuple[tuple[Rule, Callable[[RelayLimits], object]], ...] = (
    (content_length, lambda _: True),
    (tag_count, lambda _: True),
    (not_from_the_future, lambda _: True),
    (not_too_old, lambda limits: limits.past_seconds),
    (not_expired, lambda _: True),
    (kind_refused, lambda limits: limits.kinds_refused),
    (kind_allowed, lambda limits: limits.kinds_allowed),
    (author_denied, lambda limits: limits.authors_denied),
    (authenticated, lambda limits: limits.auth_required),
    (author_allowed, lambda limits: limits.authors_allowed),
    (protected, lambda _: True),
    (to_vanish_from_here, lambda _: True),
    (proof_of_work, lambda limits: limits.pow_bits_min),
)


def rules_in_force(limits: RelayLimits) -> Sequence[Rule]:
    """Return the rules that can refuse anything under these limits."""
    return tuple(rule for rule, in_force in RULES if in_force(limits))


def refusal(
    event: Event, facts: ConnectionFacts, now: int, limits: RelayLimits, rules: Sequence[Rule]
) -> Rejected | None:
    """Return why the relay does not take `event`, or None; `rules` are those in force."""
    for rule in rules:
        rejected = rule(event, facts, now, limits)
        if rejected is not None:
            return rejected
    return None


def refusal_of_a_stranger(facts: ConnectionFacts) -> Rejected:
    """Return why an event that only keys with an account may write is not taken from one without."""
    # NIP-59: a relay may authenticate clients before it accepts wraps, whose keys nobody knows
    if facts.keys:
        return Rejected("restricted", "this kind is for keys with an account here")
    return Rejected("auth-required", "this kind is for keys with an account here; AUTH, or open one")


# ---- inside


class _Embedded(msgspec.Struct):
    tags: list[tuple[str, ...]]


def _embeds_protected(content: str) -> bool:
    if '"-"' not in content:
        return False
    try:
        return _PROTECTED in msgspec.json.decode(content, type=_Embedded).tags
    except UNREADABLE:
        return False
