"""The OpenAPI document of the API, made from the table of its endpoints and the models they take and answer."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from relaybot.web.api.door import KEY_HEADER
from relaybot.web.api.models import Problem
from relaybot.web.api.problems import BASE, MEDIA_TYPE
from relaybot.web.api.routes import OPENAPI_PATH, OPERATIONS, Operation

_REF = "#/components/schemas/{model}"
_NOT_DONE = {
    400: "the body is no JSON",
    401: "not signed as it must be",
    403: "not allowed, or not now",
    404: "nothing of yours has this id",
    409: "done before, and with another content",
    413: "too large",
    422: "something of it is not as it must be: `field` says what",
    429: "too much at once: come again after `Retry-After`",
    503: "something outside does not answer now",
}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_ABOUT = (
    "Each request carries `Authorization: Nostr <event in base64>`: an event of kind 27235 (NIP-98) with the whole"
    " address (`u`), the method, and the SHA-256 of the body (`payload`), signed anew for each request; two of one"
    " second that say the same need a tag to tell them apart. What changes something is done once for each"
    f" `{KEY_HEADER}`; the same key with another content is refused. Amounts asked for are in sats,"
    " amounts told in msat."
)


@cache
def openapi() -> dict[str, Any]:
    """Return the document (OpenAPI 3.1)."""
    used: set[type[BaseModel]] = {Problem}
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        used |= {model for model in (one.answer, one.body) if model is not None}
        paths.setdefault(BASE + one.path, {})[one.method.lower()] = _described(one)
    ordered = sorted(used, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {"title": "relaybot", "version": version("relaybot"), "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"nostr": {"type": "http", "scheme": "Nostr", "description": "NIP-98"}},
        },
        "security": [{"nostr": []}],
    }


def openapi_route() -> web.RouteDef:
    """Return the route of the document, which everybody may read."""

    async def answer(_: web.Request) -> web.Response:
        headers = {"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"}
        return web.json_response(openapi(), headers=headers)

    return web.get(OPENAPI_PATH, answer)


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": operation.run.__name__,
        "parameters": [*_parameters(operation)],
        "responses": {
            "200": {"description": "done", "content": {"application/json": {"schema": _ref(operation.answer)}}},
            **{str(status): _problem(_NOT_DONE[status]) for status in _refusals(operation)},
        },
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(operation.body)}}}
    return described


def _refusals(operation: Operation) -> list[int]:
    """Return the statuses of what is not done, by what the endpoint takes and does."""
    found = {401, 413, 422, 429, 503}
    found |= {404} if _PLACEHOLDER.search(operation.path) else set()
    found |= {400, 403} if operation.body is not None else set()
    found |= {403, 409} if operation.changes else set()
    return sorted(found)


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": _ref(Problem)}}}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PLACEHOLDER.findall(operation.path)
    ]
    if operation.query is not None:
        schema = operation.query.model_json_schema()
        required = schema.get("required", [])
        found += [
            {"name": name, "in": "query", "required": name in required, "schema": one}
            for name, one in schema["properties"].items()
        ]
    if operation.changes:
        found.append({"name": KEY_HEADER, "in": "header", "required": False, "schema": {"type": "string"}})
    return found


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}
