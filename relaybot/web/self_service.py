"""Everything of one's own over HTTP: the account's pages, links that withdraw, the API."""

from __future__ import annotations

from aiohttp import web

from relaybot.web.account.desk import Desk
from relaybot.web.account.routes import account_routes
from relaybot.web.api.door import Tokens
from relaybot.web.api.openapi import openapi_route
from relaybot.web.api.routes import api_routes
from relaybot.web.withdraw_links import withdraw_routes


def self_service_routes(desk: Desk, tokens: Tokens) -> list[web.RouteDef]:
    """Return all routes of it."""
    return [*account_routes(desk), *withdraw_routes(desk.bot), *api_routes(desk, tokens), openapi_route()]
