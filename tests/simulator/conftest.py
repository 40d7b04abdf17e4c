"""The doors of the simulator where the contract suites expect the real adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relaybot.clock import SetClock
from relaybot.simulator.network import SimulatedNetwork
from tests.lightning.conftest import NOW
from tests.simulator.borders import Borders
from tests.simulator.node import InProcessNode, NodeManners
from tests.simulator.timeline import Chance


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
async def network(tmp_path: Path, clock: SetClock) -> AsyncIterator[SimulatedNetwork]:
    network = SimulatedNetwork(tmp_path / "ln", clock=clock)
    network.open()
    yield network
    await network.close()


@pytest.fixture
async def node(network: SimulatedNetwork) -> AsyncIterator[InProcessNode]:
    """A node of good manners."""
    tasks: set[asyncio.Task[Any]] = set()

    def spawn(work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        return task

    manners = NodeManners(network, Chance(0, "node"), spawn)
    manners.slow_seconds = 0.0
    yield InProcessNode(manners, Borders(Chance(0, "borders"), on_death=lambda _: None))
    await asyncio.gather(*tasks)
