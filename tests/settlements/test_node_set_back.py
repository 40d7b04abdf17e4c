"""The node was restored from a backup: its index went back. Nothing is credited until the operator says so (D5)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import structlog

from handlers.settlements import CHANGES, Settlements
from tests.payouts.desk import NOW
from tests.settlements.conftest import BOB, Till
from wallet.ledger import Plan, Put
from wallet.lightning import Lightning, Settlement
from wallet.money import from_sat


class Restored:
    """A node that has forgotten what came after its backup."""

    def __init__(self, settled: list[Settlement], changes: int) -> None:
        self.settled = settled
        self.changes = changes

    async def invoice_changes(self) -> int:
        return self.changes

    async def next_settlement(self, *, after_index: int, timeout_seconds: int) -> Settlement | None:
        del timeout_seconds
        return next((one for one in self.settled if one.pay_index > after_index), None)


def with_node(till: Till, node: Restored) -> Settlements:
    lightning: Lightning = node  # type: ignore[assignment]  # the methods that are called
    return Settlements(replace(till.bot, lightning=lightning))


async def settled(till: Till, count: int) -> list[Settlement]:
    """Return settlements of so many top-ups of 1,000 sat, one after the other."""
    found = []
    for number in range(1, count + 1):
        await till.top_up(1_000, number=number)
        row = await till.book.row("invoices", f"topup/{number}")
        assert row is not None
        found.append(
            Settlement(f"topup/{number}", row["payment_hash"], from_sat(1_000), number, NOW, change=2 * number)
        )
    return found


async def credited(till: Till, settlements: list[Settlement]) -> None:
    """Credit all of them, while the node is what it was."""
    following = with_node(till, Restored(settlements, 2 * len(settlements)))
    for _ in settlements:
        assert await following.follow() is True


async def reread(till: Till) -> None:
    """Let the operator say that everything is read again from the beginning."""
    rows = (Put("cursors", "settlements", {"value": 0, "mark": ""}), Put("cursors", CHANGES, {"value": 0, "mark": ""}))
    assert (await till.book.apply(Plan("test/reread", changes=rows))).done


async def test_d5_a_node_that_has_counted_fewer_changes_stops_the_feed_and_the_operator_is_told(till: Till) -> None:
    all_of_them = await settled(till, 4)
    await credited(till, all_of_them[:3])
    # The backup knew two payments. A new one came in since: its index is behind our cursor, and it would be skipped.
    newer = replace(all_of_them[3], pay_index=3, change=5)
    following = with_node(till, Restored([*all_of_them[:2], newer], 5))
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            assert await following.follow() is False
    assert await till.balance() == from_sat(3_000)
    assert "set back" in till.bot.alarms.standing["settlements"]
    assert [line["event"] for line in logged if line["log_level"] == "error"] == ["alarm"]  # once, not at each look
    await reread(till)
    for _ in range(4):
        assert await following.follow() is True
    assert await till.balance() == from_sat(4_000)  # what was credited stays credited once, and the new one is there
    assert till.bot.alarms.standing == {}


async def test_d5_a_node_that_has_caught_up_with_the_count_is_known_by_its_last_payment(till: Till) -> None:
    all_of_them = await settled(till, 4)
    await credited(till, all_of_them[:3])
    newer = replace(all_of_them[3], pay_index=3, change=90)
    following = with_node(till, Restored([*all_of_them[:2], newer], 100))
    assert await following.follow() is False
    assert "another one than was credited" in till.bot.alarms.standing["settlements"]
    assert await till.balance() == from_sat(3_000)


async def test_d5_a_last_invoice_that_was_deleted_at_the_node_is_no_alarm(till: Till) -> None:
    all_of_them = await settled(till, 4)
    await credited(till, all_of_them[:3])
    following = with_node(till, Restored([*all_of_them[:2], all_of_them[3]], 9))
    assert await following.follow() is True
    assert await till.balance() == from_sat(4_000)
    assert till.bot.alarms.standing == {}


async def test_d5_a_node_that_was_away_is_asked_again_who_it_is(till: Till) -> None:
    all_of_them = await settled(till, 3)
    node = Restored(all_of_them[:1], 2)
    following = with_node(till, node)
    assert await following.follow() is True
    node.changes = 1
    assert await following.follow() is True  # it was known a moment ago, and has nothing new
    assert await following.follow() is False  # after a silence it is asked
    assert await till.balance() == from_sat(1_000)


async def test_d5_a_real_node_s_own_feed_is_never_in_doubt(till: Till) -> None:
    for number in range(1, 4):
        await till.pay(await till.top_up(1_000, number=number))
        await till.follow()
    assert await till.balance(BOB) == from_sat(3_000)
    assert till.bot.alarms.standing == {}


@pytest.mark.parametrize("version_before", ["no mark", "no count"])
async def test_d5_a_book_of_an_older_version_goes_on(till: Till, version_before: str) -> None:
    all_of_them = await settled(till, 2)
    await credited(till, all_of_them[:1])
    column = (
        Put("cursors", "settlements", {"mark": ""})
        if version_before == "no mark"
        else Put("cursors", CHANGES, {"value": 0})
    )
    assert (await till.book.apply(Plan("test/older", changes=(column,)))).done
    assert await with_node(till, Restored(all_of_them, 4)).follow() is True
    assert await till.balance() == from_sat(2_000)
