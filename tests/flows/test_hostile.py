"""What strangers, failures and changes of mind do to a running service: it goes on, and no money is lost."""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import time
from functools import partial
from typing import Any

import pytest

from relaybot.app import serve
from relaybot.config import Config
from relaybot.demo.people import Person
from relaybot.errors import BadConfig, Unavailable
from relaybot.nostr import nip17, nip44, nip59, nip90
from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from tests.book.stores import book_file
from tests.flows.harness import PRICE, World, world
from tests.flows.test_attacks import signed

CHEAP: dict[str, Any] = {"name": "Cheap", "kinds": [5100], "price": "10 sat"}


class Failing:
    """A probe: what stands at `borders` is not available."""

    def __init__(self) -> None:
        self.borders: set[str] = set()
        self.failures = 0

    def __call__(self, border: str) -> None:
        if border in self.borders:
            self.failures += 1
            raise Unavailable(f"{border}: failing on purpose")

    async def again(self) -> bool:
        return self.failures > 2


# ---- what the operator changes between two starts


async def test_jobs_of_an_agent_that_has_left_the_config_end_and_nobody_is_charged() -> None:
    async with world() as w:
        await w.fund("bob", 24_000)
        held = await w.request("bob", "held")
        unpaid = await w.request("frank", "not paid yet")
        paid_late = await w.request("eve", "paid after the agent has left")
        await w.feedback("bob", held, "processing")
        invoices = [
            await w.feedback(name, one, "payment-required") for name, one in (("frank", unpaid), ("eve", paid_late))
        ]
        await w.stop()
        w.config = without_agents(w.config)
        await w.start()
        await w.node_joins()
        await (await w.join("eve")).pay(invoices[1].bolt11 or "")
        frank = await w.join("frank")
        await w.handled(await frank.publish(5, "", [["e", unpaid.id]]))
        for request in (held, unpaid, paid_late):
            await w.until(partial(in_state, w, request, "released"))
        assert (await w.balance("bob"), await w.balance("eve")) == (2 * PRICE, PRICE)
        await w.sound()


async def test_a_result_for_an_agent_that_has_left_the_config_is_delivered_and_paid_as_promised() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.node_joins()
        request = await w.request("bob")
        child = await w.assignment()
        await w.claim(child)
        await w.until(lambda: in_state(w, request, "working"))
        await w.stop()
        w.config = without_agents(w.config)
        await w.start()
        await w.deliver(child, "as promised")
        assert (await w.result("bob", request)).content == "as promised"
        assert await w.balance("carol") == 1_000_000
        await w.sound()


async def test_an_encrypted_job_whose_agent_got_another_key_is_given_back() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        request = await encrypted_request(w, "bob")
        await w.feedback("bob", request, "processing")
        await w.stop()
        (w.data / "new.key").write_text(secrets.token_hex(32))
        agent = w.config.agents["autodev"].model_copy(update={"nsec_file": w.data / "new.key"})
        w.config = w.config.model_copy(update={"agents": {"autodev": agent}})
        await w.start()
        await w.node_joins()
        await w.until(lambda: in_state(w, request, "released"))
        assert await w.balance("bob") == PRICE
        await w.sound()


def without_agents(config: Config) -> Config:
    """Return the configuration after the operator has taken all agents out."""
    return type(config).model_validate(config.model_copy(update={"agents": {}}))


async def test_two_agents_with_one_key_are_refused() -> None:
    shared = {"nsec_file": "one.key"}
    async with world(start=False, agents={"one": CHEAP | shared, "two": CHEAP | shared}) as w:
        (w.data / "one.key").write_text(secrets.token_hex(32))
        with pytest.raises(BadConfig, match="no other agent"):
            await serve(w.config, {}, ready=lambda _: None)


# ---- cancelling


async def test_one_deletion_cancels_every_job_it_names() -> None:
    async with world() as w:
        await w.fund("bob", 24_000)
        requests = [await w.request("bob", text) for text in ("one", "two")]
        for request in requests:
            await w.feedback("bob", request, "processing")
        bob = await w.join("bob")
        await w.handled(await bob.publish(5, "", [["e", request.id] for request in requests]))
        assert [(await w.job(request))["state"] for request in requests] == ["released", "released"]
        assert await w.balance("bob") == 2 * PRICE
        await w.sound()


async def test_a_request_that_is_cancelled_before_it_was_handled_is_not_worked() -> None:
    failing = Failing()
    async with world(start=False) as w:
        await w.start(failing)
        failing.borders.add("create_invoice:before")
        bob = await w.join("bob")
        request = signed(bob.keypair, w.agent)
        await bob.send(request)
        await w.handled(await (await w.join("mallory")).publish(5, "", [["e", request.id]]))
        assert await waiting(w, request)  # only its author can cancel it
        await w.handled(await bob.publish(5, "", [["e", request.id]]))
        failing.borders.clear()
        assert "cancelled" in await w.handled(request)
        assert await w.rows("SELECT id FROM jobs") == []


async def waiting(w: World, event: Event) -> bool:
    rows = await w.rows("SELECT state FROM inbox WHERE id = :id", id=event.id)
    return [row["state"] for row in rows] == ["new"]


async def in_state(w: World, request: Event, state: str) -> bool:
    rows = await w.rows("SELECT state FROM jobs WHERE id = :id", id=request.id)
    return [row["state"] for row in rows] == [state]


# ---- starving others


async def test_unpaid_requests_that_wait_for_the_node_hold_up_no_work() -> None:
    failing = Failing()
    async with world(start=False) as w:
        await w.start(failing)
        await w.fund("bob", 12_000)
        await w.node_joins()
        request = await w.request("bob")
        child = await w.assignment()
        failing.borders.add("create_invoice:before")
        mallory = await w.join("mallory")
        for number in range(70):
            await mallory.send(signed(mallory.keypair, w.agent, tags=(["i", f"{number}", "text"],)))
        await w.deliver(child)
        await w.feedback("bob", request, "success")
        assert await w.balance("carol") == 1_000_000


async def test_jobs_that_no_node_can_do_do_not_hide_those_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.assignments.BATCH_MAX", 2)
    async with world(agents={"cheap": CHEAP}) as w:
        await w.fund("mallory", 100)
        await w.fund("bob", 12_000)
        assert w.addresses is not None
        mallory, cheap = await w.join("mallory"), w.addresses.agents["cheap"]
        for number in range(3):
            blocking = await mallory.publish(5100, "", [["i", f"{number}", "text"], ["p", cheap]])
            await w.feedback("mallory", blocking, "processing")
        await asyncio.sleep(0)
        request = await w.request("bob")
        await w.feedback("bob", request, "processing")
        await w.node_joins()
        await w.deliver(await w.assignment())
        await w.feedback("bob", request, "success")


async def test_a_long_chain_of_referrals_ends_the_search_for_a_circle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.referrals.REFERRAL_CHAIN_MAX", 2)
    async with world() as w:
        for name, referrer in (("alice", "bob"), ("bob", "carol"), ("carol", "dave")):
            assert "Thank you" in await (await w.join(name)).ask(w.bot, f"refer {w.keys[referrer].pubkey}")
        answer = await (await w.join("mallory")).ask(w.bot, f"refer {w.keys['alice'].pubkey}")
        assert "chain" in answer


# ---- faults of the disk


async def test_a_full_disk_stops_nothing_for_good_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relaybot.app.CURSOR_SECONDS", 0.01)
    monkeypatch.setattr("relaybot.inbox.RETRY_SECONDS", 0.01)
    failing = Failing()
    async with world(start=False) as w:
        await w.start(failing)
        await w.fund("bob", 12_000)
        await w.node_joins()
        request = await w.request("bob")
        child = await w.assignment()
        bob, carol = await w.join("bob"), await w.join("carol")
        result = nip90.build_result(carol.keypair, request=child, content="done", now=int(time.time()))
        failing.borders.add("commit:before")
        second = signed(bob.keypair, w.agent, tags=(["i", "another", "text"],))
        for person, event in ((carol, result), (bob, second)):
            with pytest.raises(Exception, match="try again"):
                await person.send(event)
        await w.until(failing.again)  # loops that write go on trying
        assert w.service is not None
        assert not w.service.done()
        failing.borders.clear()
        await carol.send(result)
        await bob.send(second)
        await w.feedback("bob", request, "success")
        await w.feedback("bob", second, "payment-required")
        await w.sound()


# ---- hostile content


async def test_an_encrypted_request_with_half_a_character_is_refused_and_told_why() -> None:
    async with world() as w:
        bob = await w.join("bob")
        key = nip44.conversation_key(bob.keypair, w.agent)
        content = nip44.encrypt('[["i","\\ud800","text"]]', key, secrets.token_bytes(32))
        request = await bob.publish(5050, content, [["p", w.agent], ["encrypted"]])
        refused = await w.feedback("bob", request, "error")
        assert "content" in refused.text


async def test_a_message_with_half_a_character_is_refused() -> None:
    async with world() as w:
        bob = await w.join("bob")
        rumor = {"id": "00" * 32, "pubkey": bob.pubkey, "created_at": 1, "kind": 14, "tags": [], "content": "\ud800"}
        seal = bob.keypair.sign(kind=13, content=sealed(bob, w.bot, json.dumps(rumor)), tags=[], created_at=1)
        once = KeyPair(secrets.token_bytes(32))
        key = nip44.conversation_key(once, w.bot)
        content = nip44.encrypt(json.dumps(plain(seal)), key, secrets.token_bytes(32))
        wrap = once.sign(kind=1059, content=content, tags=[["p", w.bot]], created_at=int(time.time()))
        await bob.send(wrap)
        assert "refused" in await w.handled(wrap)


def sealed(person: Person, to: str, text: str) -> str:
    return nip44.encrypt(text, nip44.conversation_key(person.keypair, to), secrets.token_bytes(32))


def plain(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in ("id", "pubkey", "created_at", "kind", "tags", "content", "sig")}


async def test_a_profile_with_half_a_character_in_its_address_is_refused() -> None:
    async with world() as w:
        alice = await w.join("alice")
        profile = await alice.publish(0, json.dumps({"lud16": "\ud800@wallets.test"}))
        assert "refused" in await w.handled(profile)


async def test_a_request_that_is_too_large_in_bytes_is_refused_though_it_has_few_characters() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        request = await w.request("bob", "🐝" * 20_000)
        refused = await w.feedback("bob", request, "error")
        assert "too large" in refused.text
        assert await w.balance("bob") == PRICE


async def test_what_a_node_says_about_an_encrypted_job_is_not_published() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        carol = await w.node_joins()
        request = await encrypted_request(w, "bob")
        child = await w.assignment()
        said = nip90.build_feedback(
            carol.keypair,
            request=child,
            status="error",
            text="cannot open secret.txt",
            encrypt=Encryption(NIP44, secrets.token_bytes(32)),
            now=int(time.time()),
        )
        await carol.send(said)
        refused = await w.feedback("bob", request, "error")
        assert "secret.txt" in refused.text
        published = [row["event"] for row in await w.rows("SELECT event FROM outbox")]
        assert published
        assert not any("secret.txt" in event for event in published)


async def encrypted_request(w: World, customer: str) -> Event:
    person = await w.join(customer)
    request = nip90.build_job_request(
        person.keypair,
        kind=5050,
        inputs=[nip90.Input("a secret issue", "text")],
        provider=w.agent,
        encrypt=Encryption(NIP44, secrets.token_bytes(32)),
        now=int(time.time()),
    )
    await person.send(request)
    return request


# ---- dates ahead of ours


async def test_a_target_stated_by_a_clock_that_is_ahead_can_be_changed() -> None:
    async with world() as w:
        alice = await w.join("alice")
        rumor = nip17.build_message(alice.pubkey, [w.bot], "payout keep", now=int(time.time()) + 10_000_000)
        wrap = nip59.wrap(
            rumor,
            alice.keypair,
            w.bot,
            ephemeral=KeyPair(secrets.token_bytes(32)),
            nonces=(secrets.token_bytes(32), secrets.token_bytes(32)),
            seal_created_at=int(time.time()),
            wrap_created_at=int(time.time()),
        )
        await alice.send(wrap)
        await w.handled(wrap)
        assert "is sent to" in await alice.ask(w.bot, f"payout {alice.address}")


async def test_a_job_whose_deadline_was_set_by_a_clock_that_was_ahead_ends_all_the_same() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        request = await w.request("bob")
        await w.feedback("bob", request, "processing")
        await w.stop()
        with sqlite3.connect(book_file(w.config)) as book:
            book.execute("UPDATE jobs SET due_at = due_at + 10000000, updated_at = updated_at + 10000000")
        book.close()
        await w.start()
        await w.feedback("bob", request, "error")
        assert await w.balance("bob") == PRICE
        await w.sound()


async def test_a_request_that_is_older_than_our_last_start_is_answered_while_it_is_valid() -> None:
    async with world() as w:
        await w.until(lambda: w.rows("SELECT id FROM cursors WHERE id = 'reader/own'"))
        await w.stop()
        await w.start()
        bob = await w.join("bob")
        request = signed(bob.keypair, w.agent, created_at=int(time.time()) - 1_800)
        await bob.send(request)
        await w.feedback("bob", request, "payment-required")
