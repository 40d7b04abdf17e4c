"""NIP-57: zap requests (9734), zap receipts (9735), and the `zap` tags that say whom to zap.

A zap request is no event on a relay: it comes as text with a request for an invoice, whose
description hash commits to that very text. So the text is kept as received and never
written anew. Which invoice was paid is the node's word, not a receipt's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from relaybot.errors import Rejected
from relaybot.nostr.event import HEX32_LENGTH, KIND_MAX, Event, encode_event, is_hex, parse_event
from relaybot.nostr.job_tags import check_count, msat, single
from relaybot.nostr.keys import KeyPair, verify
from relaybot.nostr.relay_url import is_relay_url
from wallet.money import Msat

ZAP_REQUEST_KIND = 9734
ZAP_RECEIPT_KIND = 9735

REQUEST_BYTES_MAX = 32_768  # of the text: it goes into the node's invoice, and into the receipt a second time
RELAYS_MAX = 10  # a receipt is sent to each of them; more are left out
TAGS_MAX = 100  # a request names a recipient, an event, and where to answer
ADDRESS_LENGTH_MAX = 1_024  # characters of an event coordinate, its `d` included


@dataclass(frozen=True, slots=True)
class ZapRequest:
    """Who zaps whom for what; `text` is the request as it was received, byte by byte."""

    text: str = field(repr=False)
    event_id: str
    sender: str
    recipient: str
    amount_msat: Msat | None
    zapped_event: str | None
    zapped_address: str | None
    zapped_kind: str | None
    relays: tuple[str, ...]
    lnurl: str | None
    comment: str = field(repr=False)
    anonymous: bool

    @property
    def description_hash(self) -> str:
        """Return what the invoice commits to: the SHA-256 of the text as received."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ZapReceipt:
    """A receipt as it was read: it proves that its author says so, and no payment."""

    event_id: str
    author: str
    paid_at: int
    request: ZapRequest
    bolt11: str = field(repr=False)
    preimage: str | None = field(repr=False)


# ---- requests


def build_zap_request(
    keypair: KeyPair,
    *,
    recipient: str,
    relays: Sequence[str],
    amount_msat: int | None = None,
    lnurl: str | None = None,
    zapped: Event | None = None,
    comment: str = "",
    anonymous: bool = False,
    now: int,
) -> Event:
    """Return a zap request to `recipient`, for the event `zapped` if one is given (Appendix A)."""
    tags: list[tuple[str, ...]] = [("relays", *relays), ("p", recipient)]
    if amount_msat is not None:
        tags.append(("amount", str(amount_msat)))
    if lnurl is not None:
        tags.append(("lnurl", lnurl))
    if zapped is not None:
        tags += [("e", zapped.id), ("k", str(zapped.kind))]
    if anonymous:
        tags.append(("anon",))
    return keypair.sign(kind=ZAP_REQUEST_KIND, content=comment, tags=tags, created_at=now)


def parse_zap_request(text: str, *, amount_msat: int | None = None, zapper: str | None = None) -> ZapRequest:
    """Read the text of a zap request by the rules of Appendix D; Rejected names the tag that is wrong.

    `amount_msat` is what the invoice is asked for, and `zapper` the pubkey that will sign the receipt.
    """
    size = len(text.encode(errors="replace"))
    if size > REQUEST_BYTES_MAX:
        raise Rejected("invalid", "nostr: the zap request is too large", found=size, allowed=REQUEST_BYTES_MAX)
    event = parse_event(text)
    if event.kind != ZAP_REQUEST_KIND:
        raise Rejected("invalid", "kind: not a zap request", found=event.kind)
    if not verify(event):  # NIP-57, Appendix D, 1
        raise Rejected("invalid", "sig: the zap request is not signed by its author")
    check_count("tags", event.tags, TAGS_MAX)
    recipient = _required(event, "p")  # 2 and 3: tags, and exactly one p
    asked = single(event.tags, "amount")
    asked_msat = None if asked is None else msat("amount", asked)
    if None not in (asked_msat, amount_msat) and asked_msat != amount_msat:  # 6
        raise Rejected("invalid", "amount: the zap request names another one", found=asked_msat, asked=amount_msat)
    receipt_author = _key(event, "P")  # 8
    if None not in (receipt_author, zapper) and receipt_author != zapper:
        raise Rejected("invalid", "P: receipts are signed by another key here", allowed=zapper)
    return ZapRequest(
        text=text,
        event_id=event.id,
        sender=event.pubkey,
        recipient=recipient,
        amount_msat=asked_msat,
        zapped_event=_key(event, "e"),  # 4
        zapped_address=_address(event),  # 7
        zapped_kind=_kind(event),
        relays=_relays(event),  # 5: wanted, but not required
        lnurl=single(event.tags, "lnurl"),
        comment=event.content,
        anonymous=bool(event.tags_named("anon")),  # anonymous, or private: the sender is a one-time key
    )


# ---- receipts


def build_zap_receipt(
    zapper: KeyPair, request: ZapRequest, *, bolt11: str, preimage: str | None, paid_at: int
) -> Event:
    """Return the receipt of a paid request (Appendix E): the same event however often it is built."""
    tags: list[tuple[str, ...]] = [("p", request.recipient)]
    tags += [
        (name, value)
        for name, value in (
            ("e", request.zapped_event),
            ("a", request.zapped_address),
            ("k", request.zapped_kind),
            ("P", request.sender),
        )
        if value is not None
    ]
    tags += [("bolt11", bolt11), ("description", request.text)]
    tags += [("preimage", preimage)] if preimage is not None else []
    return zapper.sign(kind=ZAP_RECEIPT_KIND, content="", tags=tags, created_at=paid_at)


def parse_zap_receipt(event: Event, *, zapper: str, paid_msat: int | None = None) -> ZapReceipt:
    """Read a receipt by the rules of Appendix F; Rejected if the provider's key `zapper` did not sign it.

    `paid_msat` is the amount of its `bolt11`, where the caller has read that.
    """
    if event.kind != ZAP_RECEIPT_KIND:
        raise Rejected("invalid", "kind: not a zap receipt", found=event.kind)
    if event.pubkey != zapper:
        raise Rejected("invalid", "pubkey: not the recipient's zapper", allowed=zapper)
    if not verify(event):
        raise Rejected("invalid", "sig: the zap receipt is not signed by its author")
    request = parse_zap_request(single(event.tags, "description") or "", amount_msat=paid_msat)
    if _required(event, "p") != request.recipient or _key(event, "e") != request.zapped_event:
        raise Rejected("invalid", "p, e: not those of the zap request")
    bolt11 = single(event.tags, "bolt11")
    if not bolt11:
        raise Rejected("invalid", "bolt11: missing")
    return ZapReceipt(event.id, event.pubkey, event.created_at, request, bolt11, single(event.tags, "preimage"))


def zap_tags(weights: Sequence[tuple[str, int]], relay: str) -> list[tuple[str, ...]]:
    """Return the tags that tell clients to zap these pubkeys by weight (Appendix G)."""
    return [("zap", pubkey, relay, str(weight)) for pubkey, weight in weights if weight > 0]


# ---- tags


def request_text(event: Event) -> str:
    """Return a zap request as the text to be sent with the request for an invoice."""
    return encode_event(event)


def _required(event: Event, name: str) -> str:
    key = _key(event, name)
    if key is None:
        raise Rejected("invalid", f"{name}: missing")
    return key


def _key(event: Event, name: str) -> str | None:
    """Return the id or key in the only tag `name`, or None without one."""
    if not event.tags_named(name):
        return None
    value = single(event.tags, name) or ""
    if not is_hex(value, HEX32_LENGTH):
        raise Rejected("invalid", f"{name}: not 64 lowercase hex digits")
    return value


def _address(event: Event) -> str | None:
    address = single(event.tags, "a")
    if address is None:
        return None
    kind, _, rest = address.partition(":")
    pubkey, colon, _ = rest.partition(":")
    if not (_is_kind(kind) and is_hex(pubkey, HEX32_LENGTH) and colon and len(address) <= ADDRESS_LENGTH_MAX):
        raise Rejected("invalid", "a: not an event coordinate", found=address[:80])
    return address


def _kind(event: Event) -> str | None:
    kind = single(event.tags, "k")
    if kind is not None and not _is_kind(kind):
        raise Rejected("invalid", "k: not a kind", found=kind[:20])
    return kind


def _is_kind(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(KIND_MAX)) and int(text) <= KIND_MAX


def _relays(event: Event) -> tuple[str, ...]:
    """Return the first relays that are named, each once, without what is no relay's address.

    Which of them are safe to reach is decided where they are reached.
    """
    named = [url for tag in event.tags_named("relays") for url in tag[1:] if is_relay_url(url)]
    return tuple(dict.fromkeys(named))[:RELAYS_MAX]
