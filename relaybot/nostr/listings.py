"""Kind 37172: a skill or an agent as its author publishes it. `["d", "skill:<id>" | "agent:<id>"]`, content: its JSON.

What the content means is read in `splits/market.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from relaybot.errors import Rejected
from relaybot.nostr.event import HEX32_LENGTH, Event, is_hex

LISTING_KIND = 37172
DELETED_MAX = 100  # listings that one deletion may name: each costs a look and a commit

What = Literal["skill", "agent"]

_NAME = re.compile(r"(skill|agent):([a-z0-9][a-z0-9-]{0,63})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Listing:
    """One version: `name` is the author's own id of it."""

    event_id: str
    author: str
    created_at: int
    what: What
    name: str
    content: str = field(repr=False)


def parse_listing(event: Event) -> Listing:
    """Read a kind 37172; Rejected names the field."""
    if event.kind != LISTING_KIND:
        raise Rejected("invalid", "kind: not a skill or an agent", found=event.kind)
    said = event.tag("d") or ""
    found = _NAME.fullmatch(said)
    if found is None:
        raise Rejected("invalid", "d: not skill:<id> or agent:<id>, of small letters, digits and hyphens")
    what: What = "skill" if found[1] == "skill" else "agent"
    return Listing(event.id, event.pubkey, event.created_at, what, found[2], event.content)


def deleted_listings(event: Event) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
    """Return what a deletion (NIP-09) names of its author: listings as (what, name), and single versions by id."""
    own = f"{LISTING_KIND}:{event.pubkey}:"
    named = [tag[1].removeprefix(own) for tag in event.tags_named("a") if len(tag) > 1 and tag[1].startswith(own)]
    whole = [found for found in map(_NAME.fullmatch, dict.fromkeys(named)) if found is not None]
    versions = [tag[1] for tag in event.tags_named("e") if len(tag) > 1 and is_hex(tag[1], HEX32_LENGTH)]
    return [(found[1], found[2]) for found in whole][:DELETED_MAX], list(dict.fromkeys(versions))[:DELETED_MAX]
