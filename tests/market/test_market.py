"""The market over real sockets: an author registers, the operator approves, customers ask, everybody is paid."""

from __future__ import annotations

import time

from relaybot.nostr.nip19 import encode_npub
from splits.market import full_id
from tests.flows.harness import World, world
from tests.market.stage import agent_of, answer_to, in_service, listing, operator, skill_of, told


async def registered(w: World, *, later: int = 0) -> tuple[str, str]:
    """Let Heidi register a skill and an agent, and the operator approve both; return their versions."""
    skill = listing(w, "heidi", "skill:read", skill_of(w))
    agent = listing(w, "heidi", "agent:translate", agent_of(w), later=later)
    assert "waits for approval" in await answer_to(w, "heidi", skill)
    assert "waits for approval" in await answer_to(w, "heidi", agent)
    for version in (skill.id, agent.id):
        assert (await operator(w, "market", "approve", version))["state"] == "approved"
    return skill.id, agent.id


async def job(w: World, agent: str) -> dict[str, int]:
    """Let Bob ask the agent and Carol's node do it; return what was earned by whom, in sat."""
    names = ("carol", "dave", "grace", "heidi")
    before = {name: await w.balance(name) for name in names}
    bob, given = await w.join("bob"), len(await w.rows("SELECT id FROM assignments"))
    request = await bob.publish(5002, "", [["i", f"Guten Morgen {given}", "text"], ["p", agent]])
    child = await w.assignment(after=given)
    await w.claim(child)
    await w.deliver(child, "Good morning")
    await w.result("bob", request)
    return {name: (await w.balance(name) - before[name]) // 1000 for name in names}


async def test_an_approved_agent_works_like_a_configured_one_without_a_restart() -> None:
    async with world(marketplace="approved", payouts={"enabled": False}, web={"domain": "pay.test"}) as w:
        await w.fund("bob", 5_000)
        await w.node_joins(kinds=[5002])
        heidi, bob = encode_npub(w.keys["heidi"].pubkey), await w.join("bob")
        skill, agent = (
            listing(w, "heidi", "skill:read", skill_of(w)),
            listing(w, "heidi", "agent:translate", agent_of(w)),
        )
        said = await answer_to(w, "heidi", agent)
        full = full_id("translate", w.keys["heidi"].pubkey)
        assert said.startswith(f"Your agent Translator (agent:{full}) waits for approval.")
        assert "uses skills that are not registered yet: read." in said
        await answer_to(w, "heidi", skill)
        assert "not in service" in await operator(w, "market", "approve", agent.id)
        await operator(w, "market", "approve", skill.id)
        waiting = await operator(w, "market", "list")
        assert [(one["event"], one["state"]) for one in waiting] == [(agent.id, "waiting"), (skill.id, "approved")]
        assert waiting[0]["author"] == heidi
        shown = await operator(w, "market", "show", agent.id)
        assert shown["price"] == "1,000 sat"
        assert shown["by_role"] == {"compute": "50.00 %", "app": "35.00 %", "api": "10.00 %", "model": "5.00 %"}
        assert {line["note"] for line in shown["who_gets_what"]} == {"new"}
        # written in another way than below: the same words in the same second would be the same message
        assert "Translator" not in await bob.ask(w.bot, "Agents")
        await operator(w, "market", "approve", agent.id)
        pubkey = await in_service(w, "heidi", "translate")
        assert f"Translator, 1,000 sat: job {full}" in await bob.ask(w.bot, "agents")
        assert await job(w, pubkey) == {"carol": 500, "dave": 100, "grace": 50, "heidi": 350}
        assert "is asked: job" in await bob.ask(w.bot, "job translate Gute Nacht")
        assert "reserved" in await bob.ask(w.bot, f"name {full}")  # nobody's name may look like an author's id
        await w.sound()


async def test_less_for_a_contributor_needs_their_agreement_and_a_declined_share_falls_to_the_rest() -> None:
    async with world(marketplace="approved", payouts={"enabled": False}) as w:
        await w.fund("bob", 5_000)
        await w.node_joins(kinds=[5002])
        await registered(w)
        pubkey, grace = await in_service(w, "heidi", "translate"), await w.join("grace")
        full, shares = full_id("translate", w.keys["heidi"].pubkey), agent_of(w)["shares"]
        less = listing(
            w, "heidi", "agent:translate", agent_of(w, shares=[shares[0], {**shares[1], "amount": "40 sat"}]), later=1
        )
        assert "they must agree first" in await answer_to(w, "heidi", less)
        assert "gives less to people who have not agreed" in await operator(w, "market", "approve", less.id)
        shown = await operator(w, "market", "show", less.id)
        assert shown["must_agree_first"] == [encode_npub(grace.pubkey)]
        lines = {line["role"]: line for line in shown["who_gets_what"]}
        assert (lines["model"]["before"], lines["model"]["after"], lines["model"]["note"]) == (
            "50 sat",
            "40 sat",
            "less",
        )
        assert await job(w, pubkey) == {"carol": 500, "dave": 100, "grace": 50, "heidi": 350}  # the approved one works
        assert f"version {less.id} gives you less" in await grace.ask(w.bot, "share")
        assert "does not wait" in await grace.ask(w.bot, f"share agent:{full} agree {'00' * 32}")
        assert "You agree" in await grace.ask(w.bot, f"share agent:{full} agree {less.id}")
        assert (await operator(w, "market", "approve", less.id))["state"] == "approved"
        await told(w, "heidi", less)
        assert await in_service(w, "heidi", "translate", version=2) == pubkey
        assert await job(w, pubkey) == {"carol": 500, "dave": 100, "grace": 40, "heidi": 360}
        assert "falls to the rest" in await grace.ask(w.bot, f"share agent:{full} decline")
        await in_service(w, "heidi", "translate", version=3)
        assert await job(w, pubkey) == {"carol": 500, "dave": 100, "grace": 0, "heidi": 400}
        assert "again" in await grace.ask(w.bot, f"share agent:{full} agree")
        await w.sound()


async def test_what_is_wrong_is_told_and_a_withdrawn_agent_goes_out_of_service() -> None:
    async with world(marketplace="approved", payouts={"enabled": False}) as w:
        wrong = listing(w, "heidi", "agent:translate", agent_of(w, rest="alice", price="12"))
        said = await answer_to(w, "heidi", wrong)
        assert "was not taken" in said
        assert "price: found '12'" in said
        too_much = listing(w, "heidi", "agent:translate", agent_of(w, skills=[], payer_referrer="600 sat"), later=1)
        assert "payer_referrer: found" in await answer_to(w, "heidi", too_much)
        _, agent = await registered(w, later=2)
        pubkey, bob = await in_service(w, "heidi", "translate"), await w.join("bob")
        asked = await bob.publish(5002, "", [["i", "Guten Morgen", "text"], ["p", pubkey]])
        await w.feedback("bob", asked, "payment-required")
        heidi = await w.join("heidi")
        address = f"37172:{heidi.pubkey}:agent:translate"
        gone = heidi.keypair.sign(kind=5, content="", tags=[("a", address)], created_at=int(time.time()) + 10)
        assert "is withdrawn" in await answer_to(w, "heidi", gone)

        async def taken_back() -> bool:
            return bool(await w.rows("SELECT 1 FROM outbox WHERE event LIKE '%not offered any more%'"))

        await w.until(taken_back)
        assert "Translator" not in await bob.ask(w.bot, "agents")
        assert "withdrawn" in await operator(w, "market", "approve", agent)
        again = listing(w, "heidi", "agent:translate", agent_of(w, shares=[]), later=20)
        assert "they must agree first" in await answer_to(w, "heidi", again)  # to withdraw takes nothing from anybody
        await w.sound()


async def test_a_closed_market_takes_nothing() -> None:
    async with world() as w:
        event = listing(w, "heidi", "skill:read", skill_of(w))
        await (await w.join("heidi")).send(event)
        await (await w.join("heidi")).ask(w.bot, "balance")
        assert await w.rows("SELECT 1 FROM inbox WHERE kind = 37172") == []
