"""Play the story with kills, from the command line: each argument is one story, the borders at which it is killed.

    python -m tests.crash.play unkilled 137 60,12,99

One JSON line tells how each story ended. `--keep` leaves the directory of a story that
went wrong. A story that is killed more than once counts the borders of each life from 1.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog

from relaybot.demo.story import Story
from tests.crash.ending import problems_at_the_end
from tests.crash.stage import DeadlyStage

AT_ONCE = 4  # most of a story is waiting
UNKILLED = "unkilled"


@dataclass(slots=True)
class Told:
    """How one story went."""

    kills: Sequence[int]
    killed: int = 0
    borders: int = 0  # passed by all lives
    sorts: list[str] = field(default_factory=list)  # of borders
    last: str = ""  # the border at which the first life was killed
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    kept: str = ""


async def play(kills: Sequence[int], *, keep: bool = False) -> Told:
    """Play one story, killing the service's lives one by one at these borders; tell how it ended."""
    data = Path(tempfile.mkdtemp(prefix="rb-"))
    stage, told, begun = DeadlyStage(data, kills), Told(kills), time.monotonic()
    try:
        told.problems = await _perform(stage)
    finally:
        await stage.stop()
    borders = stage.borders()
    told.killed, told.borders, told.sorts = stage.lives - 1, len(borders), sorted(set(borders))
    told.seconds = round(time.monotonic() - begun, 1)
    told.last = borders[kills[0] - 1] if kills and len(borders) >= kills[0] else ""
    if told.problems and keep:
        told.kept = str(data)
    else:
        shutil.rmtree(data)
    return told


async def _perform(stage: DeadlyStage) -> list[str]:
    story = Story(stage, lambda _: None)
    performing = asyncio.create_task(story.perform())
    stage.broken.add_done_callback(lambda _: performing.cancel())  # it would wait in vain
    try:
        return await problems_at_the_end(await performing, stage)
    except asyncio.CancelledError:
        return [str(stage.broken.exception())]
    except (BaseExceptionGroup, Exception) as broken:  # noqa: BLE001  whatever it was, the others go on
        return _leaves(broken)


def _leaves(broken: BaseException) -> list[str]:
    if isinstance(broken, BaseExceptionGroup):
        return [leaf for one in broken.exceptions for leaf in _leaves(one)]
    return [f"{type(broken).__name__}: {broken}"]


async def main(stories: Sequence[str]) -> None:
    """Play all stories, a few at a time, and print how each ended."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def tell(kills: Sequence[int]) -> None:
        async with slots:
            print(json.dumps(asdict(await play(kills, keep="--keep" in stories))), flush=True)  # noqa: T201  the answer

    async with asyncio.TaskGroup() as tasks:
        for story in stories:
            if not story.startswith("--"):
                tasks.create_task(tell([] if story == UNKILLED else [int(border) for border in story.split(",")]))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(main(sys.argv[1:]))
