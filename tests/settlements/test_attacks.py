"""Attacks through the handlers, on both databases: A7, A8, I5, and nodes that lie about what they used."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from handlers import assignments, cancelling, jobs
from handlers.refunds import plan_refunded
from relaybot.errors import Unavailable
from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.messages import Ok
from relaybot.outbox import Outbox
from tests.book.stores import KINDS, Store, store_of
from tests.settlements.conftest import ALICE, BOB, PRICE, Till
from tests.settlements.test_card_money import CAROL, assigned, delivered, paying_carol, result_of
from wallet.accounts import user
from wallet.audit import unsound
from wallet.ledger import Plan, Verdict
from wallet.money import from_sat


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return store_of(request.param, tmp_path / "book.sqlite3")


def request_of(till: Till, text: str, *tags: Sequence[str]) -> Event:
    tags = (["i", text, "text"], ["p", next(iter(till.bot.agents))], *tags)
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

    await asyncio.gather(captured(), cancelling.on_cancel(till.bot, deletion))
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


async def test_i5_a_result_that_cannot_be_published_is_published_later_the_same_event(till: Till) -> None:
    till = paying_carol(till)
    await till.funded(12_000)
    job = await till.ask_for_job()
    await delivered(till, job["id"])
    tried: list[str] = []
    is_away = True

    async def publish(event: Event) -> Ok:
        tried.append(event.id)
        if is_away:
            raise Unavailable("the relay is away")
        return Ok(event.id, True, "")

    clock, result = till.bot.clock, (await till.again(job))["result"]
    for _ in range(3):
        await Outbox(till.book, clock, {"own": publish}).step()  # a new one each time: nothing is only in memory
        clock.advance(3_600)  # type: ignore[attr-defined]  # a SetClock
    assert tried.count(result) == 3
    is_away = False
    while await till.book.database.fetch("SELECT 1 FROM outbox WHERE state = 'pending'"):
        await Outbox(till.book, clock, {"own": publish}).step()
    assert tried.count(result) == 4
    [row] = (await till.book.database.rows_by_id("outbox", [result])).values()
    assert (row["state"], parse_event(row["event"]).id) == ("sent", result)


@pytest.mark.parametrize(
    ("tokens", "bid", "charged", "earned"),
    [
        (10**15 - 1, 5_000, 5_000, 900),
        (10**15 - 1, None, 12_000, 900),
        (2_000, 5_000, 1_006, 6),
        (None, 5_000, 1_000, 0),
    ],
)
async def test_a_node_that_lies_about_usage_gets_no_more_than_was_agreed_and_costs_no_more_than_was_bid(
    till: Till, tokens: int | None, bid: int | None, charged: int, earned: int
) -> None:
    till = metered(till)
    await till.funded(12_000)
    request = request_of(till, "count", *([["bid", str(from_sat(bid))]] if bid is not None else []))
    await handled(till, request)
    child = await assigned(till, request.id)
    usage = [("tokens", tokens)] if tokens is not None else []
    decision = await assignments.on_result(till.bot, result_of(till, child, usage))
    assert isinstance(decision, Plan)
    assert (await till.book.apply(decision)).done
    has = (await till.balance(BOB), await till.book.balance(user(CAROL.pubkey)))
    assert has == (from_sat(12_000 - charged), from_sat(earned))
    assert await unsound(till.book.database) == []


def metered(till: Till) -> Till:
    """Return the till with an agent whose price and whose node's share go by what the node says that it used."""
    price = {"base": "1000 sat", "per": "1000 tokens", "amount": "3 sat", "at_most": "12000 sat"}
    share = {"to": "$worker", "per": "1000 tokens", "amount": "3 sat", "at_most": "900 sat"}
    return paying_carol(till, agent={"name": "A", "kinds": [5050], "price": price, "shares": [share]})
