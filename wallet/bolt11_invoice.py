"""Reading BOLT11 invoices: text of strangers in, an invoice whose signature is good out.

Read by ourselves, for the `bolt11` package takes milliseconds for each (it makes an object
of every five bits); it is the oracle of the tests. The text comes from strangers, so nothing
but Rejected leaves this module. It knows no clock and no node: who pays gives `now` and the
currency it can pay in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bech32 import CHARSET
from coincurve import PublicKey
from coincurve.ecdsa import cdata_to_der, deserialize_recoverable, recoverable_convert

from relaybot.errors import Rejected
from wallet.lightning import DecodedInvoice
from wallet.money import Msat, checked

CURRENCIES = {"bitcoin": "bc", "testnet": "tb", "testnet4": "tb", "signet": "tbs", "regtest": "bcrt"}

_CHARS_MAX = 4_096  # with many route hints an invoice has some 1,500; the cost of decoding grows with the length
_EXPIRY_SECONDS = 3_600  # BOLT 11: of an invoice that says nothing
_EXPIRY_SECONDS_MAX = 100 * 365 * 86_400  # the field may hold any number; this one fits every integer we store it in
_AMOUNT_DIGITS_MAX = 18  # 21 million bitcoin in pico-bitcoin overflow it; nobody writes amounts so
_PREFIX = re.compile(
    rf"ln(?P<currency>bcrt|tbs|tb|bc)(?:(?P<digits>\d{{1,{_AMOUNT_DIGITS_MAX}}})(?P<unit>[munp]?))?1", re.ASCII
)
_CHARSET = frozenset(CHARSET)
_TENTHS_OF_MSAT = {"": 10**12, "m": 10**9, "u": 10**6, "n": 10**3, "p": 1}  # in one of each multiplier

# BOLT 9, required bits a payer must know: onion, payment secret, multi-part, route blinding, payment metadata.
_KNOWN_REQUIRED = sum(1 << bit for bit in (8, 14, 16, 24, 48))

# A word is five bits. Written as digits of base 32, Python reads many of them as one number at once.
_DIGITS = str.maketrans(CHARSET, "0123456789abcdefghijklmnopqrstuv")
_CHECKSUM_WORDS, _SIGNATURE_WORDS, _DATE_WORDS, _FIELD_HEAD_WORDS = 6, 104, 7, 3
_LENGTHS = {"p": 52, "h": 52, "s": 52, "n": 53}  # BOLT 11: of another length, the field is skipped
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)  # BIP-173
_VALUES = {letter: value for value, letter in enumerate(CHARSET)}


@dataclass(frozen=True, slots=True)
class _Words:
    """Words as digits of base 32."""

    digits: str

    def number(self) -> int:
        return int(self.digits, 32) if self.digits else 0

    def octets(self) -> bytes:
        """Return the whole bytes; bits that are left over are padding."""
        bits = 5 * len(self.digits)
        return (self.number() >> bits % 8).to_bytes(bits // 8, "big")

    def padded(self) -> bytes:
        """Return all bits, zeros behind them up to a whole byte."""
        bits = 5 * len(self.digits)
        return (self.number() << -bits % 8).to_bytes(-(-bits // 8), "big")


def parse_bolt11(text: str) -> DecodedInvoice:
    """Read an invoice, with or without `lightning:` before it; Rejected if it is none.

    The signature is checked, and the payee is who signed. The answer's `bolt11` is the
    bare text in lower case, so that one invoice has one form.
    """
    bare, prefix = _canonical(text)
    readable, _, written = bare.rpartition("1")
    if _checksum(readable, written) != 1:
        raise _unreadable("checksum")
    digits = written.translate(_DIGITS)[:-_CHECKSUM_WORDS]
    data, signature = digits[:-_SIGNATURE_WORDS], _Words(digits[-_SIGNATURE_WORDS:]).octets()
    if len(data) < _DATE_WORDS:
        raise _unreadable("length")
    fields = _fields(data[_DATE_WORDS:])
    payee = _signer(readable.encode() + _Words(data).padded(), signature, fields.get("n"))
    return _decoded(bare, prefix, _Words(data[:_DATE_WORDS]).number(), fields, payee)


def require_payable(invoice: DecodedInvoice, *, currency: str, now: int) -> None:
    """Raise Rejected if `invoice` is for another network than `currency` (`bc`, `bcrt`, …) or has expired."""
    if invoice.network != currency:
        raise Rejected("invalid", "invoice is for another network", found=invoice.network, allowed=currency)
    if invoice.expires_at <= now:
        raise Rejected("invalid", "invoice has expired", expired_at=invoice.expires_at, now=now)


def _canonical(text: str) -> tuple[str, re.Match[str]]:
    """Return the bare invoice in lower case, and its readable part; Rejected if its form shows that it is none."""
    stripped = text.strip()
    if len(stripped) > _CHARS_MAX:
        raise Rejected("invalid", "invoice is too long", found=len(stripped), allowed=_CHARS_MAX)
    if stripped[:10].lower() == "lightning:":
        stripped = stripped[10:]
    lower = stripped.lower()
    if stripped not in (lower, stripped.upper()):  # BIP-173: decoders must refuse mixed case
        raise Rejected("invalid", "invoice mixes upper and lower case")
    prefix = _PREFIX.match(lower)
    if prefix is None or not _CHARSET.issuperset(lower[prefix.end() :]):
        raise Rejected("invalid", "not a BOLT11 invoice")
    if prefix["unit"] == "p" and not prefix["digits"].endswith("0"):
        # BOLT 11: the last decimal of a pico amount must be 0, for msat cannot be divided
        raise Rejected("invalid", "invoice amount is not a whole number of msat")
    return lower, prefix


def _reduced(top: int) -> int:
    """Return what five bits that fall out of the checksum at its top add to it (BIP-173)."""
    left = 0
    for place, generator in enumerate(_GENERATORS):
        left ^= generator if top >> place & 1 else 0
    return left


_REDUCED = [_reduced(top) for top in range(32)]


def _unreadable(what: str) -> Rejected:
    return Rejected("invalid", "not a readable invoice", wrong=what)


def _checksum(readable: str, written: str) -> int:
    """Return BIP-173's checksum over the whole text: 1 if nothing was changed."""
    sum_ = 1
    for value in _values(readable, written):
        sum_ = (sum_ & 0x1FF_FFFF) << 5 ^ value ^ _REDUCED[sum_ >> 25]
    return sum_


def _values(readable: str, written: str) -> Iterator[int]:
    yield from (ord(letter) >> 5 for letter in readable)
    yield 0
    yield from (ord(letter) & 31 for letter in readable)
    yield from (_VALUES[letter] for letter in written)


def _fields(digits: str) -> Mapping[str, _Words]:
    """Return the tagged fields by their letters, of each the first; of `d` and `h` whichever comes first."""
    found: dict[str, _Words] = {}
    at = 0
    while at < len(digits):
        start = at + _FIELD_HEAD_WORDS
        at = start + int(digits[at + 1 : start] or "0", 32)
        if at > len(digits) or start > len(digits):
            raise _unreadable("fields")
        letter = CHARSET[int(digits[start - _FIELD_HEAD_WORDS], 32)]
        is_whole = at - start == _LENGTHS.get(letter, at - start)
        if is_whole and letter not in found and not (letter in "dh" and found.keys() & {"d", "h"}):
            found[letter] = _Words(digits[start:at])
    return found


def _signer(message: bytes, signature: bytes, named: _Words | None) -> str:
    """Return who signed. BOLT 11: a payee that is named is checked, not recovered."""
    try:
        if named is None:
            return str(PublicKey.from_signature_and_message(signature, message).format().hex())
        payee = PublicKey(named.octets())
        if payee.verify(cdata_to_der(recoverable_convert(deserialize_recoverable(signature))), message):
            return str(payee.format().hex())
    except Exception as error:  # noqa: BLE001  hostile bytes make the binding raise bare exceptions
        raise _unreadable(f"signature ({type(error).__name__})") from None
    raise _unreadable("signature")


def _decoded(bare: str, prefix: re.Match[str], date: int, fields: Mapping[str, _Words], payee: str) -> DecodedInvoice:
    if not {"p", "s"} <= fields.keys() or not fields.keys() & {"d", "h"}:  # BOLT 11: must be there
        raise _unreadable("a field is missing")
    expiry = fields["x"].number() if "x" in fields else _EXPIRY_SECONDS
    if expiry > _EXPIRY_SECONDS_MAX:
        raise Rejected("invalid", "invoice expiry out of range", allowed=f"0..{_EXPIRY_SECONDS_MAX}")
    if "9" in fields:
        _require_known_features(fields["9"].number())
    try:
        description = fields["d"].octets().decode() if "d" in fields else None
    except UnicodeDecodeError:
        raise _unreadable("description") from None
    return DecodedInvoice(
        bolt11=bare,
        payment_hash=fields["p"].octets().hex(),
        payee=payee,
        amount_msat=_amount(prefix),
        description=description,
        description_hash=fields["h"].octets().hex() if "h" in fields else None,
        created_at=date,
        expires_at=date + expiry,
        network=prefix["currency"],
    )


def _amount(prefix: re.Match[str]) -> Msat | None:
    if prefix["digits"] is None:
        return None
    amount = checked(int(prefix["digits"]) * _TENTHS_OF_MSAT[prefix["unit"]] // 10)
    if amount == 0:
        raise Rejected("invalid", "invoice amount is zero")
    return amount


def _require_known_features(bits: int) -> None:
    """Raise Rejected for a required feature we do not know. BOLT 11: such an invoice must not be paid."""
    unknown = bits & ~_KNOWN_REQUIRED & int("01" * (bits.bit_length() // 2 + 1), 2)
    if unknown:
        raise Rejected("invalid", "invoice requires an unknown feature", bit=unknown.bit_length() - 1)
