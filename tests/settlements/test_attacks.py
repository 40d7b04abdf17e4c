"""Attacks on one customer's money through the handlers: A7 and A8, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from handlers import assignments, jobs
from handlers.refunds import plan_refunded
from relaybot.nostr.event import Event
from tests.book.stores import KINDS, Store, store_of
from tests.settlements.conftest import ALICE, BOB, PRICE, Till
from tests.settlements.test_card_money import assigned, delivered, paying_carol, result_of
from wallet.audit import unsound
from wallet.ledger import Plan, Verdict
from wallet.money import from_sat


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return store_of(request.param, tmp_path / "book.sqlite3")


def request_of(till: Till, text: str) -> Event:
    tags = [["i", text, "text"], ["p", next(iter(till.bot.agents))]]
    return BOB.sign(kind=5050, content="", tags=tags, created_at=till.bot.clock.now())


async def handled(till: Till, request: Event) -> None:
    """Let the bot take a request, deciding anew where somebody was faster, as the inbox does."""

    async def decide() -> Plan:
        decision = await jobs.on_request(till.bot, request)
        assert isinstance(decision, Plan)
        return decision

    assert (await till.book.decide(decide)).done


async def test_a8_two_jobs_at_once_against_a_balance_that_covers_one(till: Till) -> None:
    await till.funded(12_000)
    requests = [request_of(till, str(number)) for number in range(2)]
    await asyncio.gather(*(handled(till, request) for request in requests))
    states = [(await till.job(request))["state"] for request in requests]
    assert sorted(states) == ["awaiting_payment", "held"]
    assert await till.balance() == 0
    assert sum([await till.held(await till.job(request)) for request in requests]) == PRICE


async def test_a7_a_cancellation_and_a_result_of_the_same_job_together(till: Till) -> None:
    till = paying_carol(till)
    await till.funded(12_000)
    job = await till.ask_for_job()
    child = await assigned(till, job["id"])
    result = result_of(till, child)
    deletion = BOB.sign(kind=5, content="", tags=[["e", job["id"]]], created_at=till.bot.clock.now())

    async def captured() -> None:
        decision = await assignments.on_result(till.bot, result)
        if isinstance(decision, Plan):
            await till.book.apply(decision)

    await asyncio.gather(captured(), jobs.on_cancel(till.bot, deletion))
    state, has = (await till.again(job))["state"], (await till.balance(BOB), await till.balance(ALICE))
    assert (state, has) in [("captured", (0, from_sat(6_000))), ("released", (from_sat(12_000), 0))]
    assert await till.held(job) == 0
    assert await unsound(till.book.database) == []


async def test_a7_two_refunds_of_one_job_at_once_pay_back_once_and_what_came_back_is_spent_once(till: Till) -> None:
    till = paying_carol(till)
    await till.funded(12_000)
    job = await till.ask_for_job()
    await delivered(till, job["id"])
    again = [request_of(till, f"again {number}") for number in range(2)]
    refunds = (till.book.decide(lambda: plan_refunded(till.bot, job["id"])) for _ in range(4))
    answers = await asyncio.gather(*refunds)
    assert [answer.verdict for answer in answers].count(Verdict.APPLIED) == 1
    await asyncio.gather(*(handled(till, request) for request in again))
    states = [(await till.job(request))["state"] for request in again]
    assert sorted(states) == ["awaiting_payment", "held"]
    assert await till.balance() == 0
    assert await unsound(till.book.database) == []
