"""The web application: routes, security headers, and pages for what is not found.

Handlers are one line each; what they show is made in the page modules. The relay
hands over a connection whose first request is no websocket and no NIP-11 question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from relaybot.web.agents import agent_page, agents_page
from relaybot.web.api.problems import is_api, problem
from relaybot.web.days import day_page, days_page
from relaybot.web.feeds import accounts_json, atom_feed
from relaybot.web.home import home_page
from relaybot.web.how import how_page
from relaybot.web.html import el
from relaybot.web.layout import MARK, page, picture, security_headers
from relaybot.web.published import PublishedAccounts
from relaybot.web.schema import schema_routes
from relaybot.web.site import Site

PAGE_SECONDS = 60  # a new day appears at most this late in a cache
BODY_BYTES_MAX = 65_536  # of a form or an API request: a job's input fits


def build_app(
    accounts: PublishedAccounts,
    site: Site,
    *,
    ready: Callable[[], bool] = lambda: True,
    more: Iterable[web.RouteDef] = (),
) -> web.Application:
    """Return the application over `accounts`; `/readyz` asks `ready` each time, `more` are routes beside the pages."""
    app = web.Application(middlewares=[_error_pages(site)], client_max_size=BODY_BYTES_MAX)
    app.on_response_prepare.append(_add_headers)

    home_text = _kept(lambda: (accounts.count, tuple(site.agents)), lambda: home_page(accounts, site))

    async def home(_: web.Request) -> web.Response:
        response = _html(home_text())
        response.force_close()  # a kept-alive connection on `/` may be reused for a websocket upgrade
        return response

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ready\n") if ready() else web.Response(text="not ready\n", status=503)

    app.add_routes(
        [
            web.get("/", home),
            *_account_routes(accounts, site),
            *_agent_routes(site),
            *schema_routes(),
            web.get("/preview.png", _preview),
            web.get("/icon.svg", _icon),
            web.get("/healthz", _healthz),
            web.get("/readyz", readyz),
            *more,
        ]
    )
    return app


def _account_routes(accounts: PublishedAccounts, site: Site) -> list[web.RouteDef]:
    """Return the routes of the published days: pages, and documents for programs."""
    days_text = _kept(lambda: accounts.count, lambda: days_page(accounts, site))
    feed_text = _kept(lambda: accounts.count, lambda: atom_feed(accounts, site))
    json_text = _kept(lambda: accounts.count, lambda: accounts_json(accounts, site))

    async def days(_: web.Request) -> web.Response:
        return _html(days_text())

    async def day(request: web.Request) -> web.Response:
        published = accounts.day(request.match_info["day"])
        if published is None:
            raise web.HTTPNotFound
        return _html(day_page(published, accounts, site))

    async def feed(_: web.Request) -> web.Response:
        return _kept_for_a_while(web.Response(text=feed_text(), content_type="application/atom+xml"))

    async def document(_: web.Request) -> web.Response:
        response = _kept_for_a_while(web.Response(text=json_text(), content_type="application/json"))
        response.headers["Access-Control-Allow-Origin"] = "*"  # it is public, and for programs
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return response

    return [
        web.get("/accounts", days),
        web.get("/accounts/{day}", day),
        web.get("/accounts.atom", feed),
        web.get("/accounts.json", document),
    ]


def _agent_routes(site: Site) -> list[web.RouteDef]:
    """Return the routes of what the configuration says: the agents, and how the money flows."""

    async def agents(_: web.Request) -> web.Response:
        return _html(agents_page(site))

    async def agent(request: web.Request) -> web.Response:
        card = next((one for one in site.agents if one.id == request.match_info["agent"]), None)
        if card is None:
            raise web.HTTPNotFound
        return _html(agent_page(card, site))

    async def how(_: web.Request) -> web.Response:
        return _html(how_page(site))

    return [web.get("/agents", agents), web.get("/agents/{agent}", agent), web.get("/how", how)]


def _kept(shown: Callable[[], object], render: Callable[[], str]) -> Callable[[], str]:
    """Return `render` so that it works anew only after what is `shown` has changed."""
    last: object = None
    text = ""

    def page_text() -> str:
        nonlocal last, text
        now = shown()
        if now != last or not text:
            last, text = now, render()
        return text

    return page_text


async def _icon(_: web.Request) -> web.Response:
    return web.Response(text=MARK, content_type="image/svg+xml", headers={"Cache-Control": "public, max-age=86400"})


async def _preview(_: web.Request) -> web.Response:
    response = web.Response(body=picture(), content_type="image/png")
    response.headers.update({"Cache-Control": "public, max-age=86400", "Cross-Origin-Resource-Policy": "cross-origin"})
    return response


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in security_headers().items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = security_headers()["Server"]
    response.headers.setdefault("Cache-Control", "no-store")


def _error_pages(site: Site) -> Middleware:
    """Return the middleware that answers a wrong path or method: with a page, or as the API does."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound:
            if is_api(request.path):
                return problem(404, "not-found", "Not found", "the API has no such address")
            return _html(_not_found(site, request.path), status=404)
        except web.HTTPMethodNotAllowed as error:
            allow = {"Allow": ", ".join(sorted(error.allowed_methods))}
            if is_api(request.path):
                detail = f"only {allow['Allow']} are answered here"
                return problem(405, "invalid", "Not this method", detail, headers=allow)
            return web.Response(text=f"Only {allow['Allow']} are answered here.\n", status=405, headers=allow)

    return answer


class _Nowhere(NamedTuple):
    """What is said of an address that leads nowhere, by its beginning, and what to look at instead."""

    start: str
    reason: str
    path: str
    name: str


_NOWHERE = (
    _Nowhere("/accounts/", reason="No accounts were published for that day.", path="/accounts", name="All days"),
    _Nowhere("/agents/", reason="No agent of this name takes jobs here now.", path="/agents", name="All agents"),
    _Nowhere(
        "/account/",
        reason="This is no page of yours: it has gone, or the address is not whole.",
        path="/account",
        name="Your account",
    ),
    _Nowhere("", reason="There is no such page.", path="/", name="Public accounts"),
)


def _not_found(site: Site, path: str) -> str:
    found = next(one for one in _NOWHERE if path.startswith(one.start))
    heading = el("div", el("h1", "Not found"), el("p", found.reason, class_="lede"), class_="opening")
    return page(site, heading, el("p", el("a", found.name, href=found.path, class_="button")), title="Not found")


def _html(text: str, status: int = 200) -> web.Response:
    response = web.Response(text=text, content_type="text/html", status=status)
    return _kept_for_a_while(response) if status == 200 else response  # noqa: PLR2004 -- OK


def _kept_for_a_while(response: web.Response) -> web.Response:
    response.headers["Cache-Control"] = f"public, max-age={PAGE_SECONDS}"
    return response
