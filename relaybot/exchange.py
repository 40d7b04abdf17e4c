"""Where the price of a bitcoin comes from: the configuration, or a document that is asked for again and again.

The last answer is kept in memory, with the time it came; it is a quote until it is stale.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from relaybot.clock import Clock
from relaybot.errors import Rejected, Unavailable
from relaybot.settings.sections import RateSettings
from wallet.lnurl import Fetcher
from wallet.rates import NoRates, Quote, Rates, parse_units

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FixedRate:
    """The operator's own price: it never ages."""

    currency: str
    bitcoin: int
    clock: Clock

    def quote(self) -> Quote:
        """Return that price."""
        return Quote(self.currency, self.bitcoin, self.clock.now())


class FetchedRate:
    """The price in a JSON document on the web (`rates.url`), as it was said last."""

    def __init__(self, settings: RateSettings, clock: Clock) -> None:
        assert settings.url is not None, "the configuration names a source"
        self._settings, self._url, self._clock = settings, settings.url, clock
        self._said: Quote | None = None

    def quote(self) -> Quote | None:
        """Return the last price; None before the first, and when it is stale."""
        said = self._said
        if said is None or self._clock.now() - said.at > self._settings.stale_seconds:
            return None
        return said

    async def ask(self, fetch: Fetcher) -> bool:
        """Ask once. Whatever is wrong with the answer, the price before it stands until it is stale."""
        try:
            found = _found(await fetch.get_json(self._url), self._settings.field.split("."))
            bitcoin = parse_units(found, self._settings.currency)
        except (Rejected, Unavailable) as error:
            log.warning("rate_not_read", url=self._url, reason=str(error))
        else:
            self._said = Quote(self._settings.currency, bitcoin, self._clock.now())
        return False


def rates_of(settings: RateSettings, clock: Clock) -> Rates:
    """Return who knows the price, as `rates:` in the configuration says."""
    if settings.bitcoin is not None:
        return FixedRate(*settings.bitcoin, clock)
    return FetchedRate(settings, clock) if settings.url is not None else NoRates()


def _found(document: object, path: list[str]) -> object:
    """Return what stands in a document at a path of names and numbers; None if nothing does."""
    for step in path:
        if isinstance(document, list) and step.isascii() and step.isdigit() and int(step[:9]) < len(document):
            document = document[int(step[:9])]
        else:
            document = document.get(step) if isinstance(document, dict) else None
    return document
