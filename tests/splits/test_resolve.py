"""What is refused when it is loaded, and under which path; what skills and names turn into."""

from __future__ import annotations

from typing import Any

import pytest

from relaybot.nostr.nip19 import encode_npub
from splits.model import WHOLE
from splits.problems import BadConfigs
from splits.resolve import PARTS_MAX, resolve_agent, resolve_all
from splits.resolved import ResolvedSplit, Rule
from tests.splits.written import AUTODEV, NAMES, PEOPLE, SKILL, agent, pubkey, read_agent, read_skill, resolved

KEY = "02c0ed3b2cbe6d4a0e4a4ef8ba0c9ff2dd8b9f7c22fd9d8dc3f1ac7bd1b0d6f1"


def refusals(agent_written: dict[str, Any], **skills: dict[str, Any]) -> list[tuple[str, object, str]]:
    with pytest.raises(BadConfigs) as caught:
        resolved(agent_written, **skills)
    return [(problem.path, problem.found, problem.allowed) for problem in caught.value.problems]


def paths(agent_written: dict[str, Any], **skills: dict[str, Any]) -> list[str]:
    return [path for path, _, _ in refusals(agent_written, **skills)]


def skill(*shares: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"name": "S", "shares": list(shares), **more}


def test_a_share_too_many_is_named_where_it_is_used() -> None:
    refused = refusals(AUTODEV | {"price": "3000 sat"}, resolve_github_pr=SKILL)
    assert [problem[:2] for problem in refused] == [("agents.a.skills[0].shares[1]", "3,120 sat with all before it")]
    assert refused[0][2].startswith("at most 3,000 sat, the least there is to split, for all fixed parts, metered")


def test_the_payers_referrer_must_fit_beside_all_shares() -> None:
    assert paths(agent({"to": "alice", "amount": "990 msat"}, payer_referrer="11 msat")) == ["agents.a.payer_referrer"]
    resolved(agent({"to": "alice", "amount": "989 msat"}, payer_referrer="11 msat"))


def test_a_referrer_counts_whether_there_is_one_or_not() -> None:
    assert paths(agent({"to": "alice", "amount": "600 msat", "referrer": "401 msat"})) == ["agents.a.shares[0]"]


def test_a_metered_share_counts_with_its_limit() -> None:
    metered = {"to": "$worker", "per": "1 token", "amount": "1 msat", "at_most": "601 msat"}
    assert paths(agent({"to": "alice", "amount": "400 msat"}, metered)) == ["agents.a.shares[1]"]


def test_percents_and_amounts_together_must_fit_the_base_of_a_variable_price() -> None:
    price = {"base": "100 msat", "per": "1 token", "amount": "1 msat", "at_most": "9000 msat"}
    share = {"to": "alice", "percent": "60%"}
    assert paths(agent(share, {"to": "dave", "amount": "41 msat"}, price=price)) == ["agents.a.shares[1]"]
    resolved(agent(share, {"to": "dave", "amount": "40 msat"}, price=price))


def test_percents_may_not_sum_to_more_than_all() -> None:
    share = {"to": "alice", "percent": "50%"}
    assert paths(agent(share, share, {"to": "dave", "percent": "0.0001%"})) == ["agents.a.shares[2]"]
    assert paths(agent(share, share, {"to": "dave", "percent": "0.0001%"}, price="1 msat")) == ["agents.a.shares[2]"]


def test_percents_of_the_rest_may_not_sum_to_more_than_all() -> None:
    share = {"to": "alice", "percent_of_rest": "50%"}
    assert refusals(agent(share, share, {"to": "dave", "percent_of_rest": "0.0001%"})) == [
        ("agents.a.shares[2]", "more than 100 %", "percents that sum to 100 % at most")
    ]


def test_limits_make_room_for_more_percents() -> None:
    limited = {"to": "alice", "percent": "60%", "at_most": "500 msat"}
    assert [share.value for share in resolved(agent(limited, limited)).pot.shares] == [600_000, 600_000]


def test_a_split_inside_a_share_must_fit_the_least_of_that_share() -> None:
    def nested(inside: str, **size: str) -> dict[str, Any]:
        return agent({**size, "split": {"shares": [{"to": "alice", "amount": inside}], "rest": "bob"}})

    where = ["agents.a.shares[0].split.shares[0]"]
    assert paths(nested("301 msat", amount="300 msat")) == where
    assert paths(nested("101 msat", percent="10%")) == where
    assert paths(nested("101 msat", percent="50%", at_most="100 msat")) == where
    assert paths(nested("501 msat", percent_of_rest="50%")) == where
    assert paths(nested("1 msat", per="1 token", amount="1 msat", at_most="900 msat")) == where
    resolved(nested("500 msat", percent_of_rest="50%"))


def test_a_split_of_the_rest_counts_on_what_all_others_leave_and_no_more() -> None:
    inner = {"shares": [{"to": "alice", "amount": "251 msat"}], "rest": "bob"}
    before = {"to": "dave", "amount": "300 msat", "referrer": "100 msat"}
    of_rest = {"percent_of_rest": "50%", "split": inner}
    assert paths(agent(before, of_rest, payer_referrer="100 msat")) == ["agents.a.shares[1].split.shares[0]"]
    resolved(agent(before, of_rest, payer_referrer="98 msat"))


def test_a_split_inside_a_metered_share_can_be_nothing_so_its_percents_are_summed_too() -> None:
    inner = {"shares": [{"to": "alice", "percent": "60%"}, {"to": "dave", "percent": "60%"}], "rest": "bob"}
    metered = {"per": "1 token", "amount": "1 msat", "at_most": "900 msat", "split": inner}
    assert paths(agent(metered)) == ["agents.a.shares[0].split.shares[1]"]


def test_names_npubs_and_hex_keys_name_the_same_people() -> None:
    split = resolved(
        agent({"to": "alice", "amount": "1 msat"}, {"to": KEY, "amount": "1 msat"}, rest=encode_npub(PEOPLE["dave"]))
    )
    assert [share.to for share in split.pot.shares] == [PEOPLE["alice"], KEY]
    assert split.pot.rest == PEOPLE["dave"]
    assert split.people() == {PEOPLE["alice"], KEY, PEOPLE["dave"]}
    inner = {"shares": [{"to": "$worker", "percent": "1%"}, {"to": "eve", "percent": "1%"}], "rest": "frank"}
    assert resolved(agent({"percent": "1%", "split": inner})).people() == {PEOPLE["eve"], PEOPLE["frank"]}


def test_a_name_nobody_has_is_refused_where_it_is_written() -> None:
    wrong = skill({"to": "alcie", "amount": "1 msat"})
    assert refusals(agent(skills=["s"]), s=wrong) == [
        ("skills.s.shares[0].to", "alcie", "$worker, $owner, $platform, a name of people, an npub, 64 hex digits")
    ]
    assert paths(agent(rest="alcie")) == ["agents.a.rest"]
    inner = {"shares": [{"to": "nobody", "percent": "1%"}], "rest": "neither"}
    assert paths(agent({"percent": "10%", "split": inner})) == [
        "agents.a.shares[0].split.rest",
        "agents.a.shares[0].split.shares[0].to",
    ]


def test_a_secret_key_in_the_place_of_a_name_is_not_repeated() -> None:
    nsec = "nsec1" + "q" * 58
    assert refusals(agent(rest=nsec))[0][1] == "nsec1(not shown)"


def test_the_worker_cannot_keep_the_rest_for_there_may_be_none() -> None:
    assert refusals(agent(rest="$worker")) == [
        ("agents.a.rest", "$worker", "$owner, $platform, a name of people, an npub, 64 hex digits")
    ]


def test_the_owner_is_a_person_named_beside_the_shares() -> None:
    mine = {"to": "$owner", "amount": "10 msat"}
    split = resolved(
        agent(mine, skills=["s", "t"], rest="$owner", owner="bob"), s=skill(mine, owner="eve"), t=skill(owner="alice")
    )
    assert [share.to for share in split.pot.shares] == [PEOPLE["eve"], PEOPLE["bob"]]
    assert (split.pot.rest, split.pot.role) == (PEOPLE["bob"], "app")
    assert refusals(agent(mine)) == [
        ("agents.a.shares[0].to", "$owner", "$owner only where an owner is named beside the shares")
    ]
    assert refusals(agent(owner="$platform")) == [
        ("agents.a.owner", "$platform", "a name of people, an npub, 64 hex digits")
    ]


def test_roles_are_taken_from_the_share_then_from_the_share_around_it_then_from_who_takes_it() -> None:
    inner = {
        "shares": [{"to": "alice", "percent": "1%"}, {"to": "dave", "percent": "1%", "role": "api"}],
        "rest": "bob",
    }
    split = resolved(
        agent(
            {"to": "$worker", "amount": "1 msat"},
            {"to": "$platform", "amount": "1 msat"},
            {"to": "alice", "amount": "1 msat"},
            {"percent": "10%", "role": "educator", "split": inner},
            {"percent": "10%", "split": inner | {"rest": "$platform"}},
        )
    )
    shares = split.pot.shares
    assert [share.role for share in shares] == ["compute", "platform", "app", "educator", "app"]
    with_role, without = shares[3].pot, shares[4].pot
    assert with_role is not None
    assert without is not None
    assert [*(share.role for share in with_role.shares), with_role.role] == ["educator", "api", "educator"]
    assert [*(share.role for share in without.shares), without.role] == ["app", "api", "platform"]


def test_skills_use_skills_and_each_use_is_paid() -> None:
    one = {"amount": "1 msat"}
    split = resolved(
        agent({"to": "bob", **one}, skills=["upper", "lower"]),
        upper=skill({"to": "alice", **one}, skills=["lower"]),
        lower=skill({"to": "dave", **one}),
    )
    assert [(share.path, share.to) for share in split.pot.shares] == [
        ("agents.a.skills[0].skills[0].shares[0]", PEOPLE["dave"]),
        ("agents.a.skills[0].shares[0]", PEOPLE["alice"]),
        ("agents.a.skills[1].shares[0]", PEOPLE["dave"]),
        ("agents.a.shares[0]", PEOPLE["bob"]),
    ]


def test_skills_in_a_circle_are_refused() -> None:
    circle = {"a": skill(skills=["b"]), "b": skill(skills=["c"]), "c": skill(skills=["b"])}
    assert refusals(agent(skills=["a"]), **circle) == [
        ("skills.c.skills[0]", "b", "skills that do not use each other in a circle (b → c → b)")
    ]
    with pytest.raises(BadConfigs, match=r"skills\.s\.skills\[0\]: found 's'.*\(s → s\)"):
        resolve_all({}, {"s": read_skill(skill(skills=["s"]))}, {})


def test_unknown_and_repeated_skills_are_refused() -> None:
    assert refusals(agent(skills=["x"])) == [("agents.a.skills[0]", "x", "one of skills: (there are none)")]
    assert refusals(agent(skills=["s", "s", "x"]), s=skill(), t=skill()) == [
        ("agents.a.skills[1]", "s", "each skill once in a list"),
        ("agents.a.skills[2]", "x", "one of skills: s, t"),
    ]


def test_skills_that_multiply_are_stopped_before_they_fill_the_memory() -> None:
    doubling = {f"s{level:02}": skill(skills=[f"s{level + 1:02}", f"t{level + 1:02}"]) for level in range(40)} | {
        f"t{level:02}": skill(skills=[f"s{level + 1:02}", f"t{level + 1:02}"]) for level in range(40)
    }
    doubling |= {"s40": skill(), "t40": skill()}
    assert refusals(agent(skills=["s00"]), **doubling) == [
        ("agents.a", f"more than {PARTS_MAX}", f"at most {PARTS_MAX} shares and uses of skills together")
    ]


def test_shares_inside_splits_count_towards_the_limit() -> None:
    inner = {"shares": [{"to": "alice", "percent_of_rest": "1%"}] * 50, "rest": "bob"}
    five = [{"percent": "10%", "split": inner}] * 5
    assert len(resolved(agent(*five)).pot.shares) == 5
    assert paths(agent(*five, {"to": "bob", "percent": "1%"}, {"to": "bob", "percent": "1%"})) == ["agents.a"]


def test_all_problems_are_found_at_once_and_each_is_told_once() -> None:
    skills = {"s": read_skill(skill({"to": "alcie", "amount": "1 msat"})), "unused": read_skill(skill(skills=["x"]))}
    agents = {
        "one": read_agent(agent(skills=["s"], rest="nobody")),
        "two": read_agent(agent({"to": "bob", "amount": "2 sat"}, skills=["s"])),
    }
    with pytest.raises(BadConfigs) as caught:
        resolve_all(agents, skills, PEOPLE)
    assert [problem.path for problem in caught.value.problems] == [
        "agents.one.rest",
        "skills.s.shares[0].to",
        "agents.two.shares[0]",
        "skills.unused.skills[0]",
    ]
    assert len(str(caught.value).splitlines()) == 4


def test_all_agents_are_resolved_by_their_names() -> None:
    skills = {"resolve-github-pr": read_skill(SKILL), "unused": read_skill(skill({"to": "bob", "amount": "1 btc"}))}
    splits = resolve_all({"autodev": read_agent(AUTODEV)}, skills, PEOPLE)
    assert splits == {"autodev": resolve_agent("autodev", read_agent(AUTODEV), skills, PEOPLE)}
    assert splits["autodev"].pot.shares[2].path == "agents.autodev.skills[0].shares[2]"


def test_until_is_the_first_second_after_its_day_even_the_last_day_there_is() -> None:
    split = resolved(
        agent(
            {"to": "bob", "percent": "1%", "until": "1970-01-01"}, {"to": "bob", "percent": "1%", "until": "9999-12-31"}
        )
    )
    assert [share.until for share in split.pot.shares] == [86_400, 253_402_300_800]


def test_a_fixed_price_stands_as_written_and_a_variable_one_with_its_meter() -> None:
    assert resolved(agent(price="7 msat")).price_max == 7
    price = {"base": "100 msat", "per": "1000 tokens", "amount": "3 msat", "at_most": "900 msat"}
    split = resolved(agent(price=price))
    assert (split.price_min, split.price_max) == (100, 900)
    assert split.price.meter is not None
    assert (split.price.meter.count, split.price.meter.unit) == (1000, "tokens")


def test_everybody_may_be_named_in_one_split() -> None:
    shares = [{"to": name, "percent_of_rest": "10%"} for name in NAMES]
    split: ResolvedSplit = resolved(agent(*shares))
    assert {share.rule for share in split.pot.shares} == {Rule.PERCENT_OF_REST}
    assert sum(share.value for share in split.pot.shares) == len(NAMES) * WHOLE // 10
    assert split.people() == set(map(pubkey, NAMES))
