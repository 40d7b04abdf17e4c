"""Play the story with kills: each argument is one story, the borders at which it is killed.

    python -m tests.crash unkilled 137 60,12,99

One JSON line tells how each story ended. `--keep` leaves the directory of a story that
went wrong. A story that is killed more than once counts the borders of each life from 1.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict

import structlog
import uvloop

from tests.crash.play import play

AT_ONCE = 4  # most of a story is waiting
UNKILLED = "unkilled"


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
    uvloop.run(main(sys.argv[1:]))
