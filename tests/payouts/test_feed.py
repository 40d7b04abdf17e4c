"""What the node does by itself is booked by rule; what it held at our first look is ours; the rest differs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from relaybot.errors import Rejected
from tests.payouts.desk import Life
from tests.payouts.test_reconcile import HASH, Moves, book_in, move
from wallet.accounts import (
    CAPITAL,
    EXPENSE_LIGHTNING,
    EXPENSE_ONCHAIN,
    NODE_LIGHTNING,
    NODE_ONCHAIN,
    ROUTING_INCOME,
    Account,
)
from wallet.audit import unsound
from wallet.chain import Chain, ChainMove
from wallet.feed import Feed
from wallet.lightning import Lightning, Move
from wallet.money import Msat
from wallet.reconcile import Reconciliation, book_by_rule, own_difference, reconcile

TX, CHANNEL = "cc" * 32, "19de67ae"


class Coins:
    """A chain with the rows a test writes down."""

    def __init__(self, rows: Sequence[ChainMove]) -> None:
        self.rows = list(rows)

    async def chain_moves(self, *, after_index: int, limit: int) -> list[ChainMove]:
        return [row for row in self.rows if row.index > after_index][:limit]


def coin(index: int, msat: int, *, account: str = "wallet", txid: str = TX) -> ChainMove:
    return ChainMove(index, txid, f"{txid}:0", Msat(max(0, msat)), Msat(max(0, -msat)), "any", account)


class World:
    """A book beside a node whose rows are written down."""

    def __init__(self, life: Life) -> None:
        self.book = life.book
        self.moves = Moves([])
        self.coins = Coins([])

    @property
    def doors(self) -> tuple[Lightning, Chain]:
        return self.moves, self.coins  # type: ignore[return-value]  # only the feeds are asked

    async def looks(self) -> list[str]:
        done = await book_by_rule(self.book, *self.doors)
        assert await unsound(self.book.database) == []
        return done

    async def compared(self) -> Reconciliation:
        async with self.book.database.snapshot() as reader:
            return await reconcile(reader, *self.doors)

    async def has(self, *accounts: Account) -> list[int]:
        return [await self.book.balance(account) for account in accounts]


@pytest.fixture
def w(life: Life) -> World:
    return World(life)


async def test_what_the_node_holds_at_our_first_look_is_the_operator_s(w: World) -> None:
    w.moves.listed = [move(1, None, -8_000, "pushed"), move(2, "ff" * 32, 300)]
    w.coins.rows = [coin(1, 50_000, txid="dd" * 32), coin(2, -20_500), coin(3, 20_000, account=CHANNEL)]
    assert await w.looks() == ["node/opening"]
    assert await w.has(NODE_LIGHTNING, NODE_ONCHAIN, CAPITAL) == [-12_300, -29_500, 41_800]
    assert await w.looks() == []
    assert await w.compared() == Reconciliation((), {})


async def test_a_book_in_which_money_has_moved_already_takes_nothing_for_granted(w: World) -> None:
    await book_in_world(w, f"invoice/{HASH}/settled", 1_000)
    w.moves.listed = [move(1, HASH, 1_000), move(2, "ff" * 32, 300)]
    await w.looks()
    assert [one.key for one in (await w.compared()).differences] == ["ff" * 32]


async def book_in_world(w: World, key: str, msat: int) -> None:
    class Some:
        book = w.book

    await book_in(Some(), key, msat)  # type: ignore[arg-type]  # only the book is used


async def test_routed_pushed_opened_and_closed_are_booked_once(w: World) -> None:
    await w.looks()
    w.coins.rows = [coin(1, 50_000, txid="dd" * 32)]
    assert [str(one) for one in (await w.compared()).differences] == [
        f"transaction {'dd' * 32}: the node says 50000 msat, the book 0 msat"
    ]
    owned = await own_difference(w.book, *w.doors, "dd" * 32)
    await w.book.apply(owned)
    w.coins.rows += [coin(2, -20_500), coin(3, 20_000, account=CHANNEL), coin(4, 7, account="external")]
    w.moves.listed = [move(1, None, -1_000, "pushed"), move(2, "ff" * 32, 10_010, "routed")]
    w.moves.listed += [move(3, "ff" * 32, -10_000, "routed")]
    assert (await w.compared()).unbooked == {
        TX: "20000 msat in channels and -20500 in coins",
        "pushed": "-1000 msat",
        "routed": "10 msat",
    }
    assert await w.looks() == [f"channel/{TX}/3", "node/pushed/1", "node/routed/3"]
    w.coins.rows += [coin(5, -19_010, account=CHANNEL, txid="ee" * 32), coin(6, 18_800, txid="ee" * 32)]
    assert await w.looks() == [f"channel/{'ee' * 32}/5"]
    assert await w.looks() == []
    assert await w.compared() == Reconciliation((), {})
    assert await w.has(NODE_LIGHTNING, NODE_ONCHAIN, CAPITAL) == [0, -48_300, 50_000]
    assert await w.has(EXPENSE_ONCHAIN, EXPENSE_LIGHTNING, ROUTING_INCOME) == [-710, -1_000, 10]


async def test_rows_that_come_one_by_one_are_booked_as_they_come(w: World) -> None:
    await w.looks()
    w.moves.listed = [move(1, "ff" * 32, -10_000, "routed")]
    assert await w.looks() == ["node/routed/1"]
    w.moves.listed += [move(2, "ff" * 32, 10_010, "routed")]
    assert await w.looks() == ["node/routed/2"]
    w.coins.rows = [coin(1, 500, account=CHANNEL)]  # a channel that another opened
    assert await w.looks() == [f"channel/{TX}/1"]
    assert await w.has(ROUTING_INCOME, NODE_LIGHTNING, EXPENSE_ONCHAIN) == [10, -510, 500]


async def test_two_processes_that_look_at_once_book_once(w: World) -> None:
    assert sorted(await asyncio.gather(w.looks(), w.looks())) == [[], ["node/opening"]]
    w.moves.listed = [move(1, "ff" * 32, 10, "routed"), move(2, None, -3, "pushed")]
    found = await asyncio.gather(w.looks(), w.looks(), w.looks())
    assert sorted(key for keys in found for key in keys) == ["node/pushed/2", "node/routed/1"]
    assert await w.has(ROUTING_INCOME, EXPENSE_LIGHTNING) == [10, -3]


async def test_coins_that_left_the_node_without_us_differ_until_the_operator_owns_them(w: World) -> None:
    await w.looks()
    w.coins.rows = [coin(1, -5_000)]
    w.moves.listed = [move(1, HASH, -70)]
    assert [one.key for one in (await w.compared()).differences] == [HASH, TX]
    for key in (HASH, TX):
        await w.book.apply(await own_difference(w.book, *w.doors, key))
    assert (await w.compared()).differences == ()
    assert await w.has(CAPITAL) == [-5_070]
    with pytest.raises(Rejected, match="do not differ"):
        await own_difference(w.book, *w.doors, TX)


def test_a_row_without_a_hash_that_no_rule_knows_is_shown_by_its_tag() -> None:
    feed = Feed()
    feed.add_moves([Move(1, None, Msat(7), Msat(2), Msat(0), "journal")])
    assert {key: sums.lightning for key, sums in feed.groups.items()} == {"journal": 5}
    assert feed.by_rule == {}
