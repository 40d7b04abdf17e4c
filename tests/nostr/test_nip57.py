"""NIP-57: zap requests by Appendix D, receipts by E and F, zap tags by G."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from relaybot.nostr import nip57
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair, verify
from tests.nostr.conftest import NOW

RELAYS = ("wss://relay.one", "wss://relay.two")
ZAPPED = "ab" * 32


def request(by: KeyPair, to: KeyPair, *tags: tuple[str, ...], content: str = "", kind: int = 9734) -> str:
    given_tags = [("p", to.pubkey), ("relays", *RELAYS), *tags]
    return nip57.request_text(by.sign(kind=kind, content=content, tags=given_tags, created_at=NOW))


def test_a_zap_request_says_who_zaps_whom_for_what(alice: KeyPair, bob: KeyPair) -> None:
    note = alice.sign(kind=1, content="gm", tags=(), created_at=NOW)
    event = nip57.build_zap_request(
        bob,
        recipient=alice.pubkey,
        relays=RELAYS,
        amount_msat=21_000,
        lnurl="lnurl1x",
        zapped=note,
        comment="hi",
        now=NOW,
    )
    found = nip57.parse_zap_request(nip57.request_text(event), amount_msat=21_000)
    assert (found.sender, found.recipient, found.amount_msat) == (bob.pubkey, alice.pubkey, 21_000)
    assert (found.zapped_event, found.zapped_kind, found.zapped_address) == (note.id, "1", None)
    assert (found.relays, found.lnurl, found.comment, found.anonymous) == (RELAYS, "lnurl1x", "hi", False)


def test_d7_the_text_is_hashed_as_it_was_received(alice: KeyPair, bob: KeyPair) -> None:
    spaced = json.dumps(json.loads(request(bob, alice, content="\u20bf ☃")), indent=1)  # escapes and spaces
    found = nip57.parse_zap_request(spaced)
    assert found.text == spaced
    assert found.description_hash == hashlib.sha256(spaced.encode()).hexdigest()


def test_an_anonymous_or_private_zap_is_told_apart(alice: KeyPair, bob: KeyPair) -> None:
    event = nip57.build_zap_request(bob, recipient=alice.pubkey, relays=RELAYS, anonymous=True, now=NOW)
    assert nip57.parse_zap_request(nip57.request_text(event)).anonymous
    assert nip57.parse_zap_request(request(bob, alice, ("anon", "pzap1secret_iv1"))).anonymous


def test_d7_relays_are_optional_and_what_is_no_relay_is_left_out(alice: KeyPair, bob: KeyPair) -> None:
    bare = nip57.request_text(bob.sign(kind=9734, content="", tags=[("p", alice.pubkey)], created_at=NOW))
    assert nip57.parse_zap_request(bare).relays == ()
    many = [f"wss://r{n}.example" for n in range(30)]
    found = nip57.parse_zap_request(request(bob, alice, ("relays", "http://inside", "", *many, RELAYS[0]))).relays
    assert found == (*RELAYS, *many)[: nip57.RELAYS_MAX]


@pytest.mark.parametrize(
    ("tag", "named"),
    [
        (("p", "cd" * 32), "p: given more than once"),
        (("e", "short"), "e: not 64"),
        (("e",), "e: not 64"),
        (("P", "nobody"), "P: not 64"),
        (("amount", "21"), "amount: the zap request names another one"),
        (("amount", "21.0"), "amount"),
        (("a", "30023:nobody:d"), "a: not an event coordinate"),
        (("a", f"x:{'cd' * 32}:d"), "a: not an event coordinate"),
        (("a", f"30023:{'cd' * 32}"), "a: not an event coordinate"),
        (("k", "70000"), "k: not a kind"),
        (("k", ""), "k: not a kind"),
        (("P", "cd" * 32), "P: receipts are signed by another key"),
    ],
)
def test_d7_what_appendix_d_forbids_is_refused_by_name(
    alice: KeyPair, bob: KeyPair, tag: tuple[str, ...], named: str
) -> None:
    with pytest.raises(Rejected, match=named):
        nip57.parse_zap_request(request(bob, alice, tag), amount_msat=21_000, zapper=alice.pubkey)


def test_d7_two_zapped_events_are_refused(alice: KeyPair, bob: KeyPair) -> None:
    with pytest.raises(Rejected, match="e: given more than once"):
        nip57.parse_zap_request(request(bob, alice, ("e", ZAPPED), ("e", "cd" * 32)))


def test_the_receipts_author_may_be_named(alice: KeyPair, bob: KeyPair) -> None:
    assert nip57.parse_zap_request(request(bob, alice, ("P", alice.pubkey)), zapper=alice.pubkey).sender == bob.pubkey


def test_a_request_that_is_none_is_refused(alice: KeyPair, bob: KeyPair) -> None:
    good = request(bob, alice)
    other = json.loads(good) | {"sig": "00" * 64}
    no_recipient = nip57.request_text(bob.sign(kind=9734, content="", tags=(), created_at=NOW))
    for text, named in (
        (request(bob, alice, kind=1), "kind: not a zap request"),
        (json.dumps(other), "sig: the zap request is not signed"),
        (no_recipient, "p: missing"),
        (request(bob, alice, content="x" * nip57.REQUEST_BYTES_MAX), "too large"),
        (request(bob, alice, *[("t", "x")] * nip57.TAGS_MAX), "tags: too many"),
    ):
        with pytest.raises(Rejected, match=named):
            nip57.parse_zap_request(text)


@given(st.text() | st.text('\ud800{}[]":,\\u'))
def test_d7_no_text_does_more_than_be_refused(text: str) -> None:
    with pytest.raises(Rejected):
        nip57.parse_zap_request(text)


def receipt(zapper: KeyPair, alice: KeyPair, bob: KeyPair, *tags: tuple[str, ...]) -> Event:
    found = nip57.parse_zap_request(request(bob, alice, ("e", ZAPPED), ("k", "6050"), *tags))
    return nip57.build_zap_receipt(zapper, found, bolt11="lnbcrt1paid", preimage="11" * 32, paid_at=NOW + 5)


def test_a_receipt_is_the_same_event_each_time_dated_by_the_payment(alice: KeyPair, bob: KeyPair) -> None:
    zapper = KeyPair(b"\x05" * 32)
    event = receipt(zapper, alice, bob)
    assert verify(event)
    assert (event.kind, event.created_at, event.content) == (9735, NOW + 5, "")
    assert event.tags[:4] == (("p", alice.pubkey), ("e", ZAPPED), ("k", "6050"), ("P", bob.pubkey))
    assert event.tag("description") == nip57.parse_zap_receipt(event, zapper=zapper.pubkey).request.text
    assert event.id == receipt(zapper, alice, bob).id


def test_a_receipt_without_what_was_not_given(alice: KeyPair, bob: KeyPair) -> None:
    found = nip57.parse_zap_request(request(bob, alice))
    event = nip57.build_zap_receipt(alice, found, bolt11="lnbcrt1paid", preimage=None, paid_at=NOW)
    assert [tag[0] for tag in event.tags] == ["p", "P", "bolt11", "description"]
    assert nip57.parse_zap_receipt(event, zapper=alice.pubkey).preimage is None


def test_d6_a_forged_receipt_is_refused(alice: KeyPair, bob: KeyPair) -> None:
    """Attack D6, as far as words can tell: another key, another amount, another recipient."""
    zapper = KeyPair(b"\x05" * 32)
    good = receipt(zapper, alice, bob, ("amount", "21000"))
    assert nip57.parse_zap_receipt(good, zapper=zapper.pubkey, paid_msat=21_000).request.sender == bob.pubkey
    with pytest.raises(Rejected, match="pubkey: not the recipient's zapper"):
        nip57.parse_zap_receipt(good, zapper=bob.pubkey)
    with pytest.raises(Rejected, match="amount: the zap request names another one"):
        nip57.parse_zap_receipt(good, zapper=zapper.pubkey, paid_msat=1_000)
    unsigned = Event(good.id, good.pubkey, good.created_at, good.kind, good.tags, good.content, "00" * 64)
    with pytest.raises(Rejected, match="sig: the zap receipt is not signed"):
        nip57.parse_zap_receipt(unsigned, zapper=zapper.pubkey)
    for tags, named in (
        ([("p", bob.pubkey), *good.tags[1:]], "p, e: not those of the zap request"),
        ([tag for tag in good.tags if tag[0] != "bolt11"], "bolt11: missing"),
    ):
        event = zapper.sign(kind=9735, content="", tags=tags, created_at=NOW)
        with pytest.raises(Rejected, match=named):
            nip57.parse_zap_receipt(event, zapper=zapper.pubkey)
    with pytest.raises(Rejected, match="kind: not a zap receipt"):
        nip57.parse_zap_receipt(zapper.sign(kind=1, content="", tags=(), created_at=NOW), zapper=zapper.pubkey)


def test_zap_tags_share_a_zap_by_weight(alice: KeyPair, bob: KeyPair) -> None:
    tags = nip57.zap_tags([(alice.pubkey, 2), (bob.pubkey, 1), ("cd" * 32, 0)], RELAYS[0])
    assert tags == [("zap", alice.pubkey, RELAYS[0], "2"), ("zap", bob.pubkey, RELAYS[0], "1")]


def test_an_article_is_zapped_by_its_coordinate(alice: KeyPair, bob: KeyPair) -> None:
    address = f"30023:{alice.pubkey}:a:b"  # the identifier may hold colons
    found = nip57.parse_zap_request(request(bob, alice, ("a", address)))
    assert found.zapped_address == address
    event = nip57.build_zap_receipt(alice, found, bolt11="lnbcrt1paid", preimage=None, paid_at=NOW)
    assert event.tag("a") == address
