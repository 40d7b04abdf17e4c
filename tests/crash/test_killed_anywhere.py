"""SIGKILL at every border of the story: before and after each commit (book, relay) and each outside call.

An unkilled story is counted first. Then for every thirteenth border, or for each (`make crash`), a
story is played in which the service dies exactly there and is started again at once, while the
node's process lives on; every one must end as the worked example does (`ending.py`).
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.crash.__main__ import UNKILLED
from tests.environment import RUN, untraced

ROOT = Path(__file__).parents[2]
CHUNKS = 8  # the borders are dealt out to so many tests, for pytest's workers to share
EVERY = int(os.environ.get("CRASH_EVERY", "13"))  # sides alternate, so an odd number meets both sides of each call
RECOVERY = 25  # borders of a start in the middle of the story
SECONDS_MAX = 900

pytestmark = pytest.mark.timeout(SECONDS_MAX)


async def told(*stories: str) -> list[dict[str, Any]]:
    """Play stories in a process of its own, which nothing measures or slows; return how they went."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.crash",
        *stories,
        cwd=ROOT,
        env=untraced(),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        answer, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0
    return [json.loads(line) for line in answer.splitlines()]


@pytest.fixture(scope="session")
def unkilled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A story in which nobody dies: played once, by whichever of pytest's workers needs it first."""
    with (tmp_path_factory.getbasetemp().parent / f"unkilled-{RUN}.json").open("a+b") as played:
        fcntl.flock(played, fcntl.LOCK_EX)
        if played.seek(0, os.SEEK_END) == 0:
            played.write(json.dumps(*asyncio.run(told(UNKILLED))).encode())
        played.seek(0)
        story: dict[str, Any] = json.load(played)
    assert story["problems"] == []
    return story


@pytest.fixture(scope="session")
def borders(unkilled: dict[str, Any]) -> int:
    """How many borders such a story passes."""
    return int(unkilled["borders"])


def problems(stories: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return what went wrong, by the borders of the kills."""
    return {f"{story['kills']} {story['last']}": story["problems"] for story in stories if story["problems"]}


def test_an_unkilled_story_passes_every_sort_of_border(unkilled: dict[str, Any], borders: int) -> None:
    assert borders > 200
    assert unkilled["killed"] == 0
    calls = {"commit", "store", "create_invoice", "next_settlement", "info", "get_json", "pay"}
    assert set(unkilled["sorts"]) >= {f"{call}:{side}" for call in calls for side in ("before", "after")}


@pytest.mark.parametrize("chunk", range(CHUNKS))
async def test_killed_at_any_border_the_story_ends_the_same(chunk: int, borders: int) -> None:
    stories = await told(*map(str, range(chunk * EVERY + 1, borders + 1, CHUNKS * EVERY)))
    assert problems(stories) == {}
    # Which commits fall together is up to the moment: a few stories pass fewer borders than the counted one.
    missed = [story for story in stories if story["killed"] == 0]
    assert all(story["borders"] < story["kills"][0] for story in missed)
    assert all(4 * story["kills"][0] > 3 * borders for story in missed)  # far from the end, every kill is one


def spread(chance: random.Random, count: int) -> str:
    """Return three kills anywhere in a story of so many borders: each counts from the one before it."""
    cuts = sorted(chance.sample(range(1, count * 3 // 4), 3))
    return ",".join(str(later - earlier) for earlier, later in zip([0, *cuts], cuts, strict=False))


def in_a_row(chance: random.Random, count: int) -> str:
    """Return a kill anywhere, and two more while the service recovers from it."""
    return ",".join(str(chance.randrange(1, most)) for most in (count * 3 // 4, RECOVERY, RECOVERY))


@pytest.mark.parametrize("seed", range(3))
async def test_killed_three_times_the_story_ends_the_same(seed: int, borders: int) -> None:
    chance = random.Random(seed)
    stories = await told(*(kills(chance, borders) for kills in (spread, in_a_row)))
    assert problems(stories) == {}
    assert [story["killed"] for story in stories] == [3, 3]
