"""From the book to the published day: each transfer counted once, each day published once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relaybot.accounting.closing import Rules
from relaybot.accounting.publishing import publish_day, publish_due
from relaybot.clock import SetClock
from relaybot.errors import Rejected
from relaybot.nostr.event import parse_event
from relaybot.nostr.flow_of_funds import CellName, parse_summary, previous_of
from relaybot.nostr.keys import KeyPair, verify
from tests.service.conftest import NOW
from wallet.accounts import CAPITAL, NODE_LIGHTNING, NODE_ONCHAIN, REVENUE, Class, hold, user
from wallet.book import Book
from wallet.ledger import Insert, Plan, Transfer
from wallet.money import Msat

BOOKS = KeyPair(b"\x03" * 32)
RULES = Rules(k=1, dominance_percent=100, round_msat=1)
DAY = 86_400
TODAY = datetime.fromtimestamp(NOW, UTC).date().isoformat()
ALICE, BOB = "a" * 64, "b" * 64


async def a_job(book: Book, number: int) -> None:
    """Book one job: 100 came in, 60 went to Alice, 40 stayed, 55 were paid out to her at a fee of 2."""
    job = f"{number:064x}"
    row = dict.fromkeys(
        ("agent", "request", "state", "reason", "split", "invoice", "assignment", "worker", "result"), ""
    )
    numbers = dict.fromkeys(("price_msat", "charged_msat", "attempt", "created_at", "updated_at"), 0)
    for key, transfers in (
        (f"invoice/{job}/settled", [(NODE_LIGHTNING, user(BOB), 100, "topup")]),
        (f"job/{job}/hold", [(user(BOB), hold(f"job/{job}"), 100, "hold")]),
        (
            f"job/{job}/capture",
            [
                (hold(f"job/{job}"), user(ALICE), 60, "model:agents.a.shares[0]"),
                (hold(f"job/{job}"), REVENUE[Class.SATS], 30, "platform:agents.a.rest"),
                (hold(f"job/{job}"), user(BOB), 10, "unused"),
            ],
        ),
        (f"payout/{ALICE}/{number}/open", [(user(ALICE), hold(f"payout/{ALICE}/{number}"), 60, "hold")]),
        (
            f"payment/{job}/settled",
            [
                (hold(f"payout/{ALICE}/{number}"), NODE_LIGHTNING, 55, "payout"),
                (hold(f"payout/{ALICE}/{number}"), NODE_LIGHTNING, 2, "fee"),
                (hold(f"payout/{ALICE}/{number}"), user(ALICE), 3, "reserve not needed"),
            ],
        ),
    ):
        changes: tuple[Insert, ...] = ()
        if key.endswith("/hold"):
            changes = (Insert("jobs", job, {**row, **numbers, "customer": BOB, "due_at": None}),)
        elif key.endswith("/open"):
            changes = (a_payout(f"{ALICE}/{number}", ALICE),)
        plan = Plan(key, tuple(Transfer(a, b, Msat(amount), why) for a, b, amount, why in transfers), changes)
        assert (await book.apply(plan)).done


def a_payout(payout: str, pubkey: str) -> Insert:
    texts = dict.fromkeys(("state", "target", "attempt", "reason"), "")
    numbers = dict.fromkeys(
        ("amount_msat", "reserve_msat", "paid_msat", "fee_msat", "attempts", "created_at", "updated_at"), 0
    )
    return Insert("payouts", payout, {**texts, **numbers, "pubkey": pubkey, "next_at": None})


async def figures(book: Book, day: str) -> dict[CellName, int | None]:
    row = await book.row("summaries", day)
    assert row is not None
    owed = await book.row("outbox", row["event"])
    assert owed is not None
    event = parse_event(owed["event"])
    assert verify(event)
    return dict(parse_summary(event).figures)


async def test_a_day_tells_what_came_in_was_earned_and_went_out(book: Book, clock: SetClock) -> None:
    await a_job(book, 1)
    clock.advance(2 * DAY)
    assert await publish_due(book, BOOKS, RULES, clock, delay_seconds=0)
    found = {cell: figure for cell, figure in (await figures(book, TODAY)).items() if figure is not None}
    assert found == {
        ("in", "lightning"): 100,
        ("earned", "model"): 60,
        ("earned", "platform"): 30,
        ("jobs", "count"): 1,
        ("jobs", "charged"): 90,
        ("out", "lightning"): 55,
        ("fees", "routing"): 2,
    }


async def test_every_transfer_is_counted_on_exactly_one_day(book: Book, clock: SetClock) -> None:
    await a_job(book, 1)
    clock.advance(DAY)
    await a_job(book, 2)
    clock.advance(-3_600)  # a clock that jumps back over midnight changes no order
    await a_job(book, 3)
    clock.advance(5 * DAY)
    days = []
    while await publish_due(book, BOOKS, RULES, clock, delay_seconds=3_600):
        rows = await book.database.fetch("SELECT MAX(id) AS day FROM summaries")
        days.append(rows[0]["day"])
    total = [(await figures(book, day))["jobs", "charged"] or 0 for day in days]
    assert sum(total) == 3 * 90
    assert len(days) >= 4


async def test_a_day_is_published_once_and_no_earlier_one_after_it(book: Book, clock: SetClock) -> None:
    await a_job(book, 1)
    clock.advance(3 * DAY)
    assert await publish_day(book, BOOKS, RULES, TODAY, now=clock.now())
    assert not await publish_day(book, BOOKS, RULES, TODAY, now=clock.now())
    with pytest.raises(Rejected, match="later day"):
        await publish_day(book, BOOKS, RULES, "2020-01-01", now=clock.now())


async def test_j3_each_day_names_the_event_before_it(book: Book, clock: SetClock) -> None:
    await a_job(book, 1)
    clock.advance(4 * DAY)
    while await publish_due(book, BOOKS, RULES, clock, delay_seconds=3_600):
        pass
    rows = await book.database.fetch(
        "SELECT summaries.event AS id, outbox.event AS said FROM summaries"
        " JOIN outbox ON outbox.id = summaries.event ORDER BY summaries.id"
    )
    assert len(rows) > 2
    assert [previous_of(parse_event(row["said"])) for row in rows] == [None, *(row["id"] for row in rows[:-1])]


async def test_a_day_that_is_not_over_is_published_by_a_demonstration_only(book: Book, clock: SetClock) -> None:
    await a_job(book, 1)
    with pytest.raises(Rejected, match="not over"):
        await publish_day(book, BOOKS, RULES, TODAY, now=clock.now())
    demo = Rules(k=1, dominance_percent=100, round_msat=1, demo=True)
    assert await publish_day(book, BOOKS, demo, TODAY, now=clock.now())
    assert (await figures(book, TODAY))["jobs", "charged"] == 90


async def test_nothing_is_published_before_its_time_or_without_any_transfer(book: Book, clock: SetClock) -> None:
    assert not await publish_due(book, BOOKS, RULES, clock, delay_seconds=0)
    await a_job(book, 1)
    assert not await publish_due(book, BOOKS, RULES, clock, delay_seconds=0)
    clock.advance(DAY - NOW % DAY + 3_599)
    assert not await publish_due(book, BOOKS, RULES, clock, delay_seconds=3_600)
    clock.advance(1)
    assert await publish_due(book, BOOKS, RULES, clock, delay_seconds=3_600)


async def test_what_is_withheld_one_day_is_told_on_a_later_one(book: Book, clock: SetClock) -> None:
    strict = Rules(k=5, dominance_percent=80, round_msat=1)
    await a_job(book, 1)
    clock.advance(2 * DAY)
    assert await publish_due(book, BOOKS, strict, clock, delay_seconds=0)
    assert set((await figures(book, TODAY)).values()) == {None}
    tomorrow = datetime.fromtimestamp(NOW + DAY, UTC).date().isoformat()
    assert await publish_due(book, BOOKS, RULES, clock, delay_seconds=0) is True
    assert (await figures(book, tomorrow))["jobs", "charged"] == 90


async def test_what_goes_out_on_the_chain_has_cells_of_its_own(book: Book, clock: SetClock) -> None:
    await paid_out(book, {"c0" * 32: ALICE})
    clock.advance(2 * DAY)
    assert await publish_due(book, BOOKS, RULES, clock, delay_seconds=0)
    found = await figures(book, TODAY)
    assert (found["out", "onchain"], found["fees", "onchain"]) == (50, 3)


async def test_j1_somebody_who_withdraws_often_is_one_account(book: Book, clock: SetClock) -> None:
    await paid_out(book, {f"{number:064x}": ALICE for number in range(9)})
    clock.advance(2 * DAY)
    assert await publish_due(book, BOOKS, Rules(k=2, dominance_percent=100, round_msat=1), clock, delay_seconds=0)
    assert (await figures(book, TODAY))["out", "onchain"] is None


async def test_a_zap_out_of_a_balance_here_is_a_tip_and_came_in_once(book: Book, clock: SetClock) -> None:
    bob, alice = user(BOB), user(ALICE)
    came = Transfer(NODE_LIGHTNING, bob, Msat(500), "topup")
    given = Transfer(bob, alice, Msat(300), "zap")
    sent = Transfer(bob, alice, Msat(50), "internal")
    assert (await book.apply(Plan("test/zap", (came, given, sent)))).done
    clock.advance(2 * DAY)
    assert await publish_due(book, BOOKS, RULES, clock, delay_seconds=0)
    found = await figures(book, TODAY)
    assert (found["in", "lightning"], found["tips", "given"]) == (500, 300)


async def paid_out(book: Book, withdrawals: dict[str, str]) -> None:
    """Book withdrawals on the chain, each of 50 at a fee of 3; each is named after the message that asked for it."""
    for name, pubkey in withdrawals.items():
        escrow = hold(f"payout/{name}")
        sent = (
            Transfer(CAPITAL, escrow, Msat(53), "hold"),
            Transfer(escrow, NODE_ONCHAIN, Msat(50), "payout"),
            Transfer(escrow, NODE_ONCHAIN, Msat(3), "fee"),
        )
        assert (await book.apply(Plan(f"transaction/{name}/settled", sent, (a_payout(name, pubkey),)))).done
