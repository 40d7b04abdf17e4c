"""What may stand in the language of splits, value by value."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from splits.model import AgentModel, Per, ShareModel, SkillModel
from splits.problems import problems_of
from tests.splits.written import AUTODEV, SKILL, agent, read_agent, read_skill

TO_BOB = {"to": "bob"}


def refusal(model: type[BaseModel], written: object) -> tuple[str, object, str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate_json(json.dumps(written))
    (problem,) = problems_of(caught.value, model, prefix="x")
    return problem.path, problem.found, problem.allowed


def share(**written: Any) -> ShareModel:
    return ShareModel.model_validate_json(json.dumps(written))


def test_the_story_reads_as_it_is_written() -> None:
    autodev, skill = read_agent(AUTODEV), read_skill(SKILL)
    assert (autodev.name, autodev.kinds, autodev.price.base, autodev.open) == ("AutoDev", (5050,), 12_000_000, False)
    assert (autodev.payer_referrer, autodev.rest, autodev.shares) == (120_000, "$platform", ())
    assert [(each.to, each.role, each.amount, each.referrer) for each in skill.shares][:2] == [
        ("alice", "algorithm", 2_000_000, 120_000),
        ("$worker", "compute", 1_000_000, None),
    ]


@pytest.mark.parametrize(
    ("written", "millionths"),
    [("5%", 50_000), ("100%", 1_000_000), ("0.0001%", 1), ("33.3333 %", 333_333), ("2.5%", 25_000), (" 07% ", 70_000)],
)
def test_percents_are_whole_millionths(written: str, millionths: int) -> None:
    assert share(**TO_BOB, percent=written).percent == millionths


@pytest.mark.parametrize(
    "written", ["5", 5, 0.05, "0%", "100.0001%", "-1%", "1.00001%", "1e1%", "%", "\u0665%", None, ["5%"]]
)
def test_other_percents_are_refused(written: object) -> None:
    if written is None:
        assert refusal(ShareModel, {**TO_BOB, "percent": None})[0] == "x"
        return
    path, _, allowed = refusal(ShareModel, {**TO_BOB, "percent": written})
    assert path == "x.percent"
    assert allowed == "a percentage above 0 % up to 100 %, to four decimals at most, such as 2.5%"


@pytest.mark.parametrize(
    "written", [2000, 1.5, "2000", "-1 sat", "0 sat", "1e3 sat", "1.5 sat", "21000001 btc", True, {}]
)
def test_amounts_need_a_unit_and_are_above_nothing(written: object) -> None:
    path, _, allowed = refusal(ShareModel, {**TO_BOB, "amount": written})
    assert path == "x.amount"
    assert allowed.startswith("an amount")


def test_a_meter_counts_units() -> None:
    metered = share(**TO_BOB, per="1000 tokens", amount="3 sat", at_most="1000 sat")
    assert (metered.per, metered.amount, metered.at_most) == (Per(1000, "tokens"), 3_000, 1_000_000)


@pytest.mark.parametrize("written", ["tokens", "0 tokens", "-1 tokens", "1000tokens", "1000  tokens", "1k tokens", 5])
def test_other_meters_are_refused(written: object) -> None:
    metered = {**TO_BOB, "per": written, "amount": "3 sat", "at_most": "9 sat"}
    assert refusal(ShareModel, metered)[::2] == (
        "x.per",
        "a number and the unit that workers report, such as 1000 tokens",
    )


@pytest.mark.parametrize(
    ("written", "allowed"),
    [
        ({"amount": "1 sat"}, "exactly one of to and split"),
        (
            {**TO_BOB, "amount": "1 sat", "split": {"shares": [{**TO_BOB, "percent": "1%"}], "rest": "bob"}},
            "exactly one of to and",
        ),
        (TO_BOB, "exactly one of amount"),
        ({**TO_BOB, "amount": "1 sat", "percent": "1%"}, "exactly one of amount"),
        ({**TO_BOB, "percent_of_rest": "1%", "percent": "1%"}, "exactly one of amount"),
        ({**TO_BOB, "per": "1 token", "percent": "1%", "at_most": "1 sat"}, "per together with amount and at_most"),
        ({**TO_BOB, "per": "1 token", "amount": "1 sat"}, "per together with amount and at_most"),
        ({"to": "$platform", "percent": "1%", "referrer": "1 sat"}, "a referrer only beside a share to a contributor"),
        (
            {"percent": "1%", "referrer": "1 sat", "split": {"shares": [{**TO_BOB, "percent": "1%"}], "rest": "bob"}},
            "a referrer only beside a share to a contributor",
        ),
    ],
)
def test_the_keys_of_a_share_must_make_sense_together(written: dict[str, object], allowed: str) -> None:
    path, found, told = refusal(ShareModel, written)
    assert path == "x"
    assert str(found).startswith("a mapping of ")
    assert told.startswith(allowed)


@pytest.mark.parametrize(
    ("price", "path", "allowed"),
    [
        (12000, "x.price", "an amount such as 12000 sat, or {base, per, amount, at_most}"),
        ("12000", "x.price", "an amount with its unit, such as 12000 sat or 1500 msat, up to 2100000000000000000 msat"),
        ("0 sat", "x.price", "an amount above 0; leave the key out for nothing"),
        ({"base": "1 sat", "per": "1 token"}, "x.price", "per, amount and at_most together, or none of them"),
        (
            {"base": "1 sat", "amount": "1 sat", "at_most": "2 sat"},
            "x.price",
            "per, amount and at_most together, or none of them",
        ),
        (
            {"base": "3 sat", "per": "1 token", "amount": "1 sat", "at_most": "2 sat"},
            "x.price",
            "an at_most that is not below base",
        ),
        (
            {"base": "1"},
            "x.price.base",
            "an amount with its unit, such as 12000 sat or 1500 msat, up to 2100000000000000000 msat",
        ),
    ],
)
def test_other_prices_are_refused(price: object, path: str, allowed: str) -> None:
    assert refusal(AgentModel, agent(price=price))[::2] == (path, allowed)


@pytest.mark.parametrize("name", ["org", "Language", ""])
def test_a_parameter_that_the_service_reads_as_its_own_is_refused_by_its_name(name: str) -> None:
    path, found, allowed = refusal(AgentModel, agent(params={"organism": {}, name: {}}))
    assert (path.rstrip("."), found) == (f"x.params.{name}".rstrip("."), name)
    assert "not org: that one names the company which pays" in allowed


def test_a_price_of_a_base_alone_is_a_fixed_price() -> None:
    assert read_agent(agent(price={"base": "7 sat"})).price == read_agent(agent(price="7 sat")).price


@pytest.mark.parametrize(
    ("changed", "path", "found", "allowed"),
    [
        ({"kinds": []}, "x.kinds", "a list of 0", "at least one"),
        ({"kinds": [6050]}, "x.kinds[0]", 6050, "less than or equal to 5999"),
        ({"kinds": [True]}, "x.kinds[0]", True, "a valid integer"),
        ({"kinds": [5050] * 65}, "x.kinds", "a list of 65", "at most 64 items"),
        ({"open": "yes"}, "x.open", "yes", "a valid boolean"),
        ({"name": ""}, "x.name", "", "at least 1 character"),
        ({"skills": ["Upper"]}, "x.skills[0]", "Upper", "up to 64 small letters"),
        ({"nsec": "abc"}, "x.nsec", "an unknown key", "one of about, inputs, kinds, name"),
        ({"price": {"base": "1 sat", "bse": 1}}, "x.price.bse", "an unknown key", "one of amount, at_most, base, per"),
        (
            {"shares": [{"to": "bob", "percent": "1%", "rol": 1}]},
            "x.shares[0].rol",
            "an unknown key",
            "one of amount, at_most",
        ),
    ],
)
def test_what_an_agent_cannot_be_is_named(changed: dict[str, object], path: str, found: object, allowed: str) -> None:
    told = refusal(AgentModel, agent() | changed)
    assert told[:2] == (path, found)
    assert told[2].startswith(allowed)


def test_unknown_keys_are_named_however_deep_they_stand() -> None:
    inner = {"shares": [{"to": "bob", "percent": "1%"}], "rest": "bob", "rset": 1}
    written = {"name": "S", "shares": [{"percent": "1%", "split": inner}]}
    assert refusal(SkillModel, written) == ("x.shares[0].split.rset", "an unknown key", "one of rest, shares")


def test_required_keys_are_missed() -> None:
    assert refusal(SkillModel, {}) == ("x.name", "nothing", "a value: this key is required")


def test_a_day_is_a_day_and_a_role_one_of_the_nine() -> None:
    assert share(**TO_BOB, percent="1%", until="2026-12-31").until == date(2026, 12, 31)
    for until in ("2026-13-01", "tomorrow", 1_795_000_000, "2026-12-31T10:00:00"):
        assert refusal(ShareModel, {**TO_BOB, "percent": "1%", "until": until})[0] == "x.until"
    assert "'compute', 'model'" in refusal(ShareModel, {**TO_BOB, "percent": "1%", "role": "boss"})[2]


def test_what_was_read_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_agent(AUTODEV).name = "Mallory"  # type: ignore[misc]
