"""What is measured runs in processes of its own: the service, the simulated node; the load is who measures."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.crash.processes import FORKS, run_the_node
from tests.flows.harness import World


@dataclass(frozen=True, slots=True)
class Node:
    """The simulator in its process: the socket of the service's node, and where the wallets answer."""

    pid: int
    socket: Path
    url: str


@asynccontextmanager
async def node_beside() -> AsyncIterator[Node]:
    """Run `relaybot node` beside us, with its wallets."""
    with tempfile.TemporaryDirectory(prefix="bn-") as name:
        ready, told = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=run_the_node, args=(Path(name), told), daemon=True)
        process.start()
        url = await asyncio.to_thread(ready.recv)
        assert process.pid is not None, "it has answered"
        yield Node(process.pid, Path(name) / "ln" / "service" / "lightning-rpc", url)
        process.terminate()
        await asyncio.to_thread(process.join)


async def start(w: World, *words: str) -> asyncio.subprocess.Process:
    """Start a command of ours beside us; what it says goes into a file of the world."""
    with (w.data / f"{words[0]}.log").open("w") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relaybot", *words), stdout=log, stderr=log, cwd=Path(__file__).parents[2]
        )


def cpu_seconds(pid: int) -> float:
    """Return the seconds of processor time of a process so far, as Linux counts them."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
