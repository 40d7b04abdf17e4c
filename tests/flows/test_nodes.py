"""Compute nodes that come and go: who is admitted, who gets jobs, who fails and comes back."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from relaybot.nostr import nip19, nip89
from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.keys import KeyPair
from tests.cli.test_cli import answer, invoke
from tests.flows.harness import PRICE, World, assignments, is_feedback, world
from tests.flows.test_hostile import in_state

SMALL: dict[str, Any] = {"name": "Small", "kinds": [5050], "price": "100 sat"}


async def told(w: World, name: str, status: str) -> str:
    """Wait until a node was told about its announcement, and return what."""
    person = await w.join(name)
    event = await person.wait_for(
        f"7000 {status} on its announcement",
        lambda one: one.kind == 7000 and one.pubkey == w.bot and one.tag("status") == status,
    )
    return event.tags_named("status")[0][2]


async def test_a_node_waits_for_the_operators_word_and_needs_no_restart() -> None:
    async with world(workers={"admission": "approved", "allowed": []}) as w:
        await w.fund("bob", 24_000)
        await w.node_joins("mallory")
        npub = nip19.encode_npub(w.keys["mallory"].pubkey)
        assert "approval" in await told(w, "mallory", "error")
        first = await w.request("bob")
        await w.feedback("bob", first, "processing")
        (waiting,) = await answer(w, "workers", "list", "--waiting")
        assert (waiting["npub"], waiting["admission"], waiting["status"]) == (npub, "waiting", "idle")
        assert (await answer(w, "workers", "approve", npub))["known"]
        assert await told(w, "mallory", "processing") == "admitted"
        await w.deliver(await w.assignment("mallory"), name="mallory")
        await w.feedback("bob", first, "success")
        assert await w.balance("mallory") == 1_000_000
        (known,) = await answer(w, "workers", "list")
        assert (known["admission"], known["done"], known["failed"]) == ("admitted", 1, 0)
        await answer(w, "workers", "refuse", npub)
        second = await w.request("bob", "another")
        await w.feedback("bob", second, "processing")
        w.clock.advance(w.config.jobs.queue_seconds + 1)
        assert "no compute node was free" in (await w.feedback("bob", second, "error")).text
        assert len(assignments(await w.join("mallory"))) == 1
        await w.sound()


async def test_a_closed_service_tells_strangers_so_and_no_approval_opens_it() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.node_joins("mallory")
        assert "workers.allowed" in await told(w, "mallory", "error")
        refused = await invoke(w, "workers", "approve", nip19.encode_npub(w.keys["mallory"].pubkey))
        assert "closed" in str(refused.exception)
        await w.request("bob")
        await w.node_joins("carol")
        await w.deliver(await w.assignment("carol"))
        assert assignments(await w.join("mallory")) == []


async def test_a_stranger_is_taken_on_probation_small_jobs_first() -> None:
    async with world(agents={"small": SMALL}, workers={"admission": "open", "allowed": [], "probation_jobs": 1}) as w:
        assert w.addresses is not None
        await w.fund("bob", 12_200)
        await w.node_joins("mallory")
        large = await w.request("bob")
        await w.feedback("bob", large, "processing")
        bob = await w.join("bob")
        small = await bob.publish(5050, "", [["i", "x", "text"], ["p", w.addresses.agents["small"]]])
        await w.deliver(await w.assignment("mallory"), name="mallory")
        await w.feedback("bob", small, "success")
        await w.deliver(await w.assignment("mallory", after=1), name="mallory")  # it has shown what it can
        await w.feedback("bob", large, "success")
        await w.sound()


async def test_strangers_do_not_fill_the_book_and_an_approved_node_still_comes_in() -> None:
    async with world(workers={"admission": "approved", "allowed": ["carol"], "strangers_max": 3}) as w:
        mallory = await w.join("mallory")
        for number in range(4):
            await mallory.send(announcement(w, KeyPair(bytes([number + 1]) * 32)))
        late = announcement(w, w.keys["dave"])
        await mallory.send(late)
        assert "too many nodes" in await w.handled(late)
        await w.node_joins("carol")
        await answer(w, "workers", "approve", nip19.encode_npub(w.keys["dave"].pubkey))
        again = announcement(w, w.keys["dave"], created_at=int(time.time()) + 1)
        await mallory.send(again)
        assert await w.handled(again) == f"worker/{again.id}"


async def test_a_heartbeat_flood_changes_nothing() -> None:
    async with world() as w:
        carol = await w.node_joins()
        now = int(time.time())
        for ahead in range(1, 101):  # each newer than the one before
            await carol.send(
                nip89.build_heartbeat(
                    carol.keypair, service=w.bot, status="idle", expiration=now + 1_100, now=now + ahead
                )
            )
        await w.until(lambda: beats_handled(w, 101))
        (row,) = await w.rows("SELECT version FROM workers WHERE id = :id", id=carol.pubkey)
        assert row["version"] <= 6  # one each half minute of what they say the time is


async def test_the_next_node_gets_what_the_first_has_failed_and_it_is_remembered() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.node_joins("carol")
        request = await w.request("bob")
        child = await w.assignment("carol")
        await w.node_joins("dave")
        await w.until(partial(is_known, w, "dave"))
        await w.claim(child, status="error", text="out of memory")
        await w.deliver(await w.assignment("dave"), "by dave", name="dave")
        assert (await w.result("bob", request)).content == "by dave"
        owed = [parse_event(row["event"]) for row in await w.rows("SELECT event FROM outbox")]
        assert [event.tag("e") for event in owed if event.kind == 5] == [child.id]  # taken back
        known = {row["npub"]: row for row in await answer(w, "workers", "list")}
        carol, dave = (known[nip19.encode_npub(w.keys[name].pubkey)] for name in ("carol", "dave"))
        assert (carol["failed"], carol["done"], dave["failed"], dave["done"]) == (1, 0, 0, 1)
        assert carol["success_percent"] < dave["success_percent"]
        assert await w.balance("carol") == 0
        assert not [e for e in (await w.join("bob")).seen() if is_feedback(e, request, "error")]
        await w.sound()


async def test_a_thousand_dead_nodes_get_no_jobs_and_hold_up_none() -> None:
    async with world(workers={"admission": "open", "strangers_max": 2_000}) as w:
        await w.fund("bob", 12_000)
        now = int(time.time())
        dead = ", ".join(
            f"('{number:064x}', 1, '[5050]', {now}, {now + 9_000}, 'idle', {now - 901}, {now + 9_000}, 0, {now})"
            for number in range(1_000)
        )
        columns = (
            "id, version, kinds, announced_at, announced_until, status, beat_at, beat_until, assigned_at, changed_at"
        )
        await w.tamper(f"INSERT INTO workers ({columns}) VALUES {dead}")  # noqa: S608  our own rows
        await w.node_joins()
        request = await w.request("bob")
        await w.deliver(await w.assignment())
        await w.feedback("bob", request, "success")
        assert len(await w.rows("SELECT id FROM assignments")) == 1


async def test_two_nodes_with_one_key_are_one_node_and_are_paid_once() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.node_joins()
        request = await w.request("bob")
        child = await w.assignment()
        first = await w.deliver(child, "from the first")
        second = await w.deliver(child, "from its twin")
        await w.feedback("bob", request, "success")
        notes = [await w.handled(first), await w.handled(second)]
        assert [note.endswith("/capture") for note in notes].count(True) == 1
        assert await w.balance("carol") == 1_000_000
        await w.sound()


async def test_no_customer_waits_behind_anothers_queue() -> None:
    async with world(workers={"open_jobs_max": 1}) as w:
        await w.fund("mallory", 120_000)
        await w.fund("bob", 12_000)
        greedy = [await w.request("mallory", f"{number}") for number in range(10)]
        for request in greedy:
            await w.feedback("mallory", request, "processing")
        patient = await w.request("bob")
        await w.feedback("bob", patient, "processing")
        await w.node_joins()
        for place in range(2):
            await w.deliver(await w.assignment(after=place))
        await w.feedback("bob", patient, "success")
        assert await w.balance("bob") == 0
        held = await w.rows("SELECT id FROM jobs WHERE customer = :id", id=w.keys["mallory"].pubkey)
        assert len(held) == 10
        await w.sound()


async def test_a_full_queue_takes_no_more_jobs_and_says_so() -> None:
    async with world(jobs={"queue_max": 1}) as w:
        await w.fund("bob", 24_000)
        first = await w.request("bob")
        await w.feedback("bob", first, "processing")
        w.clock.advance(2)  # the length of the queue is looked at each second
        refused = await w.feedback("bob", await w.request("bob", "two"), "error")
        assert "the queue is full" in refused.text
        assert await w.balance("bob") == PRICE
        await w.until(lambda: in_state(w, first, "held"))


async def beats_handled(w: World, count: int) -> bool:
    rows = await w.rows("SELECT COUNT(*) AS beats FROM inbox WHERE kind = 11998 AND state = 'done'")
    return bool(rows[0]["beats"] == count)


async def is_known(w: World, name: str) -> bool:
    rows = await w.rows("SELECT beat_at FROM workers WHERE id = :id", id=w.keys[name].pubkey)
    return bool(rows) and rows[0]["beat_at"] > 0


def announcement(w: World, keypair: KeyPair, created_at: int | None = None) -> Event:
    now = int(time.time())
    return nip89.build_worker_announcement(
        keypair,
        identifier="bee",
        service=w.bot,
        kinds=[5050],
        name="a node",
        about="",
        expiration=now + 3600,
        now=created_at or now,
    )


async def test_a_result_that_does_not_fit_the_agents_schema_is_the_nodes_error() -> None:
    schema = {"type": "object", "required": ["answer"], "properties": {"answer": {"type": "integer"}}}
    async with world(agents={"small": SMALL | {"result_schema": schema}}) as w:
        assert w.addresses is not None
        await w.fund("bob", 100)
        for name in ("carol", "dave"):
            await w.node_joins(name)
            await w.until(partial(is_known, w, name))
        bob = await w.join("bob")
        request = await bob.publish(5050, "", [["i", "x", "text"], ["p", w.addresses.agents["small"]]])
        first = await first_asked(w, "carol", "dave")
        other = "dave" if first == "carol" else "carol"
        await w.deliver(await w.assignment(first), "forty-two", name=first)
        await w.deliver(await w.assignment(other), '{"answer": "42"}', name=other)
        failed = await w.feedback("bob", request, "error")
        assert "does not fit the agent's schema, $.answer: not of type integer" in failed.text
        assert await w.balance("bob") == 100_000
        again = await bob.publish(5050, "", [["i", "y", "text"], ["p", w.addresses.agents["small"]]])
        name = await first_asked(w, "carol", "dave", after=1)
        await w.deliver(await w.assignment(name, after=1), '{"answer": 42}', name=name)
        await w.feedback("bob", again, "success")
        await w.sound()


async def first_asked(w: World, *names: str, after: int = 0) -> str:
    """Return which of these nodes has its assignment number `after` first."""
    people = [await w.join(name) for name in names]
    found: list[str] = []

    async def asked() -> bool:
        found[:] = [person.name for person in people if len(assignments(person)) > after]
        return bool(found)

    await w.until(asked)
    return found[0]
