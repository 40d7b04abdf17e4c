"""NIP-44 version 2: encrypted payloads between two keys.

The nonce is an argument and must never be used twice. The event around a payload is
verified by whoever read it, before it is decrypted here.
"""

from __future__ import annotations

import binascii
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from relaybot.errors import Rejected
from relaybot.nostr.keys import KeyPair

PLAINTEXT_BYTES_MAX = 1_048_576  # NIP-44 wants a limit of one's own: no event of ours comes near a mebibyte
NONCE_BYTES = 32

_SALT = b"nip44-v2"
_VERSION = 2
_KEY_BYTES = 32
_MAC_BYTES = 32
_CHARACTERS_MIN = 132  # NIP-44, of a payload's base64
_LONG_FROM = 65_536  # NIP-44: from here on the length takes six bytes instead of two
_SMALLEST_PADDED = 32
_SMALL_CHUNKS_UP_TO = 256


def conversation_key(keypair: KeyPair, pubkey: str) -> bytes:
    """Return the key that both sides share: HKDF-extract of the shared x. Rejected if `pubkey` is no key."""
    return hmac.digest(_SALT, keypair.shared_x(pubkey), "sha256")


def encrypt(text: str, key: bytes, nonce: bytes) -> str:
    """Return the payload of `text` under a conversation key; Rejected if it is empty or too long."""
    chacha_key, chacha_nonce, hmac_key = message_keys(key, nonce)
    try:
        padded = _pad(text.encode())
    except UnicodeEncodeError:
        raise Rejected("invalid", "lone surrogate in the text to encrypt") from None
    ciphertext = _chacha20(chacha_key, chacha_nonce, padded)
    mac = hmac.digest(hmac_key, nonce + ciphertext, "sha256")
    return binascii.b2a_base64(bytes((_VERSION,)) + nonce + ciphertext + mac, newline=False).decode()


def decrypt(payload: str, key: bytes) -> str:
    """Return the text of a payload; Rejected if it is of another version, malformed or not for this key."""
    nonce, ciphertext, mac = _parse_payload(payload)
    chacha_key, chacha_nonce, hmac_key = message_keys(key, nonce)
    if not hmac.compare_digest(hmac.digest(hmac_key, nonce + ciphertext, "sha256"), mac):
        raise Rejected("invalid", "encrypted text is not for this key")
    try:
        return _unpad(_chacha20(chacha_key, chacha_nonce, ciphertext)).decode()
    except UnicodeDecodeError:
        raise Rejected("invalid", "encrypted text is not UTF-8") from None


def message_keys(key: bytes, nonce: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the ChaCha20 key, its nonce and the HMAC key of one message."""
    assert len(key) == _KEY_BYTES, f"a conversation key has 32 bytes, not {len(key)}"
    assert len(nonce) == NONCE_BYTES, f"a nonce has 32 bytes, not {len(nonce)}"
    derived = HKDFExpand(SHA256(), length=76, info=nonce).derive(key)
    return derived[:32], derived[32:44], derived[44:]


def padded_length(length: int) -> int:
    """Return to how many bytes a text of `length` bytes is padded: steps of an eighth of the next power of two."""
    if length <= _SMALLEST_PADDED:
        return _SMALLEST_PADDED
    next_power = 1 << (length - 1).bit_length()
    chunk = _SMALLEST_PADDED if next_power <= _SMALL_CHUNKS_UP_TO else next_power // 8
    return chunk * ((length - 1) // chunk + 1)


def _chacha20(key: bytes, nonce: bytes, data: bytes) -> bytes:
    # RFC 8439: the first four of the library's sixteen nonce bytes are the counter, which starts at 0
    return Cipher(ChaCha20(key, bytes(4) + nonce), mode=None).encryptor().update(data)


def _prefix(length: int) -> bytes:
    return length.to_bytes(2, "big") if length < _LONG_FROM else bytes(2) + length.to_bytes(4, "big")


def _pad(plaintext: bytes) -> bytes:
    length = len(plaintext)
    if not 1 <= length <= PLAINTEXT_BYTES_MAX:
        raise Rejected("invalid", "text to encrypt has a wrong size", found=length, allowed=f"1..{PLAINTEXT_BYTES_MAX}")
    return _prefix(length) + plaintext + bytes(padded_length(length) - length)


def _unpad(padded: bytes) -> bytes:
    length = int.from_bytes(padded[:2], "big") or int.from_bytes(padded[2:6], "big")
    # A long length written short, or the reverse, gives another total and is refused with the rest.
    prefix = len(_prefix(length)) if length else 0
    if not length or padded[:prefix] != _prefix(length) or len(padded) != prefix + padded_length(length):
        raise Rejected("invalid", "encrypted text is badly padded")
    return padded[prefix : prefix + length]


_BYTES_MAX = 1 + NONCE_BYTES + len(_prefix(PLAINTEXT_BYTES_MAX)) + padded_length(PLAINTEXT_BYTES_MAX) + _MAC_BYTES
_CHARACTERS_MAX = 4 * -(-_BYTES_MAX // 3)


def _parse_payload(payload: str) -> tuple[bytes, bytes, bytes]:
    """Return nonce, ciphertext and MAC."""
    # NIP-44: a leading # marks an encoding of the future
    if payload.startswith("#"):
        raise Rejected("invalid", "encryption version is not supported")
    if not _CHARACTERS_MIN <= len(payload) <= _CHARACTERS_MAX:
        raise Rejected("invalid", "encrypted text has a wrong size", found=len(payload))
    try:
        data = binascii.a2b_base64(payload, strict_mode=True)
    except ValueError:
        raise Rejected("invalid", "encrypted text is not base64") from None
    if data[0] != _VERSION:
        raise Rejected("invalid", "encryption version is not supported", found=data[0])
    return data[1 : 1 + NONCE_BYTES], data[1 + NONCE_BYTES : -_MAC_BYTES], data[-_MAC_BYTES:]
