"""Money is integers of millisatoshi. Reading and showing amounts stands here, and no arithmetic.

Sats appear at the edges only; no float and no Decimal touches money.
"""

from __future__ import annotations

import re
from typing import NewType

from relaybot.errors import Rejected

Msat = NewType("Msat", int)

MSAT_PER_SAT = 1_000
INT64_BITS = 64
MAX_MSAT = Msat(21_000_000 * 100_000_000 * MSAT_PER_SAT)  # every bitcoin there will ever be; fits int64

_AMOUNT = re.compile(
    r"(?P<digits>\d{1,3}(?:,\d{3}){1,6}|\d{1,19})\s*(?P<unit>msat|sats?|btc)", re.ASCII | re.IGNORECASE
)
_UNITS = {"msat": 1, "sat": MSAT_PER_SAT, "sats": MSAT_PER_SAT, "btc": 100_000_000 * MSAT_PER_SAT}


def from_sat(sat: int) -> Msat:
    """Return whole `sat` as msat; Rejected outside 0 … 21 million bitcoin."""
    return checked(checked(sat) * MSAT_PER_SAT)


def checked(msat: int) -> Msat:
    """Return `msat` as money; Rejected if it is not an integer of 0 … 21 million bitcoin."""
    if isinstance(msat, bool) or not isinstance(msat, int):
        raise Rejected("invalid", "amount is not an integer", found=type(msat).__name__)
    if not 0 <= msat <= MAX_MSAT:
        found = msat if msat.bit_length() < INT64_BITS else "more than 64 bits"  # Python shows no endless number
        raise Rejected("invalid", "amount out of range", found=found, allowed=f"0..{MAX_MSAT}")
    return Msat(msat)


def parse_amount(text: str) -> Msat:
    """Read `12000 sat`, `12,000 sat`, `1500 msat` or `1 btc`; Rejected for anything else.

    The unit is required: a bare number is ambiguous by a factor of a thousand.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise Rejected("invalid", "amount must be a whole number and a unit, such as 12000 sat", found=text[:40])
    return checked(int(match["digits"].replace(",", "")) * _UNITS[match["unit"].lower()])


def parse_msat(text: str) -> Msat:
    """Read an amount as it stands in Nostr tags: a string of decimal digits, in msat."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_MSAT))):
        raise Rejected("invalid", "amount must be a string of digits in msat", found=text[:40])
    return checked(int(text))


def floor_to_sat(msat: Msat) -> Msat:
    """Return the whole sats in `msat`: Lightning and on-chain pay out whole sats only."""
    return Msat(msat - msat % MSAT_PER_SAT)


def format_sat(msat: int) -> str:
    """Show an amount to people: `12,000 sat`, `-0.5 sat`, `1.001 sat`."""
    sign, whole, rest = "-" if msat < 0 else "", abs(msat) // MSAT_PER_SAT, abs(msat) % MSAT_PER_SAT
    fraction = f".{rest:03d}".rstrip("0") if rest else ""
    return f"{sign}{whole:,}{fraction} sat"
