"""NIP-47: what wallet clients ask, what cannot be understood, and how it is answered."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from relaybot.nostr import encryption, nip47
from relaybot.nostr.encryption import NIP04, NIP44, Encryption, Scheme
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair, verify
from relaybot.nostr.nip47 import Code, Failure
from tests.nostr.conftest import NOW

SERVICE = KeyPair(b"\x21" * 32)
CLIENT = KeyPair(b"\x22" * 32)
NONCE = bytes(range(32))
HASH = "ab" * 32


def asked(body: object, scheme: Scheme = NIP44, *tags: tuple[str, ...]) -> Event:
    text = body if isinstance(body, str) else json.dumps(body)
    content = encryption.encrypt(text, CLIENT, SERVICE.pubkey, Encryption(scheme, NONCE))
    named = {NIP44: "nip44_v2", NIP04: "nip04"}[scheme]
    every = tags or (("p", SERVICE.pubkey), ("encryption", named))
    return CLIENT.sign(kind=23194, content=content, tags=every, created_at=NOW)


def read(body: object) -> nip47.Command | Failure:
    return nip47.parse_request(asked(body), SERVICE).command


def call(method: str, **params: object) -> nip47.Command | Failure:
    return read({"method": method, "params": params})


def test_each_method_is_read_with_its_parameters() -> None:
    assert call("pay_invoice", invoice="lnbc1", metadata={"a": 1}) == nip47.PayInvoice("lnbc1")
    assert call("pay_invoice", invoice="lnbc1", amount=5) == nip47.PayInvoice("lnbc1", 5)
    assert call("make_invoice", amount=21_000, expiry=60) == nip47.MakeInvoice(21_000, expiry=60)
    assert call("lookup_invoice", payment_hash=HASH) == nip47.LookupInvoice(HASH)
    assert call("list_transactions", **{"from": 7, "unpaid": True}) == nip47.ListTransactions(7, unpaid=True)
    assert call("get_balance") == nip47.GetBalance()
    assert read({"method": "get_info"}) == nip47.GetInfo()


def test_a_parameter_that_is_null_is_one_that_is_not_given() -> None:
    assert call("list_transactions", until=None, type=None, limit=5) == nip47.ListTransactions(limit=5)


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ("not json", Code.OTHER, "content: not strict JSON"),
        ([], Code.OTHER, "method: missing"),
        ({"method": 7}, Code.OTHER, "method: missing"),
        ({"method": "pay_keysend", "params": {}}, Code.NOT_IMPLEMENTED, "pay_keysend"),
        ({"method": "x" * 99}, Code.NOT_IMPLEMENTED, "x" * 40),
        ({"method": "pay_invoice", "params": {}}, Code.OTHER, "invoice"),
        ({"method": "pay_invoice", "params": []}, Code.OTHER, "invoice"),
        ({"method": "pay_invoice", "params": ["lnbc1"]}, Code.OTHER, "params"),
        ({"method": "pay_invoice", "params": {"invoice": "x", "amount": 0}}, Code.OTHER, "amount"),
        ({"method": "pay_invoice", "params": {"invoice": "x", "amount": 1.5}}, Code.OTHER, "amount"),
        ({"method": "pay_invoice", "params": {"invoice": "x", "amount": True}}, Code.OTHER, "amount"),
        ({"method": "make_invoice", "params": {"amount": 2**63}}, Code.OTHER, "params"),
        ({"method": "lookup_invoice", "params": {"payment_hash": "AB" * 32}}, Code.OTHER, "payment_hash"),
        ({"method": "list_transactions", "params": {"type": "sideways"}}, Code.OTHER, "type"),
    ],
)
def test_what_cannot_be_understood_is_told_by_name(body: Any, code: Code, named: str) -> None:
    found = read(body)
    assert isinstance(found, Failure)
    assert found.code is code
    assert named in found.message


def test_the_scheme_is_that_of_the_tag_and_without_it_that_of_the_text() -> None:
    body = {"method": "get_info", "params": {}}
    for scheme in (NIP44, NIP04):
        assert nip47.parse_request(asked(body, scheme), SERVICE).scheme == scheme
        assert nip47.parse_request(asked(body, scheme, ("p", SERVICE.pubkey)), SERVICE).scheme == scheme


def test_an_unknown_scheme_is_told() -> None:
    found = nip47.parse_request(asked({}, NIP44, ("encryption", "rot13")), SERVICE)
    assert isinstance(found.command, Failure)
    assert found.command.code is Code.UNSUPPORTED_ENCRYPTION


def test_what_nobody_can_answer_is_refused() -> None:
    stranger = KeyPair(b"\x23" * 32)
    for event, named in (
        (CLIENT.sign(kind=1, content="", tags=(), created_at=NOW), "kind: not a wallet request"),
        (CLIENT.sign(kind=23194, content="x" * 65_537, tags=(), created_at=NOW), "content: too large"),
        (CLIENT.sign(kind=23194, content="nonsense", tags=(), created_at=NOW), "content: "),
        (asked({"method": "get_info"}, NIP44, ("expiration", "soon")), "expiration"),
    ):
        with pytest.raises(Rejected, match=named):
            nip47.parse_request(event, SERVICE)
    with pytest.raises(Rejected, match="content: "):
        nip47.parse_request(asked({"method": "get_info"}), stranger)


def test_a_request_may_expire() -> None:
    event = asked({"method": "get_info"}, NIP44, ("encryption", "nip44_v2"), ("expiration", str(NOW + 5)))
    assert nip47.parse_request(event, SERVICE).expiration == NOW + 5


names = st.text() | st.sampled_from(["method", "params", "invoice", "amount"])
values = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=8))
def test_no_content_does_more_than_be_told(body: Any) -> None:
    method, command = nip47._command(json.dumps(body))
    assert isinstance(command, Failure) or method in nip47.METHODS


@pytest.mark.parametrize("scheme", [NIP44, NIP04])
def test_an_answer_uses_the_scheme_of_the_question(scheme: Scheme) -> None:
    request = nip47.parse_request(asked({"method": "get_balance"}, scheme), SERVICE)
    event = nip47.build_response(SERVICE, request, {"balance": 1}, nonce=NONCE, now=NOW)
    assert verify(event)
    assert (event.kind, event.tags) == (23195, (("p", CLIENT.pubkey), ("e", request.event_id)))
    inside = json.loads(encryption.decrypt(event.content, CLIENT, SERVICE.pubkey, scheme))
    assert inside == {"result_type": "get_balance", "error": None, "result": {"balance": 1}}


def test_a_failure_is_told_with_its_code() -> None:
    request = nip47.parse_request(asked({"method": "pay_keysend"}), SERVICE)
    assert isinstance(request.command, Failure)
    event = nip47.build_response(SERVICE, request, request.command, nonce=NONCE, now=NOW)
    inside = json.loads(encryption.decrypt(event.content, CLIENT, SERVICE.pubkey, NIP44))
    assert inside["error"]["code"] == "NOT_IMPLEMENTED"
    assert inside["result"] is None


def test_the_info_event_says_what_may_be_asked_and_how() -> None:
    event = nip47.build_info(SERVICE, ["list_transactions", "get_info"], now=NOW)
    assert (event.kind, event.content) == (13194, "list_transactions get_info notifications")
    assert event.tag("encryption") == "nip44_v2 nip04"
    assert event.tag("notifications") == "payment_received payment_sent"


def test_of_payments_are_told_those_who_may_know() -> None:
    event = nip47.build_info(SERVICE, ["pay_invoice"], now=NOW)
    assert (event.content, event.tag("notifications")) == ("pay_invoice notifications", "payment_sent")
    event = nip47.build_info(SERVICE, ["get_info"], now=NOW)
    assert (event.content, event.tag("notifications")) == ("get_info", None)


def test_a_notification_goes_out_in_both_schemes() -> None:
    paid = nip47.Transaction("incoming", "settled", HASH, 21_000, NOW, invoice="lnbc1", settled_at=NOW + 1)
    new, old = nip47.build_notifications(
        SERVICE, CLIENT.pubkey, "payment_received", paid, nonces=(NONCE, NONCE), now=NOW
    )
    assert (new.kind, old.kind) == (23197, 23196)
    for event, scheme in ((new, NIP44), (old, NIP04)):
        inside = json.loads(encryption.decrypt(event.content, CLIENT, SERVICE.pubkey, scheme))
        assert inside["notification_type"] == "payment_received"
        assert inside["notification"] == {
            "type": "incoming",
            "state": "settled",
            "payment_hash": HASH,
            "amount": 21_000,
            "fees_paid": 0,
            "created_at": NOW,
            "invoice": "lnbc1",
            "settled_at": NOW + 1,
        }


def test_the_uri_holds_everything_a_client_needs() -> None:
    uri = nip47.connection_uri(SERVICE.pubkey, relays=["wss://r.example/?a=1"], secret=HASH, lud16="bob@d.example")
    found = urlsplit(uri)
    assert (found.scheme, found.netloc) == ("nostr+walletconnect", SERVICE.pubkey)
    assert parse_qs(found.query) == {"relay": ["wss://r.example/?a=1"], "secret": [HASH], "lud16": ["bob@d.example"]}
    assert "lud16" not in nip47.connection_uri(SERVICE.pubkey, relays=[], secret=HASH)
