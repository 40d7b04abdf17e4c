"""What every page of an account works with, and the one door that all of them stand behind.

A request comes in by `Desk.route` only: its host must be ours, its session open, its form
sent from our own page (Origin, and a token of the session), its sender not too fast. A page
sees a `Visit` and asks for what belongs to `visit.me`; whose it is never comes from the request.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from handlers.bot import Bot
from handlers.sessions import SIGN_IN_PATH, Session, session_of
from relaybot.config import Config
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.event import Event
from relaybot.nostr.messages import Ok
from relaybot.web.account.frame import Problem, account_page, error_page
from relaybot.web.account.live import Live
from relaybot.web.html import Child
from relaybot.web.rates import Rate
from relaybot.web.site import Site

NEXT_CHARACTERS_MAX = 300

_FORM = "application/x-www-form-urlencoded"
_STATUS = {"auth-required": 403, "restricted": 403, "rate-limited": 429, "duplicate": 409}
_OTHER_HOST = "Open this page at the service's own address: {url}"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to an account page, let in: where it came to, by whom, with which form."""

    request: web.Request
    origin: str  # ours, as the browser knows it
    session: Session | None
    form: Mapping[str, str] = field(default_factory=dict, repr=False)
    problem: str = ""  # what was wrong with the form, on the page that is shown again

    @property
    def me(self) -> str:
        """The hex pubkey of who is signed in."""
        assert self.session is not None, "this page asks for a session"
        return self.session.pubkey

    def said(self, name: str) -> str:
        """Return what the form, or else the query, says under `name`."""
        return self.form.get(name, self.request.query.get(name, "")).strip()


Page = Callable[["Desk", Visit], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One address of the account: `again` is the page that is shown when what a form says is refused."""

    method: str
    path: str
    page: Page
    again: Page | None = None
    open: bool = False  # asks for no session


@dataclass(frozen=True, slots=True)
class Desk:
    """The bot, what is beside it, and the names by which browsers find us."""

    bot: Bot
    site: Site
    secret: bytes = field(repr=False)  # seals challenges
    process: str  # that handles what the pages put into the inbox
    wake: Callable[[], None]  # lets it look
    publish: Callable[[Event], Awaitable[Ok]]  # on the embedded relay
    origins: frozenset[str]
    rate: Rate
    live: Live = field(default_factory=Live)

    def route(self, route: Route) -> web.RouteDef:
        """Return the route, behind the door."""
        return web.route(route.method, route.path, self._guarded(route))

    def shown(
        self, visit: Visit, *content: Child, title: str, here: str = "", status: int = 200, refresh: int = 0
    ) -> web.Response:
        """Return a page of the account; it is loaded again every `refresh` seconds where no script runs."""
        return account_page(
            self.site, visit.session, *content, title=title, here=here, status=status, refresh=refresh,
            problem=visit.problem,
        )  # fmt: skip

    def _guarded(self, route: Route) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            origin = origin_named(request, self.origins)
            if origin is None:
                there = _OTHER_HOST.format(url=self.bot.config.web_url)
                return error_page(self.site, Problem(421, "Another address", there))
            try:
                return await self._let_in(route, request, origin)
            except Rejected as refusal:
                problem = Problem(_STATUS.get(refusal.prefix, 400), "That did not work", in_words(refusal))
            except Unavailable:
                problem = Problem(
                    503, "Not now", "Something outside does not answer now; nothing was changed. Try again."
                )
            return error_page(self.site, problem)

        return answer

    async def _let_in(self, route: Route, request: web.Request, origin: str) -> web.StreamResponse:
        session = await session_of(self.bot, request.cookies.get(cookie_name(origin), ""))
        visit = Visit(request, origin, session)
        sender = session.pubkey if session is not None else request.remote or ""
        if not self.rate.allows(sender, self.bot.clock.now()):
            raise Rejected("rate-limited", "too many requests; wait a minute")
        sends = request.method == hdrs.METH_POST
        if session is None and not route.open:
            if sends:
                raise Rejected("auth-required", "your session is over: sign in again, then send it once more")
            raise web.HTTPSeeOther(f"{SIGN_IN_PATH}?next={quote(request.path_qs[:NEXT_CHARACTERS_MAX])}")
        if not sends:
            return await route.page(self, visit)
        visit = Visit(request, origin, session, await _form(request, origin))
        if not route.open:
            _check_token(visit)
        try:
            return await route.page(self, visit)
        except Rejected as refusal:
            if route.again is None:
                raise
            again = Visit(request, origin, session, visit.form, in_words(refusal))
            response = await route.again(self, again)
            response.set_status(_STATUS.get(refusal.prefix, 400))
            return response


def origins_of(config: Config) -> frozenset[str]:
    """Return the origins by which browsers find us: one, and this machine's own names if no other is configured."""
    named = {config.web_url}
    if config.web.url is None and config.relay.url is None:
        named |= {f"http://{name}:{config.relay.port}" for name in ("127.0.0.1", "localhost", "[::1]")}
    return frozenset(named)


def origin_named(request: web.Request, origins: frozenset[str]) -> str | None:
    """Return which of our origins a request came to: a page of another name could be anybody's."""
    host = request.headers.get(hdrs.HOST, "").lower()
    return next((one for one in sorted(origins) if one.partition("://")[2] == host), None)


def cookie_name(origin: str) -> str:
    """Return the session cookie's name; `__Host-` has the browser take it from us alone, over TLS."""
    return "__Host-relaybot" if origin.startswith("https:") else "relaybot"


def in_words(refusal: Rejected) -> str:
    """Return a refusal as people read it: the reason and its figures, without the machine's prefix."""
    return str(refusal).removeprefix(f"{refusal.prefix}: ")


async def _form(request: web.Request, origin: str) -> Mapping[str, str]:
    """Return what a form says; Rejected if it does not come from a page of ours."""
    if request.headers.get(hdrs.ORIGIN) != origin:
        raise Rejected("auth-required", "this form was not sent from our own page")
    if request.content_type != _FORM:
        raise Rejected("invalid", "a form is sent as application/x-www-form-urlencoded")
    read = await request.post()
    return {name: value for name, value in read.items() if isinstance(value, str)}


def _check_token(visit: Visit) -> None:
    assert visit.session is not None, "a form of the account asks for a session"
    if not hmac.compare_digest(visit.said("csrf").encode(), visit.session.csrf.encode()):
        raise Rejected("auth-required", "this form is of another session: load the page again")
