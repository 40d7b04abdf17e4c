"""BOLT12 as the simulated nodes write it: offers and the signed invoices for them, without blinded paths. Pure.

A text is a list of numbered fields. An offer's id is the hash of its fields, as Core Lightning
counts it; an invoice repeats them, adds its own, and is signed over the Merkle root of them all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import coincurve
from pynostr.bech32 import CHARSET, convertbits

from relaybot.errors import Rejected
from relaybot.simulator.signing import CURRENCY
from wallet.lightning import DecodedInvoice
from wallet.money import Msat

OFFER_PREFIX, INVOICE_PREFIX = "lno", "lni"
GENESIS = bytes.fromhex("06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f")  # of regtest

_METADATA, _CHAINS, _OFFER_AMOUNT, _DESCRIPTION, _OFFER_EXPIRY, _ISSUER, _ISSUER_ID = 0, 2, 8, 10, 14, 18, 22
_CHAIN, _PAYER_ID, _PAYER_NOTE = 80, 88, 89
_CREATED_AT, _RELATIVE_EXPIRY, _PAYMENT_HASH, _AMOUNT, _FEATURES, _NODE_ID, _SIGNATURE = (
    164,
    166,
    168,
    170,
    174,
    176,
    240,
)
_OFFER_FIELDS = range(1, 80)
_SHORT, _LONG = 0xFD, 0x1_0000  # BOLT 1: below, a number has one byte, or three
DEFAULT_EXPIRY_SECONDS = 7_200
_FEATURES_MPP = bytes.fromhex("020000")

Fields = Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Offered:
    """What an offer says."""

    amount_msat: int | None
    description: str
    issuer: str | None
    issuer_id: str
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Requested:
    """What an invoice for an offer says beside it."""

    amount_msat: int
    payment_hash: str
    payer_id: str
    payer_note: str | None
    metadata: bytes
    created_at: int


def build_offer(offered: Offered) -> tuple[str, str]:
    """Return an offer's id and its text."""
    fields = {
        _CHAINS: GENESIS,
        _OFFER_AMOUNT: None if offered.amount_msat is None else _shortest(offered.amount_msat),
        _DESCRIPTION: offered.description.encode(),
        _OFFER_EXPIRY: None if offered.expires_at is None else _shortest(offered.expires_at),
        _ISSUER: None if offered.issuer is None else offered.issuer.encode(),
        _ISSUER_ID: bytes.fromhex(offered.issuer_id),
    }
    present = {number: value for number, value in fields.items() if value is not None}
    return _id(present), _encode(OFFER_PREFIX, present)


def build_invoice(offer: str, wanted: Requested, *, secret: bytes) -> str:
    """Return the invoice for `offer`, signed with the node's `secret`."""
    fields = {
        **_decode(OFFER_PREFIX, offer),
        _METADATA: wanted.metadata,
        _CHAIN: GENESIS,
        _PAYER_ID: bytes.fromhex(wanted.payer_id),
        _PAYER_NOTE: b"" if wanted.payer_note is None else wanted.payer_note.encode(),
        _CREATED_AT: _shortest(wanted.created_at),
        _RELATIVE_EXPIRY: _shortest(DEFAULT_EXPIRY_SECONDS),
        _PAYMENT_HASH: bytes.fromhex(wanted.payment_hash),
        _AMOUNT: _shortest(wanted.amount_msat),
        _FEATURES: _FEATURES_MPP,
        _NODE_ID: coincurve.PrivateKey(secret).public_key.format(),
    }
    if wanted.payer_note is None:
        del fields[_PAYER_NOTE]
    signed = _tagged(b"lightninginvoicesignature", merkle_root(fields))
    signature = coincurve.PrivateKey(secret).sign_schnorr(signed, bytes(32))  # no chance: same words, same text
    return _encode(INVOICE_PREFIX, {**fields, _SIGNATURE: signature})


def read_offer(text: str) -> Offered:
    """Read an offer; Rejected if it is none."""
    fields = _decode(OFFER_PREFIX, text)
    return Offered(
        amount_msat=_number(fields, _OFFER_AMOUNT),
        description=_text(fields, _DESCRIPTION) or "",
        issuer=_text(fields, _ISSUER),
        issuer_id=fields[_ISSUER_ID].hex(),
        expires_at=_number(fields, _OFFER_EXPIRY),
    )


def offer_id(text: str) -> str:
    """Return the id of an offer; Rejected if it is none."""
    return _id(_decode(OFFER_PREFIX, text))


def read_invoice(text: str) -> DecodedInvoice:
    """Read an invoice for an offer, in the words of the port; Rejected if it is none."""
    fields = _decode(INVOICE_PREFIX, text)
    created, expiry = _number(fields, _CREATED_AT) or 0, _number(fields, _RELATIVE_EXPIRY) or DEFAULT_EXPIRY_SECONDS
    return DecodedInvoice(
        bolt11=text.lower(),
        payment_hash=fields[_PAYMENT_HASH].hex(),
        payee=fields[_NODE_ID].hex(),
        amount_msat=Msat(_number(fields, _AMOUNT) or 0),
        description=_text(fields, _DESCRIPTION),
        description_hash=None,
        created_at=created,
        expires_at=created + expiry,
        network=CURRENCY,
    )


def describe(text: str) -> dict[str, Any]:
    """Return what the command `decode` says about an offer or its invoice; Rejected for anything else."""
    is_offer = text.lower().startswith(OFFER_PREFIX)
    fields = _decode(OFFER_PREFIX if is_offer else INVOICE_PREFIX, text)
    said: dict[str, Any] = {
        "type": "bolt12 offer" if is_offer else "bolt12 invoice",
        "offer_id": _id(fields),
        "offer_chains": [fields[_CHAINS].hex()],
        "offer_amount_msat": _number(fields, _OFFER_AMOUNT),
        "offer_description": _text(fields, _DESCRIPTION),
        "offer_absolute_expiry": _number(fields, _OFFER_EXPIRY),
        "offer_issuer": _text(fields, _ISSUER),
        "offer_issuer_id": fields[_ISSUER_ID].hex(),
    }
    if not is_offer:
        said |= {
            "invreq_metadata": fields[_METADATA].hex(),
            "invreq_payer_id": fields[_PAYER_ID].hex(),
            "invreq_chain": fields[_CHAIN].hex(),
            "invreq_features": "",
            "invreq_payer_note": _text(fields, _PAYER_NOTE),
            "invoice_created_at": _number(fields, _CREATED_AT),
            "invoice_relative_expiry": _number(fields, _RELATIVE_EXPIRY) or DEFAULT_EXPIRY_SECONDS,
            "invoice_payment_hash": fields[_PAYMENT_HASH].hex(),
            "invoice_amount_msat": _number(fields, _AMOUNT),
            "invoice_features": fields[_FEATURES].hex(),
            "invoice_node_id": fields[_NODE_ID].hex(),
            "signature": fields[_SIGNATURE].hex(),
        }
    return {name: value for name, value in said.items() if value is not None} | {"valid": True}


def merkle_root(fields: Fields) -> bytes:
    """Return the root over all fields but the signature. BOLT 12: a leaf is a field, beside a nonce of its number."""
    signed = sorted(set(fields) - {_SIGNATURE})
    first = _field(signed[0], fields[signed[0]])
    level = [
        _branch(_tagged(b"LnLeaf", _field(number, fields[number])), _tagged(b"LnNonce" + first, _big_size(number)))
        for number in signed
    ]
    while len(level) > 1:
        pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
        level = [_branch(*pair) if len(pair) > 1 else pair[0] for pair in pairs]
    return level[0]


def _id(fields: Fields) -> str:
    octets = (_field(number, fields[number]) for number in sorted(fields) if number in _OFFER_FIELDS)
    return hashlib.sha256(b"".join(octets)).hexdigest()


def _branch(one: bytes, other: bytes) -> bytes:
    return _tagged(b"LnBranch", min(one, other) + max(one, other))


def _tagged(tag: bytes, message: bytes) -> bytes:
    """Return the tagged hash of BIP-340."""
    name = hashlib.sha256(tag).digest()
    return hashlib.sha256(name + name + message).digest()


def _encode(prefix: str, fields: Fields) -> str:
    octets = b"".join(_field(number, fields[number]) for number in sorted(fields))
    return f"{prefix}1" + "".join(CHARSET[word] for word in convertbits(octets, 8, 5))  # BOLT 12: no checksum


def _field(number: int, value: bytes) -> bytes:
    return _big_size(number) + _big_size(len(value)) + value


def _decode(prefix: str, text: str) -> dict[int, bytes]:
    words = [CHARSET.find(letter) for letter in text.lower().removeprefix(f"{prefix}1")]
    octets = None if not text.lower().startswith(f"{prefix}1") or -1 in words else convertbits(words, 5, 8, pad=False)
    fields: dict[int, bytes] = {}
    waiting = bytes(octets or b"")
    while waiting:
        number, waiting = _read_big_size(waiting)
        length, waiting = _read_big_size(waiting)
        fields[number], waiting = waiting[:length], waiting[length:]
    wanted = {_ISSUER_ID} if prefix == OFFER_PREFIX else {_ISSUER_ID, _PAYMENT_HASH, _NODE_ID, _SIGNATURE}
    if not wanted <= fields.keys():
        raise Rejected("invalid", "no BOLT12 text of this network")
    return fields


def _big_size(number: int) -> bytes:
    """Return a number as BOLT 1 writes it; no field here is longer than 65,535 bytes."""
    assert number < _LONG, f"a field of {number} bytes"
    return bytes([number]) if number < _SHORT else bytes([_SHORT]) + number.to_bytes(2, "big")


def _read_big_size(octets: bytes) -> tuple[int, bytes]:
    if octets[:1] != bytes([_SHORT]):
        return (octets[0] if octets else 0), octets[1:]
    return int.from_bytes(octets[1:3], "big"), octets[3:]


def _shortest(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _number(fields: Fields, number: int) -> int | None:
    return None if number not in fields else int.from_bytes(fields[number], "big")


def _text(fields: Fields, number: int) -> str | None:
    return None if number not in fields else fields[number].decode(errors="replace")
