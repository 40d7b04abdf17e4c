"""NIP-90: requests, feedback and results, in the open and encrypted in both schemes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from relaybot.nostr import job_tags, nip04, nip44, nip90
from relaybot.nostr.encryption import NIP04, NIP44, Encryption, Scheme
from relaybot.nostr.event import Event, encode_event, parse_event
from relaybot.nostr.keys import KeyPair, verify
from relaybot.nostr.nip90 import Input
from tests.nostr.conftest import NOW, patient, secret_of

Tags = tuple[tuple[str, ...], ...]

NONCE = bytes(range(32))
SCHEMES: list[Scheme] = [NIP44, NIP04]
INPUTS = (
    Input("what is the capital of France?", "text"),
    Input("https://example.com/a", "url", marker="context"),
    Input("ab" * 32, "event", relay="wss://r.example"),
    Input("cd" * 32, "job", relay="wss://r.example", marker="before"),
)
PARAMS = (("model", "LLaMA-2"), ("max_tokens", "512"), ("stop", "a", "b"), ("flag",))


@pytest.fixture
def carol() -> KeyPair:
    return KeyPair(secret_of("carol"))


def request_of(customer: KeyPair, provider: KeyPair, encrypt: Encryption | None, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "kind": 5050,
        "inputs": INPUTS,
        "params": PARAMS,
        "output": "text/markdown",
        "bid_msat": 12_000_000,
        "relays": ("wss://a.example", "ws://b.example"),
        "provider": provider.pubkey,
        "expiration": NOW + 600,
        "now": NOW,
    }
    return nip90.build_job_request(customer, encrypt=encrypt, **(fields | changes))


def raw_request(customer: KeyPair, tags: Tags, content: str = "", kind: int = 5050) -> Event:
    return customer.sign(kind=kind, content=content, tags=tags, created_at=NOW)


@pytest.mark.parametrize("scheme", [None, *SCHEMES])
def test_a_request_is_read_as_it_was_written(bob: KeyPair, alice: KeyPair, scheme: Scheme | None) -> None:
    encrypt = None if scheme is None else Encryption(scheme, NONCE)
    event = parse_event(encode_event(request_of(bob, alice, encrypt)))
    assert verify(event)
    assert nip90.encryption_of(event) == scheme
    request = nip90.parse_job_request(event, alice)
    assert request == nip90.JobRequest(
        event_id=event.id,
        customer=bob.pubkey,
        kind=5050,
        created_at=NOW,
        inputs=INPUTS,
        params=PARAMS,
        output="text/markdown",
        bid_msat=12_000_000,  # type: ignore[arg-type] # money in a test
        relays=("wss://a.example", "ws://b.example"),
        providers=(alice.pubkey,),
        encrypted=scheme,
        expiration=NOW + 600,
    )
    assert request.param("model") == "LLaMA-2"
    assert request.param("flag") is None
    assert request.param("org") is None
    assert "France" not in repr(request)
    assert "France" not in repr(request.inputs)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_encrypted_request_shows_none_of_its_inputs(bob: KeyPair, alice: KeyPair, scheme: Scheme) -> None:
    event = request_of(bob, alice, Encryption(scheme, NONCE))
    assert {tag[0] for tag in event.tags} == {"bid", "relays", "p", "expiration", "encrypted"}
    for secret in ("France", "LLaMA", "markdown", "ab" * 32):
        assert secret not in encode_event(event)


def test_an_encrypted_requests_content_is_nip_90s_array_of_tags(bob: KeyPair, alice: KeyPair) -> None:
    inside = '[["i","what is the capital of France? ","text"],["param","model","LLaMA-2"],["bid","1"],["x"]]'
    key = nip44.conversation_key(bob, alice.pubkey)
    for content in (nip44.encrypt(inside, key, NONCE), nip04.encrypt(inside, bob, alice.pubkey, NONCE[:16])):
        event = raw_request(bob, (("p", alice.pubkey), ("encrypted",)), content)
        request = nip90.parse_job_request(event, alice)
        assert request.inputs == (Input("what is the capital of France? ", "text"),)
        assert request.params == (("model", "LLaMA-2"),)
        assert request.bid_msat is None, "what is paid stands in the open, for all to check"


def test_an_open_request_may_say_nothing_at_all(bob: KeyPair) -> None:
    event = nip90.build_job_request(bob, kind=5000, inputs=(), now=NOW)
    assert event.tags == ()
    request = nip90.parse_job_request(event, None)
    assert (request.inputs, request.params, request.bid_msat, request.providers) == ((), (), None, ())
    assert (request.output, request.relays, request.encrypted, request.expiration) == (None, (), None, None)


def test_the_registrys_prompt_is_text_for_text_generation_only(bob: KeyPair) -> None:
    tags = (("i", "what is the capital of France? ", "prompt"),)
    request = nip90.parse_job_request(raw_request(bob, tags), None)
    assert request.inputs == (Input("what is the capital of France? ", "text"),)
    with pytest.raises(Rejected, match="i: unknown type"):
        nip90.parse_job_request(raw_request(bob, tags, kind=5001), None)


@pytest.mark.parametrize(
    ("tags", "field"),
    [
        ((("i",),), "i"),
        ((("i", "x"),), "i"),
        ((("i", "x", "file"),), "i"),
        ((("i", "x", "TEXT"),), "i"),
        ((("i", "x", "event"),), "i"),
        ((("i", "AB" * 32, "job"),), "i"),
        ((("i", "x", "text"),) * 65, "i"),
        ((("i", "x" * 262_144, "text"),), "i"),
        ((("i", "x", "text"), ("param", "n", "é" * 131_072)), "i"),
        ((("param",),), "param"),
        ((("param", "", "v"),), "param"),
        ((("param", "a", "b"),) * 65, "param"),
        ((("output", "a"), ("output", "b")), "output"),
        ((("bid",),), "bid"),
        ((("bid", ""),), "bid"),
        ((("bid", "-1"),), "bid"),
        ((("bid", "+1"),), "bid"),
        ((("bid", "1.0"),), "bid"),
        ((("bid", "1e3"),), "bid"),
        ((("bid", "1_000"),), "bid"),
        ((("bid", " 1"),), "bid"),
        ((("bid", "0x10"),), "bid"),
        ((("bid", "\u0661"),), "bid"),
        ((("bid", str(2**63)),), "bid"),
        ((("bid", "1"), ("bid", "2")), "bid"),
        ((("relays", "https://a.example"),), "relays"),
        ((("relays", *["wss://a.example"] * 11),), "relays"),
        ((("p",),), "p"),
        ((("p", "AB" * 32),), "p"),
        ((("p", "ab" * 32),) * 51, "p"),
        ((("expiration", "soon"),), "expiration"),
        ((("expiration",),), "expiration"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_i2_b5_a_malformed_request_is_refused_by_the_name_of_its_field(bob: KeyPair, tags: Tags, field: str) -> None:
    with pytest.raises(Rejected) as caught:
        nip90.parse_job_request(raw_request(bob, tags), None)
    assert caught.value.prefix == "invalid"
    assert caught.value.reason.startswith(f"{field}: ")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("kind", [4999, 6000, 7000, 1])
def test_other_kinds_are_no_requests(bob: KeyPair, kind: int) -> None:
    with pytest.raises(Rejected, match="kind"):
        nip90.parse_job_request(raw_request(bob, (), kind=kind), None)
    with pytest.raises(AssertionError):
        nip90.build_job_request(bob, kind=kind, inputs=(), now=NOW)


def test_an_encrypted_request_needs_its_provider(bob: KeyPair, alice: KeyPair, carol: KeyPair) -> None:
    with pytest.raises(AssertionError):
        nip90.build_job_request(bob, kind=5050, inputs=(), encrypt=Encryption("nip44", NONCE), now=NOW)
    for scheme in SCHEMES:
        event = request_of(bob, alice, Encryption(scheme, NONCE))
        for reader in (None, carol):
            with pytest.raises(Rejected, match="content: "):
                nip90.parse_job_request(event, reader)


@pytest.mark.parametrize("inside", ["", "{}", "[[]]", "[[1]]", '["i"]', "[" * 9_999, '[["i","\\ud800","text"]]'])
def test_what_is_encrypted_must_be_an_array_of_tags(bob: KeyPair, alice: KeyPair, inside: str) -> None:
    content = nip04.encrypt(inside, bob, alice.pubkey, NONCE[:16])
    with pytest.raises(Rejected, match="content: not a JSON array of tags"):
        nip90.parse_job_request(raw_request(bob, (("encrypted",),), content), alice)


# ---- feedback


def test_an_open_feedback_asks_for_money_in_the_open(bob: KeyPair, alice: KeyPair) -> None:
    request = request_of(bob, alice, None)
    event = nip90.build_feedback(
        alice,
        request=request,
        status="payment-required",
        text="please pay",
        amount_msat=12_000_000,
        bolt11="lnbcrt1invoice",
        now=NOW,
    )
    assert event.kind == 7000
    assert event.content == ""
    assert event.tags == (
        ("status", "payment-required", "please pay"),
        ("amount", "12000000", "lnbcrt1invoice"),
        ("e", request.id),
        ("p", bob.pubkey),
    )
    said = nip90.parse_feedback(event)
    assert (said.provider, said.request_id, said.customer) == (alice.pubkey, request.id, bob.pubkey)
    assert (said.status, said.text) == ("payment-required", "please pay")
    assert (said.amount_msat, said.bolt11, said.encrypted) == (12_000_000, "lnbcrt1invoice", None)
    assert "lnbcrt1invoice" not in repr(said)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_encrypted_feedback_shows_the_status_only(bob: KeyPair, alice: KeyPair, scheme: Scheme) -> None:
    request = request_of(bob, alice, Encryption(scheme, NONCE))
    event = nip90.build_feedback(
        alice,
        request=request,
        status="payment-required",
        text="please pay",
        amount_msat=12_000_000,
        bolt11="lnbcrt1invoice",
        encrypt=Encryption(scheme, NONCE[::-1]),
        now=NOW,
    )
    assert event.tags == (("status", "payment-required"), ("e", request.id), ("p", bob.pubkey), ("encrypted",))
    for private in ("12000000", "lnbcrt", "please"):
        assert private not in encode_event(event)
    said = nip90.parse_feedback(event, bob)
    assert (said.text, said.amount_msat, said.bolt11) == ("please pay", 12_000_000, "lnbcrt1invoice")
    assert said.encrypted == nip90.encryption_of(event) == scheme
    outside = nip90.parse_feedback(event)
    assert (outside.status, outside.text, outside.amount_msat) == ("payment-required", "", None)
    with pytest.raises(Rejected, match="content: "):
        nip90.parse_feedback(event, alice)


def test_the_content_of_an_encrypted_feedback_is_an_array_of_tags(bob: KeyPair, alice: KeyPair) -> None:
    event = nip90.build_feedback(
        alice,
        request=request_of(bob, alice, None),
        status="payment-required",
        text="t",
        amount_msat=1,
        bolt11="ln",
        encrypt=Encryption("nip44", NONCE),
        now=NOW,
    )
    inside = nip44.decrypt(event.content, nip44.conversation_key(bob, alice.pubkey))
    assert json.loads(inside) == [["status", "payment-required", "t"], ["amount", "1", "ln"]]


def test_a_feedback_without_money_or_words(bob: KeyPair, alice: KeyPair) -> None:
    request = request_of(bob, alice, None)
    event = nip90.build_feedback(alice, request=request, status="processing", now=NOW)
    assert event.tags == (("status", "processing"), ("e", request.id), ("p", bob.pubkey))
    said = nip90.parse_feedback(event)
    assert (said.text, said.amount_msat, said.bolt11) == ("", None, None)
    amount_only = nip90.build_feedback(alice, request=request, status="processing", amount_msat=5, now=NOW)
    assert nip90.parse_feedback(amount_only).amount_msat == 5
    assert nip90.parse_feedback(amount_only).bolt11 is None
    with pytest.raises(AssertionError):
        nip90.build_feedback(alice, request=request, status="processing", bolt11="ln", now=NOW)


ANSWERS: Tags = (("e", "ab" * 32), ("p", "cd" * 32))


@pytest.mark.parametrize(
    "tags",
    [
        ANSWERS,
        (("status",), *ANSWERS),
        (("status", "done"), *ANSWERS),
        (("status", "success"), ANSWERS[0]),
        (("status", "success"), ANSWERS[1]),
        (("status", "success"), ("e", "no id"), ANSWERS[1]),
        (("status", "success"), ("amount",), *ANSWERS),
        (("status", "success"), ("amount", "-5"), *ANSWERS),
    ],
)
def test_a_malformed_feedback_is_refused(alice: KeyPair, tags: Tags) -> None:
    nip90.parse_feedback(alice.sign(kind=7000, content="", tags=(("status", "success"), *ANSWERS), created_at=NOW))
    with pytest.raises(Rejected):
        nip90.parse_feedback(alice.sign(kind=7000, content="", tags=tags, created_at=NOW))


# ---- results


def test_an_open_result_repeats_the_request_and_its_inputs(bob: KeyPair, alice: KeyPair) -> None:
    request = request_of(bob, alice, None)
    event = nip90.build_result(alice, request=request, content="Paris", now=NOW, usage=[("tokens", 12)])
    assert event.kind == 6050
    assert event.content == "Paris"
    assert event.tag("request") == encode_event(request)
    assert event.tags_named("i") == request.tags_named("i")
    assert not event.tags_named("amount"), "clients would ask to pay again"
    result = nip90.parse_result(event)
    assert result == nip90.Result(
        event.id, alice.pubkey, request.id, bob.pubkey, 6050, "Paris", None, {"tokens": 12}, None
    )
    assert "Paris" not in repr(result)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_encrypted_result_is_for_the_customer_alone(bob: KeyPair, alice: KeyPair, scheme: Scheme) -> None:
    request = request_of(bob, alice, Encryption(scheme, NONCE))
    event = nip90.build_result(
        alice, request=request, content="Paris", encrypt=Encryption(scheme, NONCE[::-1]), now=NOW
    )
    assert not event.tags_named("i")
    assert "Paris" not in encode_event(event)
    result = nip90.parse_result(event, bob)
    assert (result.content, result.encrypted, result.usage) == ("Paris", scheme, {})
    assert nip90.parse_result(event).content == event.content
    with pytest.raises(Rejected, match="content: "):
        nip90.parse_result(event, KeyPair(secret_of("carol")))


def test_an_amount_in_a_result_is_read(alice: KeyPair) -> None:
    event = alice.sign(kind=6050, content="", tags=(*ANSWERS, ("amount", "7")), created_at=NOW)
    assert nip90.parse_result(event).amount_msat == 7


@pytest.mark.parametrize(
    "tags",
    [
        (ANSWERS[0],),
        (ANSWERS[1],),
        (*ANSWERS, ("amount", "1.5")),
        (*ANSWERS, ("usage",)),
        (*ANSWERS, ("usage", "tokens")),
        (*ANSWERS, ("usage", "", "1")),
        (*ANSWERS, ("usage", "tokens", "-1")),
        (*ANSWERS, ("usage", "tokens", "1.5")),
        (*ANSWERS, ("usage", "tokens", "\u0661")),
        (*ANSWERS, ("usage", "tokens", "9" * 16)),
        (*ANSWERS, ("usage", "tokens", "1"), ("usage", "tokens", "2")),
        (*ANSWERS, *[("usage", f"u{n}", "1") for n in range(17)]),
    ],
)
def test_i3_a_malformed_result_is_refused(alice: KeyPair, tags: Tags) -> None:
    with pytest.raises(Rejected):
        nip90.parse_result(alice.sign(kind=6050, content="", tags=tags, created_at=NOW))


@pytest.mark.parametrize("kind", [5050, 7000, 5999])
def test_other_kinds_are_neither_results_nor_feedback(alice: KeyPair, kind: int) -> None:
    event = alice.sign(kind=kind, content="", tags=(("status", "success"), *ANSWERS), created_at=NOW)
    with pytest.raises(Rejected, match="kind"):
        nip90.parse_result(event)
    if kind != 7000:
        with pytest.raises(Rejected, match="kind"):
            nip90.parse_feedback(event)


names = st.sampled_from(["i", "param", "output", "bid", "relays", "p", "expiration", "encrypted", "e", "status"])
words = st.sampled_from(["text", "event", "1", "ab" * 32, "wss://a.example", "success"]) | st.text(max_size=8)


def reason_of(read: Callable[[Event, KeyPair], object], event: Event, reader: KeyPair) -> str | None:
    try:
        read(event, reader)
    except Rejected as refusal:
        return refusal.reason
    return None


@patient
@given(
    tags=st.lists(st.builds(lambda name, rest: (name, *rest), names, st.lists(words, max_size=4)), max_size=8),
    content=st.text(max_size=20),
)
def test_any_tags_are_read_or_refused(tags: list[tuple[str, ...]], content: str) -> None:
    bob, alice = KeyPair(secret_of("bob")), KeyPair(secret_of("alice"))
    for kind, read in (
        (5050, nip90.parse_job_request),
        (7000, nip90.parse_feedback),
        (6050, nip90.parse_result),
    ):
        reason = reason_of(read, bob.sign(kind=kind, content=content, tags=tags, created_at=NOW), alice)
        assert reason is None or reason.split(":")[0] in {*(tag[0] for tag in tags), "content", "e", "p", "status"}


def test_the_limits_let_an_ordinary_job_through() -> None:
    assert job_tags.INPUT_BYTES_MAX < nip44.PLAINTEXT_BYTES_MAX, "any request within limits can be assigned encrypted"
