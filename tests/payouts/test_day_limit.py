"""What all users together are paid in a day: what a thief could get, and not what somebody sends in a circle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.payouts.desk import RULES, Desk, Life, person
from wallet.accounts import NODE_LIGHTNING, user
from wallet.book import Book
from wallet.ledger import Insert, Plan, Transfer, Value
from wallet.money import Msat, from_sat

DAY = 86_400
LIMIT = "the day's limit of all payouts is reached: it goes on later"


@pytest.fixture
async def life(desk: Desk) -> AsyncIterator[Life]:
    async with desk.life(rules=replace(RULES, day_msat_max=from_sat(5_000))) as life:
        yield life


async def brings(book: Book, name: str, sat: int, payment_hash: str, *, now: int, inside: bool = False) -> None:
    """Let an invoice of somebody's be paid: over Lightning, or by another user out of their balance."""
    owner = person(name)
    row: dict[str, Value] = {"purpose": "topup", "owner": owner, "job": "", "payment_hash": payment_hash, "bolt11": ""}
    row |= {"amount_msat": 0, "received_msat": from_sat(sat), "expires_at": 0, "created_at": now}
    row |= dict.fromkeys(("preimage",), "")
    payer = user(person("mallory")) if inside else NODE_LIGHTNING
    key = f"dm/{payment_hash}" if inside else f"invoice/{payment_hash}/settled"
    moved = Transfer(payer, user(owner), Msat(from_sat(sat)), "topup")
    assert (await book.apply(Plan(key, (moved,), (Insert("invoices", payment_hash, row),)))).done


async def paid_out(life: Life, name: str, sat: int = 2_000) -> str:
    """Let somebody earn, and bring the payout of all they have on as far as it goes now; return its state."""
    if sat:
        await life.earn(name, sat)
    await life.target(name, f"{name}@wallets.test")
    await life.checks.open_due()
    row = await life.step(name)
    while row["state"] not in {"paid", "waiting"}:
        row = await life.step(name)
    return str(row["state"])


async def test_the_limit_of_a_day_lets_what_is_beyond_it_wait_until_the_next(life: Life, desk: Desk) -> None:
    assert [await paid_out(life, name) for name in ("alice", "bob", "carol")] == ["paid", "paid", "waiting"]
    assert (await life.payout("carol"))["reason"] == LIMIT
    desk.clock.advance(DAY)
    assert (await life.looks_until("paid", "carol"))["state"] == "paid"


async def test_what_somebody_sends_in_a_circle_uses_up_nobody_s_day(life: Life, desk: Desk) -> None:
    for number in range(4):
        await brings(life.book, "mallory", 2_000, f"{number:064x}", now=desk.clock.now())
        assert await paid_out(life, "mallory", 0) == "paid"
        desk.clock.advance(60)
    assert await paid_out(life, "alice") == "paid"


async def test_what_was_paid_inside_the_book_was_not_brought(life: Life, desk: Desk) -> None:
    """A thief with other users' money in one account pays an invoice of a second one: it is still theirs."""
    await life.earn("mallory", 9_000, target="")
    await brings(life.book, "bob", 2_400, "aa" * 32, now=desk.clock.now(), inside=True)
    await brings(life.book, "carol", 2_400, "bb" * 32, now=desk.clock.now(), inside=True)
    assert [await paid_out(life, name, 0) for name in ("bob", "carol")] == ["paid", "paid"]
    assert await paid_out(life, "alice") == "waiting"
    assert (await life.payout("alice"))["reason"] == LIMIT


async def test_what_was_brought_long_ago_does_not_count(life: Life, desk: Desk) -> None:
    await brings(life.book, "mallory", 4_000, "cc" * 32, now=desk.clock.now())
    desk.clock.advance(DAY)
    assert await paid_out(life, "mallory", 0) == "paid"
    assert await paid_out(life, "alice") == "waiting"


async def test_what_is_under_way_counts_and_so_does_what_was_let_go_in_the_same_second(life: Life) -> None:
    for name in ("alice", "bob", "carol"):
        await life.open(name)
    for name in ("alice", "bob", "carol"):
        await life.step(name)  # each asks for its invoice, and none is paid yet
    assert [(await life.payout(name))["state"] for name in ("alice", "bob", "carol")] == ["paying", "paying", "waiting"]
    assert (await life.look("carol"))["reason"] == LIMIT
