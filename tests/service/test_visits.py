"""Visits: an event is offered to the relays of others a few times, and nobody waits for them."""

from __future__ import annotations

import pytest

from relaybot.clock import SetClock
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.messages import Ok
from relaybot.visits import TRIES_MAX, Visits, visits_owed
from tests.service.conftest import NOW
from wallet.book import Book
from wallet.ledger import Plan

EVENT = KeyPair(b"\x02" * 32).sign(kind=9735, content="", tags=[], created_at=NOW)
THERE, AWAY = "wss://there.example", "wss://away.example"


class Others:
    """The relays of others: each answers as it is told to."""

    def __init__(self, **answers: Ok | Exception) -> None:
        self.answers = answers
        self.got: list[str] = []

    async def publish(self, relay: str, _event: Event) -> Ok:
        name = relay.removeprefix("wss://").partition(".")[0]
        self.got.append(name)
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


YES = Ok(EVENT.id, accepted=True, message="")


async def owe(book: Book, *relays: str) -> None:
    await book.apply(Plan("test/owe", changes=visits_owed(EVENT, relays, NOW)))


async def next_at(book: Book, relay: str) -> int | None:
    row = await book.row("visits", f"{EVENT.id}/{relay}")
    assert row is not None
    due: int | None = row["next_at"]
    return due


async def test_each_relay_gets_the_event_once(book: Book, clock: SetClock) -> None:
    others = Others(there=YES, away=YES)
    await owe(book, THERE, AWAY, THERE)
    visits = Visits(book, clock, others.publish)
    assert await visits.step() is False
    await visits.step()
    assert sorted(others.got) == ["away", "there"]


async def test_a_relay_that_is_away_is_tried_a_few_times_with_growing_pauses(book: Book, clock: SetClock) -> None:
    others = Others(away=Unavailable("away"))
    await owe(book, AWAY)
    visits = Visits(book, clock, others.publish)
    pauses = []
    for _ in range(TRIES_MAX):
        await visits.step()
        due = await next_at(book, AWAY)
        if due is not None:
            pauses.append(due - clock.now())
            clock.advance(due - clock.now())
    assert pauses == [30, 120, 480]
    assert await next_at(book, AWAY) is None
    assert len(others.got) == TRIES_MAX


@pytest.mark.parametrize(
    "answer",
    [
        Ok(EVENT.id, accepted=False, message="blocked: not you"),
        Ok(EVENT.id, accepted=False, message="auth-required: who are you?"),
        Ok(EVENT.id, accepted=False, message="duplicate: have it"),
        Rejected("invalid", "relay is not a ws:// or wss:// URL"),
    ],
)
async def test_what_a_retry_will_not_change_is_not_tried_again(
    book: Book, clock: SetClock, answer: Ok | Exception
) -> None:
    others = Others(away=answer)
    await owe(book, AWAY)
    await Visits(book, clock, others.publish).step()
    assert await next_at(book, AWAY) is None


async def test_a_refusal_that_may_pass_is_tried_again(book: Book, clock: SetClock) -> None:
    others = Others(away=Ok(EVENT.id, accepted=False, message="rate-limited: later"))
    await owe(book, AWAY)
    await Visits(book, clock, others.publish).step()
    row = await book.row("visits", f"{EVENT.id}/{AWAY}")
    assert row is not None
    assert (row["next_at"], row["note"]) == (NOW + 30, "rate-limited: later")
