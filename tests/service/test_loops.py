"""Standing tasks: at once on news, again while there is more, patient with what is away."""

from __future__ import annotations

import asyncio

import pytest

from relaybot.errors import Unavailable
from relaybot.loops import repeat


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
