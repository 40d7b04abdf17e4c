"""Who handles an event when several processes share the book: the one that has taken it, and after it another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from relaybot.clock import SetClock
from relaybot.db.database import SharedDatabase
from relaybot.inbox import Decision, Inbox
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from relaybot.processes import join
from tests.book.stores import NOW, Store, connected
from wallet.book import Book, running
from wallet.ledger import Plan, Put, Verdict

SOMEBODY = KeyPair(b"\1" * 32)


def event(number: int) -> Event:
    return SOMEBODY.sign(kind=1, content=f"{number}", tags=[], created_at=NOW)


class Life:
    """A process of the service: its inbox counts what it handles."""

    def __init__(self, book: Book, inbox: Inbox, seen: list[str]) -> None:
        self.book = book
        self.inbox = inbox
        self.seen = seen

    async def until_done(self, *events: Event) -> None:
        """Handle what is ours, and take over what is nobody's, until these events are done."""
        async with asyncio.timeout(30):
            handling = asyncio.create_task(self.inbox.run())
            for one in events:
                while (await self.book.row("inbox", one.id) or {"state": ""})["state"] != "done":
                    pass
            handling.cancel()
            await asyncio.wait({handling})


@asynccontextmanager
async def life(store: Store, name: str, *, leaves: bool = True) -> AsyncIterator[Life]:
    """Be a process of this name; one that does not leave keeps its name until its connections are closed."""
    seen: list[str] = []
    async with connected(store) as database, running(Book(database, SetClock(NOW))) as book:
        process = await join(cast("SharedDatabase", database), name)

        async def handler(one: Event) -> Decision:
            seen.append(one.id)
            return Plan(f"handled/{one.id}", changes=(Put("cursors", "count", {"value": 1}),))

        yield Life(book, Inbox(book, SetClock(NOW), {range(1, 2): handler}, waiting_max=100, process=process), seen)
        if leaves:
            await process.leave()


async def test_an_event_is_handled_by_the_process_that_stored_it_and_by_no_other_while_it_lives(store: Store) -> None:
    async with life(store, "left") as left, life(store, "right") as right:
        await left.inbox.receive(event(1), "a")
        await right.inbox.receive(event(1), "b")  # seen by both: stored once
        await right.inbox.receive(event(2), "b")
        assert not await right.inbox.take_over()
        await right.until_done(event(2))
        assert right.seen == [event(2).id]
        await left.until_done(event(1))
        assert left.seen == [event(1).id]


async def test_what_a_process_left_behind_is_taken_over_and_done_once(store: Store) -> None:
    async with life(store, "left") as left:
        for number in range(5):
            await left.inbox.receive(event(number), "a")
    async with life(store, "right") as right, life(store, "third") as third:
        await asyncio.gather(right.inbox.take_over(), third.inbox.take_over())
        everything = [event(number) for number in range(5)]
        await asyncio.gather(right.until_done(*everything), third.until_done(*everything))
        assert sorted(right.seen + third.seen) == sorted(one.id for one in everything)
        count = await right.book.row("cursors", "count")
        assert count is not None
        assert count["version"] == 5


async def test_a_process_that_was_only_thought_to_be_gone_changes_nothing_any_more(store: Store) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    async with connected(store) as database, running(Book(database, SetClock(NOW))) as book:
        process = await join(cast("SharedDatabase", database), "left")

        async def slow(one: Event) -> Decision:
            reached.set()
            await go_on.wait()
            return Plan(f"slow/{one.id}", changes=(Put("cursors", "slow", {"value": 1}),))

        inbox = Inbox(book, SetClock(NOW), {range(1, 2): slow}, waiting_max=100, process=process)
        handling = asyncio.create_task(inbox.run())
        await inbox.receive(event(1), "a")
        await reached.wait()
        await process.leave()  # as if its connection to the locks had been cut
        async with life(store, "right") as right:
            await right.inbox.take_over()
            await right.until_done(event(1))
            assert right.seen == [event(1).id]
        go_on.set()
        while inbox._taken:  # noqa: ASYNC110  an inbox tells nobody when it has nothing in hand
            await asyncio.sleep(0)
        assert await book.row("cursors", "slow") is None
        handling.cancel()
        await asyncio.wait({handling})


async def test_what_a_process_without_handlers_stored_is_for_whoever_has_them(store: Store) -> None:
    async with connected(store) as database, running(Book(database, SetClock(NOW))) as book:
        await Inbox(book, SetClock(NOW), {}, waiting_max=100).receive(event(1), "a")
        async with life(store, "right") as right:
            await right.until_done(event(1))
            assert right.seen == [event(1).id]


async def test_a_row_is_taken_by_one_of_two_who_want_it(store: Store) -> None:
    async with life(store, "left") as left, life(store, "right") as right:
        await Inbox(left.book, SetClock(NOW), {}, waiting_max=100).receive(event(1), "a")
        row = await left.book.row("inbox", event(1).id)
        assert row is not None
        await asyncio.gather(left.inbox._take(row), right.inbox._take(row))
        taken = await left.book.row("inbox", event(1).id)
        assert taken is not None
        assert taken["holder"] in {"left", "right"}
        assert taken["version"] == row["version"] + 1
        again = await left.book.apply(Plan(f"inbox/{event(1).id}/taken/{row['version']}"))
        assert again.verdict is Verdict.ALREADY
