"""What the operator is shown before approving: who has more, less, or nothing any more."""

from __future__ import annotations

import pytest

from splits.changes import changes_of_agent, changes_of_skill
from splits.problems import BadConfigs
from splits.resolve import resolve_skill
from tests.splits.written import PEOPLE, agent, read_skill, resolved

ALICE, BOB, DAVE = (PEOPLE[name] for name in ("alice", "bob", "dave"))
OLD = agent(
    {"to": "alice", "role": "algorithm", "amount": "100 sat", "referrer": "1 sat"},
    {"to": "$worker", "percent": "50%"},
    {"to": "dave", "role": "api", "amount": "10 sat"},
    price="1000 sat",
)
NEW = agent(
    {"to": "alice", "role": "algorithm", "amount": "90 sat", "referrer": "1 sat"},
    {"to": "$worker", "percent": "60%"},
    {"to": "bob", "role": "api", "per": "1000 tokens", "amount": "1 sat", "at_most": "7 sat"},
    price="1000 sat",
)


def test_each_taker_of_an_agent_has_a_line_with_what_changes() -> None:
    lines = {(line.who, line.role): line for line in changes_of_agent(resolved(OLD), resolved(NEW), now=0)}
    said = {who: (line.before, line.after, line.note) for who, line in lines.items()}
    assert said == {
        (ALICE, "algorithm"): ("100 sat", "90 sat", "less"),
        ("$worker", "compute"): ("500 sat", "600 sat", "more"),
        (DAVE, "api"): ("10 sat", "nothing", "gone"),
        (BOB, "api"): ("nothing", "7 sat", "new"),
        ("somebody's referrer", "referrer"): ("1 sat", "1 sat", "same"),
        ("$platform", "platform"): ("389 sat", "302 sat", "less"),
    }
    assert [who for who, _ in lines][-2:] == ["$platform", "$worker"]


def test_of_something_new_everything_is_new() -> None:
    assert {line.note for line in changes_of_agent(None, resolved(NEW), now=0)} == {"new"}


def test_a_skill_is_told_by_its_rules() -> None:
    shares = [
        {"to": "alice", "amount": "100 sat"},
        {"to": "alice", "percent": "5%"},
        {"percent": "10%", "split": {"shares": [{"to": "bob", "percent": "50%"}], "rest": "dave"}},
    ]
    old = resolve_skill("s", {"s": read_skill({"name": "S", "shares": shares[:1]})}, PEOPLE)
    new = resolve_skill("s", {"s": read_skill({"name": "S", "shares": shares})}, PEOPLE)
    tenth = "10 % of the charge, rounded down to the msat"
    lines = {line.who: line for line in changes_of_skill(old, new)}
    assert lines[ALICE].before == "a fixed 100 sat"
    assert lines[ALICE].after == "a fixed 100 sat and 5 % of the charge, rounded down to the msat"
    assert lines[ALICE].note == "changed"
    assert lines[BOB].after == f"50 % of the charge, rounded down to the msat, of {tenth}"
    assert lines[DAVE].after == f"the rest, which all other parts left, of {tenth}"
    assert {line.note for line in changes_of_skill(None, new)} == {"new"}
    assert {line.note for line in changes_of_skill(new, new)} == {"same"}
    assert {line.who: line.note for line in changes_of_skill(new, old)} == {ALICE: "changed", BOB: "gone", DAVE: "gone"}


def test_a_skill_that_cannot_be_paid_is_refused() -> None:
    with pytest.raises(BadConfigs, match=r"skills\.s\.shares\[0\]\.to"):
        resolve_skill("s", {"s": read_skill({"name": "S", "shares": [{"to": "nobody", "amount": "1 sat"}]})}, PEOPLE)
