"""The outbox: the same signed event to every relay until it says OK; given up loudly."""

from __future__ import annotations

import asyncio

import pytest

from relaybot import outbox as module
from relaybot.clock import SetClock
from relaybot.errors import Unavailable
from relaybot.nostr.event import Event, encode_event
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.messages import Ok
from relaybot.outbox import Outbox, owed
from tests.service.conftest import NOW, FullDisk
from wallet.book import Book
from wallet.ledger import Plan, Update

EVENT = KeyPair(b"\x02" * 32).sign(kind=1, content="owed", tags=[], created_at=NOW)


class Relay:
    """A relay that answers what it is told to, in turn; the last answer stays."""

    def __init__(self, *answers: Ok | Unavailable) -> None:
        self.answers = list(answers)
        self.got: list[Event] = []

    async def publish(self, event: Event) -> Ok:
        self.got.append(event)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Unavailable):
            raise answer
        return answer


YES, NO = Ok(EVENT.id, True, ""), Ok(EVENT.id, False, "error: later")
KNOWN, NEVER = Ok(EVENT.id, False, "duplicate: have it"), Ok(EVENT.id, False, "blocked: go away")


async def owe(book: Book) -> None:
    await book.apply(Plan("test/owe", changes=(owed(EVENT, NOW),)))


async def state(book: Book) -> tuple[str, int]:
    row = await book.row("outbox", EVENT.id)
    assert row is not None
    return row["state"], row["tries"]


async def test_an_event_is_sent_to_every_relay_once(book: Book, clock: SetClock) -> None:
    relays = {"own": Relay(YES), "other": Relay(KNOWN)}
    outbox = Outbox(book, clock, {name: relay.publish for name, relay in relays.items()})
    await owe(book)
    assert await outbox.step() is False
    await outbox.step()
    assert [relay.got for relay in relays.values()] == [[EVENT], [EVENT]]
    assert await state(book) == ("sent", 1)


async def test_a_relay_that_is_away_gets_the_same_event_later_and_the_others_only_once(
    book: Book, clock: SetClock
) -> None:
    here, away = Relay(YES), Relay(Unavailable("away"), NO, YES)
    outbox = Outbox(book, clock, {"here": here.publish, "away": away.publish})
    await owe(book)
    for _ in range(3):
        await outbox.step()
        await outbox.step()  # not due yet: nothing happens
        clock.advance(3_600)
    assert (here.got, away.got) == ([EVENT], [EVENT, EVENT, EVENT])
    assert await state(book) == ("sent", 3)


async def test_a_relay_that_refuses_for_good_is_given_up(book: Book, clock: SetClock) -> None:
    never = Relay(NEVER)
    outbox = Outbox(book, clock, {"never": never.publish})
    await owe(book)
    await outbox.step()
    assert await state(book) == ("sent", 1)
    row = await book.row("outbox", EVENT.id)
    assert row is not None
    assert "blocked" in row["note"]


async def test_a_relay_that_stays_away_is_given_up_in_the_end(book: Book, clock: SetClock) -> None:
    outbox = Outbox(book, clock, {"away": Relay(Unavailable("away")).publish})
    await owe(book)
    for _ in range(module.TRIES_MAX):
        await outbox.step()
        clock.advance(3_600)
    assert await state(book) == ("given-up", module.TRIES_MAX)


async def test_what_cannot_be_noted_is_sent_again_and_stops_nobody(
    book: Book, clock: SetClock, disk: FullDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_MAX", 1)
    relay = Relay(YES)
    outbox = Outbox(book, clock, {"own": relay.publish})
    await owe(book)
    disk.full = True
    assert await outbox.step() is False  # not at once: the disk is asked again in the next round
    assert await state(book) == ("pending", 0)
    disk.full = False
    assert await outbox.step() is True
    assert await state(book) == ("sent", 1)
    assert relay.got == [EVENT, EVENT]


async def test_what_was_sent_is_also_owed_once_to_where_its_receiver_reads(book: Book, clock: SetClock) -> None:
    async def readers(_event: Event) -> list[str]:
        return ["wss://theirs.test"]

    outbox = Outbox(book, clock, {"away": Relay(Unavailable("away"), YES).publish}, readers)
    await owe(book)
    await outbox.step()
    clock.advance(3_600)
    await outbox.step()
    assert await state(book) == ("sent", 2)
    visit = await book.row("visits", f"{EVENT.id}/wss://theirs.test")
    assert visit is not None
    assert visit["event"] == encode_event(EVENT)


def about(thing: str, text: str) -> Event:
    return KeyPair(b"\x02" * 32).sign(kind=1, content=text, tags=[["e", thing]], created_at=NOW)


async def test_who_is_slow_to_say_ok_holds_up_what_is_about_the_same_thing_and_nothing_else(
    book: Book, clock: SetClock
) -> None:
    slow, after, other = about("1", "slow"), about("1", "after"), about("2", "other")
    got, ok, sent = list[str](), asyncio.Event(), {one.id: asyncio.Event() for one in (slow, after, other)}

    async def publish(event: Event) -> Ok:
        got.append(event.content)
        sent[event.id].set()
        if event == slow:
            await ok.wait()
        return YES

    async def is_ours() -> bool:
        return True

    sending = asyncio.create_task(Outbox(book, clock, {"own": publish}).run(is_ours, wake=book.watch("outbox")))
    async with asyncio.timeout(10):
        for number, one in enumerate((slow, after, other)):
            await book.apply(Plan(f"test/owe/{number}", changes=(owed(one, NOW, number),)))
            if one != after:
                await sent[one.id].wait()
        assert got == ["slow", "other"]
        ok.set()
        await sent[after.id].wait()
    sending.cancel()
    assert got == ["slow", "other", "after"]


async def test_a_round_is_noted_in_one_plan_and_one_by_one_where_another_process_was_faster(
    book: Book, clock: SetClock
) -> None:
    events = [about(f"{number}", "owed") for number in range(3)]
    await book.apply(Plan("test/owe", changes=tuple(owed(one, NOW) for one in events)))
    other = Update("outbox", events[1].id, {"state": "sent"}, expect={"state": "pending"})

    async def publish(event: Event) -> Ok:
        if event == events[1]:
            await book.apply(Plan("test/other", changes=(other,)))
        return YES

    assert await Outbox(book, clock, {"own": publish}).step() is False
    rows = await book.database.rows_by_id("outbox", [one.id for one in events])
    assert [(rows[one.id]["state"], rows[one.id]["tries"]) for one in events] == [("sent", 1), ("sent", 0), ("sent", 1)]
