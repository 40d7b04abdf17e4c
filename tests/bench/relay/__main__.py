"""`python -m tests.bench.relay`: start the relays, load them in turns, print the comparison."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import uvloop

from tests.bench.relay.load import Wrong
from tests.bench.relay.peers import LAUNCHES, Relay, start
from tests.bench.relay.works import WORKS, Bench, begin, preload
from tests.bench.rounds import Figures, arguments, interleaved, report, say

ATTEMPTS = 2  # a peer that lets go of connections under load, or says no more, is asked once again


def _options() -> argparse.Namespace:
    parser = arguments(__doc__ or "")
    parser.add_argument("--stored", type=int, default=20_000, help="events stored before queries are measured")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    parser.add_argument("--idle", type=int, default=2_000, help="idle connections with one subscription each")
    parser.add_argument("--only", nargs="*", choices=sorted(LAUNCHES), help="of the relays that are started here")
    parser.add_argument("--works", nargs="*", choices=list(WORKS), default=list(WORKS), help="what is measured")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=URL", help="another relay that runs")
    parser.add_argument("--pid", action="append", default=[], metavar="NAME=PID", help="its process, for its memory")
    options = parser.parse_args()
    options.peer = dict(peer.split("=", 1) for peer in options.peer)
    options.pid = {name: int(pid) for name, pid in (pid.split("=", 1) for pid in options.pid)}
    return options


@asynccontextmanager
async def _running(options: argparse.Namespace, directory: Path) -> AsyncIterator[list[Relay]]:
    relays: list[Relay] = []
    try:
        for name, launch in LAUNCHES.items():
            if options.only is None or name in options.only:
                relays.append(await start(name, launch, directory / name))
        relays += [Relay(name, url, options.pid.get(name)) for name, url in options.peer.items()]
        yield relays
    finally:
        for relay in relays:
            await relay.stop()


async def _starts(options: argparse.Namespace, directory: Path) -> dict[str, Figures]:
    """Return how long each relay takes from its start to its first answer, the store being empty."""
    times: dict[str, list[float]] = {}
    for number in range(options.rounds):
        async with _running(options, directory / f"start{number}") as relays:
            for relay in relays:
                if relay.start_seconds is not None:
                    times.setdefault(relay.name, []).append(relay.start_seconds)
    return {name: {"start to first answer, s": statistics.median(taken)} for name, taken in times.items()}


async def _measure(options: argparse.Namespace, directory: Path) -> dict[str, Figures]:
    found = await _starts(options, directory)
    say(f"signing {options.stored:,} events")
    bench = begin(options.stored, options.seconds, options.idle, seed=time.time_ns())
    async with _running(options, directory) as relays:
        for relay in relays:
            say(f"storing them at {relay.name}")
            await preload(bench, relay)
        for work in options.works:
            say(f"measuring {work}")
            medians = await interleaved({one.name: partial(_one, bench, one, work) for one in relays}, options.rounds)
            for name, figures in medians.items():
                found.setdefault(name, {}).update(figures)
    return found


async def _one(bench: Bench, relay: Relay, work: str) -> Figures:
    for _ in range(ATTEMPTS):
        try:
            return await WORKS[work](bench, relay)
        except (Wrong, OSError) as error:
            say(f"{relay.name} failed: {error}")
    return {}


def main() -> None:
    """Measure, and print."""
    options = _options()
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report(runner.run(_measure(options, Path(directory))), options)


if __name__ == "__main__":
    main()
