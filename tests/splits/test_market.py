"""What authors register: whose it is, whom it names, and what it looks like when somebody takes no share."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relaybot.nostr.nip19 import encode_npub
from splits.market import full_id, is_listed_id, known_name, people_of, read_listing, without
from splits.model import AgentModel, SkillModel
from splits.problems import BadConfigs
from splits.resolve import resolve_agent
from tests.documents.cast import key_of

AUTHOR, DAVE, ERIN = (key_of(name).pubkey for name in ("alice", "dave", "eve"))
SHARES: list[dict[str, Any]] = [
    {"to": DAVE, "role": "api", "amount": "100 sat"},
    {"to": "$worker", "percent": "50%"},
    {"percent": "10%", "split": {"shares": [{"to": encode_npub(ERIN), "percent": "50%"}], "rest": DAVE}},
    {"to": "$owner", "percent_of_rest": "10%"},
]
AGENT = {"name": "Translator", "kinds": [5050], "price": "1000 sat", "shares": SHARES, "rest": "$owner"}


def read(written: object, what: str = "agent") -> Any:
    return read_listing(what, json.dumps(written), AUTHOR)


def problems(written: object, what: str = "agent") -> list[str]:
    with pytest.raises(BadConfigs) as caught:
        read(written, what)
    return [problem.path for problem in caught.value.problems]


def test_an_author_s_names_are_theirs_alone() -> None:
    mine = full_id("translate", AUTHOR)
    assert mine == f"translate.{AUTHOR[:16]}"
    assert is_listed_id(mine)
    assert not is_listed_id("translate")
    assert known_name("translate", AUTHOR) == mine
    assert known_name(full_id("translate", DAVE), AUTHOR) == full_id("translate", DAVE)
    assert known_name("translate.operator", AUTHOR) == "translate"  # config.yaml's


def test_the_author_owns_what_they_write_and_people_are_keys() -> None:
    agent = read({**AGENT, "skills": ["read", "fetch.operator"]})
    assert (agent.owner, agent.rest) == (AUTHOR, "$owner")
    assert agent.skills == (full_id("read", AUTHOR), "fetch")
    assert people_of(agent) == {DAVE, ERIN}
    assert agent.shares[2].split.shares[0].to == ERIN
    assert read({**AGENT, "owner": encode_npub(AUTHOR)}).owner == AUTHOR
    skill = read({"name": "Read", "shares": SHARES[:1]}, "skill")
    assert isinstance(skill, SkillModel)
    assert people_of(skill) == {DAVE}


def test_what_is_wrong_is_named_by_the_author_s_own_paths() -> None:
    wrong = [{**SHARES[0], "to": "dave"}, SHARES[1], {**SHARES[2], "split": {**SHARES[2]["split"], "rest": "$worker"}}]
    assert problems({**AGENT, "owner": DAVE, "shares": wrong, "rest": "heidi"}) == [
        "owner",
        "shares[0].to",
        "rest",
        "shares[2].split.rest",
    ]
    assert problems({**AGENT, "price": "12"}) == ["price"]
    assert problems({**AGENT, "rest": "$worker"}) == ["rest"]
    assert problems({"name": "S", "kinds": [5050]}, "skill") == ["kinds"]
    assert problems([1]) == ["the whole"]


def test_json_that_readers_read_differently_is_refused() -> None:
    for content in ('{"name":"A","name":"B"}', "{", '{"name": NaN}'):
        with pytest.raises(BadConfigs, match="the whole"):
            read_listing("skill", content, AUTHOR)


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"to": DAVE, "percent": "50%"}
    for _ in range(depth):
        inner = {"percent": "50%", "split": {"shares": [inner], "rest": DAVE}}
    return {"name": "S", "shares": [inner]}


def test_splits_inside_splits_have_an_end() -> None:
    assert read(nested(4), "skill")
    assert problems(nested(5), "skill") == ["shares[0]" + ".split.shares[0]" * 5]
    assert problems(nested(300), "skill")


def test_what_somebody_declines_falls_to_the_rest() -> None:
    agent = read(AGENT)
    assert without(agent, ()) is agent
    assert without(agent, {AUTHOR}) is agent  # not named with a share
    declined = without(agent, {DAVE})
    assert isinstance(declined, AgentModel)
    assert people_of(declined) == {ERIN}
    assert [share.to for share in declined.shares] == ["$worker", None, "$owner"]
    assert declined.shares[1].split is not None
    assert declined.shares[1].split.rest == "$platform"
    assert resolve_agent("a", declined, {}, {}).people() == {AUTHOR, ERIN}
    assert people_of(without(agent, {DAVE, ERIN})) == frozenset()
    skill = read({"name": "Read", "shares": SHARES[:1]}, "skill")
    assert without(skill, {DAVE}).shares == ()
