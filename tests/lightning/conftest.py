"""What the tests of this area share: short directories for sockets, a clock, a network, adapters on its nodes."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from relaybot.clock import SetClock
from relaybot.simulator.network import SimulatedNetwork
from tests.lightning.lab import Lab, Nodes
from tests.lightning.simulated_nodes import RIG, SimulatedNodes
from tests.lightning.wire import Answers, ScriptedNode, SilentNode
from tests.regtest.real_nodes import RealNodes
from tests.regtest.rig import Rig
from wallet.cln import CoreLightning, NodeLimits
from wallet.cln_chain import CoreLightningChain

NOW = 1_795_438_000

Connect = Callable[..., CoreLightning]
Restart = Callable[[], Awaitable[CoreLightning]]
Script = Callable[[Answers], Awaitable[ScriptedNode]]


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A directory with a short name: the path of a Unix socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="ln-") as directory:
        yield Path(directory)


@pytest.fixture
async def network(data_dir: Path, clock: SetClock) -> AsyncIterator[SimulatedNetwork]:
    """The default network: service — hub — wallets."""
    network = SimulatedNetwork(data_dir, clock=clock)
    await network.start()
    yield network
    await network.close()


@pytest.fixture
async def nodes(data_dir: Path, clock: SetClock, real_rig: Rig | None) -> AsyncIterator[Nodes]:
    """Three nodes as those of the recordings; real ones with `make test-cln`."""
    if real_rig is not None:
        real = RealNodes(real_rig)
        await real.tidy()
        yield real
        return
    simulated = SimulatedNodes(SimulatedNetwork(data_dir, clock=clock, topology=RIG), clock)
    await simulated.network.start()
    yield simulated
    await simulated.network.close()


@pytest.fixture
async def lab(nodes: Nodes) -> AsyncIterator[Lab]:
    lab = Lab(nodes)
    yield lab
    await lab.close()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make adapters that are closed at the end."""
    async with AsyncExitStack() as closing:

        def connect(
            socket: Path, limits: NodeLimits | None = None, *, private_channels: bool | None = None
        ) -> CoreLightning:
            adapter = CoreLightning(socket, limits=limits, private_channels=private_channels)
            closing.push_async_callback(adapter.close)
            return adapter

        yield connect


@pytest.fixture
def node(network: SimulatedNetwork, connect: Connect) -> CoreLightning:
    """The adapter on the service's node."""
    return connect(network.sockets["service"])


@pytest.fixture
async def chain(network: SimulatedNetwork) -> AsyncIterator[CoreLightningChain]:
    """The adapter on the wallet of the service's node."""
    adapter = CoreLightningChain(network.sockets["service"])
    yield adapter
    await adapter.close()


@pytest.fixture
async def restart(
    network: SimulatedNetwork, connect: Connect, data_dir: Path, clock: SetClock
) -> AsyncIterator[Restart]:
    """Stop the network and start it again on what it remembers; the answer is a new adapter on the service's node."""
    async with AsyncExitStack() as closing:

        async def restart() -> CoreLightning:
            await network.close()
            again = SimulatedNetwork(data_dir, clock=clock)
            await again.start()
            closing.push_async_callback(again.close)
            return connect(again.sockets["service"])

        yield restart


@pytest.fixture
async def scripted(data_dir: Path) -> AsyncIterator[Script]:
    """Start a node that answers what it is told; at `data_dir / "scripted"`."""
    async with AsyncExitStack() as closing:

        async def start(answers: Answers) -> ScriptedNode:
            node = ScriptedNode(data_dir / "scripted", answers)
            await node.start()
            closing.push_async_callback(node.close)
            return node

        yield start


@pytest.fixture
async def silent(data_dir: Path) -> AsyncIterator[SilentNode]:
    """A node that hears and never answers."""
    node = SilentNode(data_dir / "silent", lambda _method, _params: None)
    await node.start()
    yield node
    await node.close()
