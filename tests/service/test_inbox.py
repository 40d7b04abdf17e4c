"""The inbox: stored once, handled once, whatever fails on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from relaybot import inbox as module
from relaybot.clock import SetClock
from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from relaybot.inbox import Decision, Inbox
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from tests.service.conftest import NOW, FullDisk
from wallet.book import Book
from wallet.ledger import Insert, Plan, Put

SOMEBODY = KeyPair(b"\x01" * 32)


def event(number: int = 0, kind: int = 1) -> Event:
    return SOMEBODY.sign(kind=kind, content=f"{number}", tags=[], created_at=NOW)


@asynccontextmanager
async def inbox(
    book: Book, clock: SetClock, handler: Callable[[Event], Awaitable[Decision]], waiting_max: int = 100
) -> AsyncIterator[Inbox]:
    made = Inbox(book, clock, {range(1, 2): handler}, waiting_max=waiting_max)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.wait({task})


async def done(book: Book, one: Event, state: str = "done") -> Mapping[str, object]:
    """Wait until the event is handled."""
    news = book.watch("inbox")
    async with asyncio.timeout(10):
        while True:
            news.clear()
            row = await book.row("inbox", one.id)
            if row is not None and row["state"] == state:
                return row
            await news.wait()


async def test_an_event_is_handled_once_though_it_comes_three_times(book: Book, clock: SetClock) -> None:
    seen: list[str] = []

    async def handler(one: Event) -> Decision:
        seen.append(one.id)
        return Plan(f"test/{one.id}", changes=(Put("cursors", "counted", {"value": len(seen)}),))

    async with inbox(book, clock, handler) as box:
        for source in ("a", "b", "c"):
            await box.receive(event(), source)
        row = await done(book, event())
    assert seen == [event().id]
    assert (row["source"], row["note"]) == ("a", f"test/{event().id}")


async def test_the_plan_and_the_mark_are_one(book: Book, clock: SetClock) -> None:
    """A second handler of the same event, in another process, finds the mark and changes nothing."""

    async def handler(_: Event) -> Decision:
        row = await book.row("cursors", "counted")
        return Plan("test/once", changes=(Put("cursors", "counted", {"value": 1 + (row["value"] if row else 0)}),))

    async with inbox(book, clock, handler) as box, inbox(book, clock, handler) as other:
        await asyncio.gather(box.receive(event(), "a"), other.receive(event(), "b"))
        await done(book, event())
    counted = await book.row("cursors", "counted")
    assert counted is not None
    assert counted["value"] == 1


async def test_a_second_event_of_the_same_cause_is_marked_done(book: Book, clock: SetClock) -> None:
    async def handler(_: Event) -> Decision:
        return Plan("test/the same cause", changes=(Put("cursors", "counted", {"value": 1}),))

    async with inbox(book, clock, handler) as box:
        await box.receive(event(1), "a")
        await done(book, event(1))
        await box.receive(event(2), "a")
        assert (await done(book, event(2)))["note"] == "done before"


async def test_a_refusal_is_noted(book: Book, clock: SetClock) -> None:
    async def handler(_: Event) -> Decision:
        raise Rejected("invalid", "bid: below the price")

    async with inbox(book, clock, handler) as box:
        await box.receive(event(), "a")
        assert (await done(book, event()))["note"] == "refused: invalid: bid: below the price"


async def test_a_fault_of_ours_keeps_the_event_for_the_operator_and_stops_nobody(book: Book, clock: SetClock) -> None:
    async def handler(one: Event) -> Decision:
        if one.content == "0":
            raise KeyError("a fault")
        return "good"

    async with inbox(book, clock, handler) as box:
        await box.receive(event(0), "a")
        await done(book, event(0), "failed")
        await box.receive(event(1), "a")
        assert (await done(book, event(1)))["note"] == "good"


async def test_what_is_unavailable_is_tried_again(book: Book, clock: SetClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0)
    tries = 0

    async def handler(_: Event) -> Decision:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Unavailable("the node is away")
        return "in the end"

    async with inbox(book, clock, handler) as box:
        await box.receive(event(), "a")
        assert (await done(book, event()))["note"] == "in the end"
    assert tries == 3


async def test_an_event_stored_before_a_crash_is_handled_after_it(book: Book, clock: SetClock) -> None:
    async def never(_: Event) -> Decision:
        await asyncio.Event().wait()
        return "never"

    async def handler(_: Event) -> Decision:
        return "after the crash"

    async with inbox(book, clock, never) as box:
        await box.receive(event(), "a")
    async with inbox(book, clock, handler):
        assert (await done(book, event()))["note"] == "after the crash"


async def test_an_event_whose_sender_did_not_wait_to_hear_that_it_is_stored_is_handled(
    book: Book, clock: SetClock
) -> None:
    async def handler(_: Event) -> Decision:
        return "handled"

    async with inbox(book, clock, handler) as box:
        receiving = asyncio.create_task(box.receive(event(), "a"))
        await asyncio.sleep(0)  # its Plan is in the book's hands
        receiving.cancel()
        assert (await done(book, event()))["note"] == "handled"


async def test_a_kind_nobody_handles_is_done(book: Book, clock: SetClock) -> None:
    async def handler(_: Event) -> Decision:
        raise AssertionError

    async with inbox(book, clock, handler) as box:
        await box.receive(event(kind=42), "a")
        assert "nobody" in str((await done(book, event(kind=42)))["note"])


async def test_more_events_than_may_wait_are_refused_and_taken_later(book: Book, clock: SetClock) -> None:
    go = asyncio.Event()

    async def handler(_: Event) -> Decision:
        await go.wait()
        return "good"

    async with inbox(book, clock, handler, waiting_max=2) as box:
        await box.receive(event(1), "a")
        await box.receive(event(2), "a")
        with pytest.raises(Unavailable, match="too many"):
            await box.receive(event(3), "a")
        go.set()
        await done(book, event(1))
        await done(book, event(2))
        await box.receive(event(3), "a")
        await done(book, event(3))


@pytest.mark.parametrize("fault", [False, True])
async def test_a_full_disk_makes_an_event_wait_whatever_its_handler_does(
    book: Book, clock: SetClock, disk: FullDisk, monkeypatch: pytest.MonkeyPatch, *, fault: bool
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0)
    tries = 0

    async def handler(_: Event) -> Decision:
        nonlocal tries
        tries += 1
        disk.full = tries < 3
        if fault:
            raise KeyError("a fault")
        return "in the end"

    async with inbox(book, clock, handler) as box:
        await box.receive(event(), "a")
        await done(book, event(), "failed" if fault else "done")
    assert tries == 3


async def test_an_inbox_that_cannot_be_read_is_read_again(
    book: Book, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0)
    fetch, failures = book.database.fetch, iter([Unavailable("disk I/O error")] * 3)

    async def failing(sql: str, **values: str | int | None) -> Sequence[Row]:
        for failure in failures:
            raise failure
        return await fetch(sql, **values)

    async def handler(_: Event) -> Decision:
        return "in the end"

    monkeypatch.setattr(book.database, "fetch", failing)
    async with inbox(book, clock, handler) as box:
        await box.receive(event(), "a")
        assert (await done(book, event()))["note"] == "in the end"


async def test_handlers_that_wait_hold_up_each_other_only(
    book: Book, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HANDLED_AT_ONCE", 1)
    go = asyncio.Event()

    async def slow(_: Event) -> Decision:
        await go.wait()
        return "slow"

    async def quick(_: Event) -> Decision:
        return "quick"

    handlers = {range(1, 2): slow, range(2, 3): quick}
    box = Inbox(book, clock, handlers, waiting_max=2, waiting=[range(1, 2)])
    task = asyncio.create_task(box.run())
    for one in (event(1), event(2)):
        await box.receive(one, "a")
    with pytest.raises(Unavailable, match="too many"):
        await box.receive(event(4), "a")
    await box.receive(event(3, kind=2), "a")  # a lane that is full keeps nobody out of the other
    await done(book, event(3, kind=2))
    go.set()
    await done(book, event(1))
    await done(book, event(2))
    task.cancel()
    await asyncio.wait({task})


async def test_a_note_that_is_no_text_is_kept_as_far_as_it_is_one(book: Book, clock: SetClock) -> None:
    async def handler(_: Event) -> Decision:
        raise Rejected("invalid", "not an address", found="\ud800@shop")

    async with inbox(book, clock, handler) as box:
        await box.receive(event(), "a")
        assert (await done(book, event()))["note"] == "refused: invalid: not an address (found=?@shop)"


async def test_an_event_whose_plan_can_never_apply_is_kept_for_the_operator_and_frees_its_place(
    book: Book, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(module, "REFUSED_MAX", 2)

    async def handler(one: Event) -> Plan:
        return Plan(f"test/{one.id}", changes=(Insert("cursors", "there", {"value": 1}),))

    await book.apply(Plan("test/there", changes=(Insert("cursors", "there", {"value": 0}),)))
    async with inbox(book, clock, handler) as box:
        await box.receive(event(), "test")
        await done(book, event(), "failed")


async def test_what_one_key_says_of_one_thing_is_handled_in_its_order_and_holds_up_nobody_else(
    book: Book, clock: SetClock
) -> None:
    claim, result, other = (
        SOMEBODY.sign(kind=1, content=text, tags=[["e", about]], created_at=NOW)
        for text, about in (("claim", "1"), ("result", "1"), ("other", "2"))
    )
    go_on, began = asyncio.Event(), list[str]()

    async def handler(one: Event) -> Decision:
        began.append(one.content)
        if one == claim:
            await go_on.wait()
        return "done"

    async with inbox(book, clock, handler) as box:
        for one in (claim, result, other):
            await box.receive(one, "a")
        await done(book, other)
        assert began == ["claim", "other"]
        go_on.set()
        await done(book, result)
    assert began == ["claim", "other", "result"]


@pytest.mark.parametrize("at_once", [1, 2])
async def test_however_much_one_key_says_of_one_thing_there_is_a_place_for_others(
    book: Book, clock: SetClock, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """A line has one place, and gives it away between two of its events."""
    monkeypatch.setattr(module, "HANDLED_AT_ONCE", at_once)
    flood = [SOMEBODY.sign(kind=1, content=f"flood {number}", tags=[["e", "1"]], created_at=NOW) for number in range(4)]
    other = KeyPair(b"\x02" * 32).sign(kind=1, content="other", tags=[], created_at=NOW)
    go_on, began = asyncio.Event(), list[str]()

    async def handler(one: Event) -> Decision:
        began.append(one.content)
        if one == flood[-2 if at_once == 1 else 0]:
            await go_on.wait()
        return "done"

    box = Inbox(book, clock, {range(1, 2): handler}, waiting_max=100)
    for one in (*flood, other):
        await box.receive(one, "a")
    task = asyncio.create_task(box.run())
    await done(book, other)
    assert began.index("other") <= 2
    go_on.set()
    await done(book, flood[-1])
    assert [text for text in began if text != "other"] == [one.content for one in flood]
    task.cancel()
    await asyncio.wait({task})
