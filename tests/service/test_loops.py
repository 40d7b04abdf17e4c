"""Standing tasks: at once on news, again while there is more, patient with what is away."""

from __future__ import annotations

import asyncio

import pytest

from relaybot.clock import SetClock
from relaybot.errors import Unavailable
from relaybot.loops import REST_SECONDS, RESTING_MAX, Stumbles, repeat


async def rounds(answers: list[bool | Exception], *, news: bool = False, seconds: float = 0.0) -> int:
    """Return how many rounds a loop makes until it has used up `answers`."""
    made, wake, enough = 0, asyncio.Event(), asyncio.Event()

    async def step() -> bool:
        nonlocal made
        answer = answers[made] if made < len(answers) else False
        made += 1
        if made >= len(answers):
            enough.set()
        if news and made < len(answers):
            wake.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    task = asyncio.create_task(repeat("test", step, wake=wake, seconds=seconds))
    waiting = asyncio.create_task(enough.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    waiting.cancel()
    if task.done():
        await task
    task.cancel()
    await asyncio.wait({task})
    return made


async def test_a_step_that_says_there_is_more_is_run_again_at_once() -> None:
    assert await rounds([True, True, False], seconds=3_600) == 3


async def test_news_during_a_step_are_not_missed() -> None:
    assert await rounds([False, False, False], news=True, seconds=3_600) >= 3


async def test_without_news_it_looks_again_after_a_while() -> None:
    assert await rounds([False, False, False]) >= 3


async def test_what_is_unavailable_is_tried_again() -> None:
    assert await rounds([Unavailable("away"), False]) >= 2


async def test_a_fault_of_ours_ends_the_task() -> None:
    with pytest.raises(KeyError):
        await rounds([KeyError("fault"), False])


async def test_a_row_that_breaks_rests_longer_each_time_and_the_others_go_on() -> None:
    clock, tried = SetClock(1_000), list[str]()
    stumbles, broken = Stumbles(clock), {"bad"}

    async def work(row: str) -> str:
        tried.append(row)
        if row in broken:
            raise LookupError(row)
        return f"{row} is done"

    async def past(row: str) -> str:
        return await stumbles.past("test", row, lambda: work(row), otherwise="rests")

    assert [await past(row) for row in ("bad", "good", "bad")] == ["rests", "good is done", "rests"]
    clock.advance(REST_SECONDS)
    assert await past("bad") == "rests"
    clock.advance(REST_SECONDS)
    assert await past("bad") == "rests"
    assert tried == ["bad", "good", "bad"]  # the third time it is left alone: it rests twice as long
    clock.advance(REST_SECONDS)
    broken.clear()
    assert await past("bad") == "bad is done"


async def test_what_is_away_is_no_fault_and_no_more_rows_are_remembered_than_fit() -> None:
    clock = SetClock(1_000)
    stumbles = Stumbles(clock)

    async def away() -> bool:
        raise Unavailable("away")

    async def broken() -> bool:
        raise LookupError

    async def whole() -> bool:
        return True

    with pytest.raises(Unavailable):
        await stumbles.past("test", "x", away, otherwise=False)
    for number in range(RESTING_MAX + 1):
        stumbles._resting["other", str(number)] = (2_000, 1)
    await stumbles.past("test", "y", broken, otherwise=False)
    assert len(stumbles._resting) == RESTING_MAX + 1
    assert await stumbles.past("other", "0", whole, otherwise=False) is True  # the oldest was forgotten
    with pytest.raises(LookupError):
        await Stumbles(clock, patient=False).past("test", "x", broken, otherwise=False)
