"""The card company's adapter: Stripe over its HTTP API. The simulator of card payments answers the same calls.

Each call is in the API's reference: checkout sessions, payment
intents with their latest charge and review, disputes, early fraud warnings, refunds, events.
The version of the API is fixed, so that what an answer means does not change under us.
Nothing a customer or a browser says comes through here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import aiohttp

from relaybot.errors import Rejected, Unavailable
from wallet.cards import CardEvent, Checkout, CheckoutStatus, DisputeStatus, Payment, Wanted

API_VERSION = "2024-06-20"
SECONDS_MAX = 20.0  # Stripe itself gives up after 80; whoever pays looks at a page meanwhile
BYTES_MAX = 4_194_304  # a page of a hundred events with their objects
CHUNK_BYTES = 65_536
PAGE = 100  # the most a list returns at once
PAGES_MAX = 50  # more events at once are no card shop of ours

_TRY_AGAIN = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
)
_EVENTS = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "charge.refunded",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "radar.early_fraud_warning.created",
    "review.opened",
    "review.closed",
)
_DISPUTES = {
    "warning_needs_response": DisputeStatus.INQUIRY,
    "warning_under_review": DisputeStatus.INQUIRY,
    "warning_closed": DisputeStatus.NONE,
    "won": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
}  # whatever else there is or will be has taken the money
_HOLDS_MONEY = {DisputeStatus.OPEN, DisputeStatus.LOST}
_WORST = (DisputeStatus.LOST, DisputeStatus.OPEN, DisputeStatus.INQUIRY, DisputeStatus.WON, DisputeStatus.NONE)


class Stripe:
    """Speak to Stripe, or to what behaves like it, with one secret key."""

    def __init__(self, secret_key: str, *, base_url: str, pay_origin: str) -> None:
        """Take the key, which is shown nowhere, and where the API and its pay pages are."""
        self._secret_key = secret_key
        self._base_url = base_url.rstrip("/")
        self.pay_origin = pay_origin
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"Stripe({self._base_url})"

    async def create_checkout(self, wanted: Wanted) -> Checkout:
        """Make a hosted checkout of one payment by card; the key makes a second one impossible."""
        form = {
            "mode": "payment",
            "payment_method_types[0]": "card",
            "line_items[0][quantity]": "1",
            "line_items[0][price_data][currency]": wanted.currency,
            "line_items[0][price_data][unit_amount]": str(wanted.minor),
            "line_items[0][price_data][product_data][name]": wanted.description,
            "client_reference_id": wanted.key,
            "success_url": wanted.return_url,
            "cancel_url": wanted.return_url,
            "expires_at": str(wanted.expires_at),
        }
        if wanted.challenge:
            form["payment_method_options[card][request_three_d_secure]"] = "any"
        return _checkout(await self._post("/v1/checkout/sessions", form, key=f"checkout/{wanted.key}"))

    async def checkout(self, checkout_id: str) -> Checkout:
        """Return a checkout as it is now."""
        return _checkout(await self._get(f"/v1/checkout/sessions/{checkout_id}"))

    async def payment(self, payment_id: str) -> Payment:
        """Return a payment as it is now, with what became of it."""
        expand = [("expand[]", "latest_charge"), ("expand[]", "review")]
        intent = await self._get(f"/v1/payment_intents/{payment_id}", expand)
        of_it = [("payment_intent", payment_id), ("limit", str(PAGE))]
        disputes = _list(await self._get("/v1/disputes", of_it))
        warnings = _list(await self._get("/v1/radar/early_fraud_warnings", of_it))
        return _payment(intent, disputes, warned=bool(warnings))

    async def refund(self, payment_id: str) -> None:
        """Give a payment back whole."""
        await self._post("/v1/refunds", {"payment_intent": payment_id}, key=f"refund/{payment_id}")

    async def events_since(self, since: int) -> Sequence[CardEvent]:
        """Return what happened from this time on, the oldest first; the list is Stripe's last thirty days."""
        asked = [("created[gte]", str(since)), ("limit", str(PAGE)), *(("types[]", name) for name in _EVENTS)]
        found: list[Mapping[str, Any]] = []
        for _ in range(PAGES_MAX):
            after = [("starting_after", _text(found[-1], "id"))] if found else []
            answer = await self._get("/v1/events", [*asked, *after])
            found += _list(answer)
            if not answer.get("has_more") or not _list(answer):
                return [event for one in reversed(found) if (event := parse_event(one)) is not None]
        raise Unavailable("card company tells of more events than can be read")

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()

    async def _get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Mapping[str, Any]:
        return await self._ask("GET", path, params=list(query))

    async def _post(self, path: str, form: Mapping[str, str], *, key: str) -> Mapping[str, Any]:
        return await self._ask("POST", path, data=form, headers={"Idempotency-Key": key})

    async def _ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> Mapping[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        sent = {"Authorization": f"Bearer {self._secret_key}", "Stripe-Version": API_VERSION, **(headers or {})}
        try:
            async with (
                asyncio.timeout(SECONDS_MAX),
                self._session.request(
                    method, f"{self._base_url}{path}", headers=sent, allow_redirects=False, **more
                ) as response,
            ):
                document = await _document(response)
                _check(response.status, document)
                return document
        except TimeoutError:
            raise Unavailable("card company did not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"card company cannot be reached: {type(error).__name__}") from None


def parse_event(event: Mapping[str, Any]) -> CardEvent | None:
    """Return what an event is about, of a list or of a webhook; None if it is about nothing of ours."""
    data = event.get("data")
    about = data.get("object") if isinstance(data, Mapping) else None
    created, event_id = event.get("created"), event.get("id")
    if not isinstance(about, Mapping) or not isinstance(created, int) or not isinstance(event_id, str):
        return None
    is_checkout = about.get("object") == "checkout.session"
    named = about.get("id") if is_checkout else about.get("payment_intent")
    if not isinstance(named, str) or not named:
        return None
    return CardEvent(event_id, created, named if is_checkout else "", "" if is_checkout else named)


async def _document(response: aiohttp.ClientResponse) -> Mapping[str, Any]:
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        body += chunk
        if len(body) > BYTES_MAX:
            raise Unavailable("card company says more than can be read")
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, Mapping):
        raise Unavailable(f"card company answered with status {response.status} and no document")
    return document


def _check(status: int, document: Mapping[str, Any]) -> None:
    if status == HTTPStatus.OK:
        return
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_AGAIN:
        raise Unavailable(f"card company answered with status {status}")
    error = document.get("error")
    code = error.get("code") or error.get("type") if isinstance(error, Mapping) else None
    raise Rejected("invalid", "card company refuses the request", found=str(code)[:60], status=status)


def _checkout(session: Mapping[str, Any]) -> Checkout:
    try:
        status = CheckoutStatus(session.get("status"))
    except ValueError:
        raise _strange("status") from None
    return Checkout(
        id=_text(session, "id"),
        url=session.get("url") or "",
        status=status,
        is_paid=session.get("payment_status") == "paid",
        minor=_number(session, "amount_total"),
        currency=_text(session, "currency"),
        live=_flag(session, "livemode"),
        payment=session.get("payment_intent") or "",
    )


def _payment(intent: Mapping[str, Any], disputes: Sequence[Mapping[str, Any]], *, warned: bool) -> Payment:
    charge = intent.get("latest_charge")
    charge = charge if isinstance(charge, Mapping) else {}
    card = (charge.get("payment_method_details") or {}).get("card") or {}
    secure = card.get("three_d_secure") or {}
    review = intent.get("review")
    stands = [(_DISPUTES.get(str(one.get("status")), DisputeStatus.OPEN), one) for one in disputes]
    standing = {status for status, _ in stands}
    return Payment(
        id=_text(intent, "id"),
        succeeded=intent.get("status") == "succeeded",
        received_minor=_number(intent, "amount_received"),
        refunded_minor=_number(charge, "amount_refunded") if charge else 0,
        disputed_minor=sum(_number(one, "amount") for status, one in stands if status in _HOLDS_MONEY),
        currency=_text(intent, "currency"),
        live=_flag(intent, "livemode"),
        created_at=_number(charge or intent, "created"),
        authenticated=secure.get("result") == "authenticated",
        in_review=isinstance(review, Mapping) and review.get("open") is True,
        fraud_warning=warned,
        dispute=next((status for status in _WORST if status in standing), DisputeStatus.NONE),
    )


def _list(answer: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    data = answer.get("data")
    if not isinstance(data, list) or not all(isinstance(one, Mapping) for one in data):
        raise _strange("data")
    return data


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise _strange(name)
    return value


def _number(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _strange(name)
    return value


def _flag(document: Mapping[str, Any], name: str) -> bool:
    value = document.get(name)
    if not isinstance(value, bool):
        raise _strange(name)
    return value


def _strange(name: str) -> Rejected:
    return Rejected("invalid", "card company's answer cannot be read", found=name)
