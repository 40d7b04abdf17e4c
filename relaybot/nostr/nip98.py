"""NIP-98: a request over HTTP shows whose it is, by an event that names its address, method and body.

The same event with a `challenge` of ours signs somebody in on the pages. The time is an
argument; that an event is taken once only is kept by whoever takes it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection, Sequence

from relaybot.errors import Rejected
from relaybot.nostr.event import Event, encode_event, parse_event
from relaybot.nostr.keys import KeyPair, verify

AUTH_KIND = 27_235
SCHEME = "Nostr"
AGE_SECONDS_MAX = 60  # NIP-98: a reasonable time window (suggestion 60 seconds)
TOKEN_CHARACTERS_MAX = 8_192  # of the header; an event with our tags has about 600


def build_http_auth(
    keypair: KeyPair, *, url: str, method: str, body: bytes = b"", challenge: str = "", now: int
) -> Event:
    """Return the event that signs one request: its absolute address, its method, the hash of its body."""
    tags: list[Sequence[str]] = [("u", url), ("method", method)]
    tags += [("payload", hashlib.sha256(body).hexdigest())] if body else []
    tags += [("challenge", challenge)] if challenge else []
    return keypair.sign(kind=AUTH_KIND, content="", tags=tags, created_at=now)


def authorization(event: Event) -> str:
    """Return the value of the Authorization header."""
    return f"{SCHEME} {base64.b64encode(encode_event(event).encode()).decode()}"


def parse_authorization(header: str) -> Event:
    """Return the event of an Authorization header, its signature not checked yet. Rejected says what is wrong."""
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != SCHEME.lower() or not token or len(token) > TOKEN_CHARACTERS_MAX:
        raise Rejected("auth-required", "sign the request (NIP-98): Authorization: Nostr <event in base64>")
    try:
        raw = base64.b64decode(token.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise Rejected("auth-required", "the Authorization is not base64") from None
    return parse_event(raw)


def check_http_auth(event: Event, *, urls: Collection[str], method: str, body: bytes, now: int) -> None:
    """Rejected unless `event` signs exactly this request, now; `urls` are the names of its address."""
    check_signed_address(event, urls=urls, method=method, age_seconds_max=AGE_SECONDS_MAX, now=now)
    payload = event.tag("payload")
    # NIP-98: the payload tag SHOULD be there with a body; ours moves money, so it must
    if (body or payload is not None) and payload != hashlib.sha256(body).hexdigest():
        raise Rejected("auth-required", "payload: the Authorization was not signed for this body")
    if not verify(event):
        raise Rejected("auth-required", "the signature does not fit")


def check_signed_address(event: Event, *, urls: Collection[str], method: str, age_seconds_max: int, now: int) -> None:
    """Rejected unless `event` is of the right kind and names one of `urls` and `method`, and is of now."""
    if event.kind != AUTH_KIND:
        raise Rejected("auth-required", "the Authorization holds an event of kind 27235", found=event.kind)
    if abs(event.created_at - now) > age_seconds_max:
        raise Rejected(
            "auth-required", "created_at: too far from our clock", allowed=f"{age_seconds_max} seconds", now=now
        )
    if (event.tag("u") or "") not in urls:
        raise Rejected("auth-required", "u: signed for another address", found=(event.tag("u") or "")[:200])
    if (event.tag("method") or "").upper() != method:
        raise Rejected("auth-required", "method: signed for another method", found=(event.tag("method") or "")[:20])
