"""Which transfers a day counts, on each kind of database: each is counted once, whatever the clocks said."""

from __future__ import annotations

from collections import Counter

import pytest

from relaybot.accounting.publishing import read_cells
from relaybot.clock import SetClock
from tests.book.stores import NOW, Store, opened, person, top_up

DAY = 86_400


@pytest.mark.parametrize(
    ("times", "days"),
    [
        ([0, 1, DAY, DAY + 1], [2, 2]),
        ([0, DAY, 1, DAY + 1], [1, 3]),  # another process's clock was ahead
        ([0, DAY + 1, 2 * DAY, DAY], [1, 1, 2]),
        ([], [0, 0]),
    ],
)
async def test_each_transfer_is_counted_once_in_the_order_of_the_book(
    store: Store, times: list[int], days: list[int]
) -> None:
    clock = SetClock(NOW)
    async with opened(store, clock=clock) as book:
        for number, time in enumerate(times):
            clock.advance(NOW + time - clock.now())
            await book.apply(top_up("bob", 1, str(number)))
        last, counted = 0, []
        for day in range(len(days)):
            async with book.database.snapshot() as reader:
                cells, last = await read_cells(reader, after_seq=last, end=NOW + (day + 1) * DAY)
            counted.append(cells.get(("in", "lightning"), Counter[str]())[person("bob")] // 1_000)
        assert counted == days
