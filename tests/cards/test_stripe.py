"""The adapter against answers that no card company should give, and against events page by page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from relaybot.errors import Rejected, Unavailable
from wallet.cards import CardEvent, CheckoutStatus, DisputeStatus, Wanted
from wallet.stripe import API_VERSION, Stripe, parse_event

SESSION = {
    "id": "cs_1",
    "status": "open",
    "payment_status": "unpaid",
    "amount_total": 1_976,
    "currency": "eur",
    "livemode": True,
    "url": "https://checkout.stripe.com/c/pay/cs_1",
    "payment_intent": None,
}
INTENT = {
    "id": "pi_1",
    "status": "succeeded",
    "amount_received": 1_976,
    "currency": "eur",
    "livemode": True,
    "created": 7,
    "latest_charge": None,
    "review": None,
}
WANTED = Wanted("key", 1_976, "eur", "20,000 sat for jobs", "https://shop.test/back", 5_000, challenge=True)

Answer = Callable[[web.Request], web.Response]


@asynccontextmanager
async def company(answer: Answer) -> AsyncIterator[Stripe]:
    """A card company that answers everything in one way."""

    async def respond(request: web.Request) -> web.Response:
        await request.read()
        return answer(request)

    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", respond)])
    async with TestServer(app) as server:
        stripe = Stripe("sk_live_secret", base_url=str(server.make_url("/")), pay_origin="https://pay.test")
        try:
            yield stripe
        finally:
            await stripe.close()


def saying(document: Any, status: int = 200) -> Answer:
    return lambda _: web.Response(body=json.dumps(document).encode(), status=status)


async def test_a_checkout_is_asked_for_by_its_key_and_read_as_it_is() -> None:
    asked: list[tuple[str, str, dict[str, str]]] = []

    def answer(request: web.Request) -> web.Response:
        body = request._read_bytes or b""
        asked.append((request.method, request.path, {**dict(request.headers), "body": body.decode()}))
        return web.json_response(SESSION)

    async with company(answer) as stripe:
        checkout = await stripe.create_checkout(WANTED)
        assert "sk_live" not in repr(stripe)
    method, path, sent = asked[0]
    assert (method, path) == ("POST", "/v1/checkout/sessions")
    assert (sent["Authorization"], sent["Stripe-Version"]) == ("Bearer sk_live_secret", API_VERSION)
    assert sent["Idempotency-Key"] == "checkout/key"
    for part in ("unit_amount%5D=1976", "expires_at=5000", "request_three_d_secure%5D=any", "client_reference_id=key"):
        assert part in sent["body"]
    assert (checkout.status, checkout.minor, checkout.payment) == (CheckoutStatus.OPEN, 1_976, "")


@pytest.mark.parametrize(
    "strange",
    [
        {**SESSION, "status": "melted"},
        {**SESSION, "amount_total": "1976"},
        {**SESSION, "amount_total": True},
        {**SESSION, "amount_total": -1},
        {**SESSION, "livemode": "true"},
        {**SESSION, "currency": ""},
        {**SESSION, "id": None},
    ],
)
async def test_what_cannot_be_read_is_not_guessed(strange: dict[str, Any]) -> None:
    async with company(saying(strange)) as stripe:
        with pytest.raises(Rejected, match="cannot be read"):
            await stripe.checkout("cs_1")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (saying({"error": {"code": "resource_missing"}}, 404), Rejected, "refuses the request"),
        (saying({"error": "?"}, 400), Rejected, "refuses the request"),
        (saying({}, 500), Unavailable, "status 500"),
        (saying({}, 429), Unavailable, "status 429"),
        (saying({}, 401), Unavailable, "status 401"),
        (saying([]), Unavailable, "no document"),
        (lambda _: web.Response(text="<html>"), Unavailable, "no document"),
        (lambda _: web.Response(body=b" " * 5_000_000), Unavailable, "more than can be read"),
        (lambda _: web.Response(status=302, headers={"Location": "https://evil.test"}), Unavailable, "no document"),
    ],
)
async def test_errors_are_the_company_s_or_the_world_s(answer: Answer, error: type[Exception], words: str) -> None:
    async with company(answer) as stripe:
        with pytest.raises(error, match=words):
            await stripe.checkout("cs_1")


async def test_a_company_that_is_not_there_or_hangs_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Stripe("sk", base_url="http://127.0.0.1:9", pay_origin="")
    with pytest.raises(Unavailable, match="cannot be reached"):
        await gone.checkout("cs_1")
    monkeypatch.setattr("wallet.stripe.SECONDS_MAX", 0.0)
    with pytest.raises(Unavailable, match="in time"):
        await gone.checkout("cs_1")
    await gone.close()
    await Stripe("sk", base_url="http://127.0.0.1:9", pay_origin="").close()


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        ([], DisputeStatus.NONE),
        (["warning_closed"], DisputeStatus.NONE),
        (["warning_needs_response"], DisputeStatus.INQUIRY),
        (["won"], DisputeStatus.WON),
        (["won", "needs_response"], DisputeStatus.OPEN),
        (["lost", "needs_response"], DisputeStatus.LOST),
        (["something_new"], DisputeStatus.OPEN),
    ],
)
async def test_the_worst_of_several_disputes_counts(statuses: list[str], worst: DisputeStatus) -> None:
    def answer(request: web.Request) -> web.Response:
        if request.path == "/v1/disputes":
            return web.json_response({"data": [{"status": status, "amount": 5} for status in statuses]})
        if request.path.endswith("early_fraud_warnings"):
            return web.json_response({"data": [{}]})
        charge = {
            "created": 9,
            "amount_refunded": 3,
            "payment_method_details": {"card": {"three_d_secure": {"result": "authenticated"}}},
        }
        return web.json_response({**INTENT, "latest_charge": charge, "review": {"open": True}})

    async with company(answer) as stripe:
        payment = await stripe.payment("pi_1")
    holding = [status for status in statuses if status not in {"won", "warning_closed", "warning_needs_response"}]
    assert (payment.dispute, payment.disputed_minor) == (worst, 5 * len(holding))
    assert (payment.authenticated, payment.in_review, payment.fraud_warning) == (True, True, True)
    assert (payment.created_at, payment.refunded_minor) == (9, 3)


async def test_a_payment_without_a_charge_is_none_yet() -> None:
    lists = {"/v1/disputes", "/v1/radar/early_fraud_warnings"}
    answered = {**INTENT, "status": "processing"}
    async with company(lambda asked: web.json_response({"data": []} if asked.path in lists else answered)) as stripe:
        payment = await stripe.payment("pi_1")
    assert (payment.succeeded, payment.created_at, payment.authenticated) == (False, 7, False)


def event(number: int) -> dict[str, Any]:
    return {"id": f"evt_{number}", "created": number, "data": {"object": {"object": "dispute", "payment_intent": "pi"}}}


async def test_events_are_read_page_by_page_oldest_first_and_not_for_ever() -> None:
    def answer(request: web.Request) -> web.Response:
        after = int(request.query.get("starting_after", "evt_7")[4:])
        page = [event(number) for number in range(after - 1, max(after - 4, 0), -1)]
        return web.json_response({"data": page, "has_more": after > 4})

    async with company(answer) as stripe:
        events = await stripe.events_since(0)
    assert [one.created_at for one in events] == [1, 2, 3, 4, 5, 6]
    async with company(saying({"data": [event(1)], "has_more": True})) as endless:
        with pytest.raises(Unavailable, match="more events than can be read"):
            await endless.events_since(0)
    async with company(saying({"data": "?"})) as strange:
        with pytest.raises(Rejected, match="cannot be read"):
            await strange.events_since(0)


def test_an_event_says_what_to_look_at_and_nothing_else() -> None:
    about: dict[str, Any] = {"object": "checkout.session", "id": "cs_1", "payment_intent": "pi_1"}
    whole = {"id": "evt_1", "created": 5, "data": {"object": about}}
    assert parse_event(whole) == CardEvent("evt_1", 5, "cs_1", "")
    charge = {**about, "object": "charge"}
    assert parse_event({**whole, "data": {"object": charge}}) == CardEvent("evt_1", 5, "", "pi_1")
    for strange in ({}, {**whole, "created": "5"}, {**whole, "id": 1}, {**whole, "data": None}):
        assert parse_event(strange) is None
    assert parse_event({**whole, "data": {"object": {"object": "charge", "payment_intent": {}}}}) is None
