"""Run a relay as a process of its own until it is killed: `python -m tests.relay.serve FILE`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from relaybot.clock import SystemClock
from relaybot.relay.events import EventStore
from relaybot.relay.hub import Hub
from relaybot.relay.server import RelayServer
from relaybot.relay.settings import RelaySettings


async def _serve(path: Path) -> None:
    settings = RelaySettings()
    store = await EventStore.open(path, settings.limits)
    server = RelayServer(Hub(store, settings.limits, SystemClock()), settings)
    _, port = await server.start("127.0.0.1", 0)
    sys.stderr.write(f"{port}\n")
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1])))
