"""A stage whose service is a process that can be killed, and is started again at once when it was.

Node and compute node are processes of their own and live through. What happened stands in
the story's directory: `borders.log`, and a log of each process.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from relaybot.demo.people import StoryBroken
from relaybot.demo.stage import HOST, Cast, until_ready, write_config
from relaybot.nostr import nip19
from tests.crash.processes import FORKS, run_the_node, run_the_service, run_the_worker


class DeadlyStage:
    """`kills` says at which border each life of the service ends; when they are used up it lives."""

    def __init__(self, data: Path, kills: Sequence[int] | Sequence[str]) -> None:
        self.data = data
        self.config = data / "config.yaml"
        self.wallets_url = ""
        self.lives = 0
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._borders = data / "borders.log"
        self._kills = kills
        self._processes: list[ForkServerProcess] = []
        self._port = socket.socket()  # bound for as long as the story lasts: nobody else gets it between two lives
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind((HOST, 0))
        self.port: int = self._port.getsockname()[1]

    async def start_node(self) -> None:
        """Start the simulated Lightning network."""
        here, there = FORKS.Pipe()
        self._start(FORKS.Process(name="node", target=run_the_node, args=(self.data, there)))
        self.wallets_url = await asyncio.to_thread(here.recv)

    async def start_service(self, cast: Cast) -> None:
        """Start the first life of the service; return when it, or a later one, is ready."""
        write_config(self, cast)
        self._begin_life()
        await until_ready(self.port, None, self.data / "service.log")

    async def start_worker(self, secret: str, service_npub: str, lud16: str) -> None:
        """Start the compute node."""
        relay, service = f"ws://{HOST}:{self.port}", nip19.parse_pubkey(service_npub)
        arguments = (self.data, relay, service, secret, lud16)
        self._start(FORKS.Process(name="worker", target=run_the_worker, args=arguments))

    async def stop(self) -> None:
        """Kill everything."""
        for process in self._processes:
            asyncio.get_running_loop().remove_reader(process.sentinel)
            process.kill()
            process.join()
            process.close()
        self._port.close()

    def kill_service(self) -> None:
        """Kill the service wherever it is; it begins its next life if there is one left."""
        next(each for each in reversed(self._processes) if each.name == "service").kill()

    def borders(self) -> list[str]:
        """Return the names of the borders that were passed, in all lives."""
        return self._borders.read_text().split()

    def _begin_life(self) -> None:
        kill_at = self._kills[self.lives] if self.lives < len(self._kills) else None
        self.lives += 1
        arguments = (self.config, self._borders, kill_at)
        self._start(FORKS.Process(name="service", target=run_the_service, args=arguments))

    def _start(self, process: ForkServerProcess) -> None:
        process.start()
        self._processes.append(process)
        asyncio.get_running_loop().add_reader(process.sentinel, self._on_end, process)

    def _on_end(self, process: ForkServerProcess) -> None:
        asyncio.get_running_loop().remove_reader(process.sentinel)
        process.join()
        if process.exitcode == -signal.SIGKILL and self.lives <= len(self._kills):
            self._begin_life()
        elif not self.broken.done():
            lines = (self.data / f"{process.name}.log").read_text(errors="replace").splitlines()
            said = [words for line in lines if (words := line.strip(" |+-"))]  # a traceback's ornaments
            self.broken.set_exception(StoryBroken(f"the {process.name} ended ({process.exitcode}): {said[-1:]}"))
