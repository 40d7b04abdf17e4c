"""What the tests of this area share: a network in a short directory, a desk on it, and one life."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from relaybot.clock import SetClock
from relaybot.simulator.network import SimulatedNetwork
from tests.payouts.desk import NOW, PATIENT, Desk, Life


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A directory with a short name: the path of a Unix socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="po-") as directory:
        yield Path(directory)


@pytest.fixture
async def network(data_dir: Path, clock: SetClock) -> AsyncIterator[SimulatedNetwork]:
    """The default network: service — hub — wallets."""
    network = SimulatedNetwork(data_dir, clock=clock)
    await network.start()
    yield network
    await network.close()


@pytest.fixture
def desk(tmp_path: Path, network: SimulatedNetwork, clock: SetClock) -> Desk:
    return Desk(tmp_path / "book.sqlite3", network, clock)


@pytest.fixture
async def life(desk: Desk) -> AsyncIterator[Life]:
    async with desk.life() as life:
        yield life


@pytest.fixture
async def patient(desk: Desk) -> AsyncIterator[Life]:
    """A life that looks at a payment once a minute only."""
    async with desk.life(rules=PATIENT) as life:
        yield life
