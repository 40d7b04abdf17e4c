"""The signature of a card company's message to our webhook. Pure; nothing in a signed message is believed either.

Source: Stripe's documentation, "Verify webhook signatures manually": the header has a Unix
time `t` and one or more `v1`, each HMAC-SHA256 over `<t>.<raw body>` with a shared secret.
Two are there while a secret is being changed; other schemes are left aside.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from relaybot.errors import Rejected

HEADER = "Stripe-Signature"
TOLERANCE_SECONDS = 300  # as the card company's own libraries allow
HEADER_CHARACTERS_MAX = 1_024

_PAIR = re.compile(r"([a-z0-9]{1,8})=([0-9a-f]{1,128})", re.ASCII)
_TIME_DIGITS_MAX = 11


def sign(body: bytes, secret: str, at: int) -> str:
    """Return the header of a message that is sent `at` this time."""
    return f"t={at},v1={_digest(body, secret, at)}"


def check_signature(header: str, body: bytes, secret: str, *, now: int) -> None:
    """Raise Rejected unless `body` was signed with `secret`, not long ago."""
    pairs = [_PAIR.fullmatch(part.strip()) for part in header[:HEADER_CHARACTERS_MAX].split(",")]
    said = [(pair[1], pair[2]) for pair in pairs if pair is not None]
    times = [value for name, value in said if name == "t" and value.isdigit() and len(value) <= _TIME_DIGITS_MAX]
    if len(times) != 1:
        raise Rejected("invalid", "webhook has no signature")
    at = int(times[0])
    wanted = _digest(body, secret, at)
    if not any(name == "v1" and hmac.compare_digest(value, wanted) for name, value in said):
        raise Rejected("invalid", "webhook is signed with another secret")
    if abs(now - at) > TOLERANCE_SECONDS:
        raise Rejected("invalid", "webhook was signed at another time", found=at)


def _digest(body: bytes, secret: str, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
