"""One story from its seed: played whole on a time of its own, told in words, judged at the end."""

from __future__ import annotations

import gc
import hashlib
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import structlog

from tests.simulator import script
from tests.simulator.disk import copy_book, fresh_book
from tests.simulator.timeline import Stuck, VirtualLoop
from tests.simulator.world import World

STEPS = 24
FAULTS = {
    "event_failed",
    "paid_after_failure",
    "paid_in_part",
    "fee_above_reserve",
}  # lines that our log must never have
MEMORY = Path("/dev/shm")  # noqa: S108  a file system in memory, where there is one


@dataclass(frozen=True, slots=True)
class Story:
    """What happened."""

    seed: int
    steps: int
    broken: tuple[str, ...]
    lines: tuple[str, ...]
    lives: int
    seconds: float

    @property
    def digest(self) -> str:
        """Return a fingerprint of every line: two runs of one seed tell the same story."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:16]


def play(seed: int, steps: int = STEPS) -> Story:
    """Play one story. Its garbage is collected afterwards: looking for it costs a fifth of the time."""
    gc.disable()
    try:
        return _play(seed, steps)
    finally:
        gc.enable()


def _play(seed: int, steps: int) -> Story:
    lines: list[str] = []
    loop = VirtualLoop()
    with tempfile.TemporaryDirectory(prefix="rb-", dir=MEMORY if MEMORY.is_dir() else None) as directory:
        copy_book(_template(), Path(directory) / "book.sqlite3")
        world = World(seed, Path(directory), loop, lines.append)
        with _log_to(world):
            try:
                loop.run_until_complete(script.play(world, steps))
            except Stuck as error:
                world.auditor.found(str(error))
            finally:
                loop.rest()
                loop.run_until_complete(world.close())
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.close()
    return Story(seed, steps, tuple(world.auditor.broken), tuple(lines), world.lives, loop.time())


def shortest(seed: int, steps: int) -> Story:
    """Return the story of this seed with the fewest steps that still goes wrong."""
    low, high = 1, steps
    worst = play(seed, steps)
    while low < high:
        middle = (low + high) // 2
        story = play(seed, middle)
        if story.broken:
            worst, high = story, middle
        else:
            low = middle + 1
    return worst


@cache
def _template() -> Path:
    """Make an empty book, once in this process."""
    directory = tempfile.mkdtemp(prefix="rb-empty-", dir=MEMORY if MEMORY.is_dir() else None)
    path = Path(directory) / "book.sqlite3"
    fresh_book(path)
    return path


@contextmanager
def _log_to(world: World) -> Iterator[None]:
    """Have the bot's log read by the audit instead of printed."""

    def read(_logger: object, level: str, line: MutableMapping[str, Any]) -> NoReturn:
        name = str(line["event"])
        if name in FAULTS:
            details = {key: value for key, value in line.items() if key not in {"event", "exc_info"}}
            error = _error_in_flight()
            world.auditor.found(f"the log says {name}: {details} {error}")
        elif level in {"warning", "error"}:
            world.tell(f"    log: {name} {line.get('reason', '')}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[read], wrapper_class=structlog.make_filtering_bound_logger(30))
    try:
        yield
    finally:
        structlog.configure(**before)


def _error_in_flight() -> str:
    import sys  # noqa: PLC0415  only here

    error = sys.exc_info()[1]
    return "" if error is None else f"({type(error).__name__}: {error})"
