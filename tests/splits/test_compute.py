"""What a split pays: the story's figures, the order, the roundings, the absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from relaybot.errors import Rejected
from splits.compute import Part, compute
from splits.resolved import ResolvedSplit
from tests.splits.written import PEOPLE, agent, pubkey, resolved, story

NOW = 1_795_000_000  # 2026-11-18
DAY = 86_400


def pay(split: ResolvedSplit, charge_msat: int | None = None, **facts: Any) -> tuple[Part, ...]:
    known: dict[str, Any] = {"worker": PEOPLE["carol"], "referrers": {}, "payer_referrer": None, "now": NOW}
    return compute(split, charge_msat=split.price_max if charge_msat is None else charge_msat, **(known | facts))


def amounts(parts: tuple[Part, ...]) -> Mapping[str, int]:
    """Return msat by path, without the agent's name."""
    return {part.path.removeprefix("agents.a."): part.amount_msat for part in parts}


def test_the_job_of_the_story_is_split_as_told() -> None:
    people = {key: name for name, key in PEOPLE.items()}
    parts = pay(
        story(),
        referrers={PEOPLE["alice"]: PEOPLE["eve"], PEOPLE["bob"]: PEOPLE["frank"]},
        payer_referrer=PEOPLE["frank"],
    )
    assert [(people.get(part.to or "", "platform"), part.role, part.amount_msat) for part in parts] == [
        ("alice", "algorithm", 2_000_000),
        ("eve", "referrer", 120_000),
        ("carol", "compute", 1_000_000),
        ("dave", "api", 500_000),
        ("grace", "model", 300_000),
        ("heidi", "data", 300_000),
        ("frank", "referrer", 120_000),
        ("platform", "platform", 7_660_000),
    ]
    assert [part.path for part in parts[:3]] == [
        "agents.a.skills[0].shares[0]",
        "agents.a.skills[0].shares[0].referrer",
        "agents.a.skills[0].shares[1]",
    ]
    assert [part.path for part in parts[-2:]] == ["agents.a.payer_referrer", "agents.a.rest"]
    assert {part.note for part in parts} == {""}


def test_the_parts_of_absent_referrers_fall_to_the_rest() -> None:
    parts = pay(story())
    assert parts[-1].amount_msat == 7_660_000 + 120_000 + 120_000
    assert "referrer" not in {part.role for part in parts}


def test_without_a_worker_its_part_falls_to_the_rest_with_its_referrer() -> None:
    split = resolved(agent({"to": "$worker", "amount": "100 msat", "referrer": "10 msat"}))
    referrers = {PEOPLE["carol"]: PEOPLE["eve"]}
    assert amounts(pay(split, referrers=referrers)) == {"shares[0]": 100, "shares[0].referrer": 10, "rest": 890}
    assert amounts(pay(split, referrers=referrers, worker=None)) == {"rest": 1000}


def test_fixed_then_percents_then_percents_of_what_is_left_then_the_rest() -> None:
    split = resolved(
        agent(
            {"to": "alice", "percent_of_rest": "50%"},
            {"to": "dave", "percent": "10%"},
            {"to": "grace", "amount": "300 msat"},
            {"to": "heidi", "percent_of_rest": "25%"},
        )
    )
    assert amounts(pay(split)) == {"shares[0]": 300, "shares[1]": 100, "shares[2]": 300, "shares[3]": 150, "rest": 150}


def test_somebody_absent_changes_no_share_of_the_others() -> None:
    split = resolved(
        agent(
            {"to": "alice", "amount": "200 msat", "referrer": "100 msat"},
            {"to": "$worker", "amount": "100 msat"},
            {"to": "dave", "percent_of_rest": "50%"},
        )
    )
    there = pay(split, referrers={PEOPLE["alice"]: PEOPLE["eve"]})
    absent = pay(split, worker=None)
    assert amounts(there)["shares[2]"] == amounts(absent)["shares[2]"] == 300
    assert (there[-1].amount_msat, absent[-1].amount_msat) == (300, 500)


def test_each_share_is_floored_and_the_rest_takes_what_is_over() -> None:
    third = {"percent": "33.3333%"}
    split = resolved(agent(*({"to": name, **third} for name in ("alice", "dave", "grace")), price="100 msat"))
    parts = pay(split)
    assert [part.amount_msat for part in parts] == [33, 33, 33, 1]
    assert [part.note for part in parts] == ["rounded down"] * 3 + [""]


def test_percents_are_exact_to_a_ten_thousandth() -> None:
    split = resolved(agent({"to": "alice", "percent": "0.0001%"}, price="1000000 msat"))
    assert amounts(pay(split)) == {"shares[0]": 1, "rest": 999_999}
    assert amounts(pay(split, 999_999)) == {"rest": 999_999}


def test_a_limit_bounds_a_percentage_and_what_it_leaves_is_shared() -> None:
    split = resolved(
        agent({"to": "alice", "percent": "50%", "at_most": "200 msat"}, {"to": "dave", "percent_of_rest": "50%"})
    )
    parts = pay(split)
    assert [(part.amount_msat, part.note) for part in parts] == [(200, "at most"), (400, ""), (400, "")]


def test_a_share_ends_with_the_last_second_of_its_day() -> None:
    split = resolved(agent({"to": "alice", "amount": "400 msat", "until": "2026-11-22", "referrer": "10 msat"}))
    midnight = 1_795_392_000  # 2026-11-23, 00:00 UTC
    referrers = {PEOPLE["alice"]: PEOPLE["eve"]}
    last = {"shares[0]": 400, "shares[0].referrer": 10, "rest": 590}
    assert amounts(pay(split, now=midnight - 1, referrers=referrers)) == last
    assert amounts(pay(split, now=midnight, referrers=referrers)) == {"rest": 1000}


def test_metered_shares_are_paid_by_reported_usage_up_to_their_limit() -> None:
    split = resolved(agent({"to": "$worker", "per": "1000 tokens", "amount": "30 msat", "at_most": "500 msat"}))
    assert amounts(pay(split)) == {"rest": 1000}
    assert amounts(pay(split, usage={"tokens": 3_040, "images": 9})) == {"shares[0]": 91, "rest": 909}
    assert amounts(pay(split, usage={"tokens": 10**30})) == {"shares[0]": 500, "rest": 500}


def test_negative_usage_is_the_reporters_fault() -> None:
    split = resolved(agent({"to": "$worker", "per": "1000 tokens", "amount": "30 msat", "at_most": "500 msat"}))
    with pytest.raises(Rejected, match="usage is negative"):
        pay(split, usage={"tokens": -1})


def test_a_split_inside_a_share_has_its_own_rest() -> None:
    inner = {
        "shares": [
            {"to": "alice", "amount": "100 msat", "referrer": "20 msat"},
            {"to": "dave", "percent": "50%", "role": "api"},
            {"to": "grace", "percent_of_rest": "50%", "until": "2020-01-01"},
        ],
        "rest": "heidi",
    }
    split = resolved(agent({"amount": "400 msat", "role": "data", "split": inner}))
    parts = pay(split)
    assert amounts(parts) == {
        "shares[0].split.shares[0]": 100,
        "shares[0].split.shares[1]": 200,
        "shares[0].split.rest": 100,
        "rest": 600,
    }
    assert [part.role for part in parts] == ["data", "api", "data", "platform"]


def test_a_split_inside_a_share_that_is_nothing_pays_nobody() -> None:
    inner = {"shares": [{"to": "alice", "percent": "50%"}], "rest": "heidi"}
    split = resolved(agent({"per": "1 token", "amount": "1 msat", "at_most": "9 msat", "split": inner}))
    assert amounts(pay(split)) == {"rest": 1000}
    assert amounts(pay(split, usage={"token": 9})) == {
        "shares[0].split.shares[0]": 4,
        "shares[0].split.rest": 5,
        "rest": 991,
    }


def test_a_charge_below_the_price_reduces_all_alike() -> None:
    split = resolved(
        agent(
            {"to": "alice", "amount": "400 msat", "referrer": "40 msat"},
            {"to": "dave", "percent": "30%", "at_most": "200 msat"},
            {"amount": "100 msat", "split": {"shares": [{"to": "grace", "amount": "50 msat"}], "rest": "heidi"}},
            payer_referrer="60 msat",
        )
    )
    facts: dict[str, Any] = {"referrers": {PEOPLE["alice"]: PEOPLE["eve"]}, "payer_referrer": PEOPLE["frank"]}
    full, half = pay(split, **facts), pay(split, 500, **facts)
    assert [part.amount_msat for part in full] == [400, 40, 200, 50, 50, 60, 200]
    assert [part.amount_msat for part in half] == [200, 20, 100, 25, 25, 30, 100]
    assert {part.path: part.note for part in half}["agents.a.payer_referrer"] == "reduced with the charge"


def test_a_charge_above_the_least_price_reduces_nothing() -> None:
    price = {"base": "1000 msat", "per": "1000 tokens", "amount": "1 sat", "at_most": "5000 msat"}
    split = resolved(agent({"to": "alice", "amount": "400 msat"}, {"to": "dave", "percent": "10%"}, price=price))
    assert amounts(pay(split, 5000)) == {"shares[0]": 400, "shares[1]": 500, "rest": 4100}


def test_a_charge_of_nothing_is_a_rest_of_nothing() -> None:
    parts = pay(story(), 0)
    assert [(part.path, part.amount_msat) for part in parts] == [("agents.a.rest", 0)]


def test_a_share_of_the_platform_goes_where_its_rest_goes() -> None:
    parts = pay(resolved(agent({"to": "$platform", "percent": "10%"})))
    assert [(part.to, part.role, part.amount_msat) for part in parts] == [
        (None, "platform", 100),
        (None, "platform", 900),
    ]


def test_the_same_person_may_have_several_parts() -> None:
    parts = pay(resolved(agent({"to": "alice", "amount": "1 msat"}, {"to": "alice", "amount": "2 msat"}, rest="alice")))
    assert [(part.to, part.amount_msat) for part in parts] == [(pubkey("alice"), n) for n in (1, 2, 997)]


def test_a_negative_charge_is_a_bug_of_ours() -> None:
    with pytest.raises(AssertionError, match="negative"):
        pay(story(), -1)
