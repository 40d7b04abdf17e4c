"""Every address of the service that stands beside the account and the API: what of it anybody may see, and why.

An address that is in none of the three tables fails `test_every_address_has_its_entry`.
"""

from __future__ import annotations

from collections.abc import Mapping

PUBLISHED = "made of published events and of the configuration"
SECRET = "whoever has the address has the right"
ANSWER = "tells what is said to whoever pays, and nothing of a balance"

# Method and path → why nothing of anybody's stands there, and what a stranger asks for who knows much of somebody.
OTHERS: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("GET", "/"): (PUBLISHED, ("/",)),
    ("GET", "/accounts"): (PUBLISHED, ("/accounts",)),
    ("GET", "/accounts/{day}"): (PUBLISHED, ("/accounts/2026-11-26", "/accounts/{id}")),
    ("GET", "/accounts.atom"): (PUBLISHED, ("/accounts.atom",)),
    ("GET", "/accounts.json"): (PUBLISHED, ("/accounts.json",)),
    ("GET", "/agents"): (PUBLISHED, ("/agents",)),
    ("GET", "/agents/{agent}"): (PUBLISHED, ("/agents/autodev", "/agents/{id}")),
    ("GET", "/how"): (PUBLISHED, ("/how",)),
    ("GET", "/schema"): (PUBLISHED, ("/schema",)),
    ("GET", "/schema/{name}"): (PUBLISHED, ("/schema/skill", "/schema/{id}")),
    ("GET", "/preview.png"): (PUBLISHED, ("/preview.png",)),
    ("GET", "/icon.svg"): (PUBLISHED, ("/icon.svg",)),
    ("GET", "/healthz"): (PUBLISHED, ("/healthz",)),
    ("GET", "/readyz"): (PUBLISHED, ("/readyz",)),
    ("GET", "/account.js"): (PUBLISHED, ("/account.js",)),
    ("GET", "/api/v1/openapi.json"): (PUBLISHED, ("/api/v1/openapi.json",)),
    ("GET", "/.well-known/lnurlp/{name}"): (ANSWER, ("/.well-known/lnurlp/{npub}", "/.well-known/lnurlp/{id}")),
    ("GET", "/lnurlp/{name}/callback"): (ANSWER, ("/lnurlp/{npub}/callback?amount=1000",)),
    ("GET", "/lnurlp/verify/{hash}"): (ANSWER, ("/lnurlp/verify/{id}",)),
    ("GET", "/.well-known/nostr.json"): (ANSWER, ("/.well-known/nostr.json?name={npub}",)),
    ("GET", "/lnurlw/{k1}"): (SECRET, ("/lnurlw/{id}",)),
    ("GET", "/lnurlw/{k1}/callback"): (SECRET, ("/lnurlw/{id}/callback?pr={bolt11}",)),
    ("GET", "/topup/card/{id}"): (SECRET, ("/topup/card/{half}",)),
    ("POST", "/topup/card/{id}"): (SECRET, ("/topup/card/{half}",)),
    ("POST", "/card/webhook"): (SECRET, ("/card/webhook",)),
    ("GET", "/metrics"): ("the operator's, who has the token", ("/metrics",)),
}
