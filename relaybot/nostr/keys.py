"""Keys: signing events, checking their signatures, sharing a secret with another key.

On coincurve. A secret never leaves this module but as bytes asked for by name, and no
`repr` shows it. Nothing here draws random numbers: secrets are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from coincurve import PrivateKey
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from relaybot.errors import Rejected
from relaybot.nostr import nip19
from relaybot.nostr.event import HEX32_LENGTH, Event, event_id, is_hex
from relaybot.nostr.points import signature_fits

SHARED_SECRETS_MAX = 4_096  # per key pair; a miss costs a multiplication on the curve
_SECRET_BYTES = 32


@ffi.callback("int (unsigned char *, const unsigned char *, const unsigned char *, void *)")  # type: ignore[untyped-decorator]
def _copy_x(output: object, x: object, _y: object, _data: object) -> int:
    ffi.memmove(output, x, _SECRET_BYTES)
    return 1


class KeyPair:
    """A secret key and its public key in hex."""

    __slots__ = ("_keypair", "_secret", "_shared", "pubkey")

    def __init__(self, secret: bytes) -> None:
        # coincurve pads short secrets: ours are whole or refused
        if len(secret) != _SECRET_BYTES:
            raise Rejected("invalid", "a secret key has 32 bytes", found=len(secret))
        try:
            private = PrivateKey(secret)
        except ValueError:
            raise Rejected("invalid", "secret key is outside the curve's order") from None
        self._secret = secret
        # Deriving the key pair is two thirds of a signature's cost: once is enough.
        self._keypair = ffi.new("secp256k1_keypair *")
        made = lib.secp256k1_keypair_create(GLOBAL_CONTEXT.ctx, self._keypair, secret)
        assert made, "a checked secret was refused"
        self._shared = lru_cache(maxsize=SHARED_SECRETS_MAX)(partial(_shared_x, secret))
        self.pubkey: str = private.public_key_xonly.format().hex()

    @classmethod
    def from_hex(cls, text: str) -> KeyPair:
        """Read a secret of 64 lowercase hex digits; Rejected, without the text, for anything else."""
        if not is_hex(text, HEX32_LENGTH):
            raise Rejected("invalid", "a secret key is 64 lowercase hex digits")
        return cls(bytes.fromhex(text))

    @classmethod
    def from_nsec(cls, text: str) -> KeyPair:
        """Read an nsec; Rejected, without the text, for anything else."""
        return cls(nip19.decode_nsec(text))

    def __repr__(self) -> str:
        return f"KeyPair({nip19.encode_npub(self.pubkey)})"

    def sign(self, *, kind: int, content: str, tags: Sequence[Sequence[str]], created_at: int) -> Event:
        """Build, identify and sign an event. Equal input gives an equal event (BIP-340 without auxiliary chance)."""
        frozen = tuple(tuple(tag) for tag in tags)
        identity = event_id(self.pubkey, created_at, kind, frozen, content)
        sig = self.sign_digest(bytes.fromhex(identity)).hex()
        return Event(identity, self.pubkey, created_at, kind, frozen, content, sig)

    def sign_digest(self, digest: bytes) -> bytes:
        """Return the 64-byte BIP-340 signature of a 32-byte digest."""
        assert len(digest) == _SECRET_BYTES, f"a digest has 32 bytes, not {len(digest)}"
        signature = ffi.new("unsigned char[64]")
        signed = lib.secp256k1_schnorrsig_sign32(GLOBAL_CONTEXT.ctx, signature, digest, self._keypair, ffi.NULL)
        assert signed, "a valid key pair did not sign"
        return bytes(ffi.buffer(signature))

    def shared_x(self, pubkey: str) -> bytes:
        """Return the x coordinate of this secret times `pubkey`, unhashed (NIP-04, NIP-44); Rejected for no key."""
        return self._shared(pubkey)

    def as_pynostr(self) -> Any:
        """Return the same key as a pynostr `PrivateKey`, for NIP-04; its `str()` is the secret, never show it."""
        from pynostr.key import PrivateKey as PynostrKey  # noqa: PLC0415 - brings requests along: 0.2 s, rarely needed

        return PynostrKey(self._secret)


def verify(event: Event) -> bool:
    """Tell whether the signature fits the id and the public key. The id itself is checked where events are read."""
    try:
        digest, signature = bytes.fromhex(event.id), bytes.fromhex(event.sig)
    except ValueError:
        return False
    return signature_fits(digest, event.pubkey, signature)


def _shared_x(secret: bytes, pubkey: str) -> bytes:
    point = ffi.new("secp256k1_pubkey *")
    compressed = b"\x02" + bytes.fromhex(pubkey) if is_hex(pubkey, HEX32_LENGTH) else b""
    if not lib.secp256k1_ec_pubkey_parse(GLOBAL_CONTEXT.ctx, point, compressed, len(compressed)):
        raise Rejected("invalid", "pubkey is not a point of the curve")
    shared = ffi.new("unsigned char[32]")
    # secp256k1_ecdh works in constant time, which a plain multiplication of a point does not.
    done = lib.secp256k1_ecdh(GLOBAL_CONTEXT.ctx, shared, point, secret, _copy_x, ffi.NULL)
    assert done, "a valid secret did not multiply"
    return bytes(ffi.buffer(shared))
