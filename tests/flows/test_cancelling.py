"""What a cancel costs: nothing before a part was delivered, and after it what the agent says."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from relaybot.nostr import nip19, nip90
from relaybot.nostr.event import Event
from tests.cli.test_cli import answer
from tests.flows.harness import World, world
from tests.flows.test_hostile import in_state

METERED: dict[str, Any] = {
    "name": "Metered",
    "kinds": [5050],
    "price": {"base": "10 sat", "per": "1000 tokens", "amount": "1 sat", "at_most": "100 sat"},
    "shares": [{"to": "$worker", "percent": "50%"}],
}


@pytest.mark.parametrize(
    ("on_cancel", "tokens", "charged"),
    [("none", 20_000, 0), ("usage", 20_000, 30_000), ("usage", 10**15 - 1, 100_000), ("full", 0, 100_000)],
)
async def test_a_cancel_after_the_first_part_costs_what_the_agent_says(
    on_cancel: str, tokens: int, charged: int
) -> None:
    async with world(agents={"metered": METERED | {"on_cancel": on_cancel}}, payouts={"enabled": False}) as w:
        await w.fund("bob", 100)
        await w.node_joins()
        request, child = await begun(w)
        await part(w, child, tokens)
        await w.feedback("bob", request, "partial")
        bob = await w.join("bob")
        await w.handled(await bob.publish(5, "", [["e", request.id]]))
        told = (await w.feedback("bob", request, "error")).text
        assert told.startswith("cancelled by the customer")
        job = await w.job(request)
        assert job["state"] == ("captured" if charged else "released")
        assert job["charged_msat"] == charged
        assert await w.balance("bob") == 100_000 - charged
        assert await w.balance("carol") == charged // 2
        state = "captured" if charged else "released"
        (listed,) = await answer(w, "jobs", "list", "--state", state, "--customer", nip19.encode_npub(bob.pubkey))
        assert (listed["id"], listed["attempt"]) == (request.id, 1)
        assert await answer(w, "jobs", "list", "--open") == []
        late = await w.deliver(child)
        assert await w.handled(late) == "pays nobody: the job is finished or was given to another node"
        if charged:
            assert f"{charged // 1000} sat charged, for a part was delivered" in told
            assert (await answer(w, "jobs", "refund", request.id))["refunded_msat"] == charged
            assert (await w.balance("bob"), await w.balance("carol")) == (100_000, charged // 2)
        await w.sound()


async def test_a_cancel_before_the_first_part_costs_nothing_and_a_lost_nodes_part_counts_no_more() -> None:
    async with world(agents={"metered": METERED | {"on_cancel": "full"}}) as w:
        await w.fund("bob", 200)
        await w.node_joins()
        bob = await w.join("bob")
        request, _ = await begun(w)
        begins = await bob.wait_for("a beginning", lambda one: one.kind == 7000 and "node has begun" in str(one.tags))
        assert "charged in full" in nip90.parse_feedback(begins).text
        await w.handled(await bob.publish(5, "", [["e", request.id]]))
        assert (await w.job(request))["state"] == "released"
        second, child = await begun(w, after=1)
        await part(w, child, 5)
        await w.feedback("bob", second, "partial")
        w.clock.advance(w.config.jobs.lease_seconds + 1)
        await w.until(partial(in_state, w, second, "held"))
        await w.handled(await bob.publish(5, "", [["e", second.id], ["k", "5050"]]))
        assert (await w.job(second))["state"] == "released"
        assert await w.balance("bob") == 200_000
        await w.sound()


async def begun(w: World, after: int = 0) -> tuple[Event, Event]:
    """Let Bob ask the metered agent, and Carol's node begin; return request and assignment."""
    assert w.addresses is not None
    bob = await w.join("bob")
    tags = [["i", f"{after}", "text"], ["p", w.addresses.agents["metered"]]]
    request = await bob.publish(5050, "", tags)
    child = await w.assignment(after=after)
    await w.claim(child)
    await w.until(partial(in_state, w, request, "working"))
    return request, child


async def part(w: World, child: Event, tokens: int) -> None:
    """Let Carol's node pass on a part of its result, and say what it has used."""
    carol = await w.join("carol")
    tags = [["status", "partial", "so far"], ["e", child.id], ["p", w.bot], ["usage", "tokens", str(tokens)]]
    await carol.send(carol.keypair.sign(kind=7000, content="", tags=tags, created_at=int(time.time())))
