"""Filters of NIP-01: reading, matching, writing.

How many filters or values somebody may send is the relay's policy, not decided here.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

import msgspec

from relaybot.errors import Rejected
from relaybot.nostr.event import CREATED_AT_MAX, HEX32_LENGTH, KIND_MAX, Event, is_hex
from relaybot.nostr.nip59 import WRAP_KINDS

_TAG_KEYS = {f"#{letter}": letter for letter in string.ascii_letters}
_HEX_TAGS = frozenset("ep")  # NIP-01: the lists of #e and #p hold exact ids and keys


class Filter(msgspec.Struct, frozen=True, gc=False):
    """Conditions an event must all meet; None or absent means any. An empty list is met by no event.

    `wraps_to` is a relay's own condition, no client's: of gift wraps, only those to these keys.
    """

    ids: frozenset[str] | None = None
    authors: frozenset[str] | None = None
    kinds: frozenset[int] | None = None
    tags: Mapping[str, frozenset[str]] = msgspec.field(default_factory=dict)
    since: int | None = None
    until: int | None = None
    limit: int | None = None
    wraps_to: frozenset[str] | None = None


def parse_filter(obj: object) -> Filter:
    """Check one decoded filter; Rejected(`invalid`) names the element that is wrong."""
    if not isinstance(obj, dict):
        raise Rejected("invalid", "filter is not an object")
    found: dict[str, Any] = {}
    tags: dict[str, frozenset[str]] = {}
    for name, value in obj.items():
        match name:
            case "ids" | "authors":
                found[name] = _hexes(name, value)
            case "kinds":
                found[name] = _kinds(value)
            case "since" | "until" | "limit":
                found[name] = _number(name, value)
            case _ if name in _TAG_KEYS:
                letter = _TAG_KEYS[name]
                tags[letter] = _hexes(name, value) if letter in _HEX_TAGS else _strings(name, value)
            case _:
                # NIP-01 shows a relay closing such a subscription: ignoring a condition would send too much
                raise Rejected("unsupported", "filter contains unknown elements", element=str(name)[:40])
    return Filter(tags=tags, **found)


def matches(filter_: Filter, event: Event) -> bool:
    """Tell whether `event` meets every condition; `limit` says nothing about single events."""
    return (
        (filter_.kinds is None or event.kind in filter_.kinds)
        and (filter_.authors is None or event.pubkey in filter_.authors)
        and (filter_.ids is None or event.id in filter_.ids)
        and (filter_.since is None or event.created_at >= filter_.since)
        and (filter_.until is None or event.created_at <= filter_.until)
        and (not filter_.tags or all(_has_tag(event, name, values) for name, values in filter_.tags.items()))
        and (filter_.wraps_to is None or event.kind not in WRAP_KINDS or _has_tag(event, "p", filter_.wraps_to))
    )


def encode_filter(filter_: Filter) -> dict[str, Any]:
    """Return the filter as NIP-01's object; lists are sorted, so equal filters give equal text."""
    found: dict[str, Any] = {}
    for name in ("ids", "authors", "kinds"):
        values = getattr(filter_, name)
        if values is not None:
            found[name] = sorted(values)
    found.update({f"#{name}": sorted(values) for name, values in sorted(filter_.tags.items())})
    for name in ("since", "until", "limit"):
        number = getattr(filter_, name)
        if number is not None:
            found[name] = number
    return found


def _has_tag(event: Event, name: str, values: frozenset[str]) -> bool:
    for tag in event.tags:  # noqa: SIM110  twice as fast as any(), and asked of each event for each filter
        # NIP-01: only the first value of a tag is looked at
        if tag[0] == name and len(tag) > 1 and tag[1] in values:
            return True
    return False


def _strings(name: str, value: object) -> frozenset[str]:
    if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise Rejected("invalid", "filter element is not a list of strings", element=name)
    return frozenset(value)


def _hexes(name: str, value: object) -> frozenset[str]:
    texts = _strings(name, value)
    if not all(is_hex(text, HEX32_LENGTH) for text in texts):
        raise Rejected("invalid", "filter element must hold 64 lowercase hex digits", element=name)
    return texts


def _kinds(value: object) -> frozenset[int]:
    if not (isinstance(value, list) and all(type(item) is int and 0 <= item <= KIND_MAX for item in value)):
        raise Rejected("invalid", "filter element must hold kinds", element="kinds", allowed=f"0..{KIND_MAX}")
    return frozenset(value)


def _number(name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= CREATED_AT_MAX:
        raise Rejected("invalid", "filter element is not a whole number", element=name, allowed=f"0..{CREATED_AT_MAX}")
    return value
