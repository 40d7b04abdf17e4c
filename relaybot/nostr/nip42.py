"""NIP-42: a client shows whose it is, by signing the relay's challenge.

Challenges are arguments, as is the time. The signature is checked here, because an AUTH
event takes no other way.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from urllib.parse import urlsplit

from relaybot.errors import Rejected
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair, verify

AUTH_KIND = 22_242  # signed for one connection, so nothing to store or hand on
AGE_SECONDS_MAX = 600  # NIP-42: within ~10 minutes

_USUAL_PORTS = (None, 80, 443)


def build_auth_event(keypair: KeyPair, *, relay_url: str, challenge: str, now: int) -> Event:
    """Return the event that answers `challenge` of the relay at `relay_url`."""
    tags = (("relay", relay_url), ("challenge", challenge))
    return keypair.sign(kind=AUTH_KIND, content="", tags=tags, created_at=now)


def check_auth(event: Event, *, challenge: str | None, known_as: AbstractSet[str], now: int) -> None:
    """Rejected unless `event` answers `challenge` for one of the relay names `known_as`, now."""
    if event.kind != AUTH_KIND:
        raise Rejected("invalid", "AUTH holds an event of kind 22242", found=event.kind)
    if abs(event.created_at - now) > AGE_SECONDS_MAX:
        raise Rejected("invalid", "created_at of AUTH is too far from our clock", allowed=f"{AGE_SECONDS_MAX} seconds")
    if challenge is None or event.tag("challenge") != challenge:
        raise Rejected("invalid", "AUTH does not answer the challenge of this connection")
    if relay_name(event.tag("relay") or "") not in known_as:
        raise Rejected("invalid", "AUTH is for another relay", found=(event.tag("relay") or "")[:80])
    if not verify(event):
        raise Rejected("invalid", "the signature does not fit")


def relay_name(url: str) -> str:
    """Return what tells relays apart: host, port unless it is a usual one, path. Empty if `url` is no ws(s) address."""
    # NIP-42: URL normalization techniques can be applied
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme.lower() not in ("ws", "wss") or not parts.hostname:
        return ""
    return f"{parts.hostname}{'' if port in _USUAL_PORTS else f':{port}'}{parts.path.rstrip('/')}"
