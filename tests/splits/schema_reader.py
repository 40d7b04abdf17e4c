"""As much of JSON Schema (2020-12) as our schema uses: what is wrong with a document, by place.

A keyword it does not know fails the test that uses it, so nothing in the schema goes unread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from typing import Any

_TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
_SAID = {"$schema", "$defs", "title", "description", "examples", "default"}  # for people


def faults(document: object, schema: dict[str, Any], root: dict[str, Any], place: str = "") -> Iterator[str]:
    """Yield what in `document` does not fit `schema`, whose references lead into `root`."""
    known = set(schema.get("properties", ()))
    yield from _others(document, schema.get("additionalProperties", {}), root, place, known)
    for keyword, rule in schema.items():
        if keyword not in _SAID | {"additionalProperties"}:
            yield from _KEYWORDS[keyword](document, rule, root, place)


def is_meant_by(document: object, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Tell whether a document fits."""
    return not list(faults(document, schema, root))


def _reference(document: Any, rule: str, root: dict[str, Any], place: str) -> Iterator[str]:
    yield from faults(document, root["$defs"][rule.removeprefix("#/$defs/")], root, place)


def _any_of(document: Any, rule: list[Any], root: dict[str, Any], place: str) -> Iterator[str]:
    if not any(is_meant_by(document, one, root) for one in rule):
        yield f"{place}: none of the choices"


def _one_of(document: Any, rule: list[Any], root: dict[str, Any], place: str) -> Iterator[str]:
    if [is_meant_by(document, one, root) for one in rule].count(True) != 1:
        yield f"{place}: not exactly one of {json.dumps(rule)}"


def _all_of(document: Any, rule: list[Any], root: dict[str, Any], place: str) -> Iterator[str]:
    for one in rule:
        yield from faults(document, one, root, place)


def _type(document: Any, rule: str, _root: object, place: str) -> Iterator[str]:
    if not isinstance(document, _TYPES[rule]) or (rule == "integer" and isinstance(document, bool)):
        yield f"{place}: no {rule}"


def _properties(document: Any, rule: dict[str, Any], root: dict[str, Any], place: str) -> Iterator[str]:
    for key in rule.keys() & _keys(document):
        yield from faults(document[key], rule[key], root, f"{place}.{key}")


def _others(document: Any, rule: Any, root: dict[str, Any], place: str, known: set[str]) -> Iterator[str]:
    for key in _keys(document) - known:
        if rule is True:
            continue
        if rule is False:
            yield f"{place}: {key} is not known"
        else:
            yield from faults(document[key], rule, root, f"{place}.{key}")


def _required(document: Any, rule: list[str], _root: object, place: str) -> Iterator[str]:
    for key in rule:
        if key not in _keys(document):
            yield f"{place}: {key} is missing"


def _dependent(document: Any, rule: dict[str, list[str]], _root: object, place: str) -> Iterator[str]:
    for key in rule.keys() & _keys(document):
        if not set(rule[key]) <= set(document):
            yield f"{place}: {key} without {rule[key]}"


def _names(document: Any, rule: Any, root: dict[str, Any], place: str) -> Iterator[str]:
    for key in _keys(document):
        yield from faults(key, rule, root, f"{place}.{key}")


def _items(document: Any, rule: Any, root: dict[str, Any], place: str) -> Iterator[str]:
    for position, one in enumerate(document if isinstance(document, list) else ()):
        yield from faults(one, rule, root, f"{place}[{position}]")


def _keys(document: Any) -> set[str]:
    return set(document) if isinstance(document, dict) else set()


def _checked(is_right: Any, says: str) -> Any:
    def check(document: Any, rule: Any, _root: object, place: str) -> Iterator[str]:
        if not is_right(document, rule):
            yield f"{place}: {says} {rule}"

    return check


def _is_date(text: Any, _: object) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except (TypeError, ValueError):
        return False


_KEYWORDS: dict[str, Any] = {
    "$ref": _reference,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "allOf": _all_of,
    "type": _type,
    "properties": _properties,
    "required": _required,
    "dependentRequired": _dependent,
    "propertyNames": _names,
    "items": _items,
    "enum": _checked(lambda found, rule: found in rule, "not one of"),
    "pattern": _checked(lambda found, rule: isinstance(found, str) and bool(re.search(rule, found)), "does not match"),
    "minimum": _checked(lambda found, rule: not isinstance(found, int) or found >= rule, "below"),
    "maximum": _checked(lambda found, rule: not isinstance(found, int) or found <= rule, "above"),
    "minLength": _checked(lambda found, rule: not isinstance(found, str) or len(found) >= rule, "shorter than"),
    "maxLength": _checked(lambda found, rule: not isinstance(found, str) or len(found) <= rule, "longer than"),
    "maxItems": _checked(lambda found, rule: not isinstance(found, list) or len(found) <= rule, "more than"),
    "maxProperties": _checked(lambda found, rule: not isinstance(found, dict) or len(found) <= rule, "more than"),
    "format": _checked(_is_date, "no"),
}
