"""The standing look: a difference that lasts pauses what goes out, what is under way does not, and all of it ends."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relaybot.alarms import Alarms
from relaybot.simulator.people import Wanted
from relaybot.simulator.scripts import Outcome
from tests.payouts.desk import NOW, Desk, Life, person
from tests.payouts.test_feed import Coins, coin
from tests.payouts.test_reconcile import HASH, move
from wallet.accounts import CAPITAL, NODE_LIGHTNING
from wallet.chain import Chain, Output, OutputState
from wallet.cln_chain import CoreLightningChain
from wallet.feed import Difference, Sums, UnderWay, who_has_more
from wallet.ledger import Insert, Plan, Put, Transfer, Values
from wallet.lightning import Lightning, Move, Settlement
from wallet.money import Msat, from_sat
from wallet.reconcile import book_by_rule, own_difference
from wallet.switches import OPERATOR, plan_pause
from wallet.watch import Watch

TX, ADDRESS = "cc" * 32, "bcrt1qalice"
ROOMY = from_sat(1_000_000_000)


@dataclass
class Says:
    """What a node says, written down by a test; what it is not told is what an idle node says."""

    listed: list[Move] = field(default_factory=list)
    htlcs: set[str] = field(default_factory=set)
    opening: set[str] = field(default_factory=set)
    settled: list[Settlement] = field(default_factory=list)
    spendable: int = 1_000_000_000

    async def moves(self, *, after_index: int, limit: int) -> list[Move]:
        return [one for one in self.listed if one.index > after_index][:limit]

    async def htlc_hashes(self) -> frozenset[str]:
        return frozenset(self.htlcs)

    async def opening_channels(self) -> frozenset[str]:
        return frozenset(self.opening)

    async def next_settlement(self, *, after_index: int, timeout_seconds: int) -> Settlement | None:
        assert timeout_seconds == 0, "a look does not wait"
        return next((one for one in self.settled if one.pay_index > after_index), None)

    async def spendable_msat(self) -> Msat:
        return Msat(self.spendable)


class Wallet(Coins):
    """The coins of that node."""

    def __init__(self) -> None:
        super().__init__([])
        self.paid: list[Output] = []

    async def outputs(self) -> list[Output]:
        return self.paid


class Post:
    """A watch on a node whose words are written down."""

    def __init__(self, life: Life) -> None:
        self.life, self.book, self.clock = life, life.book, life.desk.clock
        self.node, self.wallet, self.alarms = Says(), Wallet(), Alarms()
        self.watch = self.watch_on(self.node, self.wallet, from_sat(2_000_000))  # type: ignore[arg-type]  # it is asked for no more

    def watch_on(self, node: Lightning, chain: Chain, limit: Msat = ROOMY) -> Watch:
        return Watch(
            self.book, node, chain, self.clock, self.alarms, seconds=300, stuck_seconds=600, hot_wallet_msat_max=limit
        )

    async def looks(self, times: int) -> dict[str, str]:
        """Look so often, and return what is paused, and by whom."""
        for _ in range(times):
            await self.watch.look()
        rows = await self.book.database.fetch("SELECT id, paused_by FROM pauses WHERE state = 'paused'")
        return {row["id"]: row["paused_by"] for row in rows}

    async def insert(self, table: str, row_id: str, **values: str | int | None) -> None:
        await self.book.apply(Plan(f"test/{table}/{row_id}", changes=(Insert(table, row_id, dict(values)),)))


@pytest.fixture
async def post(life: Life) -> Post:
    made = Post(life)
    await made.looks(1)
    return made


BY_US = {"payouts": "reconciliation", "withdrawals": "reconciliation"}


async def test_a_difference_that_lasts_pauses_what_goes_out_and_says_which_side_has_more(post: Post) -> None:
    post.node.listed = [move(1, HASH, -5_000)]
    assert await post.looks(1) == {}
    assert await post.looks(1) == BY_US
    assert post.alarms.is_stopped
    assert "in channels the node has 5 sat less than the book" in post.alarms.standing["books_differ"]
    assert HASH in post.alarms.standing["books_differ"]


async def test_it_goes_on_by_itself_when_the_books_agree_again(post: Post) -> None:
    post.node.listed = [move(1, HASH, -5_000)]
    await post.looks(2)
    owned = await own_difference(post.book, post.node, post.wallet, HASH)  # type: ignore[arg-type]
    await post.book.apply(owned)
    assert await post.looks(1) == {}
    assert post.alarms.standing == {}


async def test_a_difference_that_is_gone_at_the_second_look_pauses_nothing(post: Post) -> None:
    post.node.listed = [move(1, HASH, -5_000)]
    await post.looks(1)
    post.node.listed = [move(2, "ee" * 32, 70)]  # another one, as new as the first was
    assert await post.looks(1) == {}
    post.node.listed = []
    assert await post.looks(2) == {}


async def test_what_the_operator_paused_stays_paused_when_the_books_agree(post: Post) -> None:
    row = await post.book.row("pauses", "payouts")
    assert row is not None
    plan = plan_pause(row, reason="the node is moved", by=OPERATOR, now=NOW)
    assert plan is not None
    await post.book.apply(plan)
    post.node.listed = [move(1, HASH, -5_000)]
    assert await post.looks(2) == {"payouts": "operator", "withdrawals": "reconciliation"}
    post.node.listed = []
    assert await post.looks(1) == {"payouts": "operator"}


async def test_a_part_that_is_still_in_a_channel_is_no_difference(post: Post) -> None:
    """We hear that a payment succeeded before the node has taken its parts out of the channels."""
    gone = Transfer(CAPITAL, NODE_LIGHTNING, Msat(5_000), "payout")
    await post.book.apply(Plan(f"payment/{HASH}/settled", (gone,)))
    post.node.listed, post.node.htlcs = [move(1, HASH, -2_000)], {HASH}
    assert await post.looks(3) == {}
    post.node.htlcs = set()
    assert await post.looks(2) == BY_US


async def test_a_settlement_that_was_not_read_yet_is_no_difference(post: Post) -> None:
    post.node.listed = [move(1, HASH, 5_000)]
    post.node.settled = [Settlement("x", "bb" * 32, Msat(1), 1, NOW), Settlement("y", HASH, Msat(5_000), 2, NOW)]
    assert await post.looks(3) == {}
    read: Values = {"value": 2, "mark": HASH}
    await post.book.apply(Plan("test/read", changes=(Put("cursors", "settlements", read),)))
    assert await post.looks(2) == BY_US  # it was read, and not credited


async def test_after_a_long_time_away_settlements_are_waited_for(post: Post) -> None:
    post.node.listed = [move(300, "dd" * 32, 300)]
    post.node.settled = [Settlement("x", f"{n:064x}", Msat(n), n, NOW) for n in range(1, 301)]
    assert await post.looks(3) == {}


async def test_a_deposit_that_was_not_taken_in_yet_is_no_difference(post: Post) -> None:
    await post.insert("addresses", ADDRESS, owner=person("alice"), used_at=None, created_at=NOW)
    post.wallet.rows = [coin(1, 70_000)]
    post.wallet.paid = [Output(TX, 0, ADDRESS, Msat(70_000), OutputState.CONFIRMED, 5)]
    assert await post.looks(3) == {}
    post.wallet.rows.append(coin(2, 7_000))  # beside it, to an address of nobody
    assert await post.looks(2) == {}
    assert post.alarms.standing["coins_unasked"].startswith("77 sat came in coins and are nobody's deposit")


async def test_coins_that_nobody_asked_for_are_told_and_stop_nothing(post: Post) -> None:
    """Whoever has seen a transaction of ours knows the address of its change: for dust they would stop all payouts."""
    post.wallet.rows = [coin(1, 546_000)]
    assert await post.looks(3) == {}
    assert list(post.alarms.standing) == ["coins_unasked"]
    assert not post.alarms.is_stopped
    owned = await own_difference(post.book, post.node, post.wallet, TX)  # type: ignore[arg-type]
    await post.book.apply(owned)
    assert await post.looks(1) == {}
    assert post.alarms.standing == {}


async def test_coins_that_came_excuse_none_that_left(post: Post) -> None:
    post.wallet.rows = [coin(1, 546_000), coin(2, -546_000, txid="dd" * 32)]
    assert await post.looks(2) == BY_US


@pytest.mark.parametrize(
    ("node", "book", "unasked"),
    [
        (Sums(0, 5), Sums(), True),
        (Sums(0, 5), Sums(0, 4), True),
        (Sums(), Sums(0, -5), False),  # we say that it left, and the node has it still
        (Sums(0, 4), Sums(0, 5), False),
        (Sums(1, 5), Sums(), False),
        (Sums(0, 5), Sums(1), False),
    ],
)
def test_only_coins_that_are_more_than_the_book_has_came_unasked(node: Sums, book: Sums, *, unasked: bool) -> None:
    assert Difference(TX, node, book).is_unasked is unasked


async def test_coins_that_become_a_channel_are_no_difference_before_it_is_open(post: Post) -> None:
    post.wallet.rows, post.node.opening = [coin(1, -20_500)], {TX}
    assert await post.looks(3) == {}
    post.node.opening = set()
    assert await post.looks(2) == BY_US
    post.wallet.rows.append(coin(2, 20_000, account="channel"))
    assert await post.looks(1) == {}


@pytest.mark.parametrize(
    ("left", "explained"),
    [(0, True), (-1, True), (-1_010, True), (-1_011, False), (1, False)],
)
def test_a_payment_whose_end_is_unknown_explains_what_may_have_left_and_no_more(left: int, *, explained: bool) -> None:
    found = Difference(HASH, Sums(left), Sums())
    assert UnderWay(sent={HASH: 1_010}).explains(found) is explained


def test_coins_are_not_explained_by_what_happens_in_channels() -> None:
    found = Difference(HASH, Sums(0, -5), Sums())
    assert not UnderWay(htlcs=frozenset({HASH}), sent={HASH: 9}, arrived={HASH: 9}, behind=True).explains(found)


def test_differences_that_cancel_out_are_named_all_the_same() -> None:
    found = [Difference(HASH, Sums(5), Sums()), Difference("bb" * 32, Sums(), Sums(5))]
    assert who_has_more(found) == f"in sum they agree; payment {HASH}: the node says 5 msat, the book 0 msat and 1 more"


# ---- beside the node of the simulator


@pytest.fixture
async def chain(desk: Desk) -> AsyncIterator[CoreLightningChain]:
    made = CoreLightningChain(desk.network.sockets["service"])
    yield made
    await made.close()


async def test_a_payment_that_hangs_and_one_that_arrives_raise_no_alarm(
    life: Life, desk: Desk, chain: CoreLightningChain
) -> None:
    post = Post(life)
    post.watch = post.watch_on(life.node, chain)
    await post.looks(1)
    desk.script(Outcome.LOST_CONNECTION, seconds=86_400)
    attempt = await life.sent()
    await life.in_flight(attempt["id"])
    asked = await life.node.create_invoice(
        label="topup/1", amount_msat=from_sat(5_000), description="top-up", expiry_seconds=600
    )
    await desk.network.people.pay("bob", Wanted(asked.bolt11))
    assert await post.looks(3) == {}
    assert post.watch.begun.is_set()
    desk.clock.advance(700)
    await post.looks(1)
    assert list(post.alarms.standing) == ["payments_stuck"]
    assert not post.alarms.is_stopped


async def test_h3_with_yesterday_s_book_payouts_stop(
    life: Life, desk: Desk, chain: CoreLightningChain, tmp_path: Path
) -> None:
    await book_by_rule(life.book, life.node, chain)
    await life.open("alice")
    yesterday = tmp_path / "yesterday.sqlite3"
    with contextlib.closing(sqlite3.connect(desk.path)) as book, contextlib.closing(sqlite3.connect(yesterday)) as copy:
        book.backup(copy)
    await life.looks_until("paid")
    async with Desk(yesterday, desk.network, desk.clock).life() as old:
        post = Post(old)
        post.watch = post.watch_on(old.node, chain)
        assert await post.looks(1) == {}
        assert not post.watch.begun.is_set()  # nothing is sent yet
        assert await post.looks(1) == BY_US
        assert post.watch.begun.is_set()
        assert (await old.step("alice"))["state"] == "waiting"
        assert (await old.payout("alice"))["reason"] == "paused while the books are checked (payouts)"
    assert len(desk.received("alice")) == 1


async def test_a_look_is_due_every_few_minutes_and_every_few_seconds_while_something_differs(post: Post) -> None:
    async def due_after(seconds: int) -> bool:
        post.clock.advance(seconds)
        before = len(asked)
        await post.watch.step()
        return len(asked) > before

    asked = list[int]()
    spendable = post.node.spendable_msat

    async def counted() -> Msat:
        asked.append(1)
        return await spendable()

    post.node.spendable_msat = counted  # type: ignore[method-assign]  # a look ends with it
    assert [await due_after(299), await due_after(1), await due_after(5)] == [False, True, False]
    assert await due_after(-1_000)  # the clock was set back
    post.node.listed = [move(1, HASH, -5_000)]
    assert [await due_after(300), await due_after(4), await due_after(1), await due_after(5)] == [
        True,
        False,
        True,
        True,
    ]


async def test_too_much_in_the_node_and_too_little_to_pay_with_are_told_and_stop_nothing(post: Post) -> None:
    post.node.spendable = 1_000
    await post.life.open("alice")
    await post.looks(1)
    assert post.alarms.standing == {"liquidity_low": "payouts of 2,000 sat wait, and the channels can send 1 sat"}
    post.node.spendable = 1_999_999_000
    post.wallet.paid = [Output(TX, 0, "any", Msat(2_000), OutputState.CONFIRMED, 5)]
    await post.looks(1)
    assert list(post.alarms.standing) == ["hot_wallet_full"]
    assert not post.alarms.is_stopped
