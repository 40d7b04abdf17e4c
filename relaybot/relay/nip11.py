"""NIP-11: the relay information document, and the HTTP side of `/`.

The document is built from the settings, so its limits are the true ones. Other HTTP
paths belong to the application that is passed to the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from relaybot.nostr.messages import SUBSCRIPTION_ID_LENGTH_MAX
from relaybot.relay.settings import RelayLimits, RelaySettings

SUPPORTED_NIPS = (1, 9, 11, 13, 17, 40, 42, 45, 59, 62, 67, 70)
MEDIA_TYPE = "application/nostr+json"
RELAY_PATH = "/"

# NIP-11: relays MUST accept CORS requests
_CORS = {
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "*",
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, HEAD, OPTIONS",
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_information(settings: RelaySettings) -> dict[str, Any]:
    """Return the document of NIP-11; what the operator left empty is left out."""
    words = {
        "name": settings.name,
        "description": settings.description,
        "pubkey": settings.pubkey,
        "self": settings.self_pubkey,
        "contact": settings.contact,
        "icon": settings.icon,
    }
    return {
        **{name: word for name, word in words.items() if word},
        "supported_nips": list(SUPPORTED_NIPS),
        "version": version("relaybot"),
        "limitation": _limitation(settings.limits),
        "fees": {},  # the relay is free; jobs are paid by their requests
    }


def _limitation(limits: RelayLimits) -> dict[str, Any]:
    return {
        "max_message_length": limits.message_bytes_max,
        "max_subscriptions": limits.subscriptions_max,
        "max_limit": limits.limit_max,
        "default_limit": limits.limit_default,
        "max_subid_length": SUBSCRIPTION_ID_LENGTH_MAX,
        "max_event_tags": limits.tags_max,
        "max_content_length": limits.content_characters_max,
        "min_pow_difficulty": limits.pow_bits_min,
        "auth_required": limits.auth_required,
        "payment_required": False,
        "restricted_writes": _is_restricted(limits),
        **({"created_at_lower_limit": limits.past_seconds} if limits.past_seconds else {}),
        "created_at_upper_limit": limits.future_seconds,
    }


def _is_restricted(limits: RelayLimits) -> bool:
    # NIP-11: "when users are expected to know the relay policy before trying to write to it"
    conditions = (limits.authors_allowed, limits.kinds_allowed, limits.kinds_of_members, limits.pow_bits_min)
    return any(conditions) or limits.auth_required


def information_middleware(settings: RelaySettings) -> Middleware:
    """Return the middleware that answers for the document on `/` and closes each connection used there.

    Proxies send a later websocket upgrade over a kept-alive connection; by then it would
    belong to the HTTP server, so answers on `/` never keep it.
    """
    document = build_information(settings)

    @web.middleware
    async def answer(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.path != RELAY_PATH:
            return await handler(request)
        try:
            response = await _answer_on_relay_path(request, handler, document)
        except web.HTTPException as error:
            error.force_close()
            raise
        response.force_close()
        return response

    return answer


async def _answer_on_relay_path(
    request: web.Request, handler: _Handler, document: dict[str, Any]
) -> web.StreamResponse:
    if request.method == hdrs.METH_OPTIONS:
        return web.Response(status=204, headers=_CORS)
    if request.method in (hdrs.METH_GET, hdrs.METH_HEAD) and _wants_information(request):
        return web.json_response(document, content_type=MEDIA_TYPE, headers=_CORS)
    return await handler(request)


def _wants_information(request: web.Request) -> bool:
    accepted = ",".join(request.headers.getall(hdrs.ACCEPT, []))
    return any(part.partition(";")[0].strip().lower() == MEDIA_TYPE for part in accepted.split(","))
