"""How problems are told: each once, with its path, and without a secret."""

from __future__ import annotations

import pytest

from relaybot.errors import BadConfig
from splits.problems import FOUND_LETTERS_MAX, BadConfigs, path_of, redacted


def test_paths_read_as_one_writes_them() -> None:
    assert path_of(("agents", "autodev", "skills", 0, "shares", 2)) == "agents.autodev.skills[0].shares[2]"
    assert path_of((0, "to"), prefix="shares") == "shares[0].to"
    assert path_of(()) == ""


def test_the_same_problem_is_told_once_and_in_order() -> None:
    first, second = BadConfig("a", 1, "x"), BadConfig("b", 1, "x")
    errors = BadConfigs([first, second, BadConfig("a", 2, "x"), BadConfig("a", 1, "y")])
    assert [(each.path, each.found, each.allowed) for each in errors.problems] == [
        ("a", 1, "x"),
        ("b", 1, "x"),
        ("a", 1, "y"),
    ]
    assert str(errors) == "a: found 1; allowed: x\nb: found 1; allowed: x\na: found 1; allowed: y"


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("a", 5, 5),
        ("a", None, None),
        ("a", "short", "short"),
        ("a", "x" * 500, "x" * FOUND_LETTERS_MAX),
        ("a", [1, 2], "a list of 2"),
        ("a", {}, "an empty mapping"),
        ("a", {"b": "nsec1abc", "a": 1}, "a mapping of a, b"),
        ("a", "see NSEC1abcdef0", "see nsec1(not shown)"),
        ("a", "postgresql://bob:hunter2@host/db", "postgresql://(not shown)@host/db"),
        ("a", "key " + "0123456789abcdef" * 4, "key 01234567…"),
        ("keys.secret", "anything", "(not shown)"),
        ("agents.x.nsec_file", "anything", "(not shown)"),
    ],
)
def test_what_was_found_is_shown_short_and_without_secrets(path: str, value: object, shown: object) -> None:
    assert redacted(path, value) == shown
