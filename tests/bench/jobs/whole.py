"""Service, node and customers as three processes; the customers measure."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from relaybot.app import Addresses
from relaybot.connection import RelayConnection
from relaybot.demo.stage import HOST, until_ready
from relaybot.keyring import open_keyring
from relaybot.nostr import nip19
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.workings import agent_key
from tests.bench.processes import cpu_seconds, start
from tests.bench.rounds import Figures, seconds
from tests.flows.harness import World, world

JOBS, SEQUENTIAL, IN_FLIGHT = 600, 100, 64
SEEN_MIN = 20  # of a stage, for percentiles
SKILL = {
    "name": "Bench",
    "shares": [{"to": name, "amount": "20 sat"} for name in ("alice", "$worker", "dave", "grace", "heidi")],
}
AGENT = {"name": "Bench", "kinds": [5050], "price": "120 sat", "skills": ["bench"]}
SECTIONS = {
    "skills": {"bench": SKILL},
    "agents": {"autodev": AGENT},
    "workers": {"admission": "approved", "allowed": ["carol"], "open_jobs_max": IN_FLIGHT},
    "jobs": {"open_per_customer_max": 20_000, "queue_seconds": 36_000, "queue_max": 100_000},
    "payouts": {"enabled": False},
    "log": {"level": "error"},
}


@dataclass
class Watcher:
    """One customer's ear: when each stage of each job was heard of."""

    heard: dict[str, dict[str, float]] = field(default_factory=dict)  # request → stage → when
    ends: dict[str, asyncio.Event] = field(default_factory=dict)

    async def on_event(self, event: Event) -> None:
        """Note the stage that an event tells of."""
        request = event.tag("e") or ""
        stages = self.heard.setdefault(request, {})
        if event.kind == 7000 and event.tag("status") == "processing":
            stage = "held" if "held" not in stages else "begun"
        else:
            stage = "success" if event.kind == 7000 else "result"
        stages.setdefault(stage, time.perf_counter())
        if stage == "success" and request in self.ends:
            self.ends[request].set()


async def measure_service() -> Figures:
    """Return jobs a second, the stages of one job alone, and the whole under load, and processor time and memory."""
    async with world(start=False, **SECTIONS) as w, service_and_node(w) as running:
        connection, watcher = await customer_of(w)
        await w.fund("bob", 500_000)
        requests = [request_of(w, f"issue {number}") for number in range(JOBS + SEQUENTIAL)]
        alone = [await stages_of(connection, watcher, one) for one in requests[:SEQUENTIAL]]
        before = [cpu_seconds(pid) for pid in running]
        started = time.process_time()
        slots = asyncio.Semaphore(IN_FLIGHT)

        async def one_of_many(request: Event) -> dict[str, float]:
            async with slots:
                return await stages_of(connection, watcher, request)

        many: list[dict[str, float]] = []

        async def all_of_them() -> None:
            many.extend(await asyncio.gather(*(one_of_many(one) for one in requests[SEQUENTIAL:])))

        taken = await seconds(all_of_them)
        spent = [cpu_seconds(pid) - then for pid, then in zip(running, before, strict=True)]
        figures = {"jobs/s": JOBS / taken}
        for stage in ("taken", "held", "begun", "result", "success"):
            figures |= percentiles(f"alone, {stage}", [one[stage] for one in alone if stage in one])
        figures |= percentiles(f"{IN_FLIGHT} in flight, success", [one["success"] for one in many])
        service, node = (value / JOBS * 1_000 for value in spent)
        figures |= {"service, CPU ms a job": service, "node, CPU ms a job": node}
        figures["customers, CPU ms a job"] = (time.process_time() - started) / JOBS * 1_000
        figures["service, memory MB"] = _memory(running[0])
        await w.sound()
        return figures


@asynccontextmanager
async def service_and_node(w: World) -> AsyncIterator[Sequence[int]]:
    """Run the service and one node beside us."""
    started = []
    try:
        service = await start(w, "run", "--config", str(w.data / "config.yaml"))
        started.append(service)
        await until_ready(w.port, service, w.data / "run.log")
        keyring = open_keyring(w.config.keys.file, {}, b"")
        agents = {"autodev": agent_key(w.config, keyring, "autodev").pubkey}
        w.addresses = Addresses("", "", keyring.key("service").pubkey, "", agents)
        key = w.data / "node.key"
        key.write_text(w.keys["carol"]._secret.hex())
        words = ("--relay", f"ws://{HOST}:{w.port}", "--service", nip19.encode_npub(w.bot), "--key", str(key))
        more = ("--demo-work", "--concurrency", str(IN_FLIGHT), "--state", str(w.data / "node"))
        started.append(await start(w, "worker", *words, *more))
        await w.until(partial(_is_there, w))
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.terminate()
            await process.wait()


async def _is_there(w: World) -> bool:
    return bool(await w.rows("SELECT id FROM workers WHERE status = 'idle'"))


async def customer_of(w: World) -> tuple[RelayConnection, Watcher]:
    watcher = Watcher()
    bob = await w.join("bob")
    connection = RelayConnection(f"ws://{HOST}:{w.port}", jitter=lambda: 0.5, keypair=bob.keypair)
    w.tasks.create_task(connection.run())
    await connection.next_connection()
    mine = Filter(kinds=frozenset({7000, 6050}), tags={"p": frozenset({bob.pubkey})}, since=int(time.time()) - 60)
    await connection.subscribe("jobs", lambda: [mine], watcher.on_event)
    return connection, watcher


async def stages_of(connection: RelayConnection, watcher: Watcher, request: Event) -> dict[str, float]:
    """Let one job be done; return when each stage was heard of, in ms from the request."""
    end = watcher.ends[request.id] = asyncio.Event()
    started = time.perf_counter()
    ok = await connection.publish(request, 120)
    assert ok.accepted, ok.message
    taken = time.perf_counter()
    await asyncio.wait_for(end.wait(), 300)
    heard = watcher.heard[request.id] | {"taken": taken}
    return {stage: (when - started) * 1_000 for stage, when in heard.items()}


def percentiles(name: str, found: Sequence[float]) -> Figures:
    if len(found) < SEEN_MIN:  # a claim that comes after its result is told to nobody
        return {}
    whole = statistics.quantiles(found, n=100)
    return {f"{name}, p50 ms": whole[49], f"{name}, p99 ms": whole[98]}


def _memory(pid: int) -> float:
    """Return the MB of memory that a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def request_of(w: World, text: str) -> Event:
    tags = [["i", text, "text"], ["p", w.agent]]
    return w.keys["bob"].sign(kind=5050, content="", tags=tags, created_at=int(time.time()))
