"""The service was killed between its relay's commit and its book's, and stayed dead for hours."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing

from relaybot.nostr.event import Event, encode_event
from relaybot.relay.event_journal import Arrival
from relaybot.relay.event_writes import Outcome
from relaybot.relay.events import EventStore
from relaybot.relay.settings import RelayLimits
from tests.book.stores import book_file
from tests.flows.harness import World, world

HOURS = 2 * 3_600


async def test_what_the_relay_had_taken_in_before_is_handled_all_the_same() -> None:
    async with world(jobs={"ttl_seconds": 10 * HOURS}) as w:
        bob, then = await w.join("bob"), int(time.time()) - HOURS
        tags = [["i", "Fix issue 42", "text"], ["p", w.agent]]
        request = bob.keypair.sign(kind=5050, content="", tags=tags, created_at=then)
        await w.stop()
        await store(w, request)
        with closing(sqlite3.connect(book_file(w.config), isolation_level=None, check_same_thread=False)) as book:
            book.execute("UPDATE cursors SET value = ? WHERE id = 'reader/own'", (then,))
            book.execute("DELETE FROM plans WHERE id LIKE 'cursors/reader/own/%'")  # noted in this second, not then
            passed_over: list[str] = []

            def look(border: str) -> None:
                """Note every border at which another kill would lose the request for good."""
                ((read_until,),) = book.execute("SELECT value FROM cursors WHERE id = 'reader/own'").fetchall()
                taken = book.execute("SELECT 1 FROM inbox WHERE id = ?", (request.id,)).fetchall()
                if read_until > then and not taken:
                    passed_over.append(border)

            await w.start(look)
            await w.feedback("bob", request, "payment-required")
            await w.stop()
        assert passed_over == []


async def store(w: World, event: Event) -> None:
    """Store an event as the relay does, without telling the bot."""
    relay = await EventStore.open(w.config.relay.database, RelayLimits())
    stored: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
    relay.write([Arrival(encode_event(event).encode(), event)], stored.set_result)
    assert await stored == [Outcome.STORED]
    await relay.close()
