"""All keys there are, found in the models: `jobs.ttl_seconds`, `agents.<id>.price.base`, `shares[].to`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from relaybot.config import Config
from relaybot.settings.sections import BulkStep
from splits.model import ShareModel

NAMES = {"people": "<name>", "skills": "<id>", "agents": "<id>"}


def all_keys() -> list[str]:
    """Return every key of config.yaml, the language of shares once, under `shares[]`."""
    return [*_keys(Config, ""), *_keys(ShareModel, "shares[].")]


def _keys(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        inner = _models_in(field.annotation)
        if name in NAMES and prefix == "":
            yield from _keys(inner[0], f"{path}.{NAMES[name]}.") if inner else [f"{path}.{NAMES[name]}"]
        elif name == "price":
            yield from (path, *_keys(inner[0], f"{path}."))
        elif name == "retention":
            yield from (path, *(f"{path}[].{key}" for key in inner[0].model_fields))
        elif name == "params":
            yield from (path, *_keys(inner[0], f"{path}.<name>."))
        elif name == "split":
            yield from (path, *(f"{path}.{key}" for key in inner[0].model_fields))
        elif inner and inner[0] not in {ShareModel, BulkStep}:
            yield from _keys(inner[0], f"{path}.")
        else:
            yield path


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Annotated:
        return _models_in(get_args(annotation)[0])
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def value_at(data: Mapping[str, Any], path: str) -> Any:
    """Return what stands at `path`; KeyError if nothing does."""
    found: Any = data
    for key in path.split("."):
        found = found[key]
    return found
