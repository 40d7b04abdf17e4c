"""The events and questions of the measurements: the same for all relays, new in each run.

A hundred authors write notes that look like those of the network: some hundred characters,
a mention, a topic, an answer. Everything is signed and framed before the clock runs.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter, encode_filter, matches
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.messages import build_event_frame
from tests.bench.relay.wire import client_frame

AUTHORS, TOPICS = 100, 20
KINDS = (1, 1, 1, 1, 1, 1, 1, 7, 7, 1111)  # as often as they stand here
LIVE_KIND = 1_112  # of the events that subscribers wait for
SPAN_SECONDS = 40_000  # over which the stored events are spread
A_SECOND = 2_000  # new events with the same date: dates go on as events come


class Workload:
    """Events that are stored before anything is measured, and a supply of new ones."""

    def __init__(self, stored: int, seed: int) -> None:
        """Sign `stored` events; another `seed` makes other authors and so other events."""
        self._chance = random.Random(seed)
        self._now = int(time.time())
        self.authors = [KeyPair(self._chance.randbytes(32)) for _ in range(AUTHORS)]
        start = self._now - SPAN_SECONDS
        self.stored = [self._note(index, at=start + index * SPAN_SECONDS // stored) for index in range(stored)]
        self._new: dict[int, list[bytes]] = {}

    def new_frames(self, start: int, count: int, kind: int = 1) -> list[bytes]:
        """Return frames that publish new events, the same for whoever asks for the same places."""
        made = self._new.setdefault(kind, [])
        for index in range(len(made), start + count):
            made.append(event_frame(self._note(-1 - index, at=self._now + index // A_SECOND, kind=kind)))
        return made[start : start + count]

    def new_events(self, count: int, kind: int) -> list[Event]:
        """Return new events."""
        return [self._note(self._chance.getrandbits(62), at=self._now, kind=kind) for _ in range(count)]

    def _note(self, index: int, *, at: int, kind: int | None = None) -> Event:
        chance = self._chance
        tags = [
            ["p", chance.choice(self.authors).pubkey],
            ["t", f"topic{chance.randrange(TOPICS)}"],
            ["e", f"{chance.getrandbits(256):064x}", "", "root"],
        ]
        content = f"{index}: " + "a word and another " * chance.randrange(2, 12)
        author = chance.choice(self.authors)
        return author.sign(kind=kind or chance.choice(KINDS), content=content, tags=tags, created_at=at)

    def questions(self, ids: Sequence[str]) -> dict[str, Callable[[], Filter]]:
        """Return the shapes of REQ, each as a maker of filters; `ids` are stored."""
        chance = random.Random(1)
        pubkeys = [author.pubkey for author in self.authors]

        def tag(name: str, value: str) -> dict[str, frozenset[str]]:
            return {name: frozenset({value})}

        return {
            "one id": lambda: Filter(ids=frozenset({chance.choice(ids)})),
            "one author, limit 20": lambda: Filter(authors=frozenset({chance.choice(pubkeys)}), limit=20),
            "two authors and a kind, limit 100": lambda: Filter(
                authors=frozenset(chance.sample(pubkeys, 2)), kinds=frozenset({1}), limit=100
            ),
            "kind, limit 100": lambda: Filter(kinds=frozenset({1}), limit=100),
            "kind, limit 500": lambda: Filter(kinds=frozenset({1}), limit=500),
            "#p, limit 50": lambda: Filter(tags=tag("p", chance.choice(pubkeys)), limit=50),
            "#t and kind, limit 100": lambda: Filter(
                tags=tag("t", f"topic{chance.randrange(TOPICS)}"), kinds=frozenset({1}), limit=100
            ),
        }


@dataclass(frozen=True, slots=True)
class Question:
    """One REQ, ready to be sent, and how many events are its answer."""

    frames: bytes
    expected: int


def asked(make: Callable[[], Filter], stored: Sequence[Event], different: int) -> list[Question]:
    """Return REQs of one shape, each with the CLOSE of the one before, as a client that reads page after page."""
    counted: dict[str, int] = {}
    questions = []
    for number in range(different):
        filter_ = make()
        text = msgspec.json.encode(encode_filter(filter_)).decode()
        if text not in counted:
            meeting = (event for event in stored if matches(filter_, event))
            counted[text] = sum(1 for _ in itertools.islice(meeting, filter_.limit or 1))
        close = client_frame(f'["CLOSE","q{(number - 1) % different}"]')
        questions.append(Question(close + client_frame(f'["REQ","q{number}",{text}]'), counted[text]))
    return questions


def event_frame(event: Event) -> bytes:
    """Return the frame that publishes `event`."""
    return client_frame(build_event_frame(event))


def idle_frames(count: int) -> Iterator[bytes]:
    """Yield subscriptions that nothing will meet, each to another author."""
    for number in range(count):
        filter_ = Filter(authors=frozenset({f"{number:064x}"}), kinds=frozenset({1}), limit=1)
        text = msgspec.json.encode(encode_filter(filter_)).decode()
        yield client_frame(f'["REQ","idle",{text}]')
