"""The simulator's way to the node is the port: the adapter's own contract suite runs on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relaybot.clock import SetClock
from relaybot.simulator.network import SimulatedNetwork
from tests.lightning.conftest import clock, connect, data_dir, lab  # noqa: F401  fixtures of the suite
from tests.lightning.simulated_nodes import RIG, SimulatedNodes
from tests.lightning.test_cln_contract import *  # noqa: F403  every test of the suite, with our fixtures
from tests.lightning.test_cln_contract import OURS
from tests.simulator.borders import Borders
from tests.simulator.node import InProcessNode, NodeManners
from tests.simulator.timeline import Chance


@pytest.fixture
async def network(data_dir: Path, clock: SetClock) -> AsyncIterator[SimulatedNetwork]:  # noqa: F811  pytest's way
    network = SimulatedNetwork(data_dir, clock=clock, topology=RIG)
    await network.start()
    yield network
    await network.close()


@pytest.fixture
def nodes(network: SimulatedNetwork, clock: SetClock) -> SimulatedNodes:  # noqa: F811  pytest's way
    return SimulatedNodes(network, clock)


@pytest.fixture(name="node")
async def polite_node(network: SimulatedNetwork) -> AsyncIterator[InProcessNode]:
    """A node of good manners."""
    tasks: set[asyncio.Task[Any]] = set()

    def spawn(work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        return task

    manners = NodeManners(network, Chance(0, "node"), spawn, name=OURS)
    manners.slow_seconds = manners.lies_percent = 0.0
    yield InProcessNode(manners, Borders(Chance(0, "borders"), on_death=lambda _: None))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
