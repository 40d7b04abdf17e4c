"""Keys: BIP-340 signatures, shared secrets, and that no secret is shown."""

from __future__ import annotations

import msgspec
import nostr_sdk
import pytest
from pynostr.key import PrivateKey as PynostrKey

from relaybot.errors import Rejected
from relaybot.nostr import nip19
from relaybot.nostr.event import Event, encode_event, event_from
from relaybot.nostr.keys import KeyPair, verify
from tests.nostr.conftest import NOW, sdk_keys, secret_of

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def test_signing_follows_bip_340() -> None:
    # Vector 0 of BIP-340, whose auxiliary bytes are zero
    keypair = KeyPair((3).to_bytes(32, "big"))
    assert keypair.pubkey == "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9"
    assert keypair.sign_digest(bytes(32)).hex() == (
        "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215"
        "25f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0"
    )


def test_equal_input_gives_an_equal_event(alice: KeyPair) -> None:
    first = alice.sign(kind=1, content="a", tags=[["t", "x"]], created_at=NOW)
    again = KeyPair(secret_of("alice")).sign(kind=1, content="a", tags=(("t", "x"),), created_at=NOW)
    assert first == again
    assert verify(first)
    assert nostr_sdk.Event.from_json(encode_event(first)).verify_signature()


def test_what_nostr_sdk_signs_verifies_here() -> None:
    theirs = nostr_sdk.EventBuilder(nostr_sdk.Kind(1), "from the other side").finalize(sdk_keys("bob"))
    event = event_from(msgspec.json.decode(theirs.as_json()))
    assert verify(event)


@pytest.mark.parametrize("field", ["id", "pubkey", "sig"])
def test_i2_a_signature_over_something_else_does_not_verify(alice: KeyPair, bob: KeyPair, field: str) -> None:
    event = alice.sign(kind=1, content="a", tags=(), created_at=NOW)
    other = bob.sign(kind=1, content="b", tags=(), created_at=NOW)
    assert not verify(msgspec.structs.replace(event, **{field: getattr(other, field)}))


@pytest.mark.parametrize(
    "changes",
    [
        {"sig": ""},
        {"sig": "00" * 63},
        {"sig": "zz" * 64},
        {"sig": "ff" * 64},
        {"pubkey": ""},
        {"pubkey": "ff" * 32},
        {"pubkey": "00" * 32},
        {"pubkey": "\ud800"},
        {"id": ""},
        {"id": "no hex"},
    ],
    ids=repr,
)
def test_verifying_never_raises(alice: KeyPair, changes: dict[str, str]) -> None:
    event: Event = alice.sign(kind=1, content="a", tags=(), created_at=NOW)
    assert verify(msgspec.structs.replace(event, **changes)) is False


@pytest.mark.parametrize("length", [0, 1, 31, 33])
def test_a_secret_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(Rejected, match="32 bytes"):
        KeyPair(b"\x01" * length)


@pytest.mark.parametrize("secret", [0, ORDER, 2**256 - 1])
def test_a_secret_outside_the_order_is_refused_and_not_shown(secret: int) -> None:
    with pytest.raises(Rejected, match="outside") as caught:
        KeyPair.from_hex(f"{secret:064x}")
    assert f"{secret:x}"[:16] not in str(caught.value) or secret == 0


def test_a_key_is_read_from_hex_and_nsec(alice: KeyPair) -> None:
    secret = secret_of("alice")
    assert KeyPair.from_hex(secret.hex()).pubkey == alice.pubkey
    assert KeyPair.from_nsec(nip19.encode_nsec(secret)).pubkey == alice.pubkey
    assert alice.pubkey == sdk_keys("alice").public_key().to_hex()


@pytest.mark.parametrize("text", ["", "00", secret_of("alice").hex().upper() + "A", "nsec1", "x" * 64])
def test_what_is_no_secret_is_refused_without_being_repeated(text: str) -> None:
    for read in (KeyPair.from_hex, KeyPair.from_nsec):
        with pytest.raises(Rejected) as caught:
            read(text)
        assert not text or text not in str(caught.value)


def test_an_npub_is_no_nsec(alice: KeyPair) -> None:
    with pytest.raises(Rejected):
        KeyPair.from_nsec(nip19.encode_npub(alice.pubkey))


def test_a_repr_shows_the_public_key_only(alice: KeyPair) -> None:
    assert repr(alice) == f"KeyPair({nip19.encode_npub(alice.pubkey)})"
    assert not hasattr(alice, "__dict__")


def test_both_sides_share_one_secret_and_pynostr_finds_the_same(alice: KeyPair, bob: KeyPair) -> None:
    shared = alice.shared_x(bob.pubkey)
    assert shared == bob.shared_x(alice.pubkey)
    assert shared == PynostrKey(secret_of("alice")).compute_shared_secret(bob.pubkey)
    assert shared == alice.shared_x(bob.pubkey), "the kept secret is the computed one"


@pytest.mark.parametrize("pubkey", ["", "00" * 32, "ff" * 32, "zz" * 32, "AB" * 32, "00" * 33])
def test_no_secret_is_shared_with_what_is_no_key(alice: KeyPair, pubkey: str) -> None:
    with pytest.raises(Rejected, match="not a point"):
        alice.shared_x(pubkey)
