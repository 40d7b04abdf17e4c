"""A look goes on where the last one ended: it reads what is new, forgets nothing, and doubts what does not fit."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass, field

import pytest

from tests.payouts.desk import Life
from tests.payouts.test_reconcile import move
from tests.payouts.test_watch import BY_US, Post, Says
from wallet.accounts import CAPITAL, NODE_LIGHTNING
from wallet.ledger import Plan, Transfer
from wallet.lightning import Move
from wallet.money import Msat
from wallet.watch import DIFFER, WHOLE_SECONDS

FLYING = 6  # the payment that is still in a channel


@dataclass
class Noting(Says):
    """It notes from where it was asked."""

    asked: list[int] = field(default_factory=list)

    async def moves(self, *, after_index: int, limit: int) -> list[Move]:
        self.asked.append(after_index)
        return await super().moves(after_index=after_index, limit=limit)


class Looking(Post):
    """A watch that has looked at five payments to us, and at one of ours that is still in a channel."""

    def __init__(self, life: Life) -> None:
        super().__init__(life)
        self.node: Noting = Noting()
        self.watch = self.watch_on(self.node, self.wallet)  # type: ignore[arg-type]  # it is asked for no more

    async def booked(self, number: int, msat: int) -> None:
        """Book what came in, or went out if negative."""
        debit, credit = (NODE_LIGHTNING, CAPITAL) if msat > 0 else (CAPITAL, NODE_LIGHTNING)
        moved = Transfer(debit, credit, Msat(abs(msat)), "test")
        assert (await self.book.apply(Plan(f"payment/{hash_of(number)}/settled", (moved,)))).done

    async def arrived(self, number: int) -> None:
        self.node.listed.append(move(number, hash_of(number), 1_000))
        await self.booked(number, 1_000)

    async def from_the_beginning(self) -> bool:
        """Look, and tell whether the node was asked for everything."""
        self.node.asked.clear()
        await self.watch.look()
        return 0 in self.node.asked


def hash_of(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture
async def post(life: Life) -> Looking:
    made = Looking(life)
    await made.looks(1)
    for number in range(1, FLYING):
        await made.arrived(number)
    made.node.listed.append(move(FLYING, hash_of(FLYING), -700))
    made.node.htlcs = {hash_of(FLYING)}
    assert await made.from_the_beginning()
    return made


async def test_what_is_new_is_read_and_what_was_left_is_not_forgotten(post: Looking) -> None:
    await post.arrived(7)
    assert not await post.from_the_beginning()
    assert min(post.node.asked) == FLYING - 1  # the last row once more, and what is behind it
    assert await post.looks(2) == {}
    await post.booked(FLYING, -700)
    post.node.htlcs.clear()
    assert not await post.from_the_beginning()
    assert await post.looks(1) == {}


async def test_what_differs_is_read_from_the_beginning_and_both_sums_are_told(post: Looking) -> None:
    post.node.listed.append(move(7, hash_of(2), -400))  # of a payment that agreed long ago
    assert await post.from_the_beginning()
    assert await post.looks(1) == BY_US
    assert f"payment {hash_of(2)}: the node says 600 msat, the book 1000 msat" in post.alarms.standing[DIFFER]


async def test_a_leg_without_its_row_is_found_also_when_it_is_of_an_old_payment(post: Looking) -> None:
    moved = Transfer(NODE_LIGHTNING, CAPITAL, Msat(50), "test")
    assert (await post.book.apply(Plan(f"invoice/{hash_of(2)}/settled", (moved,)))).done
    assert await post.looks(2) == BY_US


async def test_a_node_that_has_another_last_row_is_read_from_the_beginning(post: Looking) -> None:
    post.node.listed[-1] = move(FLYING, hash_of(FLYING), -701)  # restored, and gone on otherwise
    assert await post.from_the_beginning()
    post.node.listed = post.node.listed[:3]
    post.node.htlcs.clear()
    assert await post.from_the_beginning()
    assert await post.looks(1) == BY_US


async def test_legs_that_do_not_make_the_balance_are_read_from_the_beginning(post: Looking) -> None:
    with contextlib.closing(sqlite3.connect(post.life.desk.path)) as book, book:
        book.execute("UPDATE accounts SET balance_msat = balance_msat - 5 WHERE id = ?", (NODE_LIGHTNING,))
    assert await post.from_the_beginning()
    assert not await post.from_the_beginning()


async def test_once_a_day_both_books_are_read_from_the_beginning(post: Looking) -> None:
    post.clock.advance(WHOLE_SECONDS - 1)
    assert not await post.from_the_beginning()
    post.clock.advance(1)
    assert await post.from_the_beginning()
    assert not await post.from_the_beginning()
