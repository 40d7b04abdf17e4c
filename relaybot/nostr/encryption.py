"""Which of Nostr's two schemes a text is encrypted in, and the answer in the scheme of the question.

NIP-44 is what we use; NIP-04 is read, and used to answer whoever used it. The schemes
themselves are `nip44` and `nip04`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from relaybot.errors import Rejected
from relaybot.nostr import nip04, nip44
from relaybot.nostr.keys import KeyPair

Scheme = Literal["nip44", "nip04"]
NIP44: Scheme = "nip44"
NIP04: Scheme = "nip04"


@dataclass(frozen=True, slots=True)
class Encryption:
    """How to encrypt one text: the scheme, and 32 random bytes never used before."""

    scheme: Scheme
    nonce: bytes = field(repr=False)


def scheme_of(content: str) -> Scheme:
    """Return the scheme of an encrypted text: only NIP-04 carries its vector behind `?iv=`."""
    return NIP04 if "?iv=" in content else NIP44


def encrypt(text: str, keypair: KeyPair, pubkey: str, how: Encryption) -> str:
    """Return `text` as only `keypair` and the holder of `pubkey` can read it."""
    if how.scheme == NIP44:
        return nip44.encrypt(text, nip44.conversation_key(keypair, pubkey), how.nonce)
    return nip04.encrypt(text, keypair, pubkey, how.nonce[: nip04.IV_BYTES])


def decrypt(content: str, keypair: KeyPair, pubkey: str, scheme: Scheme) -> str:
    """Return the text that `pubkey` encrypted to `keypair`; Rejected, naming the content, if it is not that."""
    try:
        if scheme == NIP44:
            return nip44.decrypt(content, nip44.conversation_key(keypair, pubkey))
        return nip04.decrypt(content, keypair, pubkey)
    except Rejected as error:
        raise Rejected(error.prefix, f"content: {error.reason}", **error.fields) from None
