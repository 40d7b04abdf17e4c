"""Attack H1: whatever is split among whomever, the parts sum to the charge, and no place in the list is better.

SPLIT_CASES=1000000 sets how many random cases `test_h1_…` tries.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from math import floor
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from splits.compute import Part, compute
from splits.model import WHOLE
from splits.problems import BadConfigs
from splits.resolved import ResolvedSplit, Rule
from tests.splits.written import PEOPLE, agent, pubkey, random_agent, resolved

CASES = int(os.environ.get("SPLIT_CASES", "20000"))
CASES_PER_SPLIT = 20
LONG_AGO, TODAY = 0, 1_800_000_000  # before and after every `until` of the random splits


class Everybody(dict[str, str]):
    """All have been referred, each by somebody of their own."""

    def __missing__(self, key: str) -> str:
        return pubkey(f"who referred {key}")

    def get(self, key: str, _: object = None) -> str:
        return self[key]


def charges(chance: Random, split: ResolvedSplit) -> Iterator[int]:
    """Yield charges of every sort: nothing, below, at and between the prices, and above."""
    yield from (0, 1, split.price_min, split.price_max, split.price_max * 3)
    while True:
        yield chance.randint(0, split.price_min)
        yield chance.randint(split.price_min, split.price_max)


def random_facts(chance: Random) -> dict[str, Any]:
    return {
        "worker": chance.choice((None, PEOPLE["carol"])),
        "referrers": chance.choice(({}, Everybody())),
        "payer_referrer": chance.choice((None, PEOPLE["frank"])),
        "usage": {"tokens": chance.choice((0, 1, chance.randint(0, 10**9)))},
        "now": chance.choice((LONG_AGO, TODAY)),
    }


def check(parts: tuple[Part, ...], charge: int) -> None:
    assert sum(part.amount_msat for part in parts) == charge
    assert all(part.amount_msat > 0 for part in parts[:-1])
    assert parts[-1].amount_msat >= 0
    assert len({part.path for part in parts}) == len(parts)


def test_h1_the_parts_of_any_random_split_sum_to_the_charge() -> None:
    chance = Random(1)
    for _ in range(CASES // CASES_PER_SPLIT):
        split = resolved(random_agent(chance))
        for charge, _ in zip(charges(chance, split), range(CASES_PER_SPLIT), strict=False):
            check(compute(split, charge_msat=charge, **random_facts(chance)), charge)


def test_h1_one_msat_among_seven() -> None:
    for share in ({"percent": "14.2857%"}, {"percent_of_rest": "14.2857%"}):
        seven = [{"to": pubkey(f"{number}"), **share} for number in range(7)]
        parts = compute(
            resolved(agent(*seven, price="1 msat")),
            charge_msat=1,
            worker=None,
            referrers={},
            payer_referrer=None,
            now=TODAY,
        )
        assert [(part.path, part.amount_msat) for part in parts] == [("agents.a.rest", 1)]


def test_h1_a_fixed_msat_of_one_leaves_nothing_for_the_other_six() -> None:
    six = [{"to": pubkey(f"{number}"), "percent_of_rest": "16%"} for number in range(6)]
    split = resolved(agent({"to": "alice", "amount": "1 msat"}, *six, price="1 msat"))
    parts = compute(split, charge_msat=1, worker=None, referrers={}, payer_referrer=None, now=TODAY)
    assert [(part.to, part.amount_msat) for part in parts] == [(PEOPLE["alice"], 1), (None, 0)]


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_parts_sum_to_the_charge_for_splits_that_hypothesis_looks_for(chance: Random) -> None:
    split = resolved(random_agent(chance))
    assert ResolvedSplit.from_json(split.to_json()) == split
    for charge, _ in zip(charges(chance, split), range(8), strict=False):
        check(compute(split, charge_msat=charge, **random_facts(chance)), charge)


def careless_shares(chance: Random, depth: int) -> list[dict[str, Any]]:
    """Return shares that nobody made to fit."""
    shares: list[dict[str, Any]] = []
    for _ in range(chance.randint(1, 3)):
        amount, limit = f"{chance.randint(1, 12)} msat", f"{chance.randint(1, 12)} msat"
        share = chance.choice(
            (
                {"amount": amount},
                {"per": "2 tokens", "amount": amount, "at_most": limit},
                {"percent": f"{chance.randint(1, 70)}%"},
                {"percent": f"{chance.randint(1, 100)}%", "at_most": limit},
                {"percent_of_rest": f"{chance.randint(1, 70)}%"},
            )
        )
        if depth < 2 and chance.random() < 0.3:
            shares.append(share | {"split": {"shares": careless_shares(chance, depth + 1), "rest": "bob"}})
        else:
            shares.append(share | {"to": "alice"} | chance.choice(({}, {}, {"referrer": amount})))
    return shares


def test_whatever_is_not_refused_when_loaded_can_be_paid_at_every_charge() -> None:
    chance = Random(2)
    accepted = 0
    for _ in range(3_000):
        price = chance.randint(1, 40)
        try:
            split = resolved(agent(*careless_shares(chance, 0), price=f"{price} msat"))
        except BadConfigs:
            continue
        accepted += 1
        for charge in (*range(price + 2), 10 * price, 1_000_003):
            check(compute(split, charge_msat=charge, **random_facts(chance)), charge)
    assert 500 < accepted < 2_500


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_no_share_depends_on_its_position(chance: Random) -> None:
    written = random_agent(chance)
    for number, share in enumerate(written["shares"]):
        share.pop("split", None)
        share["to"] = pubkey(f"taker {number}")  # so that each share can be found again
    shuffled = written | {"shares": chance.sample(written["shares"], len(written["shares"]))}
    charge, facts = chance.randint(0, 10**9), random_facts(chance)
    one = compute(resolved(written), charge_msat=charge, **facts)
    other = compute(resolved(shuffled), charge_msat=charge, **facts)
    assert {(part.to, part.role): part.amount_msat for part in one} == {
        (part.to, part.role): part.amount_msat for part in other
    }


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 10**12))
def test_each_share_is_its_exact_fraction_floored(chance: Random, more: int) -> None:
    split = resolved(random_agent(chance))
    charge = split.price_min + more
    facts = random_facts(chance) | {"referrers": Everybody(), "worker": PEOPLE["carol"], "now": LONG_AGO}
    found = {part.path: part.amount_msat for part in compute(split, charge_msat=charge, **facts)}
    left = charge - split.pot.payer_referrer_msat - sum(share.referrer_msat for share in split.pot.shares)
    for rules in ((Rule.AMOUNT, Rule.PER, Rule.PERCENT), (Rule.PERCENT_OF_REST,)):
        whole = left if Rule.PERCENT_OF_REST in rules else charge
        for share in split.pot.shares:
            if share.rule not in rules:
                continue
            exact = Fraction(share.value)
            if share.meter is not None:
                exact = Fraction(facts["usage"]["tokens"] * share.value, share.meter.count)
            elif share.rule in {Rule.PERCENT, Rule.PERCENT_OF_REST}:
                exact = Fraction(whole * share.value, WHOLE)
            size = floor(exact)
            size = size if share.at_most_msat is None else min(size, share.at_most_msat)
            left -= size
            inside = sum(msat for path, msat in found.items() if path.startswith(f"{share.path}.split."))
            assert size == (found.get(share.path, 0) if share.pot is None else inside)
    assert found["agents.a.rest"] == left + (split.pot.payer_referrer_msat if facts["payer_referrer"] is None else 0)
