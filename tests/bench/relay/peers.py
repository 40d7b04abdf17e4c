"""How each relay is started and stopped, and how much memory it holds.

Every relay runs with its own defaults, but for limits that would forbid the load. The
peers live in an environment of their own (`make bench-relay` makes it).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.bench.relay.load import connected, subscribe
from tests.bench.relay.wire import client_frame

PROJECT = Path(__file__).parents[3]
PEERS = PROJECT / "build" / "peers" / "bin"  # where the peers are installed
START_SECONDS = 30.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_CONNECTIONS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Command:
    """What starts a relay on a port."""

    arguments: list[str]
    environment: Mapping[str, str]


Launch = Callable[[Path, int], Command]  # from a directory for its files, and a port


def ours(directory: Path, port: int) -> Command:
    """Return the whole service: relay, bot, pages and simulated node, as `relaybot run` starts it."""
    environment = {
        "RELAYBOT_RELAY__PORT": str(port),
        "RELAYBOT_SERVICE__DATA_DIR": str(directory),
        "RELAYBOT_RELAY__CONNECTIONS_MAX": str(_CONNECTIONS_MAX),
        "RELAYBOT_LIGHTNING__SIMULATOR_PORT": str(_free_port()),
        "RELAYBOT_LOG__LEVEL": "warning",
    }
    return Command([sys.executable, "-m", "relaybot", "run"], environment)


def nostr_relay(directory: Path, port: int) -> Command:
    """Return nostr-relay (Python) on SQLite, with signatures checked and without its other validators."""
    config = {
        "DEBUG": False,
        "relay_name": "peer",
        "storage": {
            "sqlalchemy.url": f"sqlite+aiosqlite:///{directory}/nostr.sqlite3",
            "validators": ["nostr_relay.validators.is_signed"],
        },
        "gunicorn": {"bind": f"127.0.0.1:{port}", "workers": 1, "loglevel": "warning"},
        "verification": {"nip05_verification": "disabled"},
        "authentication": {"enabled": False},
    }
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return Command([str(PEERS / "nostr-relay"), "-c", str(path), "serve"], {})


def local_relay(_directory: Path, port: int) -> Command:
    """Return nostr-sdk's LocalRelay (Rust), which keeps everything in memory only."""
    return Command([str(PEERS / "python"), str(Path(__file__).with_name("local_relay.py")), str(port)], {})


LAUNCHES: Mapping[str, Launch] = {"relaybot": ours, "LocalRelay": local_relay, "nostr-relay": nostr_relay}


@dataclass(slots=True)
class Relay:
    """A relay that runs; `pid` is None if nobody told us."""

    name: str
    url: str
    pid: int | None
    start_seconds: float | None = None
    process: asyncio.subprocess.Process | None = None

    def resident_bytes(self) -> int | None:
        """Return the memory the relay's processes hold, if we know them."""
        return None if self.pid is None else sum(_resident(pid) for pid in _family(self.pid))

    async def stop(self) -> None:
        """End what `start` started."""
        if self.process is not None and self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), 10)
            except TimeoutError:
                os.killpg(self.process.pid, signal.SIGKILL)
                await self.process.wait()


async def start(name: str, launch: Launch, directory: Path) -> Relay:
    """Start a relay; return when it has answered a REQ."""
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    port = _free_port()
    command = launch(directory, port)
    started = time.perf_counter()
    with (directory / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command.arguments,
            cwd=PROJECT,
            env=os.environ | command.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    relay = Relay(name, f"ws://127.0.0.1:{port}", process.pid, process=process)
    while not await _answers(relay.url):
        if process.returncode is not None or time.perf_counter() - started > START_SECONDS:
            await relay.stop()
            raise RuntimeError(f"{name} does not answer; see {directory / 'log'}")
    relay.start_seconds = time.perf_counter() - started
    return relay


async def _answers(url: str) -> bool:
    try:
        async with connected(url, 1) as wires:
            await subscribe(wires, [client_frame('["REQ","up",{"limit":1}]')])
    except OSError:
        await asyncio.to_thread(os.sched_yield)
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _family(pid: int) -> list[int]:
    """Return a process and all it started."""
    parents = {int(entry.name): _parent(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    family = [pid]
    for one in family:
        family += [child for child, parent in parents.items() if parent == one]
    return family


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return None


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
