"""NIP-98: what an Authorization must say, and what makes it worthless."""

from __future__ import annotations

import base64
import json

import pytest

from relaybot.errors import Rejected
from relaybot.nostr import nip98
from relaybot.nostr.event import Event, encode_event, event_from
from relaybot.nostr.keys import KeyPair

BOB = KeyPair(bytes(31) + b"\x01")
URL, NOW, BODY = "https://pay.example.com/api/v1/topups?x=1", 1_795_338_000, b'{"sats":1}'


def auth(**changes: object) -> Event:
    given: dict[str, object] = {"url": URL, "method": "POST", "body": BODY, "now": NOW} | changes
    return nip98.build_http_auth(BOB, **given)  # type: ignore[arg-type]


def check(event: Event, *, url: str = URL, method: str = "POST", body: bytes = BODY, now: int = NOW) -> None:
    nip98.check_http_auth(event, urls=(url,), method=method, body=body, now=now)


def test_what_is_built_is_read_and_holds_for_its_request() -> None:
    event = nip98.parse_authorization(nip98.authorization(auth()))
    assert event == auth()
    check(event)
    check(auth(body=b""), body=b"")
    check(auth(now=NOW - 60))
    check(auth(now=NOW + 60))
    check(auth(method="post"))


@pytest.mark.parametrize(
    ("event", "asked", "why"),
    [
        (auth(), {"url": URL + "2"}, "u: signed for another address"),
        (auth(), {"method": "DELETE"}, "method"),
        (auth(), {"body": b"{}"}, "payload"),
        (auth(body=b""), {}, "payload"),
        (auth(), {"body": b""}, "payload"),
        (auth(), {"now": NOW + 61}, "created_at"),
        (auth(), {"now": NOW - 61}, "created_at"),
        (BOB.sign(kind=22242, content="", tags=auth().tags, created_at=NOW), {}, "27235"),
        (BOB.sign(kind=27235, content="", tags=[], created_at=NOW), {}, "u: signed"),
        (BOB.sign(kind=27235, content="", tags=[("u", URL)], created_at=NOW), {}, "method"),
    ],
)
def test_i10_another_request_is_not_what_was_signed(event: Event, asked: dict[str, object], why: str) -> None:
    with pytest.raises(Rejected, match=why):
        check(event, **asked)  # type: ignore[arg-type]


def test_i10_a_signature_of_another_key_is_worth_nothing() -> None:
    forged = event_from(json.loads(encode_event(auth())) | {"sig": "0" * 128})
    with pytest.raises(Rejected, match="signature"):
        check(forged)


@pytest.mark.parametrize("header", ["", "Nostr", "Bearer abc", "Nostr " + "A" * 8_193])
def test_what_is_no_such_authorization_is_told_how_to_sign(header: str) -> None:
    with pytest.raises(Rejected, match="sign the request"):
        nip98.parse_authorization(header)


@pytest.mark.parametrize("token", ["%%%", "abc", base64.b64encode(b"{}").decode(), base64.b64encode(b"\xff").decode()])
def test_what_is_no_event_is_refused(token: str) -> None:
    with pytest.raises(Rejected):
        nip98.parse_authorization(f"Nostr {token}")


def test_a_sign_in_names_its_challenge() -> None:
    assert auth(challenge="abc").tag("challenge") == "abc"
