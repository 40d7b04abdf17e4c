"""Invoices of simulated nodes are letter for letter what the `bolt11` package makes of the same words."""

from __future__ import annotations

import hashlib

import bolt11
import pytest
from bolt11 import Bolt11, Feature, Features, FeatureState, MilliSatoshi, TagChar, Tags

from relaybot.simulator.signing import InvoiceText, build_bolt11

SECRET = b"\x11" * 32
FEATURES = Features.from_feature_list(
    {
        Feature.var_onion_optin: FeatureState.required,
        Feature.payment_secret: FeatureState.required,
        Feature.basic_mpp: FeatureState.supported,
        Feature.option_route_blinding: FeatureState.supported,
    }
)


def by_the_package(invoice: InvoiceText) -> str:
    tags = Tags()
    tags.add(TagChar.payment_secret, invoice.payment_secret)
    tags.add(TagChar.payment_hash, invoice.payment_hash)
    if invoice.only_hash:
        tags.add(TagChar.description_hash, hashlib.sha256(invoice.description.encode()).hexdigest())
    else:
        tags.add(TagChar.description, invoice.description)
    tags.add(TagChar.expire_time, invoice.expiry_seconds)
    tags.add(TagChar.min_final_cltv_expiry, invoice.final_cltv)
    tags.add(TagChar.features, FEATURES)
    amount = None if invoice.amount_msat is None else MilliSatoshi(invoice.amount_msat)
    unsigned = Bolt11(currency="bcrt", date=invoice.created_at, tags=tags, amount_msat=amount)
    return str(bolt11.encode(unsigned, SECRET.hex(), ignore_exceptions=True))


@pytest.mark.parametrize(
    ("amount_msat", "description", "only_hash", "expiry"),
    [
        (1, "x", False, 600),
        (12_000_000, "a top-up of 12,000 sat — für Bob", False, 3_600),
        (2_100_000_000_000_000_000, "all there is", True, 1),
        (None, "whatever you like", False, 31),
        (100_000_000_000, "", False, 32),
        (1_234_567, "é" * 319 + "!", False, 10**9),
    ],
)
def test_an_invoice_is_what_the_package_makes_of_it(
    amount_msat: int | None,
    description: str,
    only_hash: bool,  # noqa: FBT001  a column of the table
    expiry: int,
) -> None:
    invoice = InvoiceText("07" * 32, "a5" * 32, amount_msat, description, only_hash, 1_795_438_000, expiry, 18)
    assert build_bolt11(invoice, secret=SECRET) == by_the_package(invoice)
