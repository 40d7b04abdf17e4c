"""The simulated card company's HTTP: the calls of Stripe's API that a shop needs, the pay page, and its levers.

Below `/control` stand the levers: what a bank, the company or a network does by itself
(docs/cards.md). It listens on this machine only.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from relaybot.cardsim.pages import challenge_page, over_page, pay_page
from relaybot.cardsim.webhooks import Manner, Webhooks
from relaybot.cardsim.world import CardWorld, Chance, Object, Outcome, Refused
from relaybot.clock import Clock, SystemClock
from relaybot.errors import BadConfig

log = structlog.get_logger()

SECRET_KEY = "sk_test_simulated"  # noqa: S105  of play money: it opens nothing
WEBHOOK_SECRET = "whsec_simulated"  # noqa: S105  the same
EVENTS_MAX = 100

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class CardCompany:
    """The simulated card company, listening."""

    def __init__(
        self,
        data_dir: Path | None,
        *,
        webhook_url: str,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        chance: Chance = secrets.token_bytes,
    ) -> None:
        """Take where it remembers (None: nowhere), and where its webhooks go. Nothing is written before `start`."""
        self._data_dir = data_dir
        self._clock = clock or SystemClock()
        self._chance = chance
        self._where = (host, port)
        self.webhooks = Webhooks(webhook_url, WEBHOOK_SECRET, self._clock)
        self._sending: asyncio.Task[None] | None = None
        self.url = ""

    async def start(self) -> str:
        """Listen, and return the address; BadConfig if the port is taken."""
        if self._data_dir is not None:
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._data_dir / "cards.json" if self._data_dir is not None else None
        self.world = CardWorld(path, self._clock, self._chance, self.webhooks.tell)
        app = web.Application()
        app.add_routes(self._routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, *self._where).start()
        except OSError as error:
            await self._runner.cleanup()
            found = f"{self._where[0]}:{self._where[1]} ({error.strerror})"
            raise BadConfig(
                "card.simulator_port", found, "a port of this machine that nobody else listens on"
            ) from None
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._sending = asyncio.create_task(self.webhooks.run(), name="card webhooks")
        log.info("card_simulator_started", url=self.url)
        return self.url

    async def close(self) -> None:
        """Stop listening; what is remembered stays."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait({self._sending})
            await self._runner.cleanup()

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/checkout/sessions", _api(self._create_session)),
            web.get("/v1/checkout/sessions/{id}", _api(self._session)),
            web.get("/v1/payment_intents/{id}", _api(self._intent)),
            web.get("/v1/disputes", _api(self._disputes)),
            web.get("/v1/radar/early_fraud_warnings", _api(self._warnings)),
            web.post("/v1/refunds", _api(self._refund)),
            web.get("/v1/events", _api(self._events)),
            web.get("/pay/{id}", self._pay_page),
            web.post("/pay/{id}", self._pay),
            web.get("/control/payments", self._payments),
            web.post("/control/payments/{id}/dispute", self._control_dispute),
            web.post("/control/payments/{id}/warn", self._control_warn),
            web.post("/control/payments/{id}/review", self._control_review),
            web.post("/control/payments/{id}/refund", self._control_refund),
            web.post("/control/webhooks", self._control_webhooks),
        ]

    # What a shop asks

    async def _create_session(self, request: web.Request) -> Object:
        form = {name: str(value) for name, value in (await request.post()).items()}
        return self.world.create_session(form, request.headers.get("Idempotency-Key", ""), f"{self.url}/pay")

    async def _session(self, request: web.Request) -> Object:
        return self.world.session(request.match_info["id"])

    async def _intent(self, request: web.Request) -> Object:
        return self.world.intent(request.match_info["id"])

    async def _disputes(self, request: web.Request) -> Object:
        return _listed(self.world.disputes.get(request.query.get("payment_intent", "")))

    async def _warnings(self, request: web.Request) -> Object:
        return _listed(self.world.warnings.get(request.query.get("payment_intent", "")))

    async def _refund(self, request: web.Request) -> Object:
        form = await request.post()
        return self.world.refund(str(form.get("payment_intent", "")), request.headers.get("Idempotency-Key", ""))

    async def _events(self, request: web.Request) -> Object:
        query = request.query
        since, limit = int(query.get("created[gte]", "0")), min(int(query.get("limit", "10")), EVENTS_MAX)
        found, more = self.world.events_since(since, query.get("starting_after", ""), limit)
        wanted = query.getall("types[]", [])
        return {
            "object": "list",
            "data": [one for one in found if not wanted or one["type"] in wanted],
            "has_more": more,
        }

    # Where people pay

    async def _pay_page(self, request: web.Request) -> web.StreamResponse:
        session = self._known(request)
        return _html(pay_page(session) if session["status"] == "open" else over_page(session))

    async def _pay(self, request: web.Request) -> web.StreamResponse:
        session, form = self._known(request), await request.post()
        card, challenge = str(form.get("card", "")), form.get("challenge")
        if session["status"] != "open":
            return _html(over_page(session))
        if challenge == "failed":
            return _html(pay_page(session, "Your bank did not confirm it: nothing was paid."))
        match self.world.give_card(session["id"], card, passed=challenge == "passed"):
            case Outcome.PAID:
                return web.Response(status=303, headers={"Location": session["success_url"]})
            case Outcome.CHALLENGE:
                return _html(challenge_page(session, card))
            case Outcome.DECLINED:  # pragma: no branch  (the type checker knows no other)
                return _html(pay_page(session, "The card was declined: nothing was paid."))

    def _known(self, request: web.Request) -> Object:
        try:
            return self.world.session(request.match_info["id"])
        except Refused:
            raise web.HTTPNotFound from None

    # What happens by itself

    async def _payments(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(
            [
                {
                    "payment": intent["id"],
                    "amount": intent["amount_received"],
                    "currency": intent["currency"],
                    "refunded": intent["latest_charge"]["amount_refunded"],
                    "dispute": self.world.disputes.get(intent["id"], {}).get("status"),
                }
                for intent in self.world.intents.values()
            ]
        )

    async def _control_dispute(self, request: web.Request) -> web.StreamResponse:
        told = await _told(request)
        self.world.dispute(request.match_info["id"], str(told.get("status", "needs_response")), told.get("amount"))
        return web.Response(status=204)

    async def _control_warn(self, request: web.Request) -> web.StreamResponse:
        self.world.warn(request.match_info["id"])
        return web.Response(status=204)

    async def _control_review(self, request: web.Request) -> web.StreamResponse:
        self.world.review(request.match_info["id"], is_open=(await _told(request)).get("open") is True)
        return web.Response(status=204)

    async def _control_refund(self, request: web.Request) -> web.StreamResponse:
        self.world.refund(request.match_info["id"], amount=(await _told(request)).get("amount"))
        return web.Response(status=204)

    async def _control_webhooks(self, request: web.Request) -> web.StreamResponse:
        self.webhooks.manner = Manner((await _told(request))["manner"])
        return web.Response(status=204)


async def run_card_company(
    *, data_dir: Path, host: str, port: int, webhook_url: str, ready: Callable[[str], None]
) -> None:
    """Run the simulated card company until cancelled; `ready` hears its address."""
    company = CardCompany(data_dir, webhook_url=webhook_url, host=host, port=port)
    ready(await company.start())
    try:
        await asyncio.Event().wait()
    finally:
        await company.close()


def _api(answer: Callable[[web.Request], Awaitable[Object]]) -> Handler:
    """Answer as the API does: to whoever has the key, JSON, an error with its code."""

    async def respond(request: web.Request) -> web.StreamResponse:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(key.encode(), SECRET_KEY.encode()):
            return _error(401, "api_key_expired")
        try:
            return web.json_response(await answer(request))
        except Refused as refusal:
            return _error(404 if str(refusal) == "resource_missing" else 400, str(refusal))

    return respond


def _error(status: int, code: str) -> web.Response:
    return web.json_response({"error": {"type": "invalid_request_error", "code": code}}, status=status)


def _listed(one: Object | None) -> Object:
    return {"object": "list", "data": [one] if one is not None else [], "has_more": False}


async def _told(request: web.Request) -> dict[str, Any]:
    told = await request.json() if request.can_read_body else {}
    return told if isinstance(told, dict) else {}


def _html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html")
