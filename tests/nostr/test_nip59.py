"""NIP-59 and NIP-17: gift wraps, and authors who are not who they say.

`gift_wraps.json` holds the wraps printed in NIP-17 (two) and NIP-59 (one).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import nostr_sdk
import pytest

from relaybot.errors import Rejected
from relaybot.nostr import nip17, nip44, nip59
from relaybot.nostr.event import Event, encode_event, event_from
from relaybot.nostr.keys import KeyPair, verify
from relaybot.nostr.nip59 import Rumor
from tests.nostr.conftest import NOW, sdk_keys, secret_of

WRAPS = [event_from(obj) for obj in json.loads(Path(__file__).with_name("gift_wraps.json").read_text("utf-8"))]
NONCES = (b"\x01" * 32, b"\x02" * 32)


@pytest.fixture
def one_time() -> KeyPair:
    return KeyPair(secret_of("one time"))


def wrapped(rumor: Rumor, sender: KeyPair, recipient: KeyPair, one_time: KeyPair) -> Event:
    return nip59.wrap(
        rumor,
        sender,
        recipient.pubkey,
        ephemeral=one_time,
        nonces=NONCES,
        seal_created_at=NOW - 100,
        wrap_created_at=NOW - 200,
    )


def wrapped_text(text: str, recipient: KeyPair, one_time: KeyPair) -> Event:
    """Return a wrap around any text where the seal should be."""
    payload = nip44.encrypt(text, nip44.conversation_key(one_time, recipient.pubkey), NONCES[1])
    return one_time.sign(kind=1059, content=payload, tags=(("p", recipient.pubkey),), created_at=NOW)


def sealed_text(text: str, sender: KeyPair, recipient: KeyPair, *, kind: int = 13) -> Event:
    """Return a seal around any text where the rumor should be."""
    payload = nip44.encrypt(text, nip44.conversation_key(sender, recipient.pubkey), NONCES[0])
    return sender.sign(kind=kind, content=payload, tags=(), created_at=NOW)


@pytest.mark.parametrize(
    ("number", "reader", "words", "author"),
    [
        (0, "nsec12ywtkplvyq5t6twdqwwygavp5lm4fhuang89c943nf2z92eez43szvn4dt", "Hola, que tal?", "nsec1w8u"),
        (1, "nsec1w8udu59ydjvedgs3yv5qccshcj8k05fh3l60k9x57asjrqdpa00qkmr89m", "Hola, que tal?", "nsec1w8u"),
        (2, "nsec1uyyrnx7cgfp40fcskcr2urqnzekc20fj0er6de0q8qvhx34ahazsvs9p36", "Are you going to the party", ""),
    ],
)
def test_the_wraps_of_the_nips_are_opened(number: int, reader: str, words: str, author: str) -> None:
    rumor = nip59.unwrap(WRAPS[number], KeyPair.from_nsec(reader))
    assert words in rumor.content
    if author:
        sender = KeyPair.from_nsec("nsec1w8udu59ydjvedgs3yv5qccshcj8k05fh3l60k9x57asjrqdpa00qkmr89m")
        assert nip17.parse_message(rumor).sender == sender.pubkey


def test_a_message_reaches_its_recipient_and_says_nothing_outside(
    alice: KeyPair, bob: KeyPair, one_time: KeyPair
) -> None:
    rumor = nip17.build_message(alice.pubkey, [bob.pubkey], "balance", now=NOW, subject="money", reply_to="ab" * 32)
    wrap = wrapped(rumor, alice, bob, one_time)
    assert verify(wrap)
    assert (wrap.kind, wrap.pubkey, wrap.created_at) == (1059, one_time.pubkey, NOW - 200)
    assert wrap.tags == (("p", bob.pubkey),)
    assert nip59.unwrap(wrap, bob) == rumor
    message = nip17.parse_message(rumor)
    assert message == nip17.Message(rumor.id, alice.pubkey, (bob.pubkey,), "balance", "money", "ab" * 32, NOW)
    assert "balance" not in repr(rumor) + repr(message) + encode_event(wrap)
    assert repr(rumor) == f"Rumor(kind=14, id={rumor.id})"


def test_equal_arguments_give_an_equal_wrap(alice: KeyPair, bob: KeyPair, one_time: KeyPair) -> None:
    rumor = nip17.build_message(alice.pubkey, [bob.pubkey], "hi", now=NOW)
    assert wrapped(rumor, alice, bob, one_time) == wrapped(rumor, alice, bob, one_time)


def test_nostr_sdk_opens_our_wraps(alice: KeyPair, bob: KeyPair, one_time: KeyPair) -> None:
    rumor = nip17.build_message(alice.pubkey, [bob.pubkey], "hello é\x00", now=NOW)
    theirs = nostr_sdk.Event.from_json(encode_event(wrapped(rumor, alice, bob, one_time)))
    gift = nostr_sdk.UnwrappedGift.from_gift_wrap(sdk_keys("bob"), theirs)
    assert gift.sender().to_hex() == alice.pubkey
    assert gift.rumor().content() == "hello é\x00"
    assert gift.rumor().id().to_hex() == rumor.id


def test_we_open_the_wraps_of_nostr_sdk(alice: KeyPair, bob: KeyPair) -> None:
    unsigned = nostr_sdk.EventBuilder(nostr_sdk.Kind(14), "from the other side").finalize_unsigned(
        sdk_keys("alice").public_key()
    )
    theirs = nostr_sdk.nip59_make_gift_wrap(sdk_keys("alice"), sdk_keys("bob").public_key(), unsigned)
    event = event_from(msgspec.json.decode(theirs.as_json()))
    assert verify(event)
    rumor = nip59.unwrap(event, bob)
    assert (rumor.pubkey, rumor.content) == (alice.pubkey, "from the other side")


def test_i7_a_seal_and_a_rumor_of_different_authors_are_refused(
    alice: KeyPair, bob: KeyPair, one_time: KeyPair
) -> None:
    mallory = KeyPair(secret_of("mallory"))
    rumor = nip17.build_message(alice.pubkey, [bob.pubkey], "withdraw all", now=NOW)
    seal = sealed_text(msgspec.json.encode(rumor).decode(), mallory, bob)
    with pytest.raises(Rejected, match="different authors"):
        nip59.unwrap(wrapped_text(encode_event(seal), bob, one_time), bob)
    with pytest.raises(AssertionError):
        wrapped(rumor, mallory, bob, one_time)


def test_i7_a_seal_in_anothers_name_is_refused(alice: KeyPair, bob: KeyPair, one_time: KeyPair) -> None:
    # Whoever knows neither key of a pair cannot encrypt for it, but bob can write to himself in alice's name.
    rumor = nip17.build_message(alice.pubkey, [bob.pubkey], "withdraw all", now=NOW)
    payload = nip44.encrypt(msgspec.json.encode(rumor).decode(), nip44.conversation_key(bob, alice.pubkey), NONCES[0])
    honest = bob.sign(kind=13, content=payload, tags=(), created_at=NOW)
    forged = alice.sign(kind=13, content=payload, tags=(), created_at=NOW)
    forged = msgspec.structs.replace(forged, sig=honest.sig)
    with pytest.raises(Rejected, match="not signed by its author"):
        nip59.unwrap(wrapped_text(encode_event(forged), bob, one_time), bob)


def test_a_wrap_for_somebody_else_is_refused(alice: KeyPair, bob: KeyPair, one_time: KeyPair) -> None:
    rumor = nip17.build_message(alice.pubkey, [bob.pubkey], "hi", now=NOW)
    with pytest.raises(Rejected):
        nip59.unwrap(wrapped(rumor, alice, bob, one_time), alice)


def test_other_kinds_are_neither_wraps_nor_seals(alice: KeyPair, bob: KeyPair, one_time: KeyPair) -> None:
    note = alice.sign(kind=1, content="", tags=(), created_at=NOW)
    with pytest.raises(Rejected, match="not a gift wrap"):
        nip59.unwrap(note, bob)
    with pytest.raises(Rejected, match="must hold a seal"):
        nip59.unwrap(wrapped_text(encode_event(note), bob, one_time), bob)
    with pytest.raises(Rejected):
        nip59.unwrap(wrapped_text("no event", bob, one_time), bob)


def test_an_ephemeral_wrap_is_opened_too(alice: KeyPair, bob: KeyPair, one_time: KeyPair) -> None:
    rumor = nip17.build_message(alice.pubkey, [bob.pubkey], "hi", now=NOW)
    wrap = wrapped(rumor, alice, bob, one_time)
    live = one_time.sign(kind=21059, content=wrap.content, tags=wrap.tags, created_at=NOW)
    assert nip59.unwrap(live, bob) == rumor


@pytest.mark.parametrize(
    "change",
    [
        lambda _obj: "no JSON",
        lambda _obj: "[]",
        lambda obj: {**obj, "id": "00" * 32},
        lambda obj: {**obj, "content": "changed"},
        lambda obj: {**obj, "pubkey": obj["pubkey"].upper()},
        lambda obj: {**obj, "kind": 65_536},
        lambda obj: {**obj, "kind": 14.0},
        lambda obj: {**obj, "tags": [[]]},
        lambda obj: {name: obj[name] for name in obj if name != "id"},
        lambda obj: '{"kind":14,' + json.dumps(obj)[1:],
    ],
)
def test_a_malformed_rumor_is_refused(alice: KeyPair, bob: KeyPair, one_time: KeyPair, change: Any) -> None:
    rumor = nip17.build_message(alice.pubkey, [bob.pubkey], "hi", now=NOW)
    changed = change(msgspec.to_builtins(rumor))
    text = changed if isinstance(changed, str) else json.dumps(changed)
    with pytest.raises(Rejected):
        nip59.unwrap(wrapped_text(encode_event(sealed_text(text, alice, bob)), bob, one_time), bob)


def test_a_rumor_may_carry_fields_we_do_not_know(alice: KeyPair, bob: KeyPair, one_time: KeyPair) -> None:
    rumor = nip17.build_message(alice.pubkey, [bob.pubkey], "hi", now=NOW)
    text = json.dumps({**msgspec.to_builtins(rumor), "sig": ""})
    assert nip59.unwrap(wrapped_text(encode_event(sealed_text(text, alice, bob)), bob, one_time), bob) == rumor


@pytest.mark.parametrize(
    ("kind", "tags"),
    [(15, ()), (1, ()), (14, (("p",),)), (14, (("p", "AB" * 32),)), (14, (("e", "no id"),))],
)
def test_what_is_no_message_is_refused(alice: KeyPair, kind: int, tags: tuple[tuple[str, ...], ...]) -> None:
    with pytest.raises(Rejected):
        nip17.parse_message(nip59.build_rumor(alice.pubkey, kind=kind, content="", tags=tags, created_at=NOW))


def test_a_message_needs_no_tags(alice: KeyPair) -> None:
    message = nip17.parse_message(nip59.build_rumor(alice.pubkey, kind=14, content="x", tags=[["e"]], created_at=NOW))
    assert (message.recipients, message.subject, message.reply_to) == ((), None, None)
