"""Errors of the API as problem details (RFC 9457): by whose fault, with the field that is wrong."""

from __future__ import annotations

import re

from aiohttp import web
from pydantic import ValidationError

from relaybot.errors import Rejected
from relaybot.web.account.desk import in_words
from relaybot.web.api.models import Problem

BASE = "/api/v1"  # of all addresses of the API
MEDIA_TYPE = "application/problem+json"

_STATUS = {
    "auth-required": (401, "Not signed as it must be"),
    "restricted": (403, "Not allowed now"),
    "blocked": (403, "Not allowed"),
    "rate-limited": (429, "Too much at once"),
    "duplicate": (409, "Done before"),
    "invalid": (422, "Not as it must be"),
}
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9_-]*): ")  # a reason that begins with what it is about


def is_api(path: str) -> bool:
    """Tell whether an address is the API's, whether it has it or not."""
    return path == BASE or path.startswith(f"{BASE}/")


def refused(refusal: Rejected) -> web.Response:
    """Return what a refusal is over HTTP."""
    status, title = _STATUS.get(refusal.prefix, (400, "Not done"))
    found = _FIELD.match(refusal.reason)
    headers = {429: {"Retry-After": "60"}, 401: {"WWW-Authenticate": "Nostr"}}.get(status, {})
    return problem(status, refusal.prefix, title, in_words(refusal), field=found[1] if found else None, headers=headers)


def malformed(error: ValidationError) -> web.Response:
    """Return what is wrong with a body or a query: the first field that is."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return problem(400, "invalid", "Not JSON", "the body is no JSON", field=None)
    return problem(422, "invalid", "Not as it must be", f"{name or 'body'}: {first['msg']}", field=name or None)


def problem(
    status: int, kind: str, title: str, detail: str, *, field: str | None = None, headers: dict[str, str] | None = None
) -> web.Response:
    """Return one problem."""
    told = Problem(type=f"urn:relaybot:{kind}", title=title, status=status, detail=detail, field=field)
    return web.Response(
        text=told.model_dump_json(exclude_none=True), status=status, content_type=MEDIA_TYPE, headers=headers
    )
