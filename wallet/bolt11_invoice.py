"""Reading BOLT11 invoices, on the `bolt11` package, with the checks it leaves out.

The text comes from strangers, so nothing but Rejected leaves this module. It
knows no clock and no node: who pays gives `now` and the currency it can pay in.
"""

from __future__ import annotations

import re
from functools import lru_cache

import bolt11
from bolt11 import Bolt11, TagChar

from relaybot.errors import Rejected
from wallet.lightning import DecodedInvoice
from wallet.money import Msat, checked

CURRENCIES = {"bitcoin": "bc", "testnet": "tb", "testnet4": "tb", "signet": "tbs", "regtest": "bcrt"}

_CHARS_MAX = 4_096  # with many route hints an invoice has some 1,500; the cost of decoding grows with the length
_READ_MAX = 512  # invoices that are remembered as they were read: 2 MB at most
_EXPIRY_SECONDS_MAX = 100 * 365 * 86_400  # the field may hold any number; this one fits every integer we store it in
_AMOUNT_DIGITS_MAX = 18  # 21 million bitcoin in pico-bitcoin overflow it; nobody writes amounts so
_PREFIX = re.compile(rf"ln(?:bcrt|tbs|tb|bc)(?:(?P<digits>\d{{1,{_AMOUNT_DIGITS_MAX}}})(?P<unit>[munp]?))?1", re.ASCII)
_CHARSET = frozenset("qpzry9x8gf2tvdw0s3jn54khce6mua7l1bio")  # bech32 and what the readable part adds: b, i, o and 1

# BOLT 9, required bits a payer must know: onion, payment secret, multi-part, route blinding, payment metadata.
_KNOWN_REQUIRED = sum(1 << bit for bit in (8, 14, 16, 24, 48))


def parse_bolt11(text: str) -> DecodedInvoice:
    """Read an invoice, with or without `lightning:` before it; Rejected if it is none.

    The signature is checked, and the payee is who signed. The answer's `bolt11` is the
    bare text in lower case, so that one invoice has one form.
    """
    return _read(_canonical(text))


@lru_cache(_READ_MAX)  # the package takes milliseconds of the loop for each, and one payment reads its invoice often
def _read(bare: str) -> DecodedInvoice:
    try:
        invoice = bolt11.decode(bare)
        return _decoded(bare, invoice)
    except Rejected:
        raise
    except Exception as error:  # noqa: BLE001 — hostile text makes the package raise errors of a dozen kinds
        raise Rejected("invalid", "not a readable invoice", kind=type(error).__name__) from None


def require_payable(invoice: DecodedInvoice, *, currency: str, now: int) -> None:
    """Raise Rejected if `invoice` is for another network than `currency` (`bc`, `bcrt`, …) or has expired."""
    if invoice.network != currency:
        raise Rejected("invalid", "invoice is for another network", found=invoice.network, allowed=currency)
    if invoice.expires_at <= now:
        raise Rejected("invalid", "invoice has expired", expired_at=invoice.expires_at, now=now)


def _canonical(text: str) -> str:
    """Return the bare invoice in lower case; Rejected if its form alone shows that it is none."""
    stripped = text.strip()
    if len(stripped) > _CHARS_MAX:
        raise Rejected("invalid", "invoice is too long", found=len(stripped), allowed=_CHARS_MAX)
    if stripped[:10].lower() == "lightning:":
        stripped = stripped[10:]
    lower = stripped.lower()
    if stripped not in (lower, stripped.upper()):  # BIP-173: decoders must refuse mixed case
        raise Rejected("invalid", "invoice mixes upper and lower case")
    prefix = _PREFIX.match(lower)
    if prefix is None or lower.rfind("1") != prefix.end() - 1 or not _CHARSET.issuperset(lower):
        raise Rejected("invalid", "not a BOLT11 invoice")
    if prefix["unit"] == "p" and not prefix["digits"].endswith("0"):
        # BOLT 11: the last decimal of a pico amount must be 0, for msat cannot be divided
        raise Rejected("invalid", "invoice amount is not a whole number of msat")
    return lower


def _decoded(bare: str, invoice: Bolt11) -> DecodedInvoice:
    if not 0 <= invoice.expiry <= _EXPIRY_SECONDS_MAX:
        raise Rejected("invalid", "invoice expiry out of range", allowed=f"0..{_EXPIRY_SECONDS_MAX}")
    features = invoice.tags.get(TagChar.features)
    if features is not None and features.data.data.len:
        _require_known_features(features.data.data.uint)
    payee = invoice.payee
    assert payee is not None, "the package recovers the payee where the invoice names none"
    return DecodedInvoice(
        bolt11=bare,
        payment_hash=invoice.payment_hash,
        payee=payee,
        amount_msat=_amount(invoice),
        description=invoice.description,
        description_hash=invoice.description_hash,
        created_at=invoice.date,
        expires_at=invoice.date + invoice.expiry,
        network=invoice.currency,
    )


def _amount(invoice: Bolt11) -> Msat | None:
    if invoice.amount_msat is None:
        return None
    amount = checked(int(invoice.amount_msat))
    if amount == 0:
        raise Rejected("invalid", "invoice amount is zero")
    return amount


def _require_known_features(bits: int) -> None:
    """Raise Rejected for a required feature we do not know. BOLT 11: such an invoice must not be paid."""
    unknown = bits & ~_KNOWN_REQUIRED & int("01" * (bits.bit_length() // 2 + 1), 2)
    if unknown:
        raise Rejected("invalid", "invoice requires an unknown feature", bit=unknown.bit_length() - 1)
