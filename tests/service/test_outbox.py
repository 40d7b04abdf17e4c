"""The outbox: the same signed event to every relay until it says OK; given up loudly."""

from __future__ import annotations

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
from wallet.ledger import Plan

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
