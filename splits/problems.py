"""What is wrong with a written split or configuration: all of it at once, in words, and no secret shown.

Here pydantic's errors become BadConfig items with the path as it stands in the file,
what was found there and what is allowed. No rule of the language itself stands here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from relaybot.errors import BadConfig, RelaybotError

FOUND_LETTERS_MAX = 80  # enough to recognise a value; a whole file pasted into one is not repeated

_SECRET_NAME = re.compile(r"secret|nsec|password|token|mnemonic|private", re.IGNORECASE)
_NSEC = re.compile(r"nsec1\w*", re.IGNORECASE)
_LONG_HEX = re.compile(r"\b([0-9a-fA-F]{8})[0-9a-fA-F]{24,}\b")  # a key: nobody can tell a public from a secret one
_PREAMBLE = re.compile(r"^(?:Input|String|Tuple) should (?:be |have )?(.*?)(?: after validation, not \w+)?$")
_SHAPES = {"dict_type": "a mapping", "model_type": "a mapping", "tuple_type": "a list"}  # where pydantic speaks of JSON
_URL_PASSWORD = re.compile(r"://[^/@\s]*@")


class BadConfigs(RelaybotError):
    """One or more configuration values are refused; `problems` holds each of them."""

    def __init__(self, problems: Iterable[BadConfig]) -> None:
        """Keep each problem once, in the order found: skills used twice bring theirs twice."""
        unique: dict[tuple[str, str], BadConfig] = {}
        for problem in problems:
            unique.setdefault((problem.path, problem.allowed), problem)
        self.problems = tuple(unique.values())
        super().__init__(self.problems)

    def __str__(self) -> str:
        """Return one line a problem."""
        return "\n".join(str(problem) for problem in self.problems)


def redacted(path: str, value: object) -> object:
    """Return `value` as it may be shown in an error about `path`: short, and without secrets."""
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(sorted(map(str, value)))[:FOUND_LETTERS_MAX]}" if value else "an empty mapping"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if not isinstance(value, str):
        return value
    if _SECRET_NAME.search(path.rpartition(".")[2]):
        return "(not shown)"
    shown = _URL_PASSWORD.sub("://(not shown)@", _NSEC.sub("nsec1(not shown)", value))
    return _LONG_HEX.sub(r"\1…", shown)[:FOUND_LETTERS_MAX]


def problems_of(error: ValidationError, model: type[BaseModel], *, prefix: str = "") -> list[BadConfig]:
    """Return what pydantic found wrong with a `model`, each with its path (under `prefix`)."""
    return [_problem(details, model, prefix) for details in error.errors(include_url=False, include_context=False)]


def _problem(details: ErrorDetails, model: type[BaseModel], prefix: str) -> BadConfig:
    where = tuple(part for part in details["loc"] if part != "[key]")
    path = path_of(where, prefix=prefix) or "the whole"
    match details["type"]:
        case "extra_forbidden":
            return BadConfig(path, "an unknown key", "one of " + ", ".join(_known_keys(model, where[:-1])))
        case "missing":
            return BadConfig(path, "nothing", "a value: this key is required")
        case _:
            found = where[-1] if len(where) < len(details["loc"]) else redacted(path, details["input"])
            return BadConfig(path, found, _SHAPES.get(details["type"]) or _PREAMBLE.sub(r"\1", details["msg"]))


def path_of(where: Iterable[str | int], *, prefix: str = "") -> str:
    """Return the place of a value as one writes it: `agents.autodev.skills[0].shares[2]`."""
    path = prefix
    for part in where:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _known_keys(model: type[BaseModel], where: Iterable[str | int]) -> list[str]:
    """Return the keys of the model that stands at `where` inside `model`."""
    current: Any = model
    for part in where:
        if isinstance(current, type) and issubclass(current, BaseModel):
            current = _bare(current.model_fields[str(part)].annotation)
        else:  # a mapping's values, a tuple's items
            current = _bare(next(arg for arg in reversed(get_args(current)) if arg is not ...))
    return sorted(field.alias or name for name, field in current.model_fields.items())


def _bare(annotation: Any) -> Any:
    """Return a type without its `Annotated` and its `| None`."""
    while get_origin(annotation) in {Annotated, Union, UnionType}:
        annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
    return annotation
