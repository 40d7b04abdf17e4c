"""Every address of the account, in one table; what needs no session says so."""

from __future__ import annotations

from aiohttp import web

from handlers.sessions import LINK_PATH, SIGN_IN_PATH
from relaybot.web.account import signing
from relaybot.web.account.balance import balance_page
from relaybot.web.account.desk import Desk, Route
from relaybot.web.account.frame import SCRIPT_PATH, script

ROUTES = (
    Route("GET", SIGN_IN_PATH, signing.sign_in_page, open=True),
    Route("POST", SIGN_IN_PATH, signing.do_sign_in, again=signing.sign_in_page, open=True),
    Route("GET", f"{LINK_PATH}/{{token}}", signing.link_page, open=True),
    Route("POST", f"{LINK_PATH}/{{token}}", signing.do_link, open=True),
    Route("POST", "/account/sign-out", signing.do_sign_out),
    Route("GET", "/account", balance_page),
)


def account_routes(desk: Desk) -> list[web.RouteDef]:
    """Return the routes of the account's pages, and of their script."""
    return [web.get(SCRIPT_PATH, _script), *(desk.route(route) for route in ROUTES)]


async def _script(_: web.Request) -> web.Response:
    return web.Response(text=script(), content_type="text/javascript", headers={"Cache-Control": "public, max-age=300"})
