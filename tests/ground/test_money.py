"""Amounts: what is read, what is refused, what people see."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from wallet.money import MAX_MSAT, Msat, checked, floor_to_sat, format_sat, from_sat, parse_amount, parse_msat

INT64_MAX = 2**63 - 1


@pytest.mark.parametrize(
    ("text", "msat"),
    [
        ("12000 sat", 12_000_000),
        ("12,000 sat", 12_000_000),
        ("1 sat", 1_000),
        ("1sats", 1_000),
        ("1500 msat", 1_500),
        ("1 btc", 100_000_000_000),
        ("21,000,000 BTC", MAX_MSAT),
        (" 7 Sat ", 7_000),
        ("0 sat", 0),
        ("007 msat", 7),
        ("2,100,000,000,000,000,000 msat", MAX_MSAT),
    ],
)
def test_an_amount_in_words_is_read_to_the_msat(text: str, msat: int) -> None:
    assert parse_amount(text) == msat


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "12000",
            "sat",
            "12.5 sat",
            "0.1 btc",
            "-1 sat",
            "+1 sat",
            "1e3 sat",
            "1e3",
            "0x10 sat",
            "1_000 sat",
        ),
        *("12,00 sat", "1,2 sat", ",000 sat", "1,,000 sat", "12,000, sat", "1 000 sat", "1234,000 sat"),
        *("12000 sats!", "12000 satoshi", "12000 usd", "12000 sat sat", "1 btc 2 sat", "NaN sat", "inf btc"),
        *("\u0661\u0662 sat", "\uff11\uff12 sat", "12 \u017fat", "12 sat\x00", "12\n000 sat"),
        *("21000001 btc", "2100000000000001 sat", "2100000000000000001 msat"),
        *("99999999999999999999 sat", "9" * 5_000 + " sat", "1" + ",000" * 2_000 + " sat"),
    ],
)
def test_anything_else_is_refused_as_an_amount(text: str) -> None:
    with pytest.raises(Rejected) as refusal:
        parse_amount(text)
    assert refusal.value.prefix == "invalid"
    assert len(str(refusal.value)) < 200


@given(st.text(max_size=60))
def test_no_text_makes_the_reader_fail_in_any_other_way(text: str) -> None:
    try:
        msat = parse_amount(text)
    except Rejected:
        return
    assert 0 <= msat <= MAX_MSAT


@given(st.integers(0, MAX_MSAT // 1_000))
def test_what_is_shown_in_whole_sats_is_read_back(sat: int) -> None:
    assert parse_amount(format_sat(from_sat(sat))) == sat * 1_000


@pytest.mark.parametrize("text", ["0", "1", "12000000", str(MAX_MSAT), "000"])
def test_a_tag_amount_is_a_string_of_digits(text: str) -> None:
    assert parse_msat(text) == int(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "0x1",
        "1_0",
        "\u00b2",
        "\u0661",
        "1000n",
        str(MAX_MSAT + 1),
        "9" * 5_000,
    ],
)
def test_a_tag_amount_of_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(Rejected):
        parse_msat(text)


@pytest.mark.parametrize("msat", [0, 1, 999, 1_000, MAX_MSAT])
def test_whole_numbers_within_all_bitcoin_are_money(msat: int) -> None:
    assert checked(msat) == msat


@pytest.mark.parametrize(
    "msat", [-1, MAX_MSAT + 1, 2**63 - 1, 2**63, 2**64, -(2**63), pytest.param(10**5_000, id="huge")]
)
def test_numbers_outside_are_refused_and_the_refusal_can_be_shown(msat: int) -> None:
    with pytest.raises(Rejected, match="amount out of range") as refusal:
        checked(msat)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("found", [1.0, 0.5, float("nan"), float("inf"), True, False, "1000", None, b"1", 1j])
def test_only_integers_are_money(found: object) -> None:
    with pytest.raises(Rejected, match="amount is not an integer"):
        checked(cast("int", found))


@pytest.mark.parametrize("found", [1.5, True, "12", None, -1, MAX_MSAT // 1_000 + 1])
def test_only_whole_sats_within_all_bitcoin_become_msat(found: object) -> None:
    with pytest.raises(Rejected):
        from_sat(cast("int", found))


def test_the_largest_amount_fits_the_databases_integers_twice() -> None:
    assert from_sat(2_100_000_000_000_000) == MAX_MSAT
    assert 2 * MAX_MSAT < INT64_MAX


@given(st.integers(0, MAX_MSAT))
def test_flooring_to_sats_loses_less_than_one_sat(msat: int) -> None:
    floored = floor_to_sat(Msat(msat))
    assert floored % 1_000 == 0
    assert 0 <= msat - floored < 1_000


@pytest.mark.parametrize(
    ("msat", "shown"),
    [
        (0, "0 sat"),
        (1, "0.001 sat"),
        (-1, "-0.001 sat"),
        (1_000, "1 sat"),
        (1_001, "1.001 sat"),
        (-500, "-0.5 sat"),
        (10_000, "10 sat"),
        (100_100, "100.1 sat"),
        (12_000_000, "12,000 sat"),
        (-12_000_000, "-12,000 sat"),
        (MAX_MSAT, "2,100,000,000,000,000 sat"),
    ],
)
def test_people_see_sats_with_the_msat_as_a_fraction(msat: int, shown: str) -> None:
    assert format_sat(msat) == shown
