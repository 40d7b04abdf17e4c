"""What the relay takes and what it refuses, rule by rule."""

from __future__ import annotations

import pytest

from relaybot.nostr.event import Event
from relaybot.relay.policies import INSIDE, ConnectionFacts, refusal, rules_in_force
from relaybot.relay.settings import RelayLimits
from tests.relay.authors import NOW, note

LIMITS = RelayLimits(content_characters_max=5, tags_max=2, future_seconds=10)
STRANGER = ConnectionFacts(address="192.0.2.1")


@pytest.mark.parametrize(
    "event",
    [note("12345"), note("üüüüü"), note(tags=[["a"], ["b"]]), note(at=NOW + 10), note(at=0), note(kind=65_535)],
)
def test_what_is_within_the_limits_is_taken(event: Event) -> None:
    for facts in (STRANGER, INSIDE):
        assert refusal(event, facts, NOW, LIMITS, rules_in_force(LIMITS)) is None


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (note("123456"), "invalid: content is too long (found=6, allowed=5 characters)"),
        (note(tags=[["a"]] * 3), "invalid: too many tags (found=3, allowed=2)"),
        (note(at=NOW + 11), "invalid: created_at is in the future (ahead_seconds=11, allowed=10)"),
        (note(kind=22_242), "blocked: this kind is not taken here (kind=22242)"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_with_its_figures(event: Event, said: str) -> None:
    assert str(refusal(event, STRANGER, NOW, LIMITS, rules_in_force(LIMITS))) == said
