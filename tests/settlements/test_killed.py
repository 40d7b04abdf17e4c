"""The process dies at every border of a credit: nothing is lost, nothing is credited twice."""

from __future__ import annotations

import pytest

from tests.payouts.test_killed import Border
from tests.settlements.conftest import PRICE, Street
from wallet.money import from_sat

BORDERS = (
    "next_settlement:before",
    "next_settlement:after",
    "commit:before",
    "commit:after",
    "next_settlement:before",
    "next_settlement:after",
    "commit:before",
    "commit:after",
    "next_settlement:before",
    "next_settlement:after",
)


async def prepared(street: Street) -> str:
    """Let a top-up and a job be paid while nobody follows; return the job's id."""
    async with street.till() as till:
        job = await till.ask_for_job()
        await till.pay(await till.top_up(5_000))
        await till.pay(await till.invoice_of(job))
        return str(job["id"])


async def test_d2_these_are_all_borders_of_two_credits(street: Street) -> None:
    await prepared(street)
    probe = Border()
    async with street.till(probe) as till:
        probe.armed = True
        await till.follow()
    assert tuple(probe.passed) == BORDERS


@pytest.mark.parametrize("at", range(len(BORDERS)))
async def test_d2_killed_anywhere_the_cursor_and_the_credit_stand_or_fall_together(street: Street, at: int) -> None:
    job_id = await prepared(street)
    probe = Border(at)
    async with street.till(probe) as till:
        probe.armed = True
        await till.until_killed()
    async with street.till() as till:
        credited = {0: (0, 0), 1: (from_sat(5_000), 0), 2: (from_sat(5_000), PRICE)}
        job = await till.book.row("jobs", job_id)
        assert job is not None
        assert (await till.balance(), await till.held(job)) == credited[await till.cursor()]
        await till.follow()
        assert (await till.balance(), await till.held(job)) == credited[2]
        assert (await till.again(job))["state"] == "held"
        await till.agrees()
