"""What is measured of each relay, and in which order: what fills the store comes last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from relaybot.nostr.event import Event
from tests.bench.relay.load import Wrong, ask, connected, fan_out, publish, subscribe
from tests.bench.relay.peers import Relay
from tests.bench.relay.workload import LIVE_KIND, Question, Workload, asked, event_frame, idle_frames
from tests.bench.rounds import Figures, say

CONNECTIONS, WINDOW = 8, 64
SUBSCRIBERS, LIVE_WINDOW, LIVE_EVENTS_MAX = 50, 16, 1_500
QUESTIONS = 64  # different ones of each shape
SUPPLY = 20_000  # new events at most in one measurement
PRELOAD_SECONDS, PRELOAD_ATTEMPTS = 900.0, 5


@dataclass(slots=True)
class Bench:
    """One run: the workload, how long each measurement takes, and which new events each relay has had."""

    workload: Workload
    seconds: float
    idle: int
    used: dict[tuple[str, int], int]
    questions: Mapping[str, list[Question]]
    weighed: set[str] = field(default_factory=set)

    def supply(self, relay: Relay, count: int, kind: int = 1) -> list[bytes]:
        """Return frames of `count` events the relay has not had."""
        start = self.used.get((relay.name, kind), 0)
        self.used[relay.name, kind] = start + count
        return self.workload.new_frames(start, count, kind)


Work = Callable[[Bench, Relay], Awaitable[Figures]]


def begin(stored: int, seconds: float, idle: int, seed: int) -> Bench:
    """Make the workload of one run."""
    workload = Workload(stored, seed)
    return with_questions(workload, workload.stored, seconds, idle)


def with_questions(workload: Workload, stored: Sequence[Event], seconds: float, idle: int = 0) -> Bench:
    """Return a run whose questions are about `stored`, oldest first."""
    newest_first = stored[::-1]
    shapes = workload.questions([event.id for event in stored])
    questions = {shape: asked(make, newest_first, QUESTIONS) for shape, make in shapes.items()}
    return Bench(workload, seconds, idle, {}, questions)


async def preload(bench: Bench, relay: Relay) -> Figures:
    """Have the relay store what queries are asked about."""
    frames = [event_frame(event) for event in bench.workload.stored]
    for attempt in range(PRELOAD_ATTEMPTS):
        try:
            async with connected(relay.url, CONNECTIONS) as wires:
                done = await publish(wires, frames, WINDOW, PRELOAD_SECONDS, known=attempt > 0)
        except Wrong as error:  # a peer that lets go of connections under load
            say(f"{relay.name}: {error}; once more")
            continue
        if done.events != len(frames):
            raise Wrong(f"{relay.name} stored {done.events} of {len(frames)} events in {PRELOAD_SECONDS} s")
        return {}
    raise Wrong(f"{relay.name} does not store what it is sent")


async def measure_queries(bench: Bench, relay: Relay) -> Figures:
    """Return answers per second for each shape: 8 connections, each asks one REQ after the other."""
    figures: Figures = {}
    for shape, questions in bench.questions.items():
        async with connected(relay.url, CONNECTIONS) as wires:
            figures[f"REQ {shape}, per s"] = await ask(wires, questions, bench.seconds / 2)
    return figures


async def measure_fan_out(bench: Bench, relay: Relay) -> Figures:
    """Return deliveries to 50 subscribers, while one client publishes with 16 events in flight."""
    events = bench.workload.new_events(LIVE_EVENTS_MAX, LIVE_KIND)
    framed = [(event.id, event_frame(event)) for event in events]
    async with connected(relay.url, SUBSCRIBERS) as subscribers, connected(relay.url, 1) as [publisher]:
        found = await fan_out(publisher, subscribers, framed, kind=LIVE_KIND, window=LIVE_WINDOW, seconds=bench.seconds)
    return {"fan-out to 50, deliveries/s": found.deliveries, "fan-out to 50, p50 ms": found.p50_ms}


async def measure_publishing(bench: Bench, relay: Relay) -> Figures:
    """Return events per second, new ones and ones the relay has."""
    async with connected(relay.url, 1) as wires:
        alone = await publish(wires, bench.supply(relay, 2_000), 1, bench.seconds)
    async with connected(relay.url, CONNECTIONS) as wires:
        many = await publish(wires, bench.supply(relay, SUPPLY), WINDOW, bench.seconds)
        known = [event_frame(event) for event in bench.workload.stored[:SUPPLY]]
        again = await publish(wires, known, WINDOW, bench.seconds, known=True)
    return {
        "publish 1 x 1, events/s": alone.rate,
        f"publish {CONNECTIONS} x {WINDOW}, events/s": many.rate,
        "publish duplicates, events/s": again.rate,
    }


async def measure_idle(bench: Bench, relay: Relay) -> Figures:
    """Return the memory of a connection with one subscription, and what publishing does beside many of them."""
    figures: Figures = {}
    async with connected(relay.url, bench.idle // 20) as warm:
        await subscribe(warm, list(idle_frames(len(warm))))
    before = relay.resident_bytes()
    async with connected(relay.url, bench.idle) as wires:
        await subscribe(wires, list(idle_frames(bench.idle)))
        after = relay.resident_bytes()
        # only once: later connections get memory that earlier ones gave back to their process
        if before is not None and after is not None and relay.name not in bench.weighed:
            bench.weighed.add(relay.name)
            figures["memory per idle connection, KB"] = (after - before) / bench.idle / 1_000
        async with connected(relay.url, CONNECTIONS) as publishers:
            beside = await publish(publishers, bench.supply(relay, SUPPLY), WINDOW, bench.seconds)
        figures[f"publish beside {bench.idle:,} idle, events/s"] = beside.rate
    return figures


WORKS: Mapping[str, Work] = {
    "queries": measure_queries,
    "fan-out": measure_fan_out,
    "publishing": measure_publishing,
    "idle": measure_idle,
}
