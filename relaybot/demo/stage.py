"""The stage of the story: three processes (node, service, compute node) and a configuration for them.

Each process is the product's own command, started as anybody would start it; its log
goes to a file in the demo's directory.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp
import yaml

from relaybot.demo.people import RETRY_SECONDS, StoryBroken, patience
from relaybot.errors import BadConfig

HOST = "127.0.0.1"
STOP_SECONDS = 10.0  # for a process to end by itself


@dataclass(frozen=True, slots=True)
class Cast:
    """Whose keys the configuration names: hex pubkeys."""

    alice: str
    carol: str
    dave: str
    grace: str
    heidi: str


class Stage(Protocol):
    """What the story needs of the machine it is played on."""

    data: Path
    config: Path
    wallets_url: str
    port: int

    async def start_node(self) -> None:
        """Start the simulated Lightning network."""
        ...

    async def start_service(self, cast: Cast) -> None:
        """Write the configuration and start relay and bot; return when they are ready."""
        ...

    async def start_worker(self, secret: str, service_npub: str, lud16: str) -> None:
        """Start the compute node with its own key."""
        ...

    async def stop(self) -> None:
        """Stop everything that was started."""
        ...


class ProcessStage:
    """The stage of the demo: processes of their own."""

    def __init__(self, data: Path, port: int) -> None:
        """Take an empty directory and a port; BadConfig if somebody listens on it."""
        _check_free(port)
        self.data = data
        self.config = data / "config.yaml"
        self.wallets_url = ""
        self.port = port
        self._processes: list[asyncio.subprocess.Process] = []

    async def start_node(self) -> None:
        """Start `relaybot node` and learn its addresses from its first line."""
        command = ["node", "--data", str(self.data / "ln"), "--port", "0", "--json"]
        process = await self._start(command, "node", stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        async with patience("the simulated node is ready"):
            line = await process.stdout.readline()
        if not line:
            raise StoryBroken(f"the node ended at once; see {self.data / 'node.log'}")
        self.wallets_url = json.loads(line)["url"]

    async def start_service(self, cast: Cast) -> None:
        """Start `relaybot run`."""
        write_config(self, cast)
        process = await self._start(["run", "--config", str(self.config)], "service")
        await until_ready(self.port, process, self.data / "service.log")

    async def start_worker(self, secret: str, service_npub: str, lud16: str) -> None:
        """Start `relaybot worker` with the demonstration's work."""
        key = self.data / "worker.key"
        key.write_text(secret + "\n")
        key.chmod(0o600)
        command = ["worker", "--relay", f"ws://{HOST}:{self.port}", "--service", service_npub, "--key", str(key)]
        command += [
            "--demo-work",
            "--name",
            "Carol's workerbee",
            "--lud16",
            lud16,
            "--state",
            str(self.data / "worker"),
        ]
        await self._start(command, "worker")

    async def stop(self) -> None:
        """Ask every process to end, the last one first; kill those that do not."""
        for process in reversed(self._processes):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), STOP_SECONDS)
                except TimeoutError:
                    process.kill()
                    await process.wait()

    async def _start(self, command: Sequence[str], name: str, stdout: int | None = None) -> asyncio.subprocess.Process:
        with (self.data / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "relaybot",
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout if stdout is not None else log,
                stderr=log,
                env={name: value for name, value in os.environ.items() if not name.startswith("RELAYBOT_")},
            )
        self._processes.append(process)
        return process


def write_config(stage: Stage, cast: Cast) -> None:
    """Write the demo's configuration: the worked example's people and agent, and a lowered k."""
    config = {
        "service": {
            "name": "relaybot demo",
            "about": "The worked example, on a simulated Lightning network",
            "data_dir": str(stage.data),
        },
        "keys": {"file": str(stage.data / "master.key")},
        "relay": {"host": HOST, "port": stage.port, "database": str(stage.data / "relay.sqlite3")},
        "database": str(stage.data / "book.sqlite3"),
        "lightning": {
            "backend": "simulated",
            "embedded": False,
            "socket": str(stage.data / "ln" / "service" / "lightning-rpc"),
        },
        "outgoing": {"hosts": {"wallets.test": stage.wallets_url}},
        "people": {
            "alice": cast.alice,
            "carol": cast.carol,
            "dave": cast.dave,
            "grace": cast.grace,
            "heidi": cast.heidi,
        },
        "skills": SKILLS,
        "agents": AGENTS,
        "workers": {"admission": "closed", "allowed": ["carol"]},
        "payouts": {
            "threshold": "100 sat",
            "retry_seconds": 1,
            "poll_seconds": 1,
            "confirm_seconds": 1,
            "empty_seconds": 1,
        },
        # A simulated card company, and a price of bitcoin for it.
        "card": {"provider": "simulated", "simulator_port": free_port(), "quote_seconds": 3_600},
        "rates": {"bitcoin": "95000 EUR"},
        # With seven people no figure of real accounts would stand; the event says that this is a demonstration.
        "accounting": {"k": 1, "dominance_percent": 100, "delay_seconds": 0, "allow_open_day": True},
    }
    stage.config.write_text(yaml.safe_dump(config, sort_keys=False))


SKILLS = {
    "resolve-github-pr": {
        "name": "Resolve GitHub Pull Request",
        "shares": [
            {"to": "alice", "role": "algorithm", "amount": "2000 sat", "referrer": "120 sat"},
            {"to": "$worker", "role": "compute", "amount": "1000 sat"},
            {"to": "dave", "role": "api", "amount": "500 sat"},
            {"to": "grace", "role": "model", "amount": "300 sat"},
            {"to": "heidi", "role": "data", "amount": "300 sat"},
        ],
    }
}
AGENTS = {
    "autodev": {
        "name": "AutoDev",
        "about": "Resolves a GitHub issue and opens the pull request",
        "kinds": [5050],
        "price": "12000 sat",
        "skills": ["resolve-github-pr"],
        "payer_referrer": "120 sat",
    }
}


async def until_ready(port: int, process: asyncio.subprocess.Process | None, log: Path) -> None:
    """Wait until the service says that it is ready."""
    async with patience("the service is ready"), aiohttp.ClientSession() as http:
        while True:
            if process is not None and process.returncode is not None:
                raise StoryBroken(f"the service ended at once; see {log}")
            try:
                async with http.get(f"http://{HOST}:{port}/readyz") as answer:
                    if answer.ok:
                        return
            except aiohttp.ClientError:
                pass  # not listening yet
            await asyncio.sleep(RETRY_SECONDS)


def _check_free(port: int) -> None:
    """Refuse a port that is taken: the story would be played with a stranger's service."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        raise BadConfig("--port", port, "a port that nobody listens on; 0 takes a free one") from None


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port
