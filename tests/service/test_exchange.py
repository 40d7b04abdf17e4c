"""Where the price of a bitcoin comes from: the configuration, or a document that ages."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from relaybot.clock import SetClock
from relaybot.errors import Unavailable
from relaybot.exchange import FetchedRate, rates_of
from relaybot.settings.sections import RateSettings
from wallet.rates import NoRates, Quote

URL = "https://rates.test/btc"


class Documents:
    """The web, as far as it is asked: what stands at an address now, or nothing."""

    def __init__(self) -> None:
        self.there: dict[str, object] = {}

    async def get_json(self, url: str) -> object:
        if url not in self.there:
            raise Unavailable("rates.test did not answer in time")
        return self.there[url]


def settings(**more: object) -> RateSettings:
    return RateSettings.model_validate({"url": URL, "currency": "EUR", "field": "data.amount", **more})


def test_a_fixed_price_never_ages() -> None:
    clock = SetClock(1_000)
    rates = rates_of(RateSettings.model_validate({"bitcoin": "95,000.50 EUR"}), clock)
    clock.advance(10**6)
    assert rates.quote() == Quote("EUR", 9_500_050, 1_001_000)
    assert isinstance(rates_of(RateSettings(), clock), NoRates)


async def test_a_fetched_price_counts_until_it_is_stale_whatever_comes_meanwhile() -> None:
    web, clock = Documents(), SetClock(1_000)
    rates = rates_of(settings(), clock)
    assert isinstance(rates, FetchedRate)
    assert rates.quote() is None
    web.there[URL] = {"data": {"amount": "95000.12"}}
    assert await rates.ask(web) is False
    said = Quote("EUR", 9_500_012, 1_000)
    assert rates.quote() == said
    clock.advance(600)
    useless: tuple[object, ...] = ({"data": {"amount": "-5"}}, {"data": []}, ["data"], None)
    for wrong in useless:
        web.there[URL] = wrong
        await rates.ask(web)
    web.there.clear()
    await rates.ask(web)
    assert rates.quote() == said
    clock.advance(1)
    assert rates.quote() is None


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"result": {"c": ["95000.1", "2"]}}, "result.c.0"),
        ([{"price": 95000.1}], "0.price"),
        ({"price": 95000.1}, "price"),
    ],
)
async def test_a_price_is_found_in_lists_and_objects(document: object, field: str) -> None:
    web, rates = Documents(), FetchedRate(settings(field=field), SetClock(1))
    web.there[URL] = document
    await rates.ask(web)
    assert rates.quote() == Quote("EUR", 9_500_010, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bitcoin": "95000"},
        {"bitcoin": 95_000},
        {"bitcoin": "0 EUR"},
        {"currency": "euro"},
        {"url": "http://rates.test"},
        {"url": "https://a@rates.test"},
        {"url": "https://[:/"},
        {"field": "a..b"},
    ],
)
def test_what_says_no_price_is_refused(wrong: Mapping[str, object]) -> None:
    with pytest.raises(ValueError, match=r"price|currency|https|pattern"):
        RateSettings.model_validate(wrong)
