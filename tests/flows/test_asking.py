"""Jobs that are asked for by private message: everything a job does, in the conversation."""

from __future__ import annotations

import secrets
import time

from relaybot.demo.people import Person
from relaybot.demo.stage import AGENTS
from relaybot.nostr import nip17, nip59
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from tests.flows.harness import PRICE, World, world

PARAMS = {"language": {"required": True, "values": ["en", "de"]}, "tone": {"about": "of the text"}}


async def told(w: World, name: str, words: str) -> str:
    """Wait for a private message with these words in it."""
    person = await w.join(name)

    def text(event: Event) -> str:
        return nip17.parse_message(nip59.unwrap(event, person.keypair)).text

    message = await person.wait_for(
        f"word of {words!r}", lambda event: event.kind == nip59.WRAP_KIND and words in text(event)
    )
    return text(message)


def wrapped(rumor: nip59.Rumor, author: Person, reader: str, now: int) -> Event:
    """Wrap one message once more: the same rumor in another wrap."""
    nonces = (secrets.token_bytes(32), secrets.token_bytes(32))
    ephemeral = KeyPair(secrets.token_bytes(32))
    return nip59.wrap(
        rumor, author.keypair, reader, ephemeral=ephemeral, nonces=nonces, seal_created_at=now, wrap_created_at=now
    )


async def test_a_job_is_asked_for_paid_and_delivered_in_the_conversation_and_nothing_of_it_is_public() -> None:
    async with world() as w:
        bob, carol = await w.join("bob"), await w.node_joins()
        assert "AutoDev is asked" in await bob.ask(w.bot, "job AutoDev Fix issue 42,\n  and test it")
        bill = await told(w, "bob", "costs 12,000 sat")
        await bob.pay(bill.split()[-1])
        child = await w.assignment()
        await w.claim(child)
        await told(w, "bob", "a compute node has begun")
        await w.claim(child, status="partial", text="Two lines")
        await told(w, "bob", "Two lines")
        await w.deliver(child, "Two lines changed.")
        assert (await told(w, "bob", "Two lines changed.")).startswith("AutoDev, job ")
        assert await w.balance("carol") == 1_000_000
        assert await w.balance("bob") == 0
        assert {event.kind for event in bob.seen()} == {nip59.WRAP_KIND}
        assert {event.kind for event in carol.seen()} <= {5050}
        await w.sound()


async def test_the_same_message_twice_is_one_job_and_what_fails_is_told_and_costs_nothing() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.node_joins()
        bob = await w.join("bob")
        now = int(time.time())
        rumor = nip17.build_message(bob.pubkey, [w.bot], "job autodev Fix issue 42", now=now)
        for _ in range(2):
            await bob.send(wrapped(rumor, bob, w.bot, now))
        child = await w.assignment()
        await w.claim(child, status="error", text="no such issue")
        assert "no such issue" in await told(w, "bob", "the compute node failed")
        assert await w.balance("bob") == PRICE
        assert len(await w.rows("SELECT id FROM jobs")) == 1


async def test_a_long_result_comes_in_pieces_that_are_numbered() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.node_joins()
        await (await w.join("bob")).ask(w.bot, "job autodev Write much")
        await w.deliver(await w.assignment(), "a" * 6_000 + "b" * 10)
        assert "a" * 6_000 in await told(w, "bob", "1 of 2")
        assert (await told(w, "bob", "2 of 2")).endswith(": " + "b" * 10)


async def test_agents_are_listed_with_price_and_parameters_and_asked_with_them() -> None:
    async with world(agents={"autodev": {**AGENTS["autodev"], "params": PARAMS}}) as w:
        bob = await w.join("bob")
        listed = await bob.ask(w.bot, "agents")
        assert "AutoDev, 12,000 sat: job autodev" in listed
        assert "language=en | de" in listed
        assert "tone=… (if you like) of the text" in listed
        for asked, answered in {
            "job": "say which agent",
            "job nobody x": "no agent of that name",
            "job autodev": "say what shall be done",
            "job autodev language=de": "say what shall be done",
        }.items():
            assert answered in await bob.ask(w.bot, asked)
        await bob.ask(w.bot, "job autodev Fix issue 42")
        await told(w, "bob", "needs language")
        await bob.ask(w.bot, "job autodev language=de tone=dry Fix x=y")
        await told(w, "bob", "costs 12,000 sat")
        (job,) = await w.rows("SELECT request FROM jobs")
        assert '["i","Fix x=y","text"],["param","language","de"],["param","tone","dry"]' in job["request"]


async def test_a_published_event_of_the_same_words_is_no_obstacle() -> None:
    """An id does not cover the signature: the author of a message can publish its request before."""
    async with world() as w:
        bob, now = await w.join("bob"), int(time.time())
        rumor = nip17.build_message(bob.pubkey, [w.bot], "job autodev Fix it", now=now)
        tags = [["i", "Fix it", "text"], ["p", w.agent], ["e", rumor.id]]
        await bob.send(bob.keypair.sign(kind=5050, content="", tags=tags, created_at=now))
        await told_by_event(w, bob)
        await bob.send(wrapped(rumor, bob, w.bot, now))
        await told(w, "bob", "asked already")


async def told_by_event(w: World, bob: Person) -> None:
    await bob.wait_for("the bill", lambda event: event.kind == 7000 and event.tag("status") == "payment-required")
