"""`python -m tests.bench.relay.flat`: what grows must not cost more.

Queries are asked of two relays of ours in turns, one with 25 times as many events; and
events are published to both, beside no subscription and beside many that nothing meets.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from relaybot.nostr.event import Event, encode_event
from relaybot.relay.event_journal import Arrival
from relaybot.relay.events import EventStore
from relaybot.relay.settings import RelayLimits
from tests.bench.relay.load import connected, publish, subscribe
from tests.bench.relay.peers import Relay, ours, start
from tests.bench.relay.wire import Wire, client_frame
from tests.bench.relay.workload import Workload
from tests.bench.relay.works import CONNECTIONS, SUPPLY, WINDOW, Bench, measure_queries, with_questions
from tests.bench.rounds import Figures, arguments, interleaved, report, say
from tests.relay.writing import connect, writer_on

AT_ONCE = 1_000  # events of one transaction when a store is filled
EACH = 50  # subscriptions of one connection


def _options() -> argparse.Namespace:
    parser = arguments(__doc__ or "")
    parser.add_argument("--few", type=int, default=20_000, help="events in the small store")
    parser.add_argument("--many", type=int, default=500_000, help="events in the large one")
    parser.add_argument("--subscriptions", type=int, default=10_000, help="that nothing meets")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    return parser.parse_args()


def stored(workload: Workload, count: int) -> list[Event]:
    """Return `count` events like those of the workload, each with an id of its own (and no signature of its own)."""
    chance = random.Random(count)
    like = workload.stored
    start = like[0].created_at - count
    return [
        msgspec.structs.replace(
            like[number % len(like)], id=f"{chance.getrandbits(256):064x}", created_at=start + number
        )
        for number in range(count)
    ]


async def fill(directory: Path, events: Sequence[Event]) -> None:
    """Write events straight into the file a relay will open, for a relay would check them one by one."""
    path = directory / "relay.sqlite3"
    await (await EventStore.open(path, RelayLimits())).close()
    connection = connect(path, "PRAGMA synchronous=OFF")
    with writer_on(path, connection) as writer:
        for place in range(0, len(events), AT_ONCE):
            writer.write([Arrival(encode_event(one).encode(), one) for one in events[place : place + AT_ONCE]])
            writer.move()
    connection.close()


async def measure_publishing(bench: Bench, relay: Relay, subscriptions: int) -> Figures:
    """Return events per second beside no subscription, and beside many: none, many, many, none."""

    async def half(wires: Sequence[Wire]) -> float:
        return (await publish(wires, bench.supply(relay, SUPPLY // 2), WINDOW, bench.seconds / 2)).rate

    async with connected(relay.url, CONNECTIONS) as wires:
        alone = await half(wires)
        async with connected(relay.url, subscriptions // EACH) as others:
            await subscribe(others, [_unmet(number) for number in range(len(others))], each=EACH)
            beside = await half(wires) + await half(wires)
        alone += await half(wires)
    return {
        "publish, events/s": alone / 2,
        f"publish beside {subscriptions:,} unmet subscriptions, events/s": beside / 2,
    }


def _unmet(connection: int) -> bytes:
    filters = [
        f'{{"kinds":[1],"#p":["{connection * EACH + number:064x}"]}}'
        if number % 2
        else f'{{"authors":["{connection * EACH + number:064x}"]}}'
        for number in range(EACH)
    ]
    return b"".join([client_frame(f'["REQ","s{number}",{filter_}]') for number, filter_ in enumerate(filters)])


async def _measure(options: argparse.Namespace, directory: Path) -> dict[str, Figures]:
    workload = Workload(options.few, seed=time.time_ns())
    benches: dict[str, tuple[Bench, Relay]] = {}
    try:
        for count in (options.few, options.many):
            say(f"storing {count:,} events")
            name = f"{count:,} stored"
            events = stored(workload, count)
            await asyncio.to_thread((directory / name).mkdir)
            await fill(directory / name, events)
            bench = with_questions(workload, events, options.seconds)
            benches[name] = bench, await start(name, ours, directory / name)
        queries = {name: partial(measure_queries, bench, relay) for name, (bench, relay) in benches.items()}
        found = await interleaved(queries, options.rounds)
        publishing = {
            name: partial(measure_publishing, bench, relay, options.subscriptions)
            for name, (bench, relay) in benches.items()
        }
        for name, figures in (await interleaved(publishing, options.rounds)).items():
            found[name].update(figures)
    finally:
        for _, relay in benches.values():
            await relay.stop()
    return found


def main() -> None:
    """Measure, and print."""
    options = _options()
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report(runner.run(_measure(options, Path(directory))), options)


if __name__ == "__main__":
    main()
