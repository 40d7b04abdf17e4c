"""What waits, as it is stored."""

from __future__ import annotations

import pytest

from relaybot.accounting.carry import Carry
from relaybot.errors import Rejected

CARRY = Carry({("in", "onchain"): {"b": 2, "a": 1}, ("earned", "model"): {"a": 5}}, {("fees", "routing"): 700})


def test_a_carry_comes_back_from_the_store_as_it_was() -> None:
    assert Carry.from_json(CARRY.to_json()) == CARRY
    assert Carry.from_json(Carry().to_json()) == Carry()


def test_the_same_carry_is_the_same_text() -> None:
    turned = Carry({("earned", "model"): {"a": 5}, ("in", "onchain"): {"a": 1, "b": 2}}, {("fees", "routing"): 700})
    assert turned.to_json() == CARRY.to_json()


def test_what_waits_is_joined_with_what_comes() -> None:
    assert CARRY.joined({("in", "onchain"): {"a": 10}, ("out", "onchain"): {"c": 0}}) == {
        ("in", "onchain"): {"a": 11, "b": 2},
        ("earned", "model"): {"a": 5},
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"accounts":{},"remainders":{},"more":1}',
        '{"accounts":{"in/gold":{"a":1}},"remainders":{}}',
        '{"accounts":{"in":{"a":1}},"remainders":{}}',
        '{"accounts":{"in/card":{"a":-1}},"remainders":{}}',
        '{"accounts":{"in/card":{"a":1.5}},"remainders":{}}',
        '{"accounts":{},"remainders":{"in/card":-1}}',
        '{"accounts":{},"remainders":{"in/gold":1}}',
    ],
)
def test_a_stored_carry_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Rejected):
        Carry.from_json(text)
