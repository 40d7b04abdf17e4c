"""The node's movements against our legs: no difference at a quiet end, and every planted one is found."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import pytest

from relaybot.simulator.people import Wanted
from tests.payouts.desk import Desk, Life, Node, person
from wallet import reconcile as module
from wallet.accounts import CAPITAL, EXPENSE_LIGHTNING, NODE_LIGHTNING, Account, user
from wallet.bolt11_invoice import parse_bolt11
from wallet.feed import Difference, Sums
from wallet.ledger import Plan, Transfer
from wallet.lightning import Move
from wallet.money import Msat, from_sat
from wallet.reconcile import Reconciliation, reconcile

HASH, OTHER = "aa" * 32, "bb" * 32


class Moves(Node):
    """A node with the movements a test writes down."""

    def __init__(self, moves: Sequence[Move]) -> None:
        self.listed = list(moves)

    async def moves(self, *, after_index: int, limit: int) -> list[Move]:
        return [move for move in self.listed if move.index > after_index][:limit]


def move(index: int, payment_hash: str | None, msat: int, tag: str = "invoice") -> Move:
    return Move(index, payment_hash, Msat(max(0, msat)), Msat(max(0, -msat)), Msat(0), tag)


async def book_in(life: Life, key: str, msat: int) -> None:
    """Book on the node's account, under a Plan of this key: what came in, or went out if negative."""
    debit, credit = (NODE_LIGHTNING, CAPITAL) if msat > 0 else (CAPITAL, NODE_LIGHTNING)
    await life.book.apply(Plan(key, (Transfer(debit, credit, Msat(abs(msat)), "test"),)))


async def compared(life: Life, *moves: Move) -> Reconciliation:
    async with life.book.database.snapshot() as reader:
        return await reconcile(reader, Moves(moves))


async def test_two_empty_books_agree(life: Life) -> None:
    assert await compared(life) == Reconciliation((), {})


async def test_payments_in_and_out_agree_with_the_real_adapter(life: Life, desk: Desk) -> None:
    invoice = await life.node.create_invoice(
        label="topup/1", amount_msat=from_sat(5_000), description="top-up", expiry_seconds=600
    )
    await desk.network.people.pay("bob", Wanted(invoice.bolt11))
    topped_up = Transfer(NODE_LIGHTNING, user(person("bob")), from_sat(5_000), "topup")
    await life.book.apply(Plan(f"invoice/{invoice.payment_hash}/settled", (topped_up,)))
    await life.open("alice")
    await life.looks_until("paid")
    assert await life.differences() == []


@pytest.mark.parametrize(
    ("key", "booked", "moved"),
    [
        (f"invoice/{HASH}/settled", 1_000, ()),  # credited, and never arrived
        (f"payment/{HASH}/settled", -1_000, ()),
        (f"invoice/{HASH}/settled", 1_000, (999,)),
        (f"payment/{HASH}/settled", -1_000, (-1_000, -1)),
    ],
)
async def test_a_planted_difference_is_found(life: Life, key: str, booked: int, moved: tuple[int, ...]) -> None:
    await book_in(life, key, booked)
    found = await compared(life, *(move(number, HASH, msat) for number, msat in enumerate(moved, 1)))
    assert found.differences == (Difference(HASH, Sums(sum(moved)), Sums(booked)),)
    assert str(found.differences[0]) == f"payment {HASH}: the node says {sum(moved)} msat, the book {booked} msat"


async def test_what_the_node_moved_and_nobody_booked_is_found(life: Life) -> None:
    found = await compared(life, move(1, HASH, 5_000), move(2, OTHER, -7))
    assert found.differences == (Difference(HASH, Sums(5_000), Sums()), Difference(OTHER, Sums(-7), Sums()))


async def test_the_parts_of_one_payment_are_one_group(life: Life) -> None:
    await book_in(life, f"payment/{HASH}/settled", -1_000)
    found = await compared(life, move(1, HASH, -400), move(2, OTHER, 10), move(3, OTHER, -10), move(4, HASH, -600))
    assert found.differences == ()


async def test_more_movements_than_a_page_are_all_read(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    await book_in(life, f"invoice/{HASH}/settled", 5_000)
    found = await compared(life, *(move(number * 3, HASH, 1_000) for number in range(1, 6)))
    assert found.differences == ()


async def test_what_is_no_payment_of_ours_is_left_to_the_rules(life: Life) -> None:
    found = await compared(
        life,
        move(1, None, -8_000, "pushed"),
        move(2, None, -1_000, "pushed"),
        move(3, None, 20_000, "channel_open"),
        move(4, OTHER, 10_100, "routed"),
        move(5, OTHER, -10_000, "routed"),
    )
    assert found == Reconciliation((), {"pushed": "-9000 msat", "channel_open": "20000 msat", "routed": "100 msat"})


async def test_a_hash_that_went_out_and_came_in_is_counted_whole(life: Life) -> None:
    """A payee may ask us to pay the hash of an invoice of ours, and pay that one with the preimage it gets for it."""
    await book_in(life, f"invoice/{HASH}/settled", 12_000)
    await book_in(life, f"payment/{HASH}/settled", -12_007)
    assert (await compared(life, move(1, HASH, 12_000), move(2, HASH, -12_007))).differences == ()
    missing = await compared(life, move(1, HASH, 12_000))
    assert missing.differences == (Difference(HASH, Sums(12_000), Sums(-7)),)


async def test_a_stranger_s_payment_through_us_with_our_hash_does_not_touch_our_group(life: Life) -> None:
    await book_in(life, f"invoice/{HASH}/settled", 12_000)
    found = await compared(life, move(1, HASH, 12_000), move(2, HASH, 500, "routed"), move(3, HASH, -499, "routed"))
    assert found == Reconciliation((), {"routed": "1 msat"})


@pytest.mark.parametrize("account", [CAPITAL, EXPENSE_LIGHTNING])
async def test_legs_between_other_accounts_are_none_of_the_node_s(life: Life, account: Account) -> None:
    await life.book.apply(Plan("test/other", (Transfer(account, user(person("bob")), Msat(5), "test"),)))
    assert (await compared(life)).differences == ()


async def test_a_payment_made_at_the_node_by_hand_is_found(life: Life, desk: Desk) -> None:
    await life.open("alice")
    await life.looks_until("paid")
    by_hand = desk.wallets.invoice("mallory", 5_000)
    await life.node.pay(by_hand.bolt11, maxfee_msat=Msat(5_000), label="by hand")
    [difference] = await life.differences()
    assert parse_bolt11(by_hand.bolt11).payment_hash in difference


async def test_h3_a_book_older_than_the_node_is_found(desk: Desk) -> None:
    """Yesterday's database against today's node."""
    yesterday = desk.path.with_suffix(".yesterday")
    async with desk.life() as life:
        await life.open("alice")
    shutil.copy(desk.path, yesterday)
    async with desk.life() as life:
        await life.looks_until("paid")
        paid = (await life.attempt())["id"]
    desk.path = yesterday
    async with desk.life() as life:
        [difference] = await life.differences()
        assert paid in difference
