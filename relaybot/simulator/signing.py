"""Really signed BOLT11: made by the simulated nodes, and taken apart by `decode`.

Made by ourselves, for the `bolt11` package takes milliseconds for each (it makes an object
of every five bits); it takes apart, and is the oracle of the tests.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import bolt11
from bech32 import CHARSET, bech32_encode
from bolt11 import Features
from bolt11.utils import msat_to_amount
from coincurve import PrivateKey
from coincurve.ecdsa import cdata_to_der, deserialize_recoverable, recoverable_convert

from relaybot.simulator.params import BAD_PARAMETERS, Fault

CURRENCY = "bcrt"
DESCRIPTION_BYTES_MAX = 639  # 1,023 groups of five bits: what a tagged field can hold
FINAL_CLTV = 10

_FEATURES = sum(1 << bit for bit in (8, 14, 17, 25))  # BOLT 9: onion and payment secret required; multi-part, blinding
_DATE_WORDS, _LENGTH_WORDS = 7, 2  # a word is five bits


@dataclass(frozen=True, slots=True)
class InvoiceText:
    """What goes into a BOLT11 invoice."""

    payment_hash: str
    payment_secret: str
    amount_msat: int | None
    description: str
    only_hash: bool
    created_at: int
    expiry_seconds: int
    final_cltv: int = FINAL_CLTV


def build_bolt11(invoice: InvoiceText, *, secret: bytes) -> str:
    """Return `invoice` signed with the node's `secret`."""
    text = invoice.description.encode()
    fields = {
        "s": _of_octets(bytes.fromhex(invoice.payment_secret)),
        "p": _of_octets(bytes.fromhex(invoice.payment_hash)),
        **({"h": _of_octets(hashlib.sha256(text).digest())} if invoice.only_hash else {"d": _of_octets(text)}),
        "x": _of_number(invoice.expiry_seconds),
        "c": _of_number(invoice.final_cltv),
        "9": _of_number(_FEATURES),
    }
    readable = f"ln{CURRENCY}{msat_to_amount(invoice.amount_msat) if invoice.amount_msat else ''}"
    words = _of_number(invoice.created_at, _DATE_WORDS)
    for letter, field in fields.items():
        words += [CHARSET.index(letter), *_of_number(len(field), _LENGTH_WORDS), *field]
    signature = PrivateKey(secret).sign_recoverable(readable.encode() + _padded(words))
    return str(bech32_encode(readable, words + _of_octets(signature)))


def _of_number(number: int, count: int = 0) -> list[int]:
    """Return a number in words, as few as hold it, or `count` of them."""
    count = count or -(-number.bit_length() // 5)
    return [number >> 5 * place & 31 for place in reversed(range(count))]


def _of_octets(octets: bytes) -> list[int]:
    """Return bytes in words, zeros behind them up to a whole word."""
    bits = 8 * len(octets)
    return _of_number(int.from_bytes(octets, "big") << -bits % 5, -(-bits // 5)) if octets else []


def _padded(words: list[int]) -> bytes:
    """Return words in bytes, zeros behind them up to a whole byte."""
    number = 0
    for word in words:
        number = number << 5 | word
    bits = 5 * len(words)
    return (number << -bits % 8).to_bytes(-(-bits // 8), "big")


def describe_bolt11(text: str) -> dict[str, Any]:
    """Return what the command `decode` says about an invoice; Fault if it is none."""
    try:
        invoice = bolt11.decode(text)
    except Exception as error:  # the package raises errors of a dozen kinds
        known = text.lower().startswith("ln") and "1" in text
        why = "Bad bech32 string" if known else "Unparsable string"
        raise Fault(BAD_PARAMETERS, f"string: {why}: invalid token '\"{text}\"'") from error
    assert invoice.signature is not None, "a decoded invoice has been signed"
    said: dict[str, Any] = {
        "type": "bolt11 invoice",
        "currency": invoice.currency,
        "created_at": invoice.date,
        "expiry": invoice.expiry,
        "payee": invoice.payee,
        "amount_msat": None if invoice.amount_msat is None else int(invoice.amount_msat),
        "description": invoice.description,
        "description_hash": invoice.description_hash,
        "min_final_cltv_expiry": invoice.min_final_cltv_expiry,
        "payment_secret": invoice.payment_secret,
        "features": _hex_of(invoice.features),
        "payment_hash": invoice.payment_hash,
        "signature": _der(invoice.signature.signature_data),
        "valid": True,
    }
    return {name: value for name, value in said.items() if value is not None}


def _hex_of(features: Features | None) -> str | None:
    if features is None:
        return None
    bits = int(features.data.uint)
    return bits.to_bytes((bits.bit_length() + 7) // 8, "big").hex()


def _der(signature: bytes) -> str:
    der: bytes = cdata_to_der(recoverable_convert(deserialize_recoverable(signature)))
    return der.hex()
