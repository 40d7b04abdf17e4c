"""The load generator: what is done to a relay, and how much of it the relay does in a second.

Nothing here knows which relay it is. Whatever a relay leaves out or refuses is an error,
never a faster answer.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.bench.relay.wire import ANSWERS, LIVE, OKS, Wire, client_frame
from tests.bench.relay.workload import Question

STUCK_SECONDS = 20.0  # without an answer, the relay counts as broken
REFUSED_PART_MAX = 0.01  # of the events; a peer fails now and then under load, which does not count as published


class Wrong(Exception):
    """The relay did not answer as it must."""


@asynccontextmanager
async def connected(url: str, count: int) -> AsyncIterator[list[Wire]]:
    """Open `count` connections, a few at a time."""
    wires: list[Wire] = []
    try:
        for _ in range(0, count, 50):
            wires += await asyncio.gather(*[Wire.open(url) for _ in range(min(50, count - len(wires)))])
        yield wires
    finally:
        for wire in wires:
            wire.close()


@dataclass(slots=True)
class Published:
    """How many events were answered OK true, and in what time."""

    events: int
    seconds: float

    @property
    def rate(self) -> float:
        """Return events per second."""
        return self.events / self.seconds


async def publish(
    wires: Sequence[Wire], frames: Sequence[bytes], window: int, seconds: float, *, known: bool = False
) -> Published:
    """Send `frames` over all connections, each with `window` in flight, until all are sent or time is up.

    What is answered OK false does not count; of `known` events relays think differently.
    """
    waiting: Iterator[bytes] = iter(frames)
    progress = _Progress()
    started = time.perf_counter()
    until = started + seconds

    def next_frames(count: int) -> bytes:
        if time.perf_counter() > until:
            return b""
        sent = list(itertools.islice(waiting, count))
        progress.sent += len(sent)
        return b"".join(sent)

    for wire in wires:

        def on_ok(found: Sequence[bytes], wire: Wire = wire) -> None:
            progress.answered += len(found)
            progress.refused += 0 if known else found.count(b"false")
            more = next_frames(len(found))
            if more:
                wire.send(more)
            elif progress.answered == progress.sent:
                progress.end()

        wire.listen(OKS, on_ok)
    for wire in wires:
        wire.send(next_frames(window))
    await progress.wait(wires)
    if progress.refused > REFUSED_PART_MAX * progress.answered:
        raise Wrong(f"{progress.refused} of {progress.answered} events were refused")
    return Published(progress.answered - progress.refused, time.perf_counter() - started)


async def ask(wires: Sequence[Wire], questions: Sequence[Question], seconds: float) -> float:
    """Ask, each connection one question after the other; return questions answered per second."""
    progress = _Progress()
    started = time.perf_counter()
    until = started + seconds
    for number, wire in enumerate(wires):
        turns = _Turns(wire, questions, number * len(questions) // len(wires), progress, until)
        wire.listen(ANSWERS, turns.on_answers)
        turns.ask()
    await progress.wait(wires)
    return progress.answered / (time.perf_counter() - started)


class _Turns:
    """One connection that asks one question after the other."""

    def __init__(
        self, wire: Wire, questions: Sequence[Question], start: int, progress: _Progress, until: float
    ) -> None:
        self._wire = wire
        self._questions = questions
        self._number = start
        self._progress = progress
        self._until = until
        self._events = 0

    def ask(self) -> None:
        self._progress.sent += 1
        self._events = 0
        self._wire.send(self._questions[self._number % len(self._questions)].frames)

    def on_answers(self, found: Sequence[bytes]) -> None:
        self._events += found.count(b"EVENT")
        if b"EOSE" not in found:
            if b"NOTICE" in found or b"CLOSED" in found:
                self._progress.fail("a question was refused")
            return
        expected = self._questions[self._number % len(self._questions)].expected
        if self._events != expected:
            self._progress.fail(f"{self._events} events came, {expected} were expected")
        self._progress.answered += 1
        self._number += 1
        if time.perf_counter() < self._until:
            self.ask()
        elif self._progress.answered == self._progress.sent:
            self._progress.end()


@dataclass(frozen=True, slots=True)
class FannedOut:
    """Deliveries per second, and the middle time from sending an event to its coming at a subscriber."""

    deliveries: float
    p50_ms: float


async def fan_out(
    publisher: Wire,
    subscribers: Sequence[Wire],
    events: Sequence[tuple[str, bytes]],
    *,
    kind: int,
    window: int,
    seconds: float,
) -> FannedOut:
    """Publish events (id, frame) of `kind` for `seconds`, `window` in flight; each subscriber gets all of them."""
    await subscribe(subscribers, [client_frame(f'["REQ","live",{{"kinds":[{kind}],"limit":1}}]')] * len(subscribers))
    progress = _Progress()
    sent_at: dict[bytes, float] = {}
    times: list[float] = []
    waiting = iter(events)

    def on_events(found: Sequence[bytes]) -> None:
        now = time.perf_counter()
        times.extend([now - sent_at[id_] for id_ in found])
        progress.answered += len(found)
        if progress.answered == progress.sent:
            progress.end()

    def send(count: int) -> None:
        now = time.perf_counter()
        taken = list(itertools.islice(waiting, count)) if now < until else []
        progress.sent += len(taken) * len(subscribers)
        sent_at.update((id_.encode(), now) for id_, _ in taken)
        if taken:
            publisher.send(b"".join([frame for _, frame in taken]))

    for subscriber in subscribers:
        subscriber.listen(LIVE, on_events)
    publisher.listen(OKS, lambda found: send(len(found)))
    started = time.perf_counter()
    until = started + seconds
    send(window)
    await progress.wait([publisher, *subscribers])
    return FannedOut(progress.sent / (time.perf_counter() - started), statistics.median(times) * 1_000)


async def subscribe(wires: Sequence[Wire], frames: Sequence[bytes], *, each: int = 1) -> None:
    """Send `each` REQs over each connection, in the frames given for it; return when all have their EOSE."""
    progress = _Progress()
    progress.sent = len(wires) * each

    def on_answers(found: Sequence[bytes]) -> None:
        progress.answered += found.count(b"EOSE")
        if progress.answered == progress.sent:
            progress.end()

    for wire, frame in zip(wires, frames, strict=True):
        wire.listen(ANSWERS, on_answers)
        wire.send(frame)
    await progress.wait(wires)


class _Progress:
    """What was sent and what was answered, of all connections together."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.refused = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def fail(self, why: str) -> None:
        if not self._done.done():
            self._done.set_exception(Wrong(why))

    async def wait(self, wires: Sequence[Wire]) -> None:
        """Wait for the end, as long as there is progress."""
        while not self._done.done():
            before = self.answered
            await asyncio.wait([self._done], timeout=STUCK_SECONDS)
            if not self._done.done() and (self.answered == before or any(wire.gone for wire in wires)):
                raise Wrong(f"the relay has stopped answering: {self.answered} of {self.sent} answers came")
        self._done.result()
