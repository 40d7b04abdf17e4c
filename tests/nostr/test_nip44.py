"""NIP-44: the official vectors, nostr-sdk, and tampering.

`nip44.vectors.json` comes unchanged from github.com/paulmillr/nip44; NIP-44 states its SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from relaybot.nostr import nip44
from relaybot.nostr.keys import KeyPair
from tests.nostr.conftest import patient, sdk_keys, secret_of

FILE = Path(__file__).with_name("nip44.vectors.json")
VECTORS: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))["v2"]
VALID, INVALID = VECTORS["valid"], VECTORS["invalid"]

# NIP-44's own example, under which its vectors for long texts stand
KEY = bytes.fromhex("c41c775356fd92eadc63ff5a0dc1da211b268cbea22316767095b2871ea1412d")
NONCE = (1).to_bytes(32, "big")


def test_the_vectors_are_the_official_ones() -> None:
    wanted = "269ed0f69e4c192512cc779e78c555090cebc7c785b609e338a62afc3ce25040"
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == wanted


@pytest.mark.parametrize("vector", VALID["get_conversation_key"])
def test_conversation_keys(vector: dict[str, str]) -> None:
    key = nip44.conversation_key(KeyPair.from_hex(vector["sec1"]), vector["pub2"])
    assert key.hex() == vector["conversation_key"]


@pytest.mark.parametrize("vector", INVALID["get_conversation_key"], ids=lambda vector: vector["note"])
def test_no_conversation_key_with_what_is_no_key(vector: dict[str, str]) -> None:
    with pytest.raises(Rejected):
        nip44.conversation_key(KeyPair.from_hex(vector["sec1"]), vector["pub2"])


def test_message_keys() -> None:
    vectors = VALID["get_message_keys"]
    key = bytes.fromhex(vectors["conversation_key"])
    for vector in vectors["keys"]:
        found = nip44.message_keys(key, bytes.fromhex(vector["nonce"]))
        assert [part.hex() for part in found] == [vector["chacha_key"], vector["chacha_nonce"], vector["hmac_key"]]


@pytest.mark.parametrize(("length", "padded"), VALID["calc_padded_len"])
def test_padded_lengths(length: int, padded: int) -> None:
    assert nip44.padded_length(length) == padded


@pytest.mark.parametrize("vector", VALID["encrypt_decrypt"])
def test_texts_are_encrypted_and_decrypted(vector: dict[str, str]) -> None:
    one, two = KeyPair.from_hex(vector["sec1"]), KeyPair.from_hex(vector["sec2"])
    key = nip44.conversation_key(one, two.pubkey)
    assert key.hex() == vector["conversation_key"]
    assert key == nip44.conversation_key(two, one.pubkey)
    assert nip44.encrypt(vector["plaintext"], key, bytes.fromhex(vector["nonce"])) == vector["payload"]
    assert nip44.decrypt(vector["payload"], key) == vector["plaintext"]


@pytest.mark.parametrize("vector", VALID["encrypt_decrypt_long_msg"])
def test_long_texts_are_encrypted_and_decrypted(vector: dict[str, Any]) -> None:
    key, text = bytes.fromhex(vector["conversation_key"]), vector["pattern"] * vector["repeat"]
    payload = nip44.encrypt(text, key, bytes.fromhex(vector["nonce"]))
    assert hashlib.sha256(text.encode()).hexdigest() == vector["plaintext_sha256"]
    assert hashlib.sha256(payload.encode()).hexdigest() == vector["payload_sha256"]
    assert nip44.decrypt(payload, key) == text


@pytest.mark.parametrize("vector", INVALID["decrypt"], ids=lambda vector: vector["note"])
def test_what_must_not_be_decrypted_is_refused(vector: dict[str, str]) -> None:
    with pytest.raises(Rejected) as caught:
        nip44.decrypt(vector["payload"], bytes.fromhex(vector["conversation_key"]))
    if vector["note"].startswith("unknown encryption version"):
        assert "version is not supported" in str(caught.value)


@pytest.mark.parametrize(
    ("length", "wanted"),
    [
        (65_535, "6d8c2810d1e870fbaa1f0a0937126cca837a15f9260e27060c331d70a3c0bc84"),
        (65_536, "b7b4edb36ba92e267d322d56d9aebc22e7fa96ff52e3c12adc07f07a43cbc616"),
        (65_537, "eeb7c7c5373894ea2c1547cfd3ccb15d5a0b2d619da852e5c79df792dcc9e435"),
    ],
)
def test_the_longer_length_of_the_nips_text(length: int, wanted: str) -> None:
    # The vector file's limit of 65,535 is older than this extension of NIP-44.
    payload = nip44.encrypt("a" * length, KEY, NONCE)
    assert hashlib.sha256(payload.encode()).hexdigest() == wanted
    assert nip44.decrypt(payload, KEY) == "a" * length


def test_a_text_may_be_a_mebibyte_and_no_more() -> None:
    text = "a" * nip44.PLAINTEXT_BYTES_MAX
    payload = nip44.encrypt(text, KEY, NONCE)
    assert nip44.decrypt(payload, KEY) == text
    for wrong in ("", text + "a"):
        with pytest.raises(Rejected, match="wrong size"):
            nip44.encrypt(wrong, KEY, NONCE)
    with pytest.raises(Rejected, match="wrong size"):
        nip44.decrypt(payload + "AAAA", KEY)


def sealed(padded: bytes) -> str:
    """Return a payload with a right MAC over any padded bytes."""
    chacha_key, chacha_nonce, hmac_key = nip44.message_keys(KEY, NONCE)
    ciphertext = nip44._chacha20(chacha_key, chacha_nonce, padded)
    mac = hmac.digest(hmac_key, NONCE + ciphertext, "sha256")
    return base64.b64encode(b"\x02" + NONCE + ciphertext + mac).decode()


@pytest.mark.parametrize(
    "padded",
    [
        bytes(34),
        bytes(38),
        bytes((0, 0, 0, 0, 0, 5)) + b"hello" + bytes(27),
        bytes((0, 5)) + b"hello" + bytes(59),
        bytes((0, 33)) + b"x" * 32,
        bytes((0, 32)) + b"x" * 31,
        bytes(31),
        bytes((0, 1, 0, 0)) + bytes(65_536),
        bytes((0, 0, 0, 1, 0, 1)) + bytes(65_536),
    ],
    ids=lambda padded: f"{padded[:6].hex()}-{len(padded)}",
)
def test_padding_must_be_exact_even_under_a_right_mac(padded: bytes) -> None:
    with pytest.raises(Rejected):
        nip44.decrypt(sealed(padded), KEY)


def test_what_is_encrypted_must_be_text() -> None:
    with pytest.raises(Rejected, match="UTF-8"):
        nip44.decrypt(sealed(b"\x00\x02\xff\xff" + bytes(30)), KEY)
    with pytest.raises(Rejected, match="surrogate"):
        nip44.encrypt("\ud800", KEY, NONCE)


@pytest.mark.parametrize(("key", "nonce"), [(b"", NONCE), (KEY, b""), (KEY + b"0", NONCE), (KEY, NONCE[1:])])
def test_keys_and_nonces_have_32_bytes(key: bytes, nonce: bytes) -> None:
    with pytest.raises(AssertionError):
        nip44.encrypt("a", key, nonce)


@patient
@given(text=st.text(min_size=1, max_size=400), nonce=st.binary(min_size=32, max_size=32))
def test_nostr_sdk_reads_what_we_write_and_we_read_what_it_writes(text: str, nonce: bytes) -> None:
    alice, bob = KeyPair(secret_of("alice")), KeyPair(secret_of("bob"))
    key = nip44.conversation_key(alice, bob.pubkey)
    their_bob, their_alice = sdk_keys("bob"), sdk_keys("alice")
    payload = nip44.encrypt(text, key, nonce)
    assert nostr_sdk.nip44_decrypt(their_bob.secret_key(), their_alice.public_key(), payload) == text
    theirs = nostr_sdk.nip44_encrypt(their_bob.secret_key(), their_alice.public_key(), text, nostr_sdk.Nip44Version.V2)
    assert nip44.decrypt(theirs, key) == text


@patient
@given(text=st.text(min_size=1, max_size=60), at=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(text: str, at: float, flip: int) -> None:
    data = bytearray(base64.b64decode(nip44.encrypt(text, KEY, NONCE)))
    data[int(at * len(data))] ^= flip
    with pytest.raises(Rejected):
        nip44.decrypt(base64.b64encode(data).decode(), KEY)


@patient
@given(payload=st.text() | st.binary(min_size=90, max_size=200).map(lambda data: base64.b64encode(data).decode()))
def test_nothing_is_decrypted_by_chance(payload: str) -> None:
    with pytest.raises(Rejected):
        nip44.decrypt(payload, KEY)
