"""`make soak`: a relay in a process of its own under a mixed load, its memory noted every few seconds.

What counts is memory of the process's own (RssAnon): pages of the event file do not. The
first quarter fills the caches, which are bounded; from the second quarter to the last,
memory must not grow by more than GROWTH_MAX.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from websockets.exceptions import WebSocketException

from tests.soak.load import Done, publisher, reader, sleeper

PROJECT = Path(__file__).parents[2]
LOAD = (publisher, publisher, publisher, reader, reader, reader, sleeper, sleeper)
GROWTH_MAX = 0.1
NOTED_SECONDS = 5.0


def own_kilobytes(pid: int) -> int:
    """Return the anonymous memory a process holds."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None, "Linux tells this"
    return int(found[1])


async def soak(seconds: float, directory: Path) -> tuple[list[int], Done]:
    """Run the load for so long; return the memory (KB) at each note, and what was done."""
    arguments = ("-m", "tests.relay.serve", str(directory / "events.db"))
    relay = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=PROJECT, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert relay.stderr is not None
    url = f"ws://127.0.0.1:{int(await relay.stderr.readline())}"
    done, noted, end = Done(), list[int](), time.monotonic() + seconds
    people = [asyncio.create_task(work(url, random.Random(seed), done)) for seed, work in enumerate(LOAD)]
    try:
        while time.monotonic() < end:
            over, _ = await asyncio.wait([*people], timeout=NOTED_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for task in over:
                task.result()  # nobody leaves: this raises what went wrong
            noted.append(own_kilobytes(relay.pid))
            sys.stderr.write(f"{noted[-1]:>8} KB  {done}\n")
    finally:
        for task in people:
            task.cancel()
        with contextlib.suppress(WebSocketException):
            await asyncio.gather(*people, return_exceptions=True)
        relay.kill()
        await relay.wait()
    return noted, done


def main() -> None:
    """Run, tell how it went, and fail if memory grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as directory,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        noted, done = runner.run(soak(options.seconds, Path(directory)))
    quarter = len(noted) // 4
    second, last = (statistics.median(part) for part in (noted[quarter : 2 * quarter], noted[-quarter:]))
    print(done)  # noqa: T201  the command's answer
    print(f"{second / 1_000:.1f} MB in the second quarter, {last / 1_000:.1f} MB in the last")  # noqa: T201  as above
    if last > second * (1 + GROWTH_MAX):
        sys.exit(1)


if __name__ == "__main__":
    main()
