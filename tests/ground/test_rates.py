"""What a bitcoin costs: quotes, and what they make of amounts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from wallet.money import MAX_MSAT, Msat, from_sat
from wallet.rates import BITCOIN_UNITS_MAX, NoRates, Quote, format_units, is_currency, parse_units

EUR = Quote("EUR", 9_500_000, 0)  # 95,000.00


def test_an_amount_is_worth_the_nearest_cent_and_sold_for_no_less_than_it_costs() -> None:
    assert EUR.worth(from_sat(12_000)) == 1_140
    assert (EUR.worth(from_sat(5)), EUR.worth(from_sat(6)), EUR.worth(from_sat(1))) == (0, 1, 0)
    assert (EUR.cost(from_sat(1)), EUR.cost(from_sat(12_000)), EUR.cost(Msat(0))) == (1, 1_140, 0)


def test_money_buys_whole_sats_and_no_more_than_there_are() -> None:
    assert EUR.buys(1_140) == from_sat(12_000)
    assert EUR.buys(1) == from_sat(10)
    assert Quote("EUR", 1, 0).buys(10**30) == MAX_MSAT


@given(st.integers(1, BITCOIN_UNITS_MAX), st.integers(0, MAX_MSAT))
def test_who_pays_what_an_amount_costs_gets_at_least_its_whole_sats(bitcoin: int, msat: int) -> None:
    quote = Quote("EUR", bitcoin, 0)
    assert quote.buys(quote.cost(Msat(msat))) >= msat - msat % 1_000
    assert abs(quote.worth(Msat(msat)) - quote.cost(Msat(msat))) <= 1


@pytest.mark.parametrize(
    ("number", "currency", "units"),
    [
        ("95000.12", "EUR", 9_500_012),
        ("95000.129", "EUR", 9_500_012),
        (95000.5, "EUR", 9_500_050),
        (95000, "EUR", 9_500_000),
        ("15000000.4", "JPY", 15_000_000),
        ("29000.1", "KWD", 29_000_100),
        ("0.01", "EUR", 1),
    ],
)
def test_a_price_is_read_in_the_smallest_unit(number: object, currency: str, units: int) -> None:
    assert parse_units(number, currency) == units


@pytest.mark.parametrize(
    "number", ["", "0", "0.001", "-1", "1e5", 1e300, float("nan"), True, None, [], "95,000", "٩٥", "9" * 16]
)
def test_what_is_no_price_is_refused(number: object) -> None:
    with pytest.raises(Rejected, match="no such number"):
        parse_units(number, "EUR")


def test_money_is_shown_with_the_decimals_of_its_currency() -> None:
    shown = [format_units(123_450, currency) for currency in ("EUR", "JPY", "KWD")]
    assert shown == ["1,234.50 EUR", "123,450 JPY", "123.450 KWD"]
    assert (is_currency("EUR"), is_currency("eur"), is_currency("EURO")) == (True, False, False)


def test_without_a_source_there_is_no_quote() -> None:
    assert NoRates().quote() is None
