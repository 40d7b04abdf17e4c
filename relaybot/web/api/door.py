"""The door of the API: who signed the request, that it comes once, and not too often.

A token that changed something is in the book, so it does nothing twice, whatever happens to
this process. Tokens that only read are remembered while they are fresh; after a start, those
that could have been used before it are refused (I10).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiohttp import hdrs, web

from handlers.self_service import KEY_CHARACTERS_MAX
from handlers.strangers import is_stranger
from relaybot.clock import Clock
from relaybot.errors import Rejected
from relaybot.nostr import nip98
from relaybot.nostr.event import Event
from relaybot.web.account.desk import Desk, origin_named

AHEAD_SECONDS_MAX = 10  # of a client's clock before ours
TOKENS_MAX = 100_000  # remembered at once: beyond, whoever comes waits

KEY_HEADER = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, let in: by whom, with what."""

    pubkey: str
    token: str  # id of the event that signed it
    key: str  # under which it is done once
    path: dict[str, str]
    body: Any = field(default=None, repr=False)
    query: Any = None


class Tokens:
    """The tokens that were used lately."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.now()
        self._used: dict[str, int] = {}  # event id → until when it is remembered

    def use(self, event: Event, *, changes: bool) -> None:
        """Take a token. Rejected if it was used, or could have been."""
        now = self._clock.now()
        if event.created_at > now + AHEAD_SECONDS_MAX:
            raise Rejected("auth-required", "created_at: ahead of our clock", allowed=f"{AHEAD_SECONDS_MAX} seconds")
        if not changes and event.created_at <= self._started + AHEAD_SECONDS_MAX:
            raise Rejected("auth-required", "created_at: the service has just begun; sign anew in a few seconds")
        for old in [event_id for event_id, until in self._used.items() if until < now]:
            del self._used[old]
        if event.id in self._used:
            raise Rejected("auth-required", "this Authorization was used before: sign the request anew")
        if len(self._used) >= TOKENS_MAX:
            raise Rejected("rate-limited", "too many requests; wait a minute")
        self._used[event.id] = event.created_at + nip98.AGE_SECONDS_MAX


async def signed_by(desk: Desk, tokens: Tokens, request: web.Request, body: bytes, *, changes: bool) -> Event:
    """Return the event that signs this request. Rejected if none does, or its sender is too fast."""
    now = desk.bot.clock.now()
    try:
        event = nip98.parse_authorization(request.headers.get(hdrs.AUTHORIZATION, ""))
        origin = origin_named(request, desk.origins)
        urls = () if origin is None else (origin + request.raw_path,)
        nip98.check_http_auth(event, urls=urls, method=request.method, body=body, now=now)
    except Rejected as refusal:
        if not desk.rate.allows(request.remote or "", now):
            raise Rejected("rate-limited", "too many requests; wait a minute") from None
        raise Rejected("auth-required", refusal.reason, **refusal.fields) from None
    # A key is made in no time: whoever never had money here is counted by their address.
    sender = request.remote or "" if await is_stranger(desk.bot, event.pubkey) else event.pubkey
    if not desk.rate.allows(sender, now):
        raise Rejected("rate-limited", "too many requests; wait a minute")
    tokens.use(event, changes=changes)
    return event


def key_of(request: web.Request, event: Event) -> str:
    """Return the key under which a request is done once: the client's own, else its token's id."""
    said = request.headers.get(KEY_HEADER)
    if said is None:
        return f"token/{event.id}"
    if not 0 < len(said) < KEY_CHARACTERS_MAX - len("key/") or not (said.isascii() and said.isprintable()):
        raise Rejected("invalid", "Idempotency-Key: up to 190 printable characters")
    return f"key/{said}"
