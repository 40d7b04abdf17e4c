"""Really signed BOLT11, on the `bolt11` package: made by the simulated nodes, and taken apart by `decode`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import bolt11
from bolt11 import Bolt11, Feature, Features, FeatureState, MilliSatoshi, TagChar, Tags
from coincurve.ecdsa import cdata_to_der, deserialize_recoverable, recoverable_convert

from relaybot.simulator.params import BAD_PARAMETERS, Fault

CURRENCY = "bcrt"
DESCRIPTION_BYTES_MAX = 639  # 1,023 groups of five bits: what a tagged field can hold
FINAL_CLTV = 10

_FEATURES = Features.from_feature_list(
    {
        Feature.var_onion_optin: FeatureState.required,
        Feature.payment_secret: FeatureState.required,
        Feature.basic_mpp: FeatureState.supported,
        Feature.option_route_blinding: FeatureState.supported,
    }
)


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
    tags = Tags()
    tags.add(TagChar.payment_secret, invoice.payment_secret)
    tags.add(TagChar.payment_hash, invoice.payment_hash)
    if invoice.only_hash:
        tags.add(TagChar.description_hash, hashlib.sha256(invoice.description.encode()).hexdigest())
    else:
        tags.add(TagChar.description, invoice.description)
    tags.add(TagChar.expire_time, invoice.expiry_seconds)
    tags.add(TagChar.min_final_cltv_expiry, invoice.final_cltv)
    tags.add(TagChar.features, _FEATURES)
    amount = None if invoice.amount_msat is None else MilliSatoshi(invoice.amount_msat)
    unsigned = Bolt11(currency=CURRENCY, date=invoice.created_at, tags=tags, amount_msat=amount)
    return bolt11.encode(unsigned, secret.hex(), ignore_exceptions=True)


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
