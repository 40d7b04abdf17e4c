"""The rules of companies: names that can be taken for nothing else, months, bonuses, and what is left at the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from wallet.accounts import NODE_ONCHAIN, parse_account
from wallet.companies import (
    Topup,
    bonus_not_earned,
    format_month,
    month_of,
    month_span,
    parse_company_id,
    parse_company_name,
    parse_month,
    plan_dissolved,
    plan_topup_reversed,
)
from wallet.journals import BulkTier, bulk_bonus
from wallet.lots import Mix
from wallet.money import Msat

PUBKEY = "0a" * 32
STEPS = (BulkTier(Msat(1_000), 50_000), BulkTier(Msat(10_000), 100_000))


@pytest.mark.parametrize("name", ["acme", "a1", "acme-2", "x" * 32, "deadbeef"])
def test_what_a_company_can_be_called(name: str) -> None:
    assert parse_company_id(name) == name
    parse_account(f"org/{name}/promo")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "Acme",
        "1acme",
        "acme-",
        "-acme",
        "ac--me",
        "x" * 33,
        "npub1acme",
        "\u0430cme",
        "acme\n",
        "a/b",
        "a b",
        "\uff41cme",
    ],
)
def test_what_no_company_can_be_called(name: str) -> None:
    with pytest.raises(Rejected, match="a company's id"):
        parse_company_id(name)


@pytest.mark.parametrize("name", ["Acme Ltd.", "Müller & Söhne GmbH", "3 Inc. (Berlin)", "A/S", "Cafe\u0301"])
def test_names_that_stand_on_invoices(name: str) -> None:
    assert parse_company_name(f" {name} ") == name.replace("e\u0301", "é")


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "<b>Acme</b>",
        'Acme"',
        "Acme'",
        "Acme\nInvoice",
        "Acme\u202egnp",
        "Acme\0",
        "A\u0441me",  # a Cyrillic letter
        "Acme\u200bLtd",
        "=1+1",
        "-Acme",
        "@acme",
        "A  B",
        "&#60;",
        "Acme;",
        "x" * 61,
        "😀",
    ],
)
def test_names_that_could_be_taken_for_something_else(name: str) -> None:
    with pytest.raises(Rejected, match="a company's name"):
        parse_company_name(name)


def test_months_are_read_shown_and_end_where_the_next_one_begins() -> None:
    assert parse_month("2026-11") == month_of(1_795_000_000) == 202611
    assert format_month(202611) == "2026-11"
    assert month_span(202612)[1] == month_span(202701)[0]
    begins, ends = month_span(202611)
    assert (month_of(begins), month_of(begins - 1), month_of(ends - 1), month_of(ends)) == (
        202611,
        202610,
        202611,
        202612,
    )


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-00", "0000-01", "26-11", "2026-1", "\uff12026-11"])
def test_what_is_no_month(text: str) -> None:
    with pytest.raises(Rejected, match="a month is"):
        parse_month(text)


def topup(amount: int, *, bonus: int = 0, state: str = "good", number: int = 0) -> Topup:
    return Topup(f"t{number}", "acme", PUBKEY, Msat(amount), Msat(bonus), state=state)


@pytest.mark.parametrize(
    ("topups", "sats", "due"),
    [
        ([], 500, 0),
        ([topup(1_000, bonus=50)], 1_000, 50),  # nothing was spent
        ([topup(1_000, bonus=50)], 1, 1),  # rounded up
        ([topup(1_000, bonus=50)], 0, 0),
        ([topup(1_000, bonus=50), topup(900)], 900, 0),  # all that brought a bonus was spent
        ([topup(1_000, bonus=50), topup(900)], 1_000, 5),
        ([topup(1_000, bonus=50, state="reversed"), topup(900)], 900, 0),
        ([topup(1_000, bonus=50), topup(2_000, bonus=200)], 2_500, 250),  # at the best rate
        ([topup(1_000, bonus=50)], 1_600, 50),  # money that was paid back had no bonus
    ],
)
def test_who_leaves_with_what_brought_a_bonus_has_not_earned_it(topups: list[Topup], sats: int, due: int) -> None:
    assert bonus_not_earned(topups, Msat(sats)) == due


@given(st.lists(st.integers(0, 30_000), max_size=6), st.integers(0, 100_000), st.integers(0, 100_000))
def test_leaving_never_brings_out_more_than_came_in_and_takes_every_bonus_of_what_was_not_spent(
    amounts: list[int], spent: int, promo_used: int
) -> None:
    topups = [topup(msat, bonus=bulk_bonus(Msat(msat), STEPS), number=n) for n, msat in enumerate(amounts) if msat]
    came, given_ = sum(one.amount_msat for one in topups), sum(one.bonus_msat for one in topups)
    has = Mix(promo=Msat(given_ - min(promo_used, given_)), sats=Msat(came - min(spent, came)))
    moves = plan_dissolved("acme", PUBKEY, has, topups).transfers
    out = sum(move.amount_msat for move in moves if move.credit.startswith("user/"))
    back = sum(move.amount_msat for move in moves if move.credit == "platform/promotions")
    assert out + back == has.total
    assert out <= has.sats <= came
    if not spent:
        assert back >= given_


@pytest.mark.parametrize(
    ("has", "moved"),
    [
        (Mix(promo=Msat(50), sats=Msat(1_000)), [("org/acme/sats", 1_000), ("org/acme/promo", 50)]),
        (
            Mix(promo=Msat(20), sats=Msat(1_010)),
            [("org/acme/sats", 1_000), ("org/acme/promo", 20), ("org/acme/sats", 10), ("owed", 20)],
        ),
        (Mix(sats=Msat(400)), [("org/acme/sats", 400), ("owed", 600), ("owed", 50)]),
        (Mix(), [("owed", 1_000), ("owed", 50)]),
    ],
)
def test_a_top_up_that_the_chain_takes_back_takes_its_bonus_along(has: Mix, moved: list[tuple[str, int]]) -> None:
    journal = plan_topup_reversed(topup(1_000, bonus=50), NODE_ONCHAIN, has)
    found = [(move.debit.replace(f"user/{PUBKEY}/", ""), move.amount_msat) for move in journal.transfers]
    assert found == moved
    assert sum(move.amount_msat for move in journal.transfers if move.credit == NODE_ONCHAIN) == 1_000
