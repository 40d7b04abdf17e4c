"""JSON Schema (draft 2020-12), the keywords that judge by shape.

Schemas and values are both written by strangers, so what could cost without end is left out:
no references, no regular expressions, and a bound on the steps of one look. A keyword that
is not judged is refused when a schema is read, never passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

PARTS_MAX = 500  # schemas within one schema, itself among them
DEPTH_MAX = 16  # schemas within schemas
STEPS_MAX = 100_000  # schemas looked at for one value: some 50 ms

_NOTES = frozenset({"$schema", "$id", "$comment", "title", "description", "default", "examples"})
_TYPES = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
_COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"})
_LIMITS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_MANY = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_ONE = frozenset({"items", "additionalProperties", "not"})
_NAMED = frozenset({"properties"})
_LISTS = frozenset({"enum", "required", "type"})
_KEYWORDS = _NOTES | _COUNTS | _LIMITS | _MANY | _ONE | _NAMED | _LISTS | {"const"}

Schema = Mapping[str, Any] | bool


class _Parts:
    """How many schemas were seen within one."""

    def __init__(self) -> None:
        self.count = 0


def problem_of(schema: object) -> str | None:
    """Return what is wrong with a schema, with its place; None if it can be used."""
    return _problem(schema, "$", 0, _Parts())


def _problem(schema: object, at: str, depth: int, parts: _Parts) -> str | None:
    parts.count += 1
    if depth > DEPTH_MAX or parts.count > PARTS_MAX:
        return f"{at}: too deep, or too many schemas in one"
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, Mapping):
        return f"{at}: a schema is a mapping, true or false"
    found = (_keyword_problem(keyword, value, at, depth, parts) for keyword, value in schema.items())
    return next((problem for problem in found if problem is not None), None)


def _keyword_problem(keyword: object, value: object, at: str, depth: int, parts: _Parts) -> str | None:
    if keyword not in _KEYWORDS or not isinstance(keyword, str):
        return f"{at}.{str(keyword)[:40]}: not a keyword that is judged here"
    if not _is_written_well(keyword, value):
        return f"{at}.{keyword}: not as JSON Schema has it"
    found = (_problem(inner, f"{at}.{keyword}{place}", depth + 1, parts) for place, inner in _within(keyword, value))
    return next((problem for problem in found if problem is not None), None)


def _is_written_well(keyword: str, value: Any) -> bool:
    if keyword in _COUNTS:
        return type(value) is int and value >= 0
    if keyword in _LIMITS:
        return _is_number(value)
    if keyword in _NAMED:
        return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
    if keyword in _LISTS or keyword in _MANY:
        return _is_listed_well(keyword, value)
    return keyword != "const" or _depth(value) <= DEPTH_MAX


def _is_listed_well(keyword: str, value: Any) -> bool:
    if keyword == "type":
        names = [value] if isinstance(value, str) else value
        return _is_list(names) and len(names) > 0 and all(isinstance(name, str) and name in _TYPES for name in names)
    if keyword == "required":
        return _is_list(value) and all(isinstance(name, str) for name in value)
    return _is_list(value) and len(value) > 0 and (keyword != "enum" or _depth(value) <= DEPTH_MAX)


def _depth(value: Any) -> int:
    """Return how deep a value goes, up to one more than is allowed."""
    level, depth = [value], 0
    while level and depth <= DEPTH_MAX:
        inner = [list(one.values()) if isinstance(one, Mapping) else one for one in level]
        level = [part for one in inner if _is_list(one) for part in one]
        depth += 1
    return depth


def _within(keyword: str, value: Any) -> Sequence[tuple[str, object]]:
    """Return the schemas within a keyword, each with its place."""
    if keyword in _ONE:
        return [("", value)]
    if keyword in _MANY:
        return [(f"[{number}]", inner) for number, inner in enumerate(value)]
    if keyword in _NAMED:
        return [(f".{name[:40]}", inner) for name, inner in value.items()]
    return []


class _TooMuch(Exception):
    """The look has taken more steps than it may."""


class _Look:
    """One look at a value. Each judge returns where and why the value does not fit, or None."""

    def __init__(self) -> None:
        self._steps = 0

    def fault(self, schema: Schema, value: Any, at: str) -> str | None:
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise _TooMuch
        if isinstance(schema, bool):
            return None if schema else f"{at}: nothing may stand here"
        for judge in (self._kind, self._size, self._choice, self._object, self._array):
            found = judge(schema, value, at)
            if found is not None:
                return found
        return None

    def _kind(self, schema: Mapping[str, Any], value: Any, at: str) -> str | None:
        wanted = schema.get("type")
        names = [wanted] if isinstance(wanted, str) else wanted
        if names is not None and not any(_IS[name](value) for name in names):
            return f"{at}: not of type {' or '.join(names)}"
        if "const" in schema and not _same(schema["const"], value):
            return f"{at}: not the one value that is allowed"
        if "enum" in schema and not any(_same(one, value) for one in schema["enum"]):
            return f"{at}: not one of the values that are allowed"
        return None

    def _size(self, schema: Mapping[str, Any], value: Any, at: str) -> str | None:
        if _is_number(value):
            least, most = schema.get("minimum"), schema.get("maximum")
            above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
            is_within = (least is None or value >= least) and (most is None or value <= most)
            if not is_within or (above is not None and value <= above) or (below is not None and value >= below):
                return f"{at}: out of range"
        for kind, few, many in _SIZES:
            if isinstance(value, kind) and not schema.get(few, 0) <= len(value) <= schema.get(many, len(value)):
                return f"{at}: too few or too many"
        return None

    def _choice(self, schema: Mapping[str, Any], value: Any, at: str) -> str | None:
        for inner in schema.get("allOf", ()):
            found = self.fault(inner, value, at)
            if found is not None:
                return found
        fits = [self.fault(inner, value, at) is None for inner in schema.get("anyOf", ())]
        if fits and not any(fits):
            return f"{at}: none of what is allowed"
        fits = [self.fault(inner, value, at) is None for inner in schema.get("oneOf", ())]
        if fits and fits.count(True) != 1:
            return f"{at}: not exactly one of what is allowed"
        if "not" in schema and self.fault(schema["not"], value, at) is None:
            return f"{at}: what may not stand here"
        return None

    def _object(self, schema: Mapping[str, Any], value: Any, at: str) -> str | None:
        if not isinstance(value, dict):
            return None
        missing = next((name for name in schema.get("required", ()) if name not in value), None)
        if missing is not None:
            return f"{at}.{missing[:40]}: missing"
        known = schema.get("properties", {})
        for name, inner in value.items():
            found = self.fault(known.get(name, schema.get("additionalProperties", True)), inner, f"{at}.{name[:40]}")
            if found is not None:
                return found
        return None

    def _array(self, schema: Mapping[str, Any], value: Any, at: str) -> str | None:
        if not isinstance(value, list):
            return None
        first, rest = schema.get("prefixItems", ()), schema.get("items", True)
        for place, inner in enumerate(value):
            found = self.fault(first[place] if place < len(first) else rest, inner, f"{at}[{place}]")
            if found is not None:
                return found
        return None


def fault_of(schema: Schema, value: Any) -> str | None:
    """Return where and why `value`, decoded JSON, does not fit a schema without a problem; None if it does."""
    try:
        return _Look().fault(schema, value, "$")
    except _TooMuch:
        return "$: too large to be judged"


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are one in JSON: 1 is 1.0, and neither is true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if _is_list(one) and _is_list(other):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    # JSON Schema: 1.0 is an integer
    return _is_number(value) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


_IS: Mapping[str, Callable[[object], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "number": _is_number,
    "integer": _is_integer,
    "string": lambda value: isinstance(value, str),
}
_SIZES = (
    (str, "minLength", "maxLength"),
    (list, "minItems", "maxItems"),
    (dict, "minProperties", "maxProperties"),
)
