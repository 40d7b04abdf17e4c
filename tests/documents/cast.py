"""Who plays in the documents' story, when, and what the story leaves: names, keys, time, chance."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from relaybot.db.database import Row
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair

RELAY = "wss://relay.example.com"
MASTER = hashlib.sha256(b"master").digest()  # the secret behind the service's keys
DAY = "2026-11-22"
MORNING = 1_795_338_000  # 09:00 UTC on that day
PEOPLE = ("alice", "bob", "carol", "dave", "eve", "frank", "grace", "heidi")
SCRIBE = {
    "name": "Scribe",
    "about": "Writes, by the token",
    "kinds": [5050],
    "price": {"base": "1000 sat", "per": "1000 tokens", "amount": "3 sat", "at_most": "5000 sat"},
    "shares": [{"to": "$worker", "percent": "50%"}],
}


def listings(npub_of: Callable[[str], str]) -> dict[str, dict[str, Any]]:
    """Return what Alice registers: a skill, and an agent that uses it."""
    return {
        "skill:summarise": {
            "name": "Summarise",
            "about": "Says in few words what a text says in many",
            "shares": [
                {
                    "to": npub_of("dave"),
                    "role": "model",
                    "per": "1000 tokens",
                    "amount": "2 sat",
                    "at_most": "200 sat",
                },
                {
                    "role": "data",
                    "percent": "5%",
                    "split": {"shares": [{"to": npub_of("grace"), "percent": "60%"}], "rest": npub_of("heidi")},
                },
            ],
        },
        "agent:summaries": {
            "name": "Summaries",
            "about": "Summarises what a link leads to",
            "kinds": [5001],
            "params": {"language": {"about": "of the summary", "values": ["en", "de"]}},
            "price": {"base": "500 sat", "per": "1000 tokens", "amount": "3 sat", "at_most": "1000 sat"},
            "skills": ["summarise"],
            "payer_referrer": "10 sat",
            "shares": [{"to": "$worker", "role": "compute", "percent": "40%", "referrer": "5 sat"}],
            "rest": "$owner",
        },
    }


@dataclass(slots=True)
class Told:
    """What the story leaves: events by name, transfers by the journal's name, and who is who."""

    names: dict[str, str] = field(default_factory=dict)  # hex pubkeys and event ids → a name
    events: dict[str, Event] = field(default_factory=dict)
    inside: dict[str, str] = field(default_factory=dict)  # what an encrypted event says, by the event's name
    journals: dict[str, Sequence[Row]] = field(default_factory=dict)
    balances: dict[str, dict[str, int]] = field(default_factory=dict)
    market: str = ""  # what the operator is shown before approving
    plans: list[str] = field(default_factory=list)  # the key of every Plan that was applied


class Chance:
    """Bytes that look like chance and are the same every time."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(f"chance {self._count}".encode()).digest(size)


def key_of(name: str) -> KeyPair:
    """Return the key of one of the story's people."""
    return KeyPair(hashlib.sha256(name.encode()).digest())
