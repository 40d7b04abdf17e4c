"""The whole simulated network: its nodes, their sockets, the world's HTTP, one database.

Embedded in the service, or run as a process of its own by `run_node`, so that the
service can die while the network lives on. Everything listens on this machine only.
"""

from __future__ import annotations

import asyncio
import fcntl
import secrets
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import coincurve
import structlog

from relaybot.clock import Clock, SystemClock
from relaybot.errors import BadConfig
from relaybot.simulator.chain import Chain
from relaybot.simulator.channels import Channels
from relaybot.simulator.controls import Controls
from relaybot.simulator.invoices import Invoices
from relaybot.simulator.node import SimulatedNode
from relaybot.simulator.offers import Offers
from relaybot.simulator.payments import Payments
from relaybot.simulator.people import WALLETS_NODE, People
from relaybot.simulator.rpc import RpcServer, checked_socket_path
from relaybot.simulator.scripts import Scripts
from relaybot.simulator.store import Store
from relaybot.simulator.waiting import Changes
from relaybot.simulator.wallet import Wallet
from relaybot.simulator.world import World

SERVICE_NODE = "service"
Chance = Callable[[int], bytes]  # that many random bytes

DELAY_SECONDS = 0.05  # of each payment in `run_node`: about what a direct peer takes

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """A channel to open when the network is first made."""

    opener: str
    peer: str
    capacity_sat: int
    pushed_sat: int = 0  # given to the peer at once; a move in both books


@dataclass(frozen=True, slots=True)
class Topology:
    """Which nodes there are, how they are joined, and what forwarding costs."""

    nodes: tuple[str, ...] = (SERVICE_NODE, "hub", WALLETS_NODE)
    channels: tuple[ChannelPlan, ...] = (
        ChannelPlan(SERVICE_NODE, "hub", 10_000_000),
        ChannelPlan("hub", SERVICE_NODE, 10_000_000),
        ChannelPlan(WALLETS_NODE, "hub", 10_000_000),
        ChannelPlan("hub", WALLETS_NODE, 10_000_000),
    )
    fee_base_msat: int = 1_000
    fee_ppm: int = 100


@dataclass(frozen=True, slots=True)
class Running:
    """Where a started network can be reached."""

    url: str
    sockets: Mapping[str, Path]


class SimulatedNetwork:
    """Lightning nodes that are not real, with all they remember in `data_dir`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        clock: Clock | None = None,
        topology: Topology | None = None,
        delay_seconds: float = 0.0,
        http_host: str = "127.0.0.1",
        http_port: int = 0,
        chance: Chance = secrets.token_bytes,
    ) -> None:
        """Check the paths; BadConfig if a socket's would be too long. Nothing is written before `start`."""
        self._data_dir = data_dir.absolute()
        self._clock = clock or SystemClock()
        self._topology = topology or Topology()
        self._delay_seconds = delay_seconds
        self._http = (http_host, http_port)
        self._chance = chance
        self.sockets = {name: checked_socket_path(self._socket_path(name)) for name in self._topology.nodes}
        self.nodes: dict[str, SimulatedNode] = {}
        self._servers: list[RpcServer] = []
        self._closing = AsyncExitStack()  # what was opened, to be closed the other way round

    async def start(self) -> Running:
        """Open what is remembered, listen, and go on with the payments that were on their way.

        BadConfig if another process runs on the same directory, or `http_host` is not this machine.
        """
        try:
            self.open()
            for server in self._servers:
                await server.start()
                self._closing.push_async_callback(server.close)
            self._closing.push_async_callback(self._world.close)
            self.running = Running(await self._world.start(*self._http), self.sockets)
        except BaseException:
            await self.close()
            raise
        self.payments.resume()
        log.info("simulator_started", url=self.running.url, directory=str(self._data_dir))
        return self.running

    def open(self) -> None:
        """Open the database and make everything that works on it; nobody is listened to yet."""
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._closing.callback(_locked(self._data_dir / "lock").close)
        self._store = Store(self._data_dir / "network.sqlite3")
        self._closing.callback(self._store.close)
        changes, invoices = Changes(), dict[str, Invoices]()
        self.scripts = Scripts(self._store)
        self.channels = Channels(self._store, self._clock)
        self.chain = Chain(self._store, self._clock, changes, chance=self._chance)
        self.offers = Offers(self._store, self._clock, invoices, chance=self._chance)
        self.payments = Payments(
            store=self._store,
            channels=self.channels,
            scripts=self.scripts,
            invoices=invoices,
            clock=self._clock,
            changes=changes,
            delay_seconds=self._delay_seconds,
            chance=self._chance,
        )
        self._closing.push_async_callback(self.payments.close)
        for name in self._topology.nodes:
            self._add_node(name, invoices, changes)
        self._open_channels()
        self.people = People(
            store=self._store,
            invoices=invoices[WALLETS_NODE],
            offers=self.offers,
            payments=self.payments,
            clock=self._clock,
        )
        self._world = World(
            people=self.people,
            payments=self.payments,
            scripts=self.scripts,
            controls=Controls(
                self.chain,
                nodes=self.nodes,
                set_synced=self.set_synced,
                set_connected=self.set_connected,
                lose_answers=self.lose_answers,
            ),
            overview=self._overview,
        )

    async def close(self) -> None:
        """Stop answering; what is on its way goes on at the next start."""
        await self._closing.aclose()

    def set_connected(self, node: str, connected: bool) -> None:  # noqa: FBT001 — the state itself
        """Connect a node to all its peers, or disconnect it."""
        self.channels.set_connected(node, connected)

    def set_synced(self, node: str, synced: bool) -> None:  # noqa: FBT001 — the state itself
        """Let a node say that it has caught up with the chain, or that it has not."""
        self.chain.set_synced(node, synced)

    def lose_answers(self, node: str, count: int) -> None:
        """Let so many of a node's next transactions go out without its caller hearing of it."""
        self.nodes[node].wallet.spending.lost_answers = count

    def _socket_path(self, name: str) -> Path:
        return self._data_dir / name / "lightning-rpc"

    def _add_node(self, name: str, invoices: dict[str, Invoices], changes: Changes) -> None:
        """Make the node, with the key it has or with a new one."""
        row = self._store.row("SELECT secret, pubkey FROM nodes WHERE name = ?", (name,))
        if row is None:
            secret = self._chance(32)
            pubkey = coincurve.PrivateKey(secret).public_key.format().hex()
            self._store.run("INSERT INTO nodes (name, secret, pubkey) VALUES (?, ?, ?)", (name, secret, pubkey))
        else:
            secret, pubkey = row["secret"], row["pubkey"]
        invoices[name] = Invoices(
            name,
            secret,
            store=self._store,
            channels=self.channels,
            clock=self._clock,
            changes=changes,
            chance=self._chance,
        )
        self.nodes[name] = SimulatedNode(
            name,
            pubkey,
            directory=str(self._socket_path(name).parent),
            invoices=invoices[name],
            channels=self.channels,
            payments=self.payments,
            offers=self.offers,
            chain=self.chain,
            wallet=Wallet(name, secret, store=self._store, chain=self.chain, changes=changes),
            store=self._store,
            clock=self._clock,
            changes=changes,
        )
        self._servers.append(RpcServer(self.sockets[name], self.nodes[name].answer))

    def _open_channels(self) -> None:
        """Open the planned channels, once in the life of the network."""
        if self._store.number("SELECT count(*) FROM channels"):
            return
        for plan in self._topology.channels:
            self.channels.open(
                plan.opener,
                plan.peer,
                capacity_msat=plan.capacity_sat * 1_000,
                pushed_msat=plan.pushed_sat * 1_000,
                base_msat=self._topology.fee_base_msat,
                ppm=self._topology.fee_ppm,
            )

    def _overview(self) -> dict[str, Any]:
        """Return what runs, for people who look."""
        return {
            "simulated": True,
            "network": "regtest",
            "nodes": [
                {
                    "name": name,
                    "id": node.pubkey,
                    "socket": str(self.sockets[name]),
                    "channels": self.channels.funds(name),
                }
                for name, node in self.nodes.items()
            ],
            "chain": self.chain.describe(),
            "payments_on_their_way": self._store.number("SELECT count(*) FROM attempts WHERE open = 1"),
        }


async def run_node(
    *,
    data_dir: Path,
    http_host: str,
    http_port: int,
    ready: Callable[[Running], None],
    delay_seconds: float = DELAY_SECONDS,
) -> None:
    """Run the simulated network until cancelled; `ready` is called once it can be reached."""
    network = SimulatedNetwork(data_dir, delay_seconds=delay_seconds, http_host=http_host, http_port=http_port)
    ready(await network.start())
    try:
        await asyncio.Event().wait()
    finally:
        await network.close()


def _locked(path: Path) -> IO[str]:
    """Hold the data directory: two processes on one network would pay everything twice."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise BadConfig("lightning.data", str(path.parent), "a directory no other simulator runs in") from None
    return file
