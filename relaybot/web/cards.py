"""The routes of top-ups by card: the page with price and terms, and the webhook of the card company.

A page is found by an address that nobody guesses; it shows what is bought, for whom and on
which terms, and nothing else of anybody. Taking it leads to the card company's own page: no
card's number ever comes here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from handlers.bot import Bot
from handlers.card_offers import BACK, ID_DIGITS, TERMS, desk_of, offer_of, price_in_words, take_offer
from handlers.card_payments import WORDS, nudge, tell
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.nip19 import encode_npub
from relaybot.nostr.strict_json import parse_json
from relaybot.web.html import Html, el, joined
from relaybot.web.layout import page, security_headers
from relaybot.web.rates import Rate
from relaybot.web.site import Site
from wallet.card_rules import Doubt, Offer
from wallet.card_signature import HEADER, check_signature
from wallet.money import format_sat
from wallet.states import OfferState
from wallet.stripe import parse_event

log = structlog.get_logger()

TAKES_PER_MINUTE = 20  # by one address: each asks the card company
LOOK_SECONDS = 3  # after which the page looks again by itself, when somebody comes back from paying
_CLICKS = {OfferState.OPEN: "Go on to pay"}  # the terms were taken before
_CLICK = "I accept these terms, go on to pay"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def card_routes(bot: Bot, site: Site) -> list[web.RouteDef]:
    """Return the routes, each to a handler over `bot`."""
    rate = Rate(TAKES_PER_MINUTE)

    async def show(request: web.Request) -> web.StreamResponse:
        return await _shown(bot, site, rate, request)

    async def take(request: web.Request) -> web.StreamResponse:
        return await _taken(bot, site, rate, request)

    async def webhook(request: web.Request) -> web.StreamResponse:
        return await _heard(bot, request)

    path = f"/topup/card/{{id:[0-9a-f]{{{ID_DIGITS}}}}}"
    return [web.get(path, show), web.post(path, take), web.post("/card/webhook", webhook)]


async def _asked_for(bot: Bot, request: web.Request) -> Offer:
    try:
        return await offer_of(bot, request.match_info["id"])
    except Rejected:
        raise web.HTTPNotFound from None


async def _shown(bot: Bot, site: Site, rate: Rate, request: web.Request) -> web.Response:
    offer, came_back = await _asked_for(bot, request), BACK in request.query
    response = _page(bot, site, offer, came_back=came_back)
    if came_back and offer.state is OfferState.OPEN:
        response.headers["Refresh"] = str(LOOK_SECONDS)
        if rate.allows(request.remote or "", bot.clock.now()):
            await nudge(bot, offer.id)
    return response


async def _taken(bot: Bot, site: Site, rate: Rate, request: web.Request) -> web.Response:
    """Take an offer, price and terms: on to the card company's page."""
    offer = await _asked_for(bot, request)
    if not rate.allows(request.remote or "", bot.clock.now()):
        return _page(bot, site, offer, problem="Too many tries; wait a minute.", status=429)
    try:
        where = await take_offer(bot, offer.id)
    except Rejected as refusal:
        offer = await offer_of(bot, offer.id)
        return _page(bot, site, offer, problem=_sentence(refusal.reason), status=409)
    except Unavailable as error:
        log.warning("card_unavailable", offer=offer.id, reason=str(error))
        problem = "The card company does not answer now; nothing was charged. Try again."
        return _page(bot, site, offer, problem=problem, status=503)
    return web.Response(status=303, headers={"Location": where})


async def _heard(bot: Bot, request: web.Request) -> web.Response:
    """Take a webhook: signed, not old, about something of ours; what it says is asked for again, never believed."""
    body = await request.read()  # the signature is over these bytes, whatever they mean; a mebibyte at most
    try:
        desk = desk_of(bot)
        check_signature(request.headers.get(HEADER, ""), body, desk.webhook_secret, now=bot.clock.now())
        document = parse_json(body)
    except Rejected as refusal:
        log.warning("card_webhook_refused", reason=str(refusal))
        return web.Response(status=400, text="refused\n")
    event = parse_event(document) if isinstance(document, dict) else None
    if event is not None and document.get("livemode") is desk.live:
        try:
            await tell(bot, event)
        except Unavailable:
            return web.Response(status=503)  # it is sent again
    return web.Response(text="heard\n")


def _sentence(reason: str) -> str:
    return f"{reason[0].upper()}{reason[1:]}."


def _page(
    bot: Bot, site: Site, offer: Offer, *, problem: str = "", came_back: bool = False, status: int = 200
) -> web.Response:
    pay_origin = bot.cards.provider.pay_origin if bot.cards is not None else ""
    text = page(
        site,
        el("div", el("h1", "Top up by card"), _said(problem), class_="opening"),
        _what(offer),
        _state(bot, offer, came_back=came_back),
        title="Top up by card",
    )
    response = web.Response(text=text, content_type="text/html", status=status)
    policy = security_headers()["Content-Security-Policy"]
    # A browser follows the answer to the form: the card company's page must be allowed to come of it.
    response.headers["Content-Security-Policy"] = policy.replace(
        "form-action 'none'", f"form-action 'self' {pay_origin}".rstrip()
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _said(problem: str) -> Html | None:
    return el("p", problem, class_="notice", role="alert") if problem else None


def _what(offer: Offer) -> Html:
    facts = (
        ("You get", el("strong", format_sat(offer.amount_msat))),
        ("It costs", el("strong", price_in_words(offer))),
        ("For", el("code", encode_npub(offer.pubkey))),
    )
    return el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in facts], class_="facts card")


def _state(bot: Bot, offer: Offer, *, came_back: bool) -> Html:
    now = bot.clock.now()
    payable = offer.state is OfferState.QUOTED and now <= offer.quote_until
    payable |= offer.state in {OfferState.ACCEPTED, OfferState.OPEN} and now < (offer.pay_until or 0)
    if payable and not came_back:
        return joined(
            el("section", el("h2", "The terms"), el("ul", [el("li", term) for term in TERMS], class_="terms")),
            el(
                "form",
                el("button", _CLICKS.get(offer.state, _CLICK), type="submit", class_="button"),
                el("p", "The card is given to the card company, on its own page; we never see its number."),
                method="post",
            ),
        )
    return el("section", el("h2", _HEADINGS[offer.state]), _more(offer))


_HEADINGS = {
    OfferState.QUOTED: "This price has expired",
    OfferState.ACCEPTED: "This price has expired",
    OfferState.OPEN: "We wait for the card company",
    OfferState.HELD: "Paid, and held for now",
    OfferState.CREDITED: "It is on your balance",
    OfferState.RETURNED: "The payment went back",
    OfferState.EXPIRED: "This price has expired",
}


def _more(offer: Offer) -> Html:
    match offer.state:
        case OfferState.HELD:
            words = [WORDS[Doubt(doubt)] for doubt in offer.doubts.split(",")]
            return el("p", _sentence("; ".join(words)), " You get a private message when it is decided.")
        case OfferState.CREDITED:
            return el("p", "Ask an agent for a job: see ", el("a", "the agents", href="/agents"), ".")
        case OfferState.OPEN:
            again = el("a", "Go back to pay", href="?")
            return el("p", "If you have paid, this page says so in a moment. ", again, " if you have not.")
        case OfferState.RETURNED:
            return el("p", "Nothing was added to the balance.")
        case (
            OfferState.QUOTED | OfferState.ACCEPTED | OfferState.EXPIRED
        ):  # pragma: no branch  (the type checker knows no other)
            return el("p", "Ask for another one: write ", el("code", "topup <sats> card"), " to the service.")
