"""What bitcoin costs in the money of a state: a quote, what it makes of amounts, and who gives one.

Amounts of a state's money are whole numbers of its smallest unit (cents). A quote only shows
an amount, or prices what is sold for such money; the book knows sats alone. Whoever has no
quote, or one that is too old, shows sats and sells nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from relaybot.errors import Rejected
from wallet.money import MAX_MSAT, Msat, floor_to_sat

MSAT_PER_BTC = 100_000_000_000
BITCOIN_UNITS_MAX = 10**15  # of one bitcoin, in cents: ten thousand billions

# ISO 4217: how many decimals a currency has, where it is not two
_DECIMALS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV",
                     "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}  # fmt: skip
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_NUMBER = re.compile(r"(\d{1,15})(?:\.(\d{1,30}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Quote:
    """What one bitcoin cost at the Unix time `at`: `bitcoin` in the currency's smallest unit."""

    currency: str
    bitcoin: int
    at: int

    def worth(self, msat: Msat) -> int:
        """Return what an amount is worth, to the nearest smallest unit: for eyes only."""
        return (msat * self.bitcoin + MSAT_PER_BTC // 2) // MSAT_PER_BTC

    def cost(self, msat: Msat) -> int:
        """Return what an amount is sold for: rounded up, so it is never sold for less than it costs."""
        return -(-msat * self.bitcoin // MSAT_PER_BTC)

    def buys(self, units: int) -> Msat:
        """Return the whole sats that so many smallest units pay for; never more than all bitcoin."""
        return floor_to_sat(Msat(min(units * MSAT_PER_BTC // self.bitcoin, MAX_MSAT)))


class Rates(Protocol):
    """Who knows what bitcoin costs."""

    def quote(self) -> Quote | None:
        """Return what it costs now; None if nobody says, or the last word is too old."""
        ...


class NoRates:
    """Nobody says what bitcoin costs: amounts stand in sats."""

    def quote(self) -> Quote | None:
        """Return None."""
        return None


def is_currency(text: str) -> bool:
    """Tell whether a text has the form of an ISO 4217 code."""
    return _CURRENCY.fullmatch(text) is not None


def decimals_of(currency: str) -> int:
    """Return how many decimals a currency has: two, or as ISO 4217 says."""
    return _DECIMALS.get(currency, 2)


def parse_units(number: object, currency: str) -> int:
    """Read the price of one bitcoin in smallest units, from a JSON number or a text such as `95000.12`.

    What is finer than the currency is cut off. Rejected unless it is more than nothing and less than absurd.
    """
    text = "" if isinstance(number, bool) else str(number)
    found = _NUMBER.fullmatch(text) if isinstance(number, str | int | float) else None
    decimals = decimals_of(currency)
    units = int(found[1] + (found[2] or "")[:decimals].ljust(decimals, "0")) if found is not None else 0
    if not 0 < units <= BITCOIN_UNITS_MAX:
        raise Rejected("invalid", "the price of a bitcoin is no such number", found=text[:40])
    return units


def format_units(units: int, currency: str) -> str:
    """Show an amount of a currency to people: `1,234.50 EUR`, `150 JPY`."""
    decimals = decimals_of(currency)
    whole, rest = divmod(units, 10**decimals)
    return f"{whole:,}.{rest:0{decimals}d} {currency}" if decimals else f"{whole:,} {currency}"
