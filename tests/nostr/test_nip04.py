"""NIP-04: both ways with nostr-sdk, and what is refused."""

from __future__ import annotations

from base64 import b64encode

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from relaybot.nostr import nip04
from relaybot.nostr.keys import KeyPair
from tests.nostr.conftest import patient, sdk_keys, secret_of

IV = bytes(range(16))


@patient
@given(text=st.text(max_size=80), iv=st.binary(min_size=16, max_size=16))
def test_nostr_sdk_reads_what_we_write_and_we_read_what_it_writes(text: str, iv: bytes) -> None:
    alice, bob = KeyPair(secret_of("alice")), KeyPair(secret_of("bob"))
    content = nip04.encrypt(text, alice, bob.pubkey, iv)
    assert nip04.decrypt(content, bob, alice.pubkey) == text
    their_bob, their_alice = sdk_keys("bob"), sdk_keys("alice")
    assert nostr_sdk.nip04_decrypt(their_bob.secret_key(), their_alice.public_key(), content) == text
    theirs = nostr_sdk.nip04_encrypt(their_bob.secret_key(), their_alice.public_key(), text)
    assert nip04.decrypt(theirs, alice, bob.pubkey) == text


def test_another_key_reads_nothing(alice: KeyPair, bob: KeyPair) -> None:
    content = nip04.encrypt("for bob", alice, bob.pubkey, IV)
    with pytest.raises(Rejected, match="not for this key"):
        nip04.decrypt(content, KeyPair(secret_of("carol")), alice.pubkey)


@pytest.mark.parametrize("pubkey", ["", "AB" * 32, "ff" * 32, "zz" * 32])
def test_only_keys_share_a_secret(alice: KeyPair, bob: KeyPair, pubkey: str) -> None:
    content = nip04.encrypt("for bob", alice, bob.pubkey, IV)
    with pytest.raises(Rejected):
        nip04.decrypt(content, bob, pubkey)
    with pytest.raises(Rejected):
        nip04.encrypt("x", alice, pubkey, IV)


block, iv_text = b64encode(bytes(16)).decode(), b64encode(IV).decode()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "?iv=",
        f"?iv={iv_text}",
        f"{block}?iv=",
        block,
        f"{block}?iv={iv_text[:-1]}",
        f"{block}?iv={iv_text}?iv={iv_text}",
        f"{block}?iv={iv_text}\n",
        f" {block}?iv={iv_text}",
        f"{block[:-1]}?iv={iv_text}",
        f"{b64encode(bytes(15)).decode()}?iv={iv_text}",
        f"{block.replace('A', '-')}?iv={iv_text}",
        f"{block}?iv={b64encode(bytes(15)).decode()}",
        "A" * 1_048_576 + f"?iv={iv_text}",
    ],
    ids=lambda content: repr(content[:50]),
)
def test_another_form_is_refused(alice: KeyPair, bob: KeyPair, content: str) -> None:
    with pytest.raises(Rejected):
        nip04.decrypt(content, bob, alice.pubkey)


def test_a_lone_surrogate_is_not_encrypted(alice: KeyPair, bob: KeyPair) -> None:
    with pytest.raises(Rejected, match="surrogate"):
        nip04.encrypt("\ud800", alice, bob.pubkey, IV)


def test_the_initialisation_vector_has_16_bytes(alice: KeyPair, bob: KeyPair) -> None:
    with pytest.raises(AssertionError):
        nip04.encrypt("x", alice, bob.pubkey, IV[1:])
