"""The routes of the JSON Schema that authors write skills and agents by (kind 37172)."""

from __future__ import annotations

import json

from aiohttp import web

from splits.schema import MODELS, Schema, schema_of, whole_schema


def schema_routes() -> list[web.RouteDef]:
    """Return the routes: both in one, and each by itself; any page may read them (CORS)."""
    parts = {name: _answer_of(schema_of(name)) for name in MODELS}
    whole = _answer_of(whole_schema())

    async def both(_: web.Request) -> web.Response:
        return _answered(whole)

    async def one(request: web.Request) -> web.Response:
        text = parts.get(request.match_info["name"])
        if text is None:
            raise web.HTTPNotFound
        return _answered(text)

    return [web.get("/schema", both), web.get("/schema/{name}", one)]


def _answer_of(schema: Schema) -> str:
    return f"{json.dumps(schema, indent=2)}\n"


def _answered(text: str) -> web.Response:
    return web.Response(
        text=text,
        content_type="application/schema+json",
        headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=3600"},
    )
