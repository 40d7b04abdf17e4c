"""Environment variables over the file: `RELAYBOT_JOBS__TTL_SECONDS=600` is `jobs.ttl_seconds: 600`.

Two underscores go one level down; a list is given whole (`RELAYBOT_RELAYS='[ws://…]'`).
Whether a key exists and takes the value is found out with all the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from relaybot.errors import BadConfig
from relaybot.settings.yaml_text import parse_scalar

PREFIX = "RELAYBOT_"
NOT_KEYS = frozenset({"RELAYBOT_SECRET", "RELAYBOT_CONFIG"})  # the master secret, and which file is read

_NAMED = frozenset({"people", "skills", "agents"})  # their keys are names, in which a hyphen stands for `_`


@dataclass(frozen=True, slots=True)
class Overridden:
    """The data with the variables laid over it, which variable stands behind which path, and what is wrong."""

    data: dict[str, object]
    variables: dict[str, str] = field(default_factory=dict)
    problems: list[BadConfig] = field(default_factory=list)

    def traced(self, problem: BadConfig) -> BadConfig:
        """Return `problem`, naming the variable if its value comes from one and not from the file."""
        for path, variable in self.variables.items():
            if problem.path == path or problem.path.startswith((f"{path}.", f"{path}[")):
                return BadConfig(problem.path, problem.found, f"{problem.allowed} (set by {variable})")
        return problem


def override(data: dict[str, object], env: Mapping[str, str]) -> Overridden:
    """Lay the variables over `data`, sections before what is in them."""
    laid = Overridden(data)
    for variable in sorted(name for name in env if name.startswith(PREFIX) and name not in NOT_KEYS):
        try:
            keys = keys_of(variable)
            value = parse_scalar(env[variable], name=variable)
            laid = replace(laid, data=_laid(laid.data, keys, value, variable))
            laid.variables[".".join(keys)] = variable
        except BadConfig as problem:
            laid.problems.append(problem)
    return laid


def keys_of(variable: str) -> tuple[str, ...]:
    """Return the keys a variable names, from the section down; BadConfig if one is empty."""
    keys = tuple(variable.removeprefix(PREFIX).lower().split("__"))
    if not all(keys):
        raise BadConfig(variable, "an empty key", "RELAYBOT_SECTION__KEY, two underscores a level")
    if keys[0] in _NAMED:
        return (keys[0], *(key.replace("_", "-") if place == 0 else key for place, key in enumerate(keys[1:])))
    return keys


def _laid(data: dict[str, object], keys: tuple[str, ...], value: object, variable: str) -> dict[str, object]:
    """Return a copy of `data` with `value` at `keys`; BadConfig if something else than a mapping is in the way."""
    key, *deeper = keys
    if not deeper:
        return data | {key: value}
    inner = data.get(key)
    if inner is None:
        inner = {}
    if not isinstance(inner, dict):
        raise BadConfig(variable, f"{key} is no mapping", "a key that exists, or the whole value")
    return data | {key: _laid(inner, tuple(deeper), value, variable)}
