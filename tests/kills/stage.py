"""The processes: a node, a relay, and two bots that share the book. Each is killed, and started again, by its name."""

from __future__ import annotations

import asyncio
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import yaml

from relaybot.app import serve
from relaybot.config import load_config
from relaybot.demo.people import StoryBroken
from relaybot.demo.stage import HOST, free_port, until_ready
from relaybot.workings import Role
from tests.crash.processes import FORKS, _log_to, _run, run_the_node

BOTS = ("left", "right")
ROLES = {"relay": (Role.RELAY,), "left": (Role.BOT, Role.MONEY), "right": (Role.BOT, Role.MONEY)}


def run_roles(config: Path, name: str, relay: str) -> None:
    """Be `relaybot run --roles …`."""
    _log_to(config.parent / f"{name}.log")
    env = {"RELAYBOT_RELAYS": f"[{relay}]"} if name in BOTS else {}
    _run(serve(load_config(config, env), env, ready=lambda _: None, roles=ROLES[name]))


class Stage:
    """What runs beside the driver."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.config = data / "config.yaml"
        self.port = free_port()
        self.relay_url = f"ws://{HOST}:{self.port}"
        self.wallets_url = ""
        self.kills = 0
        self.broken: asyncio.Future[None]  # fails when a process ends by itself
        self._processes: dict[str, ForkServerProcess] = {}

    async def start(self, config: dict[str, Any]) -> None:
        """Start the node, write the configuration, start the service's three processes."""
        self.broken = asyncio.get_running_loop().create_future()
        here, there = FORKS.Pipe()
        self._processes["node"] = FORKS.Process(target=run_the_node, args=(self.data, there))
        self._processes["node"].start()
        self.wallets_url = await asyncio.to_thread(here.recv)
        config["service"] = {"data_dir": str(self.data)}
        config["relay"] = {"host": HOST, "port": self.port}
        config["lightning"] = {"embedded": False, "socket": str(self.data / "ln" / "service" / "lightning-rpc")}
        config["outgoing"] = {"hosts": {"wallets.test": self.wallets_url}}
        self.config.write_text(yaml.safe_dump(config))
        for name in ROLES:
            await self.begin(name)

    async def begin(self, name: str) -> None:
        """Start one process of the service; the relay is waited for."""
        process = FORKS.Process(target=run_roles, args=(self.config, name, self.relay_url))
        self._processes[name] = process
        process.start()
        asyncio.get_running_loop().add_reader(process.sentinel, self._on_end, name)
        if name == "relay":
            await until_ready(self.port, None, self.data / "relay.log")

    async def kill(self, name: str) -> None:
        """Kill one process with SIGKILL, and start it again."""
        process = self._processes[name]
        asyncio.get_running_loop().remove_reader(process.sentinel)
        process.kill()
        await asyncio.to_thread(process.join)
        process.close()
        self.kills += 1
        await self.begin(name)

    def _on_end(self, name: str) -> None:
        """Break off: none shall end by itself."""
        asyncio.get_running_loop().remove_reader(self._processes[name].sentinel)
        lines = (self.data / f"{name}.log").read_text(errors="replace").split("\n")
        if not self.broken.done():
            self.broken.set_exception(StoryBroken(f"{name} ended by itself: {[line for line in lines if line][-3:]}"))

    async def stop(self) -> None:
        """Kill everything."""
        for process in self._processes.values():
            asyncio.get_running_loop().remove_reader(process.sentinel)
            process.kill()
            await asyncio.to_thread(process.join)
            process.close()
