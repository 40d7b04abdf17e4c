"""YAML as configuration needs it: each key once, keys that are words, and errors with their line.

Whatever comes out can be written as JSON; what the keys mean is not known here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Hashable
from typing import Any

import yaml

from relaybot.errors import BadConfig

_BRACKETS, _QUOTES = ("[", "{"), ("'", '"')


class _Strict(yaml.constructor.SafeConstructor):
    """Plain YAML, strict about keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  PyYAML's signature
        """Refuse keys that are no words, or stand there twice: the last one would win in silence."""
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    problem="a key that is not a word", problem_mark=key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(problem=f"{key!r} twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Loader(_Strict, yaml.SafeLoader):
    """In Python: it knows in which line something is wrong."""


class _QuickLoader(_Strict, yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """In C where PyYAML has it, ten times as fast; its lines are sometimes the next one."""


def parse_yaml(text: str, *, name: str) -> object:
    """Return what `text` says; BadConfig with `name` and the line if it is no YAML we take."""
    try:
        return json.loads(json.dumps(_loaded(text), default=str))
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        raise BadConfig(f"{name}{line}", error.problem, "YAML, each key once, each a word") from None
    except yaml.YAMLError:  # a character that YAML does not know
        raise BadConfig(name, "a control character", "YAML, in printable characters") from None
    except (ValueError, RecursionError):  # an anchor inside itself, brackets or digits by the thousand
        raise BadConfig(name, "a value that cannot be read", "values that are not inside themselves, and end") from None


def _loaded(text: str) -> object:
    with contextlib.suppress(yaml.YAMLError):
        return yaml.load(text, _QuickLoader)  # noqa: S506  a safe one
    return yaml.load(text, _Loader)  # noqa: S506  a safe one


def parse_scalar(text: str, *, name: str) -> object:
    """Return one value as it stands in an environment variable.

    `600`, `true`, `null`, `[a, b]` and `{a: b}` are what YAML takes them for; all other
    text is itself, so that a sentence may hold a colon or a hash.
    """
    start = text.strip()[:1]
    try:
        value = parse_yaml(text, name=name)
    except BadConfig:
        if start in _BRACKETS:
            raise
        return text
    if isinstance(value, dict | list):
        return value if start in _BRACKETS else text
    return text if isinstance(value, str) and start not in _QUOTES else value
