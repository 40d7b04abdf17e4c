"""The language of skills and agents as a JSON Schema (2020-12), made from the models that read them. Pure.

What it accepts in form, the models may still refuse for what it means: names, sums and
circles need the whole (`resolve.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from splits.model import AMOUNT, AgentModel, SkillModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELS: Mapping[str, type[BaseModel]] = MappingProxyType({"skill": SkillModel, "agent": AgentModel})

Schema = dict[str, Any]


def schema_of(name: str) -> Schema:
    """Return the schema of what an author writes as a `skill` or an `agent`."""
    return {"$schema": DIALECT, **_made(name)}


def whole_schema() -> Schema:
    """Return one schema of both: a document fits it if it is a skill or an agent."""
    parts = {name: schema_of(name) for name in MODELS}
    shared: Schema = {}
    for part in parts.values():
        del part["$schema"]
        shared |= part.pop("$defs")
    choice = [{"$ref": f"#/$defs/{name}"} for name in parts]
    return {"$schema": DIALECT, "title": "A skill or an agent", "anyOf": choice, "$defs": shared | parts}


@cache
def _made(name: str) -> Schema:
    """Make the schema of a model once: that takes longer than all else at the start of the service."""
    made: Schema = _plain(MODELS[name].model_json_schema())
    return made


def _plain(schema: Any) -> Any:
    """Return a schema as people read it: no titles made of keys, no `null` for a key that is left out."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "patternProperties" in schema:
        return _table(schema)
    if "properties" in schema:
        properties = {key: _property(key, _plain(value)) for key, value in schema["properties"].items()}
        return {key: _plain(value) for key, value in schema.items()} | {"properties": properties}
    options = [_plain(one) for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    rest = {key: _plain(value) for key, value in schema.items() if key not in {"anyOf", "title"}}
    if rest.get("default", ...) is None:
        del rest["default"]
    assert len(options) < 2, f"a choice that is not told from its models: {options}"  # noqa: PLR2004  one, or none
    return (options[0] if options else {}) | rest


def _table(schema: Schema) -> Schema:
    """Return the schema of a mapping whose keys have a form of their own."""
    ((pattern, value),) = schema["patternProperties"].items()
    named = {"propertyNames": {"pattern": pattern}, "additionalProperties": _plain(value)}
    return {"type": "object", **named, "maxProperties": schema["maxLength"]}


def _property(key: str, schema: Schema) -> Schema:
    """Return the schema of a key; a price may be written as one amount, too, which pydantic cannot tell."""
    return {"anyOf": [AMOUNT.json_schema, schema]} if key == "price" else schema
