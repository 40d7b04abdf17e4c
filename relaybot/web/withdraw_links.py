"""The routes of links that withdraw (LUD-03): HTTP around `handlers/withdraw_links.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from handlers.bot import Bot
from handlers.withdraw_links import PATH, describe_link, use_link
from relaybot.errors import Rejected
from relaybot.web.addresses import answering
from relaybot.web.rates import Rate


def withdraw_routes(bot: Bot) -> list[web.RouteDef]:
    """Return the routes, each to a handler over `bot`."""
    rate = Rate(bot.config.zaps.requests_per_minute)

    def check_rate(request: web.Request) -> None:
        if not rate.allows(request.remote or "", bot.clock.now()):
            raise Rejected("rate-limited", "too many requests; wait a minute")

    async def describe(request: web.Request) -> Mapping[str, Any]:
        check_rate(request)
        return await describe_link(bot, request.match_info["k1"])

    async def use(request: web.Request) -> Mapping[str, Any]:
        check_rate(request)
        k1 = request.match_info["k1"]
        if request.query.get("k1", k1) != k1:
            raise Rejected("invalid", "k1: another one than in the address")
        return await use_link(bot, k1, request.query.get("pr", ""))

    return [web.get(f"{PATH}/{{k1}}", answering(describe)), web.get(f"{PATH}/{{k1}}/callback", answering(use))]
