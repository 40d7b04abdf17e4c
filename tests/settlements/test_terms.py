"""What a job was promised beside its split: a later version of its agent changes neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from handlers import assignments, cancelling
from handlers.bot import Offered
from relaybot.nostr.event import Event
from tests.settlements.conftest import BOB, PRICE, Till
from tests.settlements.test_card_money import CAROL, assigned, paying_carol, result_of
from wallet.ledger import Plan

ANY: Mapping[str, Any] = {"result_schema": None}
OBJECTS: Mapping[str, Any] = {"result_schema": {"type": "object"}}


def saying(till: Till, **said: object) -> Till:
    """Return the till with another version of its agent."""
    [(pubkey, old)] = till.bot.agents.items()
    agents = Offered({pubkey: replace(old, **said)})  # type: ignore[arg-type]  # its fields
    return Till(replace(till.bot, agents=agents), till.network, till.committing)


async def begun(till: Till) -> tuple[str, Event]:
    """Let Bob ask, and Carol's node begin; return the job's id, and the assignment."""
    await till.funded(12_000)
    job = await till.ask_for_job()
    child = await assigned(till, job["id"])
    await feedback(till, child, "processing")
    return job["id"], child


async def feedback(till: Till, child: Event, *status: str) -> None:
    tags = [["status", *status], ["e", child.id], ["p", child.pubkey]]
    event = CAROL.sign(kind=7000, content="", tags=tags, created_at=till.bot.clock.now())
    decision = await assignments.on_feedback(till.bot, event)
    assert isinstance(decision, Plan)
    assert (await till.book.apply(decision)).done


@pytest.mark.parametrize(("asked", "later", "captured"), [(OBJECTS, ANY, False), (ANY, OBJECTS, True)])
async def test_a_result_must_be_what_it_had_to_be_when_the_job_was_asked_for(
    till: Till, asked: Mapping[str, Any], later: Mapping[str, Any], *, captured: bool
) -> None:
    till = saying(paying_carol(till), **asked)
    job_id, child = await begun(till)
    till = saying(till, **later)
    decision = await assignments.on_result(till.bot, result_of(till, child))  # "done" is no object
    assert isinstance(decision, Plan)
    await till.book.apply(decision)
    job = await till.book.row("jobs", job_id)
    assert job is not None
    assert (job["state"] == "captured") is captured


@pytest.mark.parametrize(("asked", "later", "charged"), [("full", "none", PRICE), ("none", "full", 0)])
async def test_a_cancel_costs_what_it_cost_when_the_job_was_asked_for(
    till: Till, asked: str, later: str, charged: int
) -> None:
    till = saying(paying_carol(till), on_cancel=asked)
    job_id, child = await begun(till)
    till = saying(till, on_cancel=later)
    await feedback(till, child, "partial", "so far")
    deletion = BOB.sign(kind=5, content="", tags=[["e", job_id]], created_at=till.bot.clock.now())
    await cancelling.on_cancel(till.bot, deletion)
    job = await till.book.row("jobs", job_id)
    assert job is not None
    assert job["charged_msat"] == charged
