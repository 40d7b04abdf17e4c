"""The published schema means what the models read: the same documents fit both, and the same faults are found."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from splits.schema import MODELS, schema_of, whole_schema
from tests.splits.schema_reader import faults, is_meant_by
from tests.splits.written import AUTODEV, SKILL, agent, random_agent, read_agent

PARAMS = {"language": {"about": "of the answer", "required": True, "values": ["en", "de"]}}
METERED = {"base": "2000 sat", "per": "1000 tokens", "amount": "3 sat", "at_most": "12,000 sat"}
WRONG: list[tuple[str, Any]] = [
    ("price", "12000"),
    ("price", {"base": "1 sat", "per": "1000 tokens"}),
    ("kinds", [4999]),
    ("kinds", ["5050"]),
    ("nonsense", 1),
    ("open", "yes"),
    ("name", ""),
    ("params", {"Bad Name": {}}),
    ("params", {"language": {"values": [""]}}),
    ("skills", ["Bad Name"]),
    ("shares", [{"to": "alice"}]),
    ("shares", [{"to": "alice", "amount": "1 sat", "percent": "5%"}]),
    ("shares", [{"amount": "1 sat"}]),
    ("shares", [{"to": "alice", "amount": "1 sat", "per": "1000 tokens"}]),
    ("shares", [{"to": "alice", "percent": "5"}]),
    ("shares", [{"to": "alice", "percent": "5%", "role": "boss"}]),
    ("shares", [{"to": "alice", "percent": "5%", "until": "tomorrow"}]),
    ("params", {"org": {}}),
    ("shares", [{"percent": "5%", "split": {"shares": [{"to": "alice", "percent": "5%"}]}}]),
]


def test_what_people_write_fits() -> None:
    documents = [("skill", SKILL), ("agent", AUTODEV), ("agent", {**AUTODEV, "price": METERED, "params": PARAMS})]
    for name, document in documents:
        schema, whole = schema_of(name), whole_schema()
        assert list(faults(document, schema, schema)) == []
        assert is_meant_by(document, whole, whole)


def test_whatever_random_agent_the_models_read_fits_the_schema() -> None:
    chance, schema = Random(3), schema_of("agent")
    for _ in range(200):
        written = random_agent(chance)
        read_agent(written)
        assert list(faults(written, schema, schema)) == []


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_what_the_models_refuse_in_form_does_not_fit(key: str, value: object) -> None:
    wrong, schema = {**copy.deepcopy(AUTODEV), key: value}, schema_of("agent")
    with pytest.raises(ValidationError):
        read_agent(wrong)
    assert list(faults(wrong, schema, schema))


def test_a_missing_key_does_not_fit() -> None:
    schema = schema_of("agent")
    assert list(faults({"name": "A", "kinds": [5050]}, schema, schema)) == [": price is missing"]
    assert is_meant_by(agent(), schema, schema)
    assert sorted(MODELS) == ["agent", "skill"]
