"""Inputs that are not there yet (NIP-90): fetched once the price is held, and named if they cannot be had."""

from __future__ import annotations

import json

from handlers import jobs
from relaybot.nostr import nip90
from relaybot.nostr.event import Event, encode_event
from tests.flows.harness import World, world

PRICE = 12_000_000
ALICE_S_PAGE = "https://wallets.test/.well-known/lnurlp/alice"


def given(w: World, child: Event) -> list[tuple[str, str, str]]:
    """Return what a node got as inputs: text, type, marker."""
    read = nip90.parse_job_request(child, w.keys["carol"])
    return [(one.data, one.type, one.marker) for one in read.inputs]


async def ask(w: World, customer: str, *tags: tuple[str, ...]) -> Event:
    person = await w.join(customer)
    return await person.publish(5050, "", [*(("i", *tag) for tag in tags), ("p", w.agent)])


async def test_the_node_gets_what_the_inputs_name_and_nothing_is_fetched_for_who_has_not_paid() -> None:
    async with world(payouts={"enabled": False}) as w:
        await w.node_joins()
        note = await (await w.join("dave")).publish(1, "a note", [])
        unpaid = await ask(w, "grace", (ALICE_S_PAGE, "url"))
        await w.feedback("grace", unpaid, "payment-required")
        await w.fund("bob", 50_000)
        request = await ask(
            w, "bob", ("Summarise", "text", "", "task"), (ALICE_S_PAGE, "url", "", "page"), (note.id, "event", "")
        )
        child = await w.assignment()
        task, page, event = given(w, child)
        assert task == ("Summarise", "text", "task")
        assert page[1:] == ("text", "page")
        assert json.loads(page[0])["tag"] == "payRequest"
        assert event == (encode_event(note), "text", "")
        assert await w.rows("SELECT 1 FROM job_inputs WHERE id = :id", id=unpaid.id) == []
        later = await ask(w, "bob", (request.id, "job"))  # waits for the first
        await w.claim(child)
        await w.deliver(child, "all of it in short")
        assert given(w, await w.assignment(after=1)) == [("all of it in short", "text", "")]
        assert (await w.job(later))["state"] == "assigned"
        await w.sound()


async def test_an_input_that_cannot_be_had_ends_the_job_and_is_named() -> None:
    async with world(payouts={"enabled": False}) as w:
        await w.node_joins()
        await w.fund("bob", 50_000)
        cases = (
            (("https://127.0.0.1/a", "url"), "input 2 (url): "),
            (("00" * 32, "event"), "input 2 (event): no relay that was asked has it"),
            (("00" * 32, "event", "wss://localhost"), "input 2 (event): "),
            (("00" * 32, "job"), "input 2 (job): no job of this service, or not yours"),
            (("https://wallets.test/nowhere", "url"), "input 2 (url): host refuses the request"),
        )
        for tag, said in cases:
            request = await ask(w, "bob", ("Summarise", "text"), tag)
            assert said in (await w.feedback("bob", request, "error")).text
        many = await ask(w, "bob", *(((ALICE_S_PAGE, "url"),) * (jobs.FETCHED_MAX + 1)))
        assert "too many inputs that are to be fetched" in (await w.feedback("bob", many, "error")).text
        assert await w.balance("bob") == 50_000_000
        await w.sound()


async def test_a_private_job_s_result_is_its_customer_s_alone() -> None:
    async with world(payouts={"enabled": False}) as w:
        await w.node_joins()
        for name in ("bob", "grace"):
            await w.fund(name, 30_000)
        await (await w.join("bob")).ask(w.bot, "job autodev a secret")
        child = await w.assignment()
        await w.claim(child)
        await w.deliver(child, "the answer")

        async def done() -> bool:
            return bool(await w.rows("SELECT 1 FROM jobs WHERE state = 'captured'"))

        await w.until(done)
        [row] = await w.rows("SELECT id FROM jobs")
        stranger = await ask(w, "grace", (row["id"], "job"))
        assert "not yours" in (await w.feedback("grace", stranger, "error")).text
        await ask(w, "bob", (row["id"], "job"))
        assert given(w, await w.assignment(after=1)) == [("the answer", "text", "")]


async def test_an_agent_may_get_its_inputs_as_they_are() -> None:
    async with world(payouts={"enabled": False}, agents={"autodev": {**AGENT, "inputs": "as-is"}}) as w:
        await w.node_joins()
        await w.fund("bob", 20_000)
        await ask(w, "bob", (ALICE_S_PAGE, "url"))
        assert given(w, await w.assignment()) == [(ALICE_S_PAGE, "url", "")]


AGENT = {"name": "AutoDev", "kinds": [5050], "price": "12000 sat", "skills": ["resolve-github-pr"]}
