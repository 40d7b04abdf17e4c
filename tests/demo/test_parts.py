"""The parts of the demo: a story notices what is wrong, and says so in words."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from relaybot.demo import people, stage
from relaybot.demo.people import StoryBroken, patience, until
from relaybot.demo.stage import Cast, ProcessStage, free_port, until_ready, write_config
from relaybot.demo.story import Story, charged_in
from relaybot.demo.work import FAIL_WORDS, resolve_issue
from relaybot.nostr import flow_of_funds
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip90 import Input, JobRequest
from relaybot.worker.work import WorkFailed
from tests.flows.harness import world
from tests.worker.conftest import unheard


@pytest.fixture
def data() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="rb-"))  # short: sockets stand in it
    yield made
    shutil.rmtree(made)


class Stingy(ProcessStage):
    """A stage whose service pays Dave a sat too little."""

    async def start_service(self, cast: Cast) -> None:
        write_config(self, cast)
        self.config.write_text(self.config.read_text().replace("500 sat", "499 sat"))
        process = await self._start(["run", "--config", str(self.config)], "service")
        await until_ready(self.port, process, self.data / "service.log")


async def test_a_share_that_is_a_sat_off_breaks_the_story(data: Path) -> None:
    stingy = Stingy(data, free_port())
    story = Story(stingy, lambda _: None)
    try:
        with pytest.raises(ExceptionGroup) as broken:
            await story.perform()
    finally:
        await stingy.stop()
    assert broken.group_contains(StoryBroken, match="dave earned 499000 msat, not 500000")
    assert not story.outcome.ok


async def test_a_service_that_ends_at_once_breaks_the_story_and_names_its_log(data: Path) -> None:
    made = ProcessStage(data, free_port())
    with pytest.raises(StoryBroken, match=r"the service ended at once; see .*service\.log"):
        await made.start_service(Cast(alice="nobody", carol="", dave="", grace="", heidi=""))
    assert "people.alice" in (data / "service.log").read_text()


async def test_a_process_that_does_not_end_is_killed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "STOP_SECONDS", 0.01)
    made = ProcessStage(data, free_port())
    await made.start_node()
    (process,) = made._processes
    os.kill(process.pid, signal.SIGSTOP)  # it hears no SIGTERM
    await made.stop()
    assert process.returncode == -signal.SIGKILL


async def test_patience_ends_and_names_what_did_not_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "PATIENCE_SECONDS", 0.01)
    with pytest.raises(StoryBroken, match="in vain: a miracle"):
        async with patience("a miracle"):
            await asyncio.Event().wait()


async def test_until_looks_again_as_long_as_something_is_not_true() -> None:
    answers = iter((False, False, True))

    async def true() -> bool:
        return next(answers)

    await until("the third look", true)
    assert list(answers) == []


async def test_an_event_that_the_relay_refuses_breaks_the_story() -> None:
    async with world() as w:
        bob = await w.join("bob")
        later = bob.keypair.sign(kind=1, content="", tags=[], created_at=int(time.time()) + 86_400)
        with pytest.raises(StoryBroken, match="the relay refused bob's event"):
            await bob.send(later)


async def test_a_payment_that_the_wallet_refuses_breaks_the_story() -> None:
    async with world() as w:
        bob = await w.join("bob")
        with pytest.raises(StoryBroken, match="bob's wallet refused"):
            await bob.pay("lnbcrt1nonsense")


def job(*texts: str) -> JobRequest:
    return JobRequest(
        event_id="",
        customer="",
        kind=5050,
        created_at=0,
        inputs=tuple(Input(data=text, type="text") for text in texts),
        params=(),
        output=None,
        bid_msat=None,
        relays=(),
        providers=(),
        encrypted=None,
        expiration=None,
    )


async def test_the_demo_work_says_the_same_of_the_same_issue() -> None:
    first, again, other = [await resolve_issue(job(text), unheard) for text in ("issue 42", "issue 42", "issue 43")]
    assert first == again
    assert first.text.startswith("Resolved: issue 42\n")
    assert other != first


@pytest.mark.parametrize(("texts", "reason"), [((), "no issue"), ((f"issue 44; {FAIL_WORDS}",), "cannot be")])
async def test_the_demo_work_fails_where_the_story_wants_it(texts: tuple[str, ...], reason: str) -> None:
    with pytest.raises(WorkFailed, match=reason):
        await resolve_issue(job(*texts), unheard)


BOOKS = KeyPair(b"\x07" * 32)


def published(day: str, charged_msat: int) -> Event:
    period = flow_of_funds.day_period(day)
    figures = {**dict.fromkeys(flow_of_funds.CELLS), ("jobs", "charged"): charged_msat}
    summary = flow_of_funds.DaySummary(period, k=1, dominance_percent=100, round_msat=1_000, figures=figures)
    return flow_of_funds.build_summary(BOOKS, summary, period.end)


def test_a_story_over_midnight_adds_up_its_two_days() -> None:
    days = [published("2026-11-22", 12_000_000), published("2026-11-23", 12_000_000)]
    assert charged_in(days) == 24_000_000


def test_a_published_day_with_another_signature_breaks_the_story() -> None:
    good, other = published("2026-11-22", 12_000_000), published("2026-11-23", 12_000_000)
    forged = structs.replace(good, sig=other.sig)
    with pytest.raises(StoryBroken, match="signature"):
        charged_in([forged])
