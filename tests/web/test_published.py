"""What the pages are made of: verified events of one key, each day once."""

from __future__ import annotations

import msgspec
import pytest

from relaybot.errors import Rejected
from relaybot.nostr.flow_of_funds import KIND
from relaybot.nostr.keys import KeyPair
from relaybot.web.days import days_page
from relaybot.web.published import PublishedAccounts, totals, week_of
from tests.web.conftest import BOOKS, SITE, STORY, accounts_of, told


def test_a_published_day_is_kept() -> None:
    event = told("2026-11-22", STORY)
    accounts = accounts_of(event)
    published = accounts.day("2026-11-22")
    assert published is not None
    assert (published.event_id, published.published_at) == (event.id, event.created_at)
    assert published.summary.figures["in", "lightning"] == 24_000_000
    assert accounts.day("2026-11-21") is None


def test_the_same_event_again_is_no_news() -> None:
    accounts = accounts_of(told("2026-11-22", STORY))
    assert not accounts.add(told("2026-11-22", STORY))
    assert len(accounts.days()) == 1


def test_j3_a_second_summary_of_a_day_is_refused_and_the_first_stays() -> None:
    accounts = accounts_of(told("2026-11-22", STORY))
    with pytest.raises(Rejected, match="published before"):
        accounts.add(told("2026-11-22", {("in", "lightning"): 1_000}))
    assert totals(accounts.days()).cell("in", "lightning") == 24_000_000


def test_another_keys_summary_is_refused() -> None:
    stranger = PublishedAccounts(KeyPair(bytes(31) + b"\x09").pubkey)
    with pytest.raises(Rejected, match="not from the key of the books"):
        stranger.add(told("2026-11-22", STORY))


def test_j3_a_changed_summary_is_refused() -> None:
    good = told("2026-11-22", STORY)
    changed = msgspec.structs.replace(good, content=good.content.replace("24000000", "25000000"))
    unsigned = msgspec.structs.replace(good, sig="0" * 128)
    for forged in (changed, unsigned):
        accounts = PublishedAccounts(BOOKS.pubkey)
        with pytest.raises(Rejected, match="forged"):
            accounts.add(forged)
        assert not accounts.days()


def test_j3_a_summary_that_was_taken_away_is_missed_by_the_one_after_it() -> None:
    first = told("2026-11-20", STORY)
    second = told("2026-11-21", STORY, previous=first.id)
    third = told("2026-11-22", STORY, previous=second.id)
    assert accounts_of(third, first, second).missing() == []
    assert accounts_of(first, third).missing() == ["2026-11-22"]
    assert accounts_of(second, third).missing() == ["2026-11-21"]  # the first of all, too
    assert "before 22 November 2026 is missing here" in days_page(accounts_of(first, third), SITE)
    assert "missing here" not in days_page(accounts_of(first, second, third), SITE)


def test_a_summary_that_is_none_is_refused() -> None:
    with pytest.raises(Rejected, match="schema"):
        PublishedAccounts(BOOKS.pubkey).add(BOOKS.sign(kind=KIND, content="{}", tags=[["d", "day:x"]], created_at=1))


def test_days_stand_in_their_order_however_they_came() -> None:
    accounts = accounts_of(told("2026-11-22"), told("2026-10-01"), told("2026-11-03"))
    assert [published.day for published in accounts.days()] == ["2026-10-01", "2026-11-03", "2026-11-22"]


def test_the_week_is_seven_calendar_days_up_to_the_last_published() -> None:
    accounts = accounts_of(told("2026-11-15"), told("2026-11-16"), told("2026-11-20"), told("2026-11-22", demo=True))
    assert [published.day for published in week_of(accounts.days())] == ["2026-11-16", "2026-11-20", "2026-11-22"]
    assert week_of([]) == []


def test_sums_pass_over_what_is_withheld_and_are_withheld_if_nothing_stands() -> None:
    accounts = accounts_of(told("2026-11-21", STORY), told("2026-11-22", {("in", "other"): 500}))
    sums = totals(accounts.days())
    assert sums.group("in") == 24_000_500
    assert sums.cell("in", "other") == 500
    assert sums.cell("in", "card") is None
    assert sums.group("fees") is None
