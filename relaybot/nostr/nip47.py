"""NIP-47, wallet connect: what a client may ask of a wallet service, and how it is answered.

A connection is a pair of keys: the client holds a secret of its own, the service a key for
this connection alone. Requests and answers are JSON, encrypted between the two in the
scheme that the request names. What a method does is not decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec

from relaybot.errors import Rejected
from relaybot.nostr import encryption
from relaybot.nostr.encryption import NIP04, NIP44, Encryption, Scheme
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip40 import parse_expiration
from relaybot.nostr.strict_json import parse_json
from wallet.money import MAX_MSAT

INFO_KIND = 13194
REQUEST_KIND = 23194
RESPONSE_KIND = 23195
NOTIFICATION_KIND = 23197
NIP04_NOTIFICATION_KIND = 23196

CONTENT_BYTES_MAX = 65_536  # NIP-47: relays should take payloads of 64 KB
LISTED_MAX = 20  # NIP-47: transactions of one page
EXPIRY_SECONDS_MAX = 30 * 86_400  # of an invoice; the node keeps it as long

ENCRYPTIONS: Mapping[str, Scheme] = {"nip44_v2": NIP44, "nip04": NIP04}
NOTIFICATIONS = {  # each for who may do one of these anyway
    "payment_received": frozenset({"make_invoice", "list_transactions"}),
    "payment_sent": frozenset({"pay_invoice", "list_transactions"}),
}

Amount = Annotated[int, msgspec.Meta(ge=1, le=MAX_MSAT)]  # msat
Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Time = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
InvoiceText = Annotated[str, msgspec.Meta(min_length=1, max_length=8_192)]


class Code(Enum):
    """Why a request is not done, in the words of NIP-47."""

    RATE_LIMITED = "RATE_LIMITED"
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED"
    INSUFFICIENT_BALANCE = "INSUFFICIENT_BALANCE"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    RESTRICTED = "RESTRICTED"
    UNAUTHORIZED = "UNAUTHORIZED"
    INTERNAL = "INTERNAL"
    UNSUPPORTED_ENCRYPTION = "UNSUPPORTED_ENCRYPTION"
    PAYMENT_FAILED = "PAYMENT_FAILED"
    NOT_FOUND = "NOT_FOUND"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that is not done: the code for the client, the message for its user."""

    code: Code
    message: str


class PayInvoice(msgspec.Struct, frozen=True):
    """Pay a BOLT11; `amount` where the invoice names none."""

    invoice: InvoiceText
    amount: Amount | None = None


class MakeInvoice(msgspec.Struct, frozen=True):
    """Be paid; `expiry` in seconds from now."""

    amount: Amount
    description: Annotated[str, msgspec.Meta(max_length=639)] | None = None
    description_hash: Hash | None = None
    expiry: Annotated[int, msgspec.Meta(ge=1, le=EXPIRY_SECONDS_MAX)] | None = None


class LookupInvoice(msgspec.Struct, frozen=True):
    """Tell what became of an invoice or a payment, named by its hash or by itself."""

    payment_hash: Hash | None = None
    invoice: InvoiceText | None = None


class ListTransactions(msgspec.Struct, frozen=True):
    """List invoices and payments, newest first."""

    since: Time = msgspec.field(default=0, name="from")
    until: Time | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] = LISTED_MAX
    offset: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    unpaid: bool = False
    type: Literal["incoming", "outgoing"] | None = None


class GetBalance(msgspec.Struct, frozen=True):
    """Tell what can be spent."""


class GetBudget(msgspec.Struct, frozen=True):
    """Tell what this connection may spend. No method of NIP-47: as Alby's clients and Alby Hub speak it."""


class GetInfo(msgspec.Struct, frozen=True):
    """Tell what this connection can do."""


Command = PayInvoice | MakeInvoice | LookupInvoice | ListTransactions | GetBalance | GetInfo | GetBudget

_COMMANDS: Mapping[str, type[Command]] = {
    "pay_invoice": PayInvoice,
    "make_invoice": MakeInvoice,
    "lookup_invoice": LookupInvoice,
    "list_transactions": ListTransactions,
    "get_balance": GetBalance,
    "get_info": GetInfo,
    "get_budget": GetBudget,
}
METHODS = tuple(_COMMANDS)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read: what is wanted, or why it cannot be understood."""

    event_id: str
    client: str
    scheme: Scheme
    method: str
    command: Command | Failure = field(repr=False)
    expiration: int | None


@dataclass(frozen=True, slots=True)
class Transaction:
    """An invoice of the user's (incoming) or a payment (outgoing); times in Unix seconds, amounts in msat."""

    type: Literal["incoming", "outgoing"]
    state: Literal["pending", "settled", "expired", "failed"]
    payment_hash: str
    amount_msat: int
    created_at: int
    invoice: str | None = None
    description: str | None = None
    preimage: str | None = None
    fees_msat: int = 0
    expires_at: int | None = None
    settled_at: int | None = None


def parse_request(event: Event, keypair: KeyPair) -> Request:
    """Read a request to the connection whose key is `keypair`.

    Rejected if it is none, or cannot be decrypted: then there is nobody to answer. What
    is understood but wrong comes back as a Failure, to be told.
    """
    if event.kind != REQUEST_KIND:
        raise Rejected("invalid", "kind: not a wallet request", found=event.kind)
    if len(event.content.encode()) > CONTENT_BYTES_MAX:
        raise Rejected("invalid", "content: too large", allowed=f"{CONTENT_BYTES_MAX} bytes")
    named = event.tag("encryption")
    # NIP-47: without the tag, NIP-04 is meant; clients that forget it are told apart by the text
    scheme = encryption.scheme_of(event.content) if named is None else ENCRYPTIONS.get(named)
    expiration = parse_expiration(event)
    if scheme is None:
        told = Failure(Code.UNSUPPORTED_ENCRYPTION, f"encryption: one of {', '.join(ENCRYPTIONS)} is understood here")
        return Request(event.id, event.pubkey, NIP44, "unknown", told, expiration)
    text = encryption.decrypt(event.content, keypair, event.pubkey, scheme)
    method, command = _command(text)
    return Request(event.id, event.pubkey, scheme, method, command, expiration)


def _command(text: str) -> tuple[str, Command | Failure]:
    try:
        found = parse_json(text)
    except Rejected as error:
        return "unknown", Failure(Code.OTHER, f"content: {error.reason}")
    method = found.get("method") if isinstance(found, dict) else None
    if not isinstance(method, str):
        return "unknown", Failure(Code.OTHER, "method: missing")
    wanted = _COMMANDS.get(method)
    if wanted is None:
        return method[:40], Failure(Code.NOT_IMPLEMENTED, f"method: {method[:40]} is not done here")
    try:
        # NIP-47 has no null params, but clients leave out what they do not mean in either way.
        given = {name: value for name, value in (found.get("params") or {}).items() if value is not None}
        return method, msgspec.convert(given, wanted)
    except (msgspec.ValidationError, AttributeError) as error:
        return method, Failure(Code.OTHER, f"params: {str(error)[:200]}")


def notifications_of(methods: Collection[str]) -> tuple[str, ...]:
    """Return of what an app that may do this is told unasked."""
    return tuple(name for name, those in NOTIFICATIONS.items() if not those.isdisjoint(methods))


def build_info(keypair: KeyPair, methods: Collection[str], *, now: int) -> Event:
    """Return the info event of one connection: what it may do, and how it may be spoken to."""
    notifications = notifications_of(methods)
    tags = [("encryption", " ".join(ENCRYPTIONS))]
    tags += [("notifications", " ".join(notifications))] if notifications else []
    content = " ".join((*methods, *(("notifications",) if notifications else ())))
    return keypair.sign(kind=INFO_KIND, content=content, tags=tags, created_at=now)


def build_response(
    keypair: KeyPair, request: Request, outcome: Mapping[str, Any] | Failure, *, nonce: bytes, now: int
) -> Event:
    """Return the answer to `request`, in its scheme: a result, or why there is none."""
    failed = isinstance(outcome, Failure)
    body = {
        "result_type": request.method,
        "error": {"code": outcome.code.value, "message": outcome.message} if isinstance(outcome, Failure) else None,
        "result": None if failed else outcome,
    }
    content = _sealed(body, keypair, request.client, Encryption(request.scheme, nonce))
    tags = [("p", request.client), ("e", request.event_id)]
    return keypair.sign(kind=RESPONSE_KIND, content=content, tags=tags, created_at=now)


def build_notifications(
    keypair: KeyPair, client: str, name: str, transaction: Transaction, *, nonces: Sequence[bytes], now: int
) -> tuple[Event, Event]:
    """Return the notification for clients of NIP-44 (23197) and for those of NIP-04 (23196)."""
    assert name in NOTIFICATIONS, f"no notification is called {name}"
    body = {"notification_type": name, "notification": shown(transaction)}
    kinds = ((NOTIFICATION_KIND, NIP44), (NIP04_NOTIFICATION_KIND, NIP04))
    new, old = (
        keypair.sign(
            kind=kind,
            content=_sealed(body, keypair, client, Encryption(scheme, nonce)),
            tags=[("p", client)],
            created_at=now,
        )
        for (kind, scheme), nonce in zip(kinds, nonces, strict=True)
    )
    return new, old


def shown(transaction: Transaction) -> dict[str, Any]:
    """Return a transaction as clients read it; what is not known is left out."""
    optional = {
        "invoice": transaction.invoice,
        "description": transaction.description,
        "preimage": transaction.preimage,
        "expires_at": transaction.expires_at,
        "settled_at": transaction.settled_at,
    }
    return {
        "type": transaction.type,
        "state": transaction.state,
        "payment_hash": transaction.payment_hash,
        "amount": transaction.amount_msat,
        "fees_paid": transaction.fees_msat,
        "created_at": transaction.created_at,
        **{name: value for name, value in optional.items() if value is not None},
    }


def connection_uri(service: str, *, relays: Sequence[str], secret: str, lud16: str | None = None) -> str:
    """Return what a client is given: the service's key for this connection, where it listens, the client's secret."""
    query = [*(("relay", relay) for relay in relays), ("secret", secret)]
    query += [("lud16", lud16)] if lud16 is not None else []
    return f"nostr+walletconnect://{service}?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query)


def _sealed(body: Mapping[str, Any], keypair: KeyPair, pubkey: str, how: Encryption) -> str:
    return encryption.encrypt(msgspec.json.encode(body).decode(), keypair, pubkey, how)
