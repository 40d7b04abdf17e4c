"""NIP-59: rumors (unsigned events), sealed by their author, gift-wrapped to one recipient.

Dates, nonces and the one-time key are arguments. The wrap's own signature is checked
where events are read; here the seal's is, and that rumor and seal name one author.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from relaybot.errors import Rejected
from relaybot.nostr import nip44
from relaybot.nostr.event import (
    HEX32_LENGTH,
    Event,
    Kind,
    Seconds,
    Tags,
    encode_event,
    event_id,
    first_value,
    is_hex,
    parse_event,
)
from relaybot.nostr.keys import KeyPair, verify
from relaybot.nostr.strict_json import UNREADABLE, refuse_repeated_keys

SEAL_KIND = 13
WRAP_KIND = 1059
EPHEMERAL_WRAP_KIND = 21059  # the same, never stored by relays
WRAP_KINDS = frozenset({WRAP_KIND, 1060, EPHEMERAL_WRAP_KIND})  # 1060 stands in no NIP yet; clients use it for the same


class Rumor(msgspec.Struct, frozen=True, gc=False):
    """An event without a signature; whoever leaks it proves nothing."""

    id: str
    pubkey: str
    created_at: Seconds
    kind: Kind
    tags: Tags
    content: str

    def __repr__(self) -> str:
        return f"Rumor(kind={self.kind}, id={self.id})"

    def tag(self, name: str) -> str | None:
        """Return the value of the first tag called `name`; None if there is none or it has no value."""
        return first_value(self.tags, name)


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Rumor)


def build_rumor(pubkey: str, *, kind: int, content: str, tags: Sequence[Sequence[str]], created_at: int) -> Rumor:
    """Return the rumor with its id."""
    frozen = tuple(tuple(tag) for tag in tags)
    return Rumor(event_id(pubkey, created_at, kind, frozen, content), pubkey, created_at, kind, frozen, content)


def wrap(
    rumor: Rumor,
    sender: KeyPair,
    recipient: str,
    *,
    ephemeral: KeyPair,
    nonces: tuple[bytes, bytes],
    seal_created_at: int,
    wrap_created_at: int,
) -> Event:
    """Return the gift wrap of `rumor` for the pubkey `recipient`.

    `ephemeral` is a fresh key for this wrap alone; `nonces` are 32 random bytes each, for
    the seal and for the wrap. Both dates should lie up to two days back, each by itself.
    """
    assert rumor.pubkey == sender.pubkey, f"a rumor of {rumor.pubkey} cannot be sealed by {sender.pubkey}"
    seal = sender.sign(
        kind=SEAL_KIND,
        content=_encrypt(_ENCODER.encode(rumor).decode(), sender, recipient, nonces[0]),
        tags=(),  # NIP-59: a seal says nothing but who signed it
        created_at=seal_created_at,
    )
    return ephemeral.sign(
        kind=WRAP_KIND,
        content=_encrypt(encode_event(seal), ephemeral, recipient, nonces[1]),
        tags=(("p", recipient),),
        created_at=wrap_created_at,
    )


def unwrap(event: Event, recipient: KeyPair) -> Rumor:
    """Return the rumor inside a gift wrap for `recipient`; Rejected if any layer is wrong or forged."""
    if event.kind not in (WRAP_KIND, EPHEMERAL_WRAP_KIND):
        raise Rejected("invalid", "not a gift wrap", kind=event.kind)
    seal = parse_event(_decrypt(event.content, recipient, event.pubkey))
    if seal.kind != SEAL_KIND:
        raise Rejected("invalid", "a gift wrap must hold a seal", kind=seal.kind)
    if not verify(seal):
        raise Rejected("invalid", "seal is not signed by its author")
    rumor = _parse_rumor(_decrypt(seal.content, recipient, seal.pubkey))
    # NIP-17: otherwise anybody could write in anybody's name
    if rumor.pubkey != seal.pubkey:
        raise Rejected("invalid", "rumor and seal name different authors")
    return rumor


def _encrypt(text: str, keypair: KeyPair, pubkey: str, nonce: bytes) -> str:
    return nip44.encrypt(text, nip44.conversation_key(keypair, pubkey), nonce)


def _decrypt(payload: str, keypair: KeyPair, pubkey: str) -> str:
    return nip44.decrypt(payload, nip44.conversation_key(keypair, pubkey))


def _parse_rumor(text: str) -> Rumor:
    data = text.encode()
    try:
        rumor = _DECODER.decode(data)
    except UNREADABLE:
        raise Rejected("invalid", "rumor has a wrong shape") from None
    refuse_repeated_keys(data)
    if not is_hex(rumor.pubkey, HEX32_LENGTH):
        raise Rejected("invalid", "rumor's pubkey is not 64 lowercase hex digits")
    if rumor.id != event_id(rumor.pubkey, rumor.created_at, rumor.kind, rumor.tags, rumor.content):
        raise Rejected("invalid", "rumor's id does not match it")
    return rumor
