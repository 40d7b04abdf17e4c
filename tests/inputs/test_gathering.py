"""What becomes of a job's inputs, step by step: tried again, given up, too much, or not wanted any more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from handlers.bot import Bot
from handlers.inputs import RETRY_SECONDS, TRIES_MAX, Gathering, inputs_for_node
from handlers.jobs import on_request, plan_released
from relaybot.clock import SetClock
from relaybot.config import parse_config
from relaybot.errors import Unavailable
from relaybot.keyring import Keyring
from relaybot.nostr import nip90
from relaybot.nostr.event import Event, parse_event
from relaybot.workings import build_bot
from tests.book.stores import NOW, SqliteStore, opened
from tests.documents.cast import MASTER, Chance, key_of
from tests.documents.scripted import ScriptedChain, ScriptedNode
from wallet.accounts import CAPITAL, user
from wallet.ledger import Plan, Transfer
from wallet.money import Msat

BOB = key_of("bob")
AGENT = {"name": "A", "kinds": [5050], "price": "10 sat"}


class Scripted:
    """Sources that answer as they are told."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.asked = 0

    async def text_at(self, url: str, *, bytes_max: int) -> str:
        """Return the text, or say that nobody answers."""
        self.asked += 1
        if self.text is None:
            raise Unavailable(f"{url} did not answer in time")
        return self.text

    async def event(self, event_id: str, hint: str) -> Event | None:
        """Have no event."""
        return None


class Desk:
    """One paid job that wants a page, and what is done about it."""

    def __init__(self, bot: Bot, clock: SetClock) -> None:
        self.bot = bot
        self.clock = clock
        self.sources = Scripted()
        self.gathering = Gathering(bot, self.sources)
        (self.agent,) = bot.agents.values()
        tags = [("i", "https://a.example", "url"), ("p", self.agent.keypair.pubkey)]
        self.request = BOB.sign(kind=5050, content="", tags=tags, created_at=NOW)

    async def inputs(self) -> Sequence[nip90.Input] | None:
        """Return what a node would get now; what is wanted for it is wanted from now on."""
        job = await self.job()
        asked = nip90.parse_job_request(parse_event(job["request"]), self.agent.keypair)
        found = await inputs_for_node(self.bot, self.agent, job, asked)
        if isinstance(found, Plan):
            await self.bot.book.apply(found)
            return None
        return found

    async def job(self) -> dict[str, Any]:
        """Return the job's row."""
        row = await self.bot.book.row("jobs", self.request.id)
        assert row is not None
        return dict(row)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = SetClock(NOW)
    async with opened(SqliteStore(tmp_path / "book.db"), clock=clock) as book:
        config = parse_config({"agents": {"a": AGENT}, "jobs": {"input_bytes_max": 1_000}}, config_dir=tmp_path)
        node = ScriptedNode(clock)
        bot = build_bot(config, Keyring(MASTER), book, node, clock, chain=ScriptedChain(), chance=Chance())
        made = Desk(bot, clock)
        await book.apply(Plan("fund", (Transfer(CAPITAL, user(BOB.pubkey), Msat(10_000), "test"),)))
        held = await on_request(bot, made.request)
        assert isinstance(held, Plan)
        await book.apply(held)
        assert await made.inputs() is None
        yield made


async def test_who_does_not_answer_is_asked_again_after_a_pause_and_given_up_in_the_end(desk: Desk) -> None:
    for tries in range(1, TRIES_MAX + 1):
        await desk.gathering.step()
        await desk.gathering.step()
        assert desk.sources.asked == tries
        assert (await desk.job())["state"] == ("held" if tries < TRIES_MAX else "released")
        desk.clock.advance(RETRY_SECONDS)
    assert (await desk.job())["reason"] == "input 1 (url): https://a.example did not answer in time"
    assert await desk.bot.book.balance(user(BOB.pubkey)) == 10_000


async def test_what_is_there_goes_to_the_node_and_is_fetched_once(desk: Desk) -> None:
    desk.sources.text = "a page"
    for _ in range(2):
        await desk.gathering.step()
        assert await desk.inputs() == (nip90.Input("a page", "text"),)
    assert desk.sources.asked == 1


async def test_too_much_is_refused(desk: Desk) -> None:
    desk.sources.text = "x" * 1_000
    await desk.gathering.step()
    assert (await desk.job())["reason"] == "the inputs have more than 1000 bytes together"


async def test_a_job_that_has_ended_wants_nothing_any_more(desk: Desk) -> None:
    await desk.bot.book.apply(await plan_released(desk.bot, await desk.job(), "cancelled by the customer"))
    await desk.gathering.step()
    await desk.gathering.step()
    assert desk.sources.asked == 0
    assert await desk.inputs() is None
