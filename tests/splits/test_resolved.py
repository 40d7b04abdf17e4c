"""What is stored with a job: its JSON, its hash, and what a job costs by it."""

from __future__ import annotations

import json

import pytest

from relaybot.errors import Rejected
from splits.compute import compute
from splits.resolved import ResolvedSplit, split_hash
from tests.splits.written import PEOPLE, SKILL, agent, resolved, story

METERED = {"base": "1000 msat", "per": "1000 tokens", "amount": "30 msat", "at_most": "1500 msat"}


def test_a_split_comes_back_from_its_json() -> None:
    inner = {"shares": [{"to": "alice", "percent": "2.5%"}], "rest": "heidi"}
    metered = {"to": "$worker", "per": "9 tokens", "amount": "3 msat", "at_most": "100 msat", "until": "2030-01-01"}
    for split in (story(), resolved(agent(metered, {"percent": "10%", "split": inner}, price=METERED))):
        assert ResolvedSplit.from_json(split.to_json()) == split
        assert split_hash(ResolvedSplit.from_json(split.to_json().encode())) == split_hash(split)


def test_the_json_is_canonical() -> None:
    text = story().to_json()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def test_the_hash_does_not_change_from_one_release_to_the_next() -> None:
    assert split_hash(story()) == "18c512c5569b210732c9d694027605c3ddfafd72a42b17c567aefa45314371b0"


def test_every_change_of_a_split_changes_its_hash() -> None:
    hashes = {split_hash(resolved(agent({"to": "bob", "amount": f"{amount} msat"}))) for amount in range(1, 50)}
    assert len(hashes) == 49


@pytest.mark.parametrize("text", ["", "{}", "null", '{"price":1,"pot":2}', b"\xff"])
def test_anything_else_is_no_stored_split(text: str | bytes) -> None:
    with pytest.raises(Rejected, match="not a stored split"):
        ResolvedSplit.from_json(text)


def test_a_fixed_price_is_charged_whatever_was_used() -> None:
    split = story()
    assert split.price_for({}, bid_msat=None) == split.price_for({"tokens": 10**9}, bid_msat=None) == 12_000_000


def test_a_variable_price_is_charged_by_usage_up_to_its_limit_and_the_bid() -> None:
    split = resolved(agent(price=METERED))
    assert split.price_for({}, bid_msat=None) == 1000
    assert split.price_for({"tokens": 3_040}, bid_msat=None) == 1091
    assert split.price_for({"tokens": 10**18}, bid_msat=None) == 1500
    assert split.price_for({"tokens": 10**18}, bid_msat=1200) == 1200  # type: ignore[arg-type]
    assert split.price_for({"tokens": 3_040}, bid_msat=1200) == 1091  # type: ignore[arg-type]


def test_a_price_of_negative_usage_is_refused() -> None:
    with pytest.raises(Rejected, match="usage is negative"):
        resolved(agent(price=METERED)).price_for({"tokens": -1}, bid_msat=None)


def test_what_a_worker_can_get_is_never_below_what_it_gets() -> None:
    assert story().worker_part_max() == 1_000_000
    inner = {"shares": [{"to": "$worker", "percent": "50%"}], "rest": "heidi"}
    split = resolved(
        agent(
            {"to": "$worker", "per": "1 token", "amount": "1 msat", "at_most": "100 msat"},
            {"to": "$worker", "percent": "10%"},
            {"to": "$worker", "percent_of_rest": "20%"},
            {"amount": "300 msat", "split": inner},
            price=METERED,
        )
    )
    most = split.worker_part_max()
    assert most == 100 + 150 + (1500 - 150 - 300) // 5 + 150
    for tokens in (0, 50, 10**9):
        usage = {"tokens": tokens, "token": tokens}
        parts = compute(
            split,
            charge_msat=split.price_for(usage, bid_msat=None),
            worker=PEOPLE["carol"],
            referrers={},
            payer_referrer=None,
            usage=usage,
            now=0,
        )
        assert sum(part.amount_msat for part in parts if part.to == PEOPLE["carol"]) <= most


def test_a_job_keeps_its_split_when_the_skill_changes() -> None:
    before = story()
    stored = before.to_json()
    changed = SKILL | {"shares": SKILL["shares"][:1]}
    assert resolved(agent(skills=["s"], price="12000 sat"), s=changed) != before
    assert ResolvedSplit.from_json(stored) == before
