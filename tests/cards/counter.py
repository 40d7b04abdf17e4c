"""A counter at which cards are taken: the bot on a real book, the page, and the simulated card company over HTTP."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import aiohttp
from aiohttp import web

from handlers.bot import Bot
from handlers.card_payments import CardPayments
from handlers.conversation import Asked
from handlers.topups import topup
from relaybot.cardsim.server import CardCompany
from relaybot.clock import SetClock
from relaybot.config import Config, parse_config
from relaybot.demo.stage import free_port
from relaybot.nostr.keys import KeyPair
from relaybot.web.app import build_app
from relaybot.web.cards import card_routes
from relaybot.web.published import PublishedAccounts
from tests.settlements.conftest import AGENT, BOB, Till
from tests.web.conftest import SITE
from wallet.accounts import CARD_RECEIVABLE, Account, Class, owed, user
from wallet.audit import unsound
from wallet.card_rules import Offer
from wallet.ledger import Plan

GOOD_CARD = "4242 4242 4242 4242"


class Counter:
    """Where customers buy by card, and what they and others do there."""

    def __init__(self, till: Till, company: CardCompany, http: aiohttp.ClientSession, pages: AsyncExitStack) -> None:
        self.till = till
        self.bot: Bot = till.bot
        self.company = company
        self.payments = CardPayments(till.bot)
        self.http = http
        self._pages = pages
        self._asked = 0

    @property
    def clock(self) -> SetClock:
        assert isinstance(self.bot.clock, SetClock)
        return self.bot.clock

    async def listen(self) -> None:
        """Serve the pages, as they are configured now, at the address that customers are told."""
        await self._pages.aclose()
        app = build_app(PublishedAccounts("00" * 32), SITE, more=card_routes(self.bot, SITE))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._pages.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", self.bot.config.relay.port).start()

    async def configured(self, **card: Any) -> None:
        """Go on under other rules."""
        self.bot = replace(self.bot, config=card_config(self.bot, card))
        self.till.bot = self.bot
        self.payments = CardPayments(self.bot)
        await self.listen()

    async def quoted(self, sat: int, customer: KeyPair = BOB) -> Offer:
        """Let a customer write `topup <sats> card`."""
        self._asked += 1
        asked = Asked(customer.pubkey, f"{self._asked:064x}", self.clock.now(), (str(sat), "card"))
        reply = await topup(self.bot, asked)
        assert (await self.till.book.apply(Plan(f"dm/{asked.rumor}", changes=reply.changes))).done
        return await self.offer(reply.text.rsplit("/", 1)[-1])

    async def offer(self, offer_id: str) -> Offer:
        return Offer.of_row(await self.till.row("card_offers", offer_id))

    def page_of(self, offer: Offer) -> str:
        return f"{self.bot.config.web_url}/topup/card/{offer.id}"

    async def read(self, offer: Offer, query: str = "") -> str:
        """Read an offer's page."""
        async with self.http.get(self.page_of(offer) + query) as answer:
            assert answer.status == 200
            return await answer.text()

    async def take(self, offer: Offer) -> str:
        """Accept price and terms; return where it is paid."""
        async with self.http.post(self.page_of(offer), allow_redirects=False) as answer:
            assert answer.status == 303, await answer.text()
            return answer.headers["Location"]

    async def give(self, where: str, card: str = GOOD_CARD, *, challenge: str | None = "passed") -> int:
        """Give a card on the company's page, and pass its challenge or not; return the status."""
        form = {"card": card} if challenge is None else {"card": card, "challenge": challenge}
        async with self.http.post(where, data=form, allow_redirects=False) as answer:
            return answer.status

    async def paid(self, sat: int, customer: KeyPair = BOB, card: str = GOOD_CARD) -> Offer:
        """Let a customer buy, and let everything happen that follows."""
        offer = await self.quoted(sat, customer)
        assert await self.give(await self.take(offer), card) == 303
        return await self.settled(offer)

    async def settled(self, offer: Offer) -> Offer:
        """Let all webhooks come, and what follows from them; return the offer then."""
        await self.company.webhooks.all_brought()
        await self.payments.follow()
        return await self.offer(offer.id)

    async def later(self, offer: Offer, seconds: int = 600) -> Offer:
        """Let time pass, and look."""
        self.clock.advance(seconds)
        return await self.settled(offer)

    async def has(self, customer: KeyPair = BOB) -> tuple[int, int]:
        """Return somebody's card money and what they owe, in sat; the book must be sound."""
        assert await unsound(self.till.book.database) == []
        card = await self.till.book.balance(user(customer.pubkey, Class.CARD))
        debt = await self.till.book.balance(owed(customer.pubkey))
        return card // 1000, -debt // 1000

    async def receivable(self) -> int:
        return await self.till.book.balance(Account(CARD_RECEIVABLE)) // 1000


def card_config(bot: Bot, card: dict[str, Any]) -> Config:
    """Return the configuration of `bot` with cards, a price of bitcoin, and a port of its own."""
    config, settings = bot.config, {"provider": "simulated", **card}
    written = {
        "agents": {"autodev": AGENT},
        "rates": {"bitcoin": "95000 EUR"},
        "relay": {"port": config.relay.port if config.relay.port != 7447 else free_port()},
        "card": settings,
        "web": {"domain": "relaybot.test"},
        "zaps": {"anonymous": "donate"},
    }
    return parse_config(written, config_dir=config.service.data_dir)
