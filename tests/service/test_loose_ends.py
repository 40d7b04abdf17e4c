"""Work and the money held for it: what does not fit together is found."""

from __future__ import annotations

import pytest

from tests.service.conftest import NOW
from wallet.accounts import NODE_LIGHTNING, hold
from wallet.book import Book, loose_ends
from wallet.ledger import Insert, Plan, Transfer, Values
from wallet.money import Msat

JOB: Values = {
    "agent": "autodev",
    "customer": "",
    "request": "",
    "state": "held",
    "reason": "",
    "split": "",
    "price_msat": 5,
    "charged_msat": 0,
    "invoice": "",
    "attempt": 0,
    "assignment": "",
    "worker": "",
    "result": "",
    "due_at": NOW,
    "created_at": NOW,
    "updated_at": NOW,
}
HELD = Transfer(NODE_LIGHTNING, hold("job/j1"), Msat(5), "hold")


@pytest.mark.parametrize(
    ("job", "transfers", "found"),
    [
        (JOB, (HELD,), []),
        (None, (HELD,), ["hold/job/j1/sats holds 5 msat for no work under way"]),
        ({**JOB, "state": "captured"}, (HELD,), ["hold/job/j1/sats holds 5 msat for no work under way"]),
        (JOB, (), ["job j1 is held at 5 msat, but 0 msat are held for it"]),
        ({**JOB, "due_at": None}, (HELD,), ["job j1 is held, but nothing will end it"]),
    ],
)
async def test_money_and_work_that_do_not_fit_are_found(
    book: Book, job: Values | None, transfers: tuple[Transfer, ...], found: list[str]
) -> None:
    await book.apply(Plan("test", transfers, () if job is None else (Insert("jobs", "j1", job),)))
    assert await loose_ends(book.database) == found
