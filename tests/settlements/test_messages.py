"""What is said by private message, on one book beside one node: what is done, how often, and what is answered."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from handlers import commands, targets
from handlers.bot import HELD_BACK_SECONDS
from relaybot.errors import Unavailable
from relaybot.inbox import arrived
from relaybot.nostr import nip17, nip59
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from tests.payouts.desk import NOW
from tests.settlements.conftest import BOB, Street, Till, reaches
from wallet.ledger import Plan
from wallet.lightning import Lightning


def wrapped(till: Till, text: str, *, created_at: int = NOW) -> Event:
    """Return what Bob says to the service, in its wrap."""
    rumor = nip17.build_message(BOB.pubkey, [till.bot.service.pubkey], text, now=created_at)
    return nip59.wrap(
        rumor,
        BOB,
        till.bot.service.pubkey,
        ephemeral=KeyPair(secrets.token_bytes(32)),
        nonces=(secrets.token_bytes(32), secrets.token_bytes(32)),
        seal_created_at=NOW,
        wrap_created_at=NOW,
    )


async def said(till: Till, text: str, *, created_at: int = NOW) -> str:
    """Say something to the service as Bob, and return the answer."""
    return await answered(till, wrapped(till, text, created_at=created_at))


async def answered(till: Till, wrap: Event) -> str:
    decision = await commands.on_wrap(till.bot, wrap)
    assert isinstance(decision, Plan), decision
    assert (await till.book.apply(decision)).done
    return (await till.told(BOB))[-1]


async def test_whoever_waits_for_the_node_is_told_so_once_an_hour_and_answered_when_it_is_back(
    till: Till, street: Street
) -> None:
    class Away:
        async def create_invoice(self, **_: object) -> None:
            raise Unavailable("no node")

    away: Lightning = Away()  # type: ignore[assignment]  # the one method that is called
    wraps = [wrapped(till, "topup 100"), wrapped(till, "topup 200")]
    for wrap in wraps:
        assert (await till.book.apply(Plan(f"inbox/{wrap.id}", changes=(arrived(wrap, "own", NOW, "me"),)))).done
    told = []
    for seconds in (0, commands.PATIENCE_SECONDS, 2, 3_600):
        street.clock.advance(seconds)
        for wrap in wraps:
            with pytest.raises(Unavailable):
                await commands.on_wrap(replace(till.bot, lightning=away), wrap)
        told.append(len(await till.told(BOB)))
    assert told == [0, 1, 1, 2]
    assert "Your message is kept" in (await till.told(BOB))[-1]
    assert all(["Pay this invoice" in await answered(till, wrap) for wrap in wraps])


async def test_a_message_that_we_kept_is_done_however_long_the_node_was_away(till: Till, street: Street) -> None:
    wrap = wrapped(till, "topup 100")
    assert (await till.book.apply(Plan(f"inbox/{wrap.id}", changes=(arrived(wrap, "own", NOW, "me"),)))).done
    street.clock.advance(HELD_BACK_SECONDS + 1)
    assert "Pay this invoice" in await answered(till, wrap)


async def test_i7_a_message_that_a_relay_held_back_for_days_is_not_done(till: Till) -> None:
    late = NOW - HELD_BACK_SECONDS
    assert "Pay this invoice" in await said(till, "topup 100", created_at=late)
    answer = await said(till, "topup 200", created_at=late - 1)
    assert answer.startswith("Nothing is done: your message says that it was written at 20")
    assert len(await till.invoices()) == 1


async def test_help_says_what_this_is_how_to_begin_and_each_command_with_an_example(till: Till) -> None:
    answer = await said(till, "help")
    assert answer.startswith("This is relaybot. Ask an agent, pay in bitcoin")
    assert all(command.usage in answer for command in commands.COMMANDS.values())
    one = await said(till, "Help WITHDRAW")
    assert "For example: withdraw 5000 you@wallet.example" in one
    assert (await said(till, "help balance")).splitlines()[0] == "balance"
    assert "one command at a time: help, balance" in await said(till, "help me please")


async def test_a_target_that_changed_is_told_only_to_whom_messages_reach(till: Till) -> None:
    for number in range(3):
        tags = [["payto", "lightning", f"bob{number}@wallets.test"]]
        event = BOB.sign(kind=10133, content="", tags=tags, created_at=NOW - 9 + number)
        decision = await targets.on_payto(till.bot, event)
        assert isinstance(decision, Plan)
        assert (await till.book.apply(decision)).done
        if number == 1:
            assert await till.told(BOB) == []
            await reaches(till, BOB)
    (told,) = await till.told(BOB)
    assert told.startswith("What you earn is sent to bob2@wallets.test from now on")
