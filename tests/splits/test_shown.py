"""What the public is told of a split: parts of the price by role."""

from __future__ import annotations

from splits.model import WHOLE, Millionths
from splits.shown import format_percent, parts_by_role
from tests.splits.written import agent, resolved, story

NOW = 1_795_000_000


def test_the_story_by_role() -> None:
    shown = {role: format_percent(part) for role, part in parts_by_role(story(), now=NOW).items()}
    assert shown == {
        "platform": "63.83",
        "algorithm": "16.66",
        "compute": "8.33",
        "api": "4.16",
        "model": "2.50",
        "data": "2.50",
        "referrer": "2.00",
    }


def test_metered_parts_are_shown_at_their_limit_also_inside_other_parts() -> None:
    inner = {"shares": [{"to": "dave", "per": "7 tokens", "amount": "1 sat", "at_most": "10 sat", "role": "api"}]}
    split = resolved(
        agent(
            {"split": inner | {"rest": "alice"}, "percent": "50%", "role": "model"},
            {"to": "heidi", "per": "1 pages", "amount": "1 sat", "at_most": "100 sat", "role": "data"},
            price={"base": "1000 sat", "per": "1 tokens", "amount": "1 sat", "at_most": "2000 sat"},
        )
    )
    shown = parts_by_role(split, now=NOW)
    assert shown["api"] == 10 * WHOLE // 2_000
    assert shown["data"] == 100 * WHOLE // 2_000
    assert sum(shown.values()) <= WHOLE


def test_percent_are_floored_to_two_decimals() -> None:
    assert [format_percent(Millionths(part)) for part in (1, 100, 166_666, WHOLE)] == [
        "0.00",
        "0.01",
        "16.66",
        "100.00",
    ]
