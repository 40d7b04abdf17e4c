"""The service was killed between its relay's commit and its book's, and stayed dead for hours."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing

from relaybot.nostr.event import Event, encode_event
from relaybot.relay.event_writes import Arrival, Outcome
from relaybot.relay.events import EventStore
from relaybot.relay.settings import RelayLimits
from tests.flows.harness import World, world

HOURS = 2 * 3_600


async def test_what_the_relay_had_taken_in_before_is_handled_all_the_same() -> None:
    async with world(jobs={"ttl_seconds": 10 * HOURS}) as w:
        bob, then = await w.join("bob"), int(time.time()) - HOURS
        tags = [["i", "Fix issue 42", "text"], ["p", w.agent]]
        request = bob.keypair.sign(kind=5050, content="", tags=tags, created_at=then)
        await w.stop()
        await store(w, request)
        with closing(sqlite3.connect(w.config.database, isolation_level=None)) as book:
            book.execute("UPDATE cursors SET value = ? WHERE id = 'reader/own'", (then,))
        await w.start()
        await w.feedback("bob", request, "payment-required")


async def store(w: World, event: Event) -> None:
    """Store an event as the relay does, without telling the bot."""
    relay = await EventStore.open(w.config.relay.database, RelayLimits())
    stored: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
    relay.write([Arrival(encode_event(event).encode(), event)], stored.set_result)
    assert await stored == [Outcome.STORED]
    await relay.close()
