"""Whose agreement a new version needs: a table of changes, and who would have less by each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from splits.agreement import worse_for
from splits.market import Listed, read_listing
from tests.documents.cast import key_of

AUTHOR, DAVE, ERIN = (key_of(name).pubkey for name in ("alice", "dave", "eve"))
FIXED = {"to": DAVE, "amount": "100 sat"}
PERCENT = {"to": DAVE, "percent": "5%"}
METERED = {"to": DAVE, "per": "1000 tokens", "amount": "3 sat", "at_most": "50 sat"}
OTHER = {"to": ERIN, "amount": "10 sat"}


def skill(*shares: dict[str, Any], **more: Any) -> Listed:
    return read_listing("skill", json.dumps({"name": "S", "shares": shares, **more}), AUTHOR)


def agent(*shares: dict[str, Any], price: object = "1000 sat", **more: Any) -> Listed:
    written = {"name": "A", "kinds": [5050], "price": price, "shares": shares, **more}
    return read_listing("agent", json.dumps(written), AUTHOR)


@pytest.mark.parametrize(
    ("had", "has"),
    [
        ([FIXED], [FIXED]),
        ([FIXED], [{**FIXED, "amount": "101 sat"}]),
        ([FIXED, PERCENT], [PERCENT, OTHER, FIXED]),
        ([FIXED, {**FIXED, "amount": "50 sat"}], [{**FIXED, "amount": "60 sat"}, FIXED]),
        ([PERCENT], [{**PERCENT, "percent": "5.0001%"}]),
        ([{**PERCENT, "at_most": "9 sat"}], [PERCENT]),
        ([{**PERCENT, "at_most": "9 sat"}], [{**PERCENT, "at_most": "10 sat"}]),
        ([{**FIXED, "until": "2027-01-01"}], [{**FIXED, "until": "2027-01-02"}]),
        ([{**FIXED, "until": "2027-01-01"}], [FIXED]),
        ([METERED], [{**METERED, "amount": "4 sat"}]),
    ],
)
def test_what_is_as_good_or_better_needs_nobody_s_agreement(had: list[Any], has: list[Any]) -> None:
    assert worse_for(skill(*had), skill(*has), author=AUTHOR) == frozenset()


@pytest.mark.parametrize(
    ("had", "has"),
    [
        ([FIXED], []),
        ([FIXED], [{**FIXED, "amount": "99 sat"}]),
        ([FIXED], [{**FIXED, "to": ERIN}]),
        ([FIXED, FIXED], [FIXED]),
        ([FIXED], [PERCENT]),
        ([PERCENT], [{**PERCENT, "percent": "4.9999%"}]),
        ([PERCENT], [{**PERCENT, "at_most": "9 sat"}]),
        ([{**PERCENT, "at_most": "9 sat"}], [{**PERCENT, "at_most": "8 sat"}]),
        ([FIXED], [{**FIXED, "until": "2027-01-01"}]),
        ([{**FIXED, "until": "2027-01-02"}], [{**FIXED, "until": "2027-01-01"}]),
        ([METERED], [{**METERED, "per": "2000 tokens"}]),
        ([METERED], [{**METERED, "per": "1000 seconds"}]),
        ([{"to": DAVE, "percent_of_rest": "5%"}], [{"to": DAVE, "percent_of_rest": "5%"}, OTHER]),
        (
            [{"percent": "5%", "split": {"shares": [OTHER], "rest": DAVE}}],
            [{"percent": "5%", "split": {"shares": [{**OTHER, "amount": "11 sat"}], "rest": DAVE}}],
        ),
    ],
)
def test_what_is_less_needs_the_agreement_of_whom_it_is_taken_from(had: list[Any], has: list[Any]) -> None:
    assert DAVE in worse_for(skill(*had), skill(*has), author=AUTHOR)


def test_only_those_who_have_less_are_asked_and_never_the_author() -> None:
    mine = {"to": AUTHOR, "amount": "100 sat"}
    assert worse_for(skill(FIXED, OTHER, mine), skill(FIXED), author=AUTHOR) == {ERIN}


def test_a_percentage_of_a_lower_price_is_less() -> None:
    metered = {"base": "1000 sat", "per": "1000 tokens", "amount": "3 sat", "at_most": "2000 sat"}
    assert worse_for(agent(PERCENT), agent(PERCENT, price="999 sat"), author=AUTHOR) == {DAVE}
    assert worse_for(agent(PERCENT, price=metered), agent(PERCENT), author=AUTHOR) == {DAVE}
    assert worse_for(agent(PERCENT), agent(PERCENT, price=metered), author=AUTHOR) == frozenset()
    assert worse_for(agent(FIXED), agent(FIXED, price="999 sat"), author=AUTHOR) == frozenset()
    assert worse_for(skill(PERCENT), skill(PERCENT, OTHER), author=AUTHOR) == frozenset()


def test_words_alone_change_nobody_s_money() -> None:
    of_rest = {"to": DAVE, "percent_of_rest": "5%"}
    assert worse_for(agent(of_rest, rest=ERIN), agent(of_rest, rest=ERIN, about="new"), author=AUTHOR) == frozenset()
    assert worse_for(agent(rest=DAVE), agent(OTHER, rest=DAVE), author=AUTHOR) == {DAVE}
