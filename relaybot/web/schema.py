"""The routes of the JSON Schema that authors write skills and agents by (kind 37172)."""

from __future__ import annotations

import json
from functools import cache

from aiohttp import web

from splits.schema import MODELS, schema_of, whole_schema


def schema_routes() -> list[web.RouteDef]:
    """Return the routes: both in one, and each by itself; any page may read them (CORS)."""

    async def both(_: web.Request) -> web.Response:
        return _answered(_written(""))

    async def one(request: web.Request) -> web.Response:
        if request.match_info["name"] not in MODELS:
            raise web.HTTPNotFound
        return _answered(_written(request.match_info["name"]))

    return [web.get("/schema", both), web.get("/schema/{name}", one)]


@cache
def _written(name: str) -> str:
    """Return the schema of `name`, of both if it is empty: made when it is first asked for."""
    schema = schema_of(name) if name else whole_schema()
    return f"{json.dumps(schema, indent=2)}\n"


def _answered(text: str) -> web.Response:
    return web.Response(
        text=text,
        content_type="application/schema+json",
        headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=3600"},
    )
