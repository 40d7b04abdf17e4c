"""NIP-04: the old encryption between two keys, for answering those who still use it.

Reading is pynostr's, behind a check of the form, for it reads leniently. Writing is ours,
because pynostr draws the initialisation vector itself. Nothing new is begun in this scheme.
"""

from __future__ import annotations

import re
from base64 import b64encode

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from relaybot.errors import Rejected
from relaybot.nostr.event import HEX32_LENGTH, is_hex
from relaybot.nostr.keys import KeyPair

MESSAGE_KIND = 4
IV_BYTES = 16
CONTENT_LENGTH_MAX = 1_048_576  # no event of ours comes near a mebibyte

_FORM = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?\?iv=[A-Za-z0-9+/]{22}==")


def encrypt(text: str, keypair: KeyPair, pubkey: str, iv: bytes) -> str:
    """Return `text` for the holder of `pubkey`; `iv` is 16 random bytes, never used twice."""
    assert len(iv) == IV_BYTES, f"an initialisation vector has 16 bytes, not {len(iv)}"
    padder = PKCS7(AES256.block_size).padder()
    try:
        padded = padder.update(text.encode()) + padder.finalize()
    except UnicodeEncodeError:
        raise Rejected("invalid", "lone surrogate in the text to encrypt") from None
    # NIP-04: the key is the shared x coordinate itself
    ciphertext = Cipher(AES256(keypair.shared_x(pubkey)), CBC(iv)).encryptor().update(padded)
    return f"{b64encode(ciphertext).decode()}?iv={b64encode(iv).decode()}"


def decrypt(content: str, keypair: KeyPair, pubkey: str) -> str:
    """Return the text of `content` from the holder of `pubkey`; Rejected if it cannot be read."""
    if len(content) > CONTENT_LENGTH_MAX or _FORM.fullmatch(content) is None:
        raise Rejected("invalid", "not an encrypted text of NIP-04")
    if not is_hex(pubkey, HEX32_LENGTH):
        raise Rejected("invalid", "pubkey is not 64 lowercase hex digits")
    try:
        return str(keypair.as_pynostr().decrypt_message(content, pubkey))
    except ValueError:
        raise Rejected("invalid", "encrypted text is not for this key") from None
