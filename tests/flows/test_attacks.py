"""Attacks on jobs, over real sockets: repeated, raced, forged, late, stale."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from relaybot.clock import SetClock
from relaybot.connection import RelayConnection
from relaybot.nostr import nip89, nip90
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from relaybot.relay.events import EventStore
from relaybot.relay.hub import Hub
from relaybot.relay.server import RelayServer
from relaybot.relay.settings import RelayLimits, RelaySettings
from tests.flows.harness import PRICE, World, assignments, is_feedback, world


def signed(keypair: KeyPair, agent: str, *, created_at: int | None = None, tags: tuple[list[str], ...] = ()) -> Event:
    """Return a job request to AutoDev."""
    base = [["i", "Fix issue 42", "text"], ["p", agent]]
    return keypair.sign(kind=5050, content="", tags=[*base, *tags], created_at=created_at or int(time.time()))


async def test_a5_the_same_request_again_gets_the_first_answer_and_is_charged_once() -> None:
    async with world() as w:
        await w.fund("bob", 24_000)
        bob = await w.join("bob")
        request = signed(bob.keypair, w.agent)
        await bob.send(request)
        await w.feedback("bob", request, "processing")
        await bob.send(request)
        await w.stop()
        await w.start()
        await bob.send(request)
        later = signed(bob.keypair, w.agent, tags=(["i", "another", "text"],))
        await bob.send(later)
        await w.feedback("bob", later, "processing")
        assert await w.account(f"hold/job/{request.id}/sats") == PRICE
        assert await w.balance("bob") == 0
        assert len([one for one in bob.seen() if is_feedback(one, request, "processing")]) == 1
        await w.sound()


async def test_a8_two_jobs_at_once_against_a_balance_that_covers_one() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        bob = await w.join("bob")
        requests = [signed(bob.keypair, w.agent, tags=(["i", f"{number}", "text"],)) for number in range(2)]
        await asyncio.gather(*(bob.send(request) for request in requests))
        for request in requests:
            await w.handled(request)
        states = sorted([(await w.job(request))["state"] for request in requests])
        assert states == ["awaiting_payment", "held"]
        assert await w.balance("bob") == 0
        await w.sound()


async def test_i1_the_same_event_from_three_relays_and_after_a_restart_is_handled_once() -> None:
    async with world() as one, world() as other, world(start=False) as w:
        urls = [f"ws://127.0.0.1:{one.port}", f"ws://127.0.0.1:{other.port}"]
        w.config = w.config.model_copy(update={"relays": tuple(urls)})
        await w.start()
        bob = await w.join("bob")
        one.keys, other.keys = w.keys, w.keys
        request = signed(bob.keypair, w.agent)
        for person in (bob, await one.join("bob"), await other.join("bob")):
            await person.send(request)
        asked = await w.feedback("bob", request, "payment-required")
        elsewhere = await one.feedback("bob", request, "payment-required")
        assert elsewhere == asked
        await w.stop()
        await w.start()
        await bob.send(request)
        await w.handled(request)
        assert len(await w.rows("SELECT id FROM jobs")) == 1
        assert len(await w.rows("SELECT id FROM invoices")) == 1


async def test_i2_a_forged_request_is_refused_by_the_relay_and_never_handled() -> None:
    async with world() as w:
        bob = await w.join("bob")
        good = signed(bob.keypair, w.agent)
        forged = Event(
            id=good.id,
            pubkey=good.pubkey,
            created_at=good.created_at,
            kind=good.kind,
            tags=good.tags,
            content="",
            sig=secrets.token_hex(64),
        )
        with pytest.raises(Exception, match="invalid"):
            await bob.send(forged)
        assert await w.rows("SELECT id FROM inbox") == []


@pytest.mark.parametrize(
    ("age", "tags", "reason"),
    [
        (3_700, (), "expired"),
        (-600, (), "future"),
        (0, (["bid", "11999999"],), "bid"),
        (0, (["bid", "a lot"],), "bid"),
        (0, (["i", "x", "nonsense"],), "i"),
    ],
)
async def test_i2_a_request_that_cannot_be_served_is_told_why_and_not_worked(
    age: int, tags: tuple[list[str], ...], reason: str
) -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        bob = await w.join("bob")
        request = signed(bob.keypair, w.agent, created_at=int(time.time()) - age, tags=tags)
        await bob.send(request)
        refused = await w.feedback("bob", request, "error")
        assert reason in refused.text
        assert await w.rows("SELECT id FROM jobs") == []
        assert await w.balance("bob") == PRICE


async def test_i2_a_request_that_has_expired_does_not_get_past_our_own_relay() -> None:
    async with world() as w:
        bob = await w.join("bob")
        request = signed(bob.keypair, w.agent, created_at=int(time.time()) - 10, tags=(["expiration", "1000000000"],))
        with pytest.raises(Exception, match="invalid: the event has expired"):
            await bob.send(request)
        assert await w.rows("SELECT id FROM inbox") == []


@asynccontextmanager
async def a_relay_that_is_late(path: Path, seconds: int) -> AsyncIterator[str]:
    """Run somebody else's relay, to which nothing of the last `seconds` has happened yet."""
    async with AsyncExitStack() as stack:
        store = await EventStore.open(path, RelayLimits())
        stack.push_async_callback(store.close)
        hub = Hub(store, RelayLimits(), SetClock(int(time.time()) - seconds))
        stack.push_async_callback(hub.close)
        server = RelayServer(hub, RelaySettings())
        stack.push_async_callback(server.close)
        host, port = await server.start("127.0.0.1", 0)
        yield f"ws://{host}:{port}"


async def test_i2_a_request_that_expired_before_another_relay_brought_it_is_told_so_and_not_worked(
    tmp_path: Path,
) -> None:
    async with a_relay_that_is_late(tmp_path / "events.db", 100) as url, world(relays=[url]) as w:
        await w.fund("bob", 12_000)
        bob, now = await w.join("bob"), int(time.time())
        request = signed(bob.keypair, w.agent, created_at=now - 200, tags=(["expiration", str(now - 50)],))
        elsewhere = RelayConnection(url, jitter=lambda: 0.0, keypair=bob.keypair)
        w.tasks.create_task(elsewhere.run())
        await elsewhere.next_connection()
        assert (await elsewhere.publish(request)).accepted
        refused = await w.feedback("bob", request, "error")
        assert "expiration: the request has expired" in refused.text
        assert await w.rows("SELECT id FROM jobs") == []
        assert await w.balance("bob") == PRICE


async def test_a_request_of_the_wrong_kind_is_told_which_kinds_there_are() -> None:
    async with world(agents={"autodev": {"name": "A", "kinds": [5050, 5100], "price": "10 sat"}}, skills={}) as w:
        request = await w.request("bob", kind=5050)
        await w.feedback("bob", request, "payment-required")


async def test_requests_to_others_are_not_answered() -> None:
    async with world() as w:
        bob = await w.join("bob")
        request = signed(bob.keypair, w.keys["mallory"].pubkey)
        await bob.send(request)
        mine = await w.request("bob")
        await w.feedback("bob", mine, "payment-required")
        assert await w.rows("SELECT id FROM inbox WHERE id = :id", id=request.id) == []


async def test_i3_a_result_from_another_key_pays_nobody() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.node_joins("carol")
        request = await w.request("bob")
        child = await w.assignment("carol")
        stolen = await w.deliver(child, name="mallory")
        assert "another key" in await w.handled(stolen)
        assert (await w.job(request))["state"] in {"assigned", "working"}
        await w.deliver(child, name="carol")
        await w.feedback("bob", request, "success")
        assert await w.balance("mallory") == 0
        assert await w.balance("carol") == 1_000_000


async def test_i3_a_second_result_pays_nobody_twice() -> None:
    async with world() as w:
        await w.fund("bob", 24_000)
        await w.node_joins()
        request = await w.request("bob")
        child = await w.assignment()
        await w.deliver(child, "first")
        await w.feedback("bob", request, "success")
        again = await w.deliver(child, "second")
        assert "finished" in await w.handled(again)
        assert await w.balance("carol") == 1_000_000
        assert await w.account("platform/revenue/sats") == 7_900_000
        await w.sound()


async def test_i3_a_result_after_the_lease_pays_nobody() -> None:
    async with world(jobs={"lease_seconds": 60, "claim_seconds": 60, "attempts_max": 1}) as w:
        await w.fund("bob", 12_000)
        await w.node_joins()
        request = await w.request("bob")
        child = await w.assignment()
        w.clock.advance(60)
        refused = await w.feedback("bob", request, "error")
        assert "in time" in refused.text
        late = await w.deliver(child)
        assert "pays nobody" in await w.handled(late)
        assert await w.balance("carol") == 0
        assert await w.balance("bob") == PRICE


async def test_i3_an_amount_above_the_bid_changes_nothing() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        carol = await w.node_joins()
        request = await w.request("bob")
        child = await w.assignment()
        tags = [["e", child.id], ["p", w.bot], ["amount", "99000000000"], ["usage", "tokens", "999999999"]]
        await carol.publish(6050, "all mine", tags)
        await w.feedback("bob", request, "success")
        assert await w.balance("carol") == 1_000_000
        await w.sound()


@pytest.mark.parametrize(
    ("tags", "content", "reason"),
    [
        ((["usage", "tokens", "-5"],), "x", "usage"),
        ((), "x" * 40_000, "too large"),
        ((["encrypted"],), "not encrypted at all", "cannot be used"),
    ],
)
async def test_i3_a_result_that_cannot_be_used_is_the_nodes_error(
    tags: tuple[list[str], ...], content: str, reason: str
) -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        carol = await w.node_joins()
        request = await w.request("bob")
        child = await w.assignment()
        await carol.publish(6050, content, [["e", child.id], ["p", w.bot], *tags])
        refused = await w.feedback("bob", request, "error")
        assert reason in refused.text
        assert await w.balance("bob") == PRICE
        assert await w.balance("carol") == 0
        await w.sound()


async def test_a_node_that_was_not_admitted_gets_no_job() -> None:
    async with world(jobs={"queue_seconds": 1}) as w:
        await w.fund("bob", 12_000)
        mallory = await w.node_joins("mallory")
        request = await w.request("bob")
        await w.feedback("bob", request, "error")
        assert assignments(mallory) == []


async def test_a_dead_node_gets_no_job() -> None:
    async with world(jobs={"queue_seconds": 1}) as w:
        await w.fund("bob", 12_000)
        carol = await w.join("carol")
        now = int(time.time())
        await w.node_joins("carol")
        old = nip89.build_heartbeat(carol.keypair, service=w.bot, status="busy", expiration=now + 999, now=now + 1)
        await carol.send(old)
        await w.handled(old)
        request = await w.request("bob")
        await w.feedback("bob", request, "error")
        assert assignments(carol) == []


@pytest.mark.parametrize("first", ["cancel", "result"])
async def test_i4_a_cancel_racing_with_the_delivery_ends_in_one_of_the_two(first: str) -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.node_joins()
        request = await w.request("bob")
        child = await w.assignment()
        bob = await w.join("bob")
        cancel = bob.publish(5, "", [["e", request.id]])
        deliver = w.deliver(child)
        both = [cancel, deliver] if first == "cancel" else [deliver, cancel]
        for event in await asyncio.gather(*both):
            await w.handled(event)
        state = (await w.job(request))["state"]
        earned, kept = await w.balance("carol"), await w.balance("bob")
        assert (state, earned, kept) in {("captured", 1_000_000, 0), ("released", 0, PRICE)}
        await w.sound()


async def test_i5_a_result_that_cannot_be_published_is_published_later_the_same_event() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.node_joins()
        request = await w.request("bob")
        await w.deliver(await w.assignment())
        await w.until(lambda: captured(w, request))
        await w.stop()
        owed = await w.rows("SELECT id, event FROM outbox WHERE state = 'pending' OR state = 'sent'")
        await w.start()
        result = await w.result("bob", request)
        assert result.id in {row["id"] for row in owed}
        assert result.id == (await w.job(request))["result"]


async def captured(w: World, request: Event) -> bool:
    """Tell whether the job is captured."""
    return bool((await w.job(request))["state"] == "captured")


async def test_a_result_of_the_wrong_kind_is_no_result() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        carol = await w.node_joins()
        request = await w.request("bob")
        child = await w.assignment()
        wrong = await carol.publish(7000, "", [["status", "success"], ["e", child.id], ["p", w.bot]])
        assert "nothing to change" in await w.handled(wrong)
        stray = await carol.publish(7000, "", [["status", "processing"], ["e", request.id], ["p", w.bot]])
        assert "no assignment of ours" in await w.handled(stray)


async def test_too_many_open_jobs_of_one_customer_are_refused() -> None:
    async with world(jobs={"open_per_customer_max": 1}) as w:
        await w.feedback("bob", await w.request("bob", "one"), "payment-required")
        second = await w.request("bob", "two")
        refused = await w.feedback("bob", second, "error")
        assert "too many open jobs" in refused.text


async def test_an_open_agent_takes_a_request_that_names_nobody() -> None:
    async with world(
        agents={"autodev": {"name": "A", "kinds": [5050], "price": "10 sat", "open": True}}, skills={}
    ) as w:
        bob = await w.join("bob")
        request = await bob.publish(5050, "", [["i", "x", "text"]])
        await w.feedback("bob", request, "payment-required")


async def test_a_node_that_asks_for_nip90_only_is_enough() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        carol = await w.node_joins()
        request = await w.request("bob")
        child = await w.assignment()
        assert nip90.parse_job_request(child, carol.keypair).inputs[0].data == "Fix issue 42"
        await carol.publish(6050, "in the open", [["e", child.id], ["p", w.bot]])
        assert (await w.result("bob", request)).content == "in the open"
