"""Play the story once, with kills, and tell how it ended."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relaybot.demo.story import Story
from tests.crash.ending import problems_at_the_end
from tests.crash.stage import DeadlyStage


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
        told.problems = await perform(stage)
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


async def perform(stage: DeadlyStage) -> list[str]:
    """Play one story on a stage; return everything that is not as it must be at the end."""
    story = Story(stage, lambda _: None)
    performing = asyncio.create_task(story.perform())
    stage.broken.add_done_callback(lambda _: performing.cancel())  # it would wait in vain
    try:
        return await problems_at_the_end(await performing, stage, story._config())
    except asyncio.CancelledError:
        if not stage.broken.done():
            raise
        return [str(stage.broken.exception())]
    except (BaseExceptionGroup, Exception) as broken:  # noqa: BLE001  whatever it was, the others go on
        return _leaves(broken)


def _leaves(broken: BaseException) -> list[str]:
    if isinstance(broken, BaseExceptionGroup):
        return [leaf for one in broken.exceptions for leaf in _leaves(one)]
    return [f"{type(broken).__name__}: {broken}"]
