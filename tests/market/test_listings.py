"""What authors register, on each kind of database: what waits, what is refused, what each limit holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from handlers.market import plan_approved
from handlers.states import LISTING, ListingState, ListingStep
from relaybot.errors import IllegalStep, Rejected
from splits.market import full_id
from splits.resolved import ResolvedSplit
from tests.documents.cast import key_of
from tests.market.conftest import AGENT, SKILL, Stall

HEIDI, DAVE, GRACE = (key_of(name).pubkey for name in ("heidi", "dave", "grace"))
FULL, READ = full_id("translate", HEIDI), full_id("read", HEIDI)


async def both(stall: Stall) -> tuple[Any, Any]:
    """Register a skill and an agent that uses it, and approve both."""
    skill, agent = stall.listing("skill:read", SKILL), stall.listing("agent:translate", AGENT)
    assert "waits for approval" in await stall.hear(skill)
    assert "waits for approval" in await stall.hear(agent)
    await stall.approve(skill, agent)
    return skill, agent


def split_in_service(stall: Stall) -> ResolvedSplit:
    (agent,) = stall.bot.agents.values()
    assert (agent.id, agent.author) == (FULL, HEIDI)
    return agent.split


async def test_the_newest_version_waits_and_the_approved_one_goes_on(stall: Stall) -> None:
    _, first = await both(stall)
    dearer = stall.listing("agent:translate", {**AGENT, "price": "2000 sat"}, at=1)
    dearest = stall.listing("agent:translate", {**AGENT, "price": "3000 sat"}, at=2)
    for version in (dearer, dearest):
        assert "waits for approval" in await stall.hear(version)
    await stall.market.refresh()
    assert split_in_service(stall).price_max == 1_000_000
    with pytest.raises(Rejected, match="this version is replaced"):
        await plan_approved(stall.bot, dearer.id)
    assert await stall.hear(stall.listing("agent:translate", AGENT, at=1)) == "an older version"
    await stall.approve(dearest)
    assert split_in_service(stall).price_max == 3_000_000
    rows = await stall.bot.book.database.fetch("SELECT id, state FROM listing_versions")
    states = {row["id"]: row["state"] for row in rows}
    assert [states[one.id] for one in (first, dearer, dearest)] == ["replaced", "replaced", "approved"]


async def test_an_agent_keeps_the_versions_of_skills_it_was_approved_with(stall: Stall) -> None:
    await both(stall)
    shares = [{**SKILL["shares"][0], "amount": "300 sat"}]  # type: ignore[dict-item]
    more = stall.listing("skill:read", {**SKILL, "shares": shares}, at=1)
    await stall.hear(more)
    await stall.approve(more)
    assert [share.value for share in split_in_service(stall).pot.shares if share.to == DAVE] == [100_000]
    anew = stall.listing("agent:translate", {**AGENT, "about": "with the new skill"}, at=1)
    await stall.hear(anew)
    await stall.approve(anew)
    assert [share.value for share in split_in_service(stall).pot.shares if share.to == DAVE] == [300_000]


async def test_a_withdrawn_skill_takes_the_agents_that_use_it_out_of_service(stall: Stall) -> None:
    skill, agent = await both(stall)
    by_id = key_of("heidi").sign(kind=5, content="", tags=[("e", skill.id)], created_at=stall.clock.now())
    mallory = key_of("bob").sign(kind=5, content="", tags=[("e", agent.id)], created_at=stall.clock.now())
    assert await stall.hear(mallory) == "nothing of ours to cancel"
    assert f"skill:{READ} is withdrawn" in await stall.hear(by_id)
    await stall.market.refresh()
    assert not stall.bot.agents
    assert [one for one, _ in await stall.market.retired()] == [FULL]
    address = f"37172:{HEIDI}:agent:translate"
    earlier = key_of("heidi").sign(kind=5, content="", tags=[("a", address)], created_at=stall.clock.now() - 1)
    assert await stall.hear(earlier) == "nothing of ours to cancel"  # NIP-09: versions up to its date
    gone = key_of("heidi").sign(kind=5, content="", tags=[("a", address)], created_at=stall.clock.now() + 1)
    assert f"agent:{FULL} is withdrawn" in await stall.hear(gone)
    assert await stall.hear(gone) == "nothing of ours to cancel"
    assert await stall.hear(stall.listing("agent:translate", AGENT, at=1)) != ""


async def test_one_deletion_may_name_several_versions_of_one_agent(stall: Stall) -> None:
    _, agent = await both(stall)
    dearer = stall.listing("agent:translate", {**AGENT, "price": "2000 sat"}, at=1)
    await stall.hear(dearer)
    tags = [("e", one.id) for one in (agent, dearer)]
    await stall.hear(key_of("heidi").sign(kind=5, content="", tags=tags, created_at=stall.clock.now() + 2))
    await stall.market.refresh()
    assert not stall.bot.agents
    rows = await stall.bot.book.database.rows_by_id("listing_versions", [agent.id, dearer.id])
    assert {row["state"] for row in rows.values()} == {"withdrawn"}


async def test_the_operator_refuses_and_takes_out_of_service_and_says_why(stall: Stall) -> None:
    _, agent = await both(stall)
    await stall.told()
    worse = stall.listing("agent:translate", {**AGENT, "price": "9000 sat"}, at=1)
    await stall.hear(worse)
    await stall.refuse(worse, "too dear")
    assert (await stall.told())[HEIDI] == f"Your agent Translator (agent:{FULL}) is refused: too dear."
    assert split_in_service(stall).price_max == 1_000_000
    await stall.refuse(agent)
    assert (await stall.told())[HEIDI] == f"Your agent Translator (agent:{FULL}) is taken out of service."
    assert not stall.bot.agents
    for version in (agent, worse):
        with pytest.raises(Rejected, match="this version is refused"):
            await plan_approved(stall.bot, version.id)
    with pytest.raises(Rejected, match="there is no such version"):
        await plan_approved(stall.bot, "00" * 32)


async def test_a_declined_share_falls_to_the_rest_and_an_agreement_is_to_one_version(stall: Stall) -> None:
    await both(stall)
    assert "no skill or agent of that id" in await stall.ask("bob", "agent:nothing", "decline")
    assert await stall.ask("bob") == "Nobody's skill or agent gives you a share."
    assert await stall.ask("bob", "nonsense") == "say which, and agree or decline"
    assert f"skill:{READ}" in await stall.ask("dave")
    assert "falls to the rest" in await stall.ask("dave", f"skill:{READ}", "decline")
    assert "takes no share of your skill" in (await stall.told())[HEIDI]
    assert DAVE not in split_in_service(stall).people()
    assert "declined" in await stall.ask("dave")
    assert "falls to the rest" in await stall.ask("dave", f"skill:{READ}", "decline")
    assert "take it first" in await stall.ask("dave", f"skill:{READ}", "agree", "00" * 32)
    without_dave = stall.listing("skill:read", {"name": "Read"}, at=1)
    assert "must agree" not in await stall.hear(without_dave)  # who takes nothing is asked nothing
    assert "again" in await stall.ask("dave", f"skill:{READ}", "agree")
    assert DAVE in split_in_service(stall).people()
    with pytest.raises(Rejected, match="gives less to people who have not agreed"):
        await plan_approved(stall.bot, without_dave.id)
    assert "name the version" in await stall.ask("dave", f"skill:{READ}", "agree")
    other = stall.listing("skill:read", {"name": "Read", "about": "newer"}, at=2)
    assert "must agree first" in await stall.hear(other)
    assert "does not wait" in await stall.ask("dave", f"skill:{READ}", "agree", without_dave.id)
    assert f"share skill:{READ} agree {other.id}" in await stall.ask("dave")
    assert "You agree" in await stall.ask("dave", f"skill:{READ}", "agree", other.id)
    assert "gives you less" not in await stall.ask("dave")
    await stall.approve(other)


async def test_who_is_reached_is_told_that_they_are_named_and_asked_before_they_get_less(stall: Stall) -> None:
    relays = key_of("grace").sign(
        kind=10050, content="", tags=[("relay", "wss://relay.example.com")], created_at=stall.clock.now()
    )
    await stall.hear(relays)
    await both(stall)
    assert f"gives you a share of agent:{FULL}, Translator" in (await stall.told())[GRACE]
    less = stall.listing("agent:translate", {**AGENT, "shares": []}, at=1)
    await stall.hear(less)
    rows = await stall.bot.book.database.fetch("SELECT COUNT(*) AS number FROM outbox")
    assert rows[0]["number"] > 0


async def test_what_can_never_be_paid_is_refused_by_the_author_s_own_paths(stall: Stall) -> None:
    await both(stall)
    greedy = stall.listing("agent:translate", {**AGENT, "price": "120 sat"}, at=1)
    said = await stall.hear(greedy)
    assert "was not taken" in said
    assert "\nshares[0]: found '160 sat with all before it'" in said
    circle = stall.listing("skill:read", {**SKILL, "skills": ["read"]}, at=1)
    assert "circle" in await stall.hear(circle)
    wide = {
        **AGENT,
        "name": "W",
        "shares": [{"percent": "1%", "split": {"shares": AGENT["shares"], "rest": DAVE}}] * 64,
    }
    assert "\nthe whole: found" not in await stall.hear(stall.listing("agent:wide", wide))
    lost = stall.listing("agent:lost", {**AGENT, "name": "L", "skills": ["nowhere", "fetch.operator"]})
    assert f"not registered yet: {full_id('nowhere', HEIDI)}" in await stall.hear(lost)
    with pytest.raises(Rejected, match="a skill that is not in service"):
        await plan_approved(stall.bot, lost.id)


async def test_names_that_customers_could_mistake_are_refused(stall: Stall) -> None:
    await both(stall)
    other = stall.listing("agent:mine", {**AGENT, "name": "TRANSLATOR", "skills": []}, author="alice")
    await stall.hear(other)
    with pytest.raises(Rejected, match="another agent has this name"):
        await plan_approved(stall.bot, other.id)


async def test_each_limit_holds(small: Stall) -> None:
    huge = small.listing("skill:huge", {"name": "Huge", "about": "x" * 1_000})
    assert "more than 1000 bytes" in await small.hear(huge)
    assert "from the future" in await small.hear(small.listing("skill:a", SKILL, at=1_000))
    for name in ("a", "b"):
        assert "waits" in await small.hear(small.listing(f"skill:{name}", SKILL))
    with pytest.raises(Rejected, match="too many versions of this author today"):
        await small.hear(small.listing("skill:c", SKILL))
    small.clock.advance(86_400)
    assert "you have registered 2 already" in await small.hear(small.listing("skill:c", SKILL))
    assert "waits" in await small.hear(small.listing("skill:a", SKILL, author="alice"))
    assert "too many wait" in await small.hear(small.listing("skill:b", SKILL, author="alice"))
    assert "waits" in await small.hear(small.listing("skill:a", SKILL, author="alice", at=1))  # in the place of its own
    with pytest.raises(Rejected, match="d: not skill"):
        await small.hear(small.listing("person:a", SKILL))


async def test_an_id_that_another_author_has_is_not_given_twice(small: Stall) -> None:
    await small.hear(small.listing("skill:a", SKILL))
    row = await small.bot.book.row("listings", f"skill:{full_id('a', HEIDI)}")
    assert row is not None
    alike = key_of("alice").sign(
        kind=37172, content=json.dumps(SKILL), tags=[("d", "skill:a")], created_at=small.clock.now()
    )
    taken = {
        "author": HEIDI,
        "approved": "",
        "agreed": "",
        "waiting": "",
        "stated_at": 0,
        "created_at": 0,
        "version": 1,
    }
    await small.bot.book.database.change({}, lambda _: [write(f"skill:{full_id('a', alike.pubkey)}", taken)])
    assert "this id is another author's" in await small.hear(alike)


def write(row_id: str, values: dict[str, Any]) -> Any:
    from relaybot.db.database import Write  # noqa: PLC0415  only a test writes past the book

    return Write("listings", ("id", *values), [(row_id, *values.values())], new=True)


async def test_many_skills_that_use_each_other_have_an_end(stall: Stall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.registered.SKILLS_MAX", 1)
    await both(stall)
    two = stall.listing("skill:two", {"name": "Two", "skills": ["read"]})
    await stall.hear(two)
    assert "1 skills at most" in await stall.hear(stall.listing("agent:b", {**AGENT, "name": "B", "skills": ["two"]}))


def test_a_version_that_was_decided_about_is_not_decided_about_again() -> None:
    for state in (ListingState.REFUSED, ListingState.REPLACED, ListingState.WITHDRAWN):
        for step in ListingStep:
            with pytest.raises(IllegalStep):
                LISTING.after(state, step)
