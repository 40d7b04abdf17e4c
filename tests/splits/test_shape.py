"""JSON Schema, as far as it is judged: what fits, what does not and where, and what no schema may say."""

from __future__ import annotations

from typing import Any

import pytest

from splits.model import AgentModel
from splits.shape import DEPTH_MAX, PARTS_MAX, fault_of, problem_of

PERSON = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
    "additionalProperties": False,
}


def nested(schema: object, levels: int) -> object:
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (True, None),
        ({}, {"any": ["thing"]}),
        ({"type": "null"}, None),
        ({"type": ["string", "null"]}, None),
        ({"type": "integer"}, 1.0),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"minimum": 1, "maximum": 2}, 2),
        ({"minimum": 5}, "no number"),
        ({"enum": [1, "a", None, {"b": [2]}]}, {"b": [2.0]}),
        ({"const": [1, {"a": True}]}, [1, {"a": True}]),
        ({"minItems": 1, "maxItems": 2, "items": {"type": "string"}}, ["a", "b"]),
        ({"prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False}, ["a", 1]),
        ({"maxProperties": 1, "minProperties": 1}, {"a": 1}),
        ({"additionalProperties": {"type": "integer"}}, {"a": 1, "b": 2}),
        ({"anyOf": [{"type": "string"}, {"minimum": 5}]}, 7),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, 7),
        ({"allOf": [{"minimum": 5}, {"maximum": 9}]}, 7),
        ({"not": {"type": "string"}, "$comment": "no text", "title": "t"}, 7),
        (PERSON, {"name": "Ada", "age": 36}),
    ],
)
def test_what_fits(schema: Any, value: object) -> None:
    assert problem_of(schema) is None
    assert fault_of(schema, value) is None


@pytest.mark.parametrize(
    ("schema", "value", "fault"),
    [
        (False, 1, "$: nothing may stand here"),
        ({"type": "integer"}, 1.5, "$: not of type integer"),
        ({"type": "integer"}, True, "$: not of type integer"),
        ({"type": ["string", "array"]}, {}, "$: not of type string or array"),
        ({"type": "boolean"}, 0, "$: not of type boolean"),
        ({"enum": [1]}, True, "$: not one of the values that are allowed"),
        ({"const": {"a": 1}}, {"a": 1, "b": 1}, "$: not the one value that is allowed"),
        ({"const": [1, 2]}, [1], "$: not the one value that is allowed"),
        ({"minimum": 1}, 0, "$: out of range"),
        ({"maximum": 1}, 2, "$: out of range"),
        ({"exclusiveMinimum": 1}, 1, "$: out of range"),
        ({"exclusiveMaximum": 1}, 1, "$: out of range"),
        ({"maxLength": 1}, "ab", "$: too few or too many"),
        ({"minItems": 2}, [1], "$: too few or too many"),
        ({"allOf": [{"minimum": 5}, {"maximum": 9}]}, 10, "$: out of range"),
        ({"anyOf": [{"type": "string"}, {"minimum": 5}]}, 4, "$: none of what is allowed"),
        ({"oneOf": [{"minimum": 1}, {"minimum": 2}]}, 3, "$: not exactly one of what is allowed"),
        ({"not": {"type": "string"}}, "a", "$: what may not stand here"),
        (PERSON, {}, "$.name: missing"),
        (PERSON, {"name": "", "age": 1}, "$.name: too few or too many"),
        (PERSON, {"name": "Ada", "sex": "f"}, "$.sex: nothing may stand here"),
        ({"items": PERSON}, [{"name": "a"}, {"name": 1}], "$[1].name: not of type string"),
        ({"items": {"anyOf": [{"type": "string"}] * 400 + [True]}}, [1] * 300, "$: too large to be judged"),
    ],
)
def test_what_does_not_fit_and_where(schema: Any, value: object, fault: str) -> None:
    assert problem_of(schema) is None
    assert fault_of(schema, value) == fault


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (1, "$: a schema is a mapping, true or false"),
        ({"properties": {"a": 1}}, "$.properties.a: a schema is a mapping, true or false"),
        ({"pattern": "(a+)+$"}, "$.pattern: not a keyword that is judged here"),
        ({"items": {"$ref": "http://example.com"}}, "$.items.$ref: not a keyword that is judged here"),
        ({1: 2}, "$.1: not a keyword that is judged here"),
        ({"type": "text"}, "$.type: not as JSON Schema has it"),
        ({"type": []}, "$.type: not as JSON Schema has it"),
        ({"minLength": -1}, "$.minLength: not as JSON Schema has it"),
        ({"maxItems": True}, "$.maxItems: not as JSON Schema has it"),
        ({"minimum": "1"}, "$.minimum: not as JSON Schema has it"),
        ({"required": "name"}, "$.required: not as JSON Schema has it"),
        ({"enum": []}, "$.enum: not as JSON Schema has it"),
        ({"enum": [nested(1, DEPTH_MAX)]}, "$.enum: not as JSON Schema has it"),
        ({"const": nested(1, DEPTH_MAX + 1)}, "$.const: not as JSON Schema has it"),
        ({"anyOf": {}}, "$.anyOf: not as JSON Schema has it"),
        ({"properties": []}, "$.properties: not as JSON Schema has it"),
        ({"anyOf": [True] * PARTS_MAX}, f"$.anyOf[{PARTS_MAX - 1}]: too deep, or too many schemas in one"),
        (nested(True, DEPTH_MAX + 1), f"$.{'not.' * DEPTH_MAX}not: too deep, or too many schemas in one"),
    ],
)
def test_what_no_schema_may_say(schema: object, problem: str) -> None:
    assert problem_of(schema) == problem


def test_an_agent_with_a_schema_that_is_none_is_refused() -> None:
    agent = {"name": "A", "kinds": [5050], "price": "1 sat"}
    assert AgentModel.model_validate({**agent, "kinds": (5050,), "result_schema": {"type": "object"}}).result_schema
    with pytest.raises(ValueError, match="pattern: not a keyword"):
        AgentModel.model_validate({**agent, "kinds": (5050,), "result_schema": {"pattern": "a"}})
