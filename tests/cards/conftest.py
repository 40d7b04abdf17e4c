"""What the tests of cards share: a counter, beside the till of the settlements."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import aiohttp
import pytest

from handlers.bot import CardDesk
from relaybot.cardsim.server import SECRET_KEY, WEBHOOK_SECRET, CardCompany
from relaybot.exchange import rates_of
from tests.cards.counter import Counter, card_config
from tests.settlements.conftest import Street, data_dir, store, street
from wallet.stripe import Stripe

__all__ = ["data_dir", "store", "street"]


@pytest.fixture
async def counter(street: Street) -> AsyncIterator[Counter]:
    async with AsyncExitStack() as stack:
        till = await stack.enter_async_context(street.till())
        config, clock = card_config(till.bot, {}), till.bot.clock
        company = CardCompany(None, webhook_url=f"{config.web_url}/card/webhook", clock=clock)
        url = await company.start()
        stack.push_async_callback(company.close)
        provider = Stripe(SECRET_KEY, base_url=url, pay_origin=url)
        stack.push_async_callback(provider.close)
        desk = CardDesk(provider, WEBHOOK_SECRET, live=False)
        till.bot = replace(till.bot, config=config, cards=desk, rates=rates_of(config.rates, clock))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        made = Counter(till, company, http, await stack.enter_async_context(AsyncExitStack()))
        await made.listen()
        yield made
