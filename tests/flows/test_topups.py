"""Topping up over private messages, by every way there is, with a whole service and real sockets."""

from __future__ import annotations

from collections.abc import Callable

from relaybot.demo.people import Person
from relaybot.nostr import nip17, nip59
from relaybot.simulator.people import Wanted
from tests.flows.harness import World, world
from wallet.money import from_sat

TWO_MILLION = from_sat(2_000_000)


def said(person: Person) -> list[str]:
    """Return everything the service has told this person."""
    wraps = [event for event in person.seen() if event.kind == nip59.WRAP_KIND]
    return [nip17.parse_message(nip59.unwrap(wrap, person.keypair)).text for wrap in wraps]


async def told(person: Person, words: str) -> None:
    """Wait until the service has told this person something with these words in it."""
    await person.wait_for(repr(words), lambda _: any(words in text for text in said(person)))


async def has(w: World, name: str, msat: int) -> None:
    async def reached() -> bool:
        return await w.balance(name) == msat

    await w.until(reached)


def line(answer: str, wanted: Callable[[str], bool]) -> str:
    return next(line for line in answer.splitlines() if wanted(line))


async def test_a_stranger_tops_up_on_chain_sees_it_arrive_and_loses_it_in_a_reorganisation() -> None:
    async with world(onchain={"poll_seconds": 1}, limits={"topup_max": "3000000 sat"}) as w:
        bob = await w.join("bob")
        answer = await bob.ask(w.bot, "topup 2000000 onchain")
        address = line(answer, lambda one: one.startswith("bcrt1p"))
        assert f"bitcoin:{address}?amount=0.02000000" in answer
        assert "after 3 confirmations" in answer
        w.network.chain.send(address, TWO_MILLION)
        w.network.chain.mine()
        await told(bob, "2,000,000 sat are arriving on-chain: they are yours after 3 confirmations")
        assert "2,000,000 sat (1 of 3 confirmations) arriving on-chain" in await bob.ask(w.bot, "balance")
        w.network.chain.mine(2)
        await told(bob, "2,000,000 sat arrived on-chain: your balance is topped up.")
        # The same words in the same second are the same message, and have the same answer: so other words.
        assert await bob.ask(w.bot, "BALANCE") == "Your balance is 2,000,000 sat."
        assert address not in await bob.ask(w.bot, "topup 5000 onchain")  # a new one after use
        request = await w.request("bob")
        await w.feedback("bob", request, "processing")
        w.network.chain.reorganise(3, replaced=True)
        await told(bob, "The chain has taken back the 2,000,000 sat")
        assert "12,000 sat of them were spent: you owe them" in said(bob)[-1]
        assert "12,000 sat owed by you" in await bob.ask(w.bot, "Balance")
        await w.sound()


async def test_topup_alone_shows_an_invoice_an_offer_and_an_address_that_all_work() -> None:
    async with world() as w:
        bob = await w.join("bob")
        answer = await bob.ask(w.bot, "topup")
        await bob.pay(line(answer, lambda one: one.startswith("lno1")), 700)
        await has(w, "bob", from_sat(700))
        await bob.pay(line(answer, lambda one: one.startswith("lnbcrt")), 300)
        await has(w, "bob", from_sat(1_000))
        w.network.chain.send(line(answer, lambda one: one.startswith("bcrt1p")), from_sat(5_000))
        w.network.chain.mine()
        await has(w, "bob", from_sat(6_000))
        again = await bob.ask(w.bot, "TOPUP")
        assert line(again, lambda one: one.startswith("lno1")) == line(answer, lambda one: one.startswith("lno1"))
        await w.network.people.pay("eve", Wanted(line(again, lambda one: one.startswith("lno1")), from_sat(50)))
        await has(w, "bob", from_sat(6_050))
        await w.sound()


async def test_a_service_without_a_chain_says_so() -> None:
    async with world(onchain={"enabled": False}) as w:
        bob = await w.join("bob")
        assert "takes no bitcoin on-chain" in await bob.ask(w.bot, "topup 5000 onchain")
        assert not any(one.startswith("bcrt1") for one in (await bob.ask(w.bot, "topup")).splitlines())


async def test_deposits_that_came_while_the_service_was_down_are_credited_at_its_start() -> None:
    async with world() as w:
        bob = await w.join("bob")
        address = line(await bob.ask(w.bot, "topup 5000 onchain"), lambda one: one.startswith("bcrt1p"))
        await w.stop()
        w.network.chain.send(address, from_sat(5_000))
        w.network.chain.mine(3)
        await w.start()
        await has(w, "bob", from_sat(5_000))
