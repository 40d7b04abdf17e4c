"""Opening the book beside a service that may be running on it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from handlers.bot import Bot
from handlers.market import Market
from relaybot.app import open_book_database
from relaybot.clock import SystemClock
from relaybot.config import Config
from relaybot.errors import Rejected
from relaybot.keyring import Keyring
from relaybot.workings import build_bot
from wallet.book import Book, Decide, running
from wallet.cln import CoreLightning
from wallet.cln_chain import CoreLightningChain
from wallet.ledger import Verdict

Answer = dict[str, Any]


@contextlib.asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Book]:
    """Open the book beside a service that may be running on it. Rejected if there is none."""
    if isinstance(config.database, Path) and not config.database.exists():
        raise Rejected("invalid", f"no book at {config.database}; the first start of the service makes it")
    clock = SystemClock()
    database = await open_book_database(config, clock)
    try:
        async with running(Book(database, clock)) as book:
            yield book
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def opened_bot(config: Config, keyring: Keyring) -> AsyncIterator[Bot]:
    """Open the book with all that a decision of the service's handlers needs. Rejected if there is no book."""
    async with opened(config) as book:
        node, chain = CoreLightning(config.lightning.socket), CoreLightningChain(config.lightning.socket)
        try:
            bot = build_bot(config, keyring, book, node, SystemClock(), chain=chain, chance=secrets.token_bytes)
            await Market(bot, keyring.key).refresh()  # a job of a registered agent is spoken of by that agent's key
            yield bot
        finally:
            await node.close()
            await chain.close()


async def decide(bot: Bot, decision: Decide) -> Answer:
    """Let the book take a decision; Rejected if it does not. Tells whether it was taken now or stood there already."""
    answer = await bot.book.decide(decision)
    if not answer.done:
        raise Rejected("error", "the book did not take it", detail=answer.reason)
    return {"done_now": answer.verdict is Verdict.APPLIED}


async def migrate(config: Config) -> None:
    """Bring the book's database up to date; make it, if there is none."""
    database = await open_book_database(config, SystemClock())
    await database.close()
