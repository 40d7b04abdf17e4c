"""The routes of Lightning Addresses (LUD-16) and Nostr names (NIP-05): HTTP around `handlers/pay_requests.py`.

Every answer is JSON that any page may read (CORS), an error as LUD-06 wants it: status 200,
`{"status": "ERROR", "reason": …}`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from handlers import pay_requests
from handlers.bot import Bot
from relaybot.errors import Rejected, Unavailable
from relaybot.web.rates import Rate

Answer = Callable[[web.Request], Awaitable[web.Response]]


def address_routes(bot: Bot) -> list[web.RouteDef]:
    """Return the routes, each to a handler over `bot`."""
    rate = Rate(bot.config.zaps.requests_per_minute)

    async def describe(request: web.Request) -> Mapping[str, Any]:
        return await pay_requests.describe(bot, request.match_info["name"])

    async def invoice(request: web.Request) -> Mapping[str, Any]:
        if not rate.allows(request.remote or "", bot.clock.now()):
            raise Rejected("rate-limited", "too many requests for invoices; wait a minute")
        query = request.query
        asked = pay_requests.Asked(
            amount=query.get("amount", ""),
            nostr=query.get("nostr", ""),
            comment=query.get("comment", ""),
            payerdata=query.get("payerdata", ""),
        )
        return await pay_requests.request(bot, request.match_info["name"], asked)

    async def verify(request: web.Request) -> Mapping[str, Any]:
        return await pay_requests.state_of(bot, request.match_info["hash"])

    async def names(request: web.Request) -> Mapping[str, Any]:
        return await pay_requests.nostr_names(bot, request.query.get("name", "_"))

    return [
        web.get("/.well-known/lnurlp/{name}", answering(describe)),
        web.get("/lnurlp/{name}/callback", answering(invoice)),
        web.get("/lnurlp/verify/{hash:[0-9a-f]{64}}", answering(verify)),
        web.get("/.well-known/nostr.json", answering(names)),
    ]


def answering(answer: Callable[[web.Request], Awaitable[Mapping[str, Any]]]) -> Answer:
    """Return the handler that sends what `answer` returns, and what it refuses, as LUD-06 wants both."""

    async def respond(request: web.Request) -> web.Response:
        try:
            body = await answer(request)
        except Rejected as refusal:
            body = {"status": "ERROR", "reason": _reason(refusal)}
        except Unavailable:
            body = {"status": "ERROR", "reason": "the Lightning node does not answer now; try again"}
        return web.json_response(body, headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"})

    return respond


def _reason(refusal: Rejected) -> str:
    """Return what a person reads in their wallet: the reason and its figures, without the machine's prefix."""
    return str(refusal).removeprefix(f"{refusal.prefix}: ")
