"""Real Core Lightning nodes on this machine, on a chain of our own: started, joined, killed, started again.

Whoever has `lightningd` on the PATH can run it; no Bitcoin node is needed. Everything
listens on loopback or on Unix sockets in one directory with a short name, and nothing
outlives the process that made it: the nodes end when their chain does.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from relaybot.demo.people import until
from relaybot.demo.stage import HOST, free_port
from tests.lightning.lab import CHANNEL_SAT, FEE_BASE_MSAT, FEE_PPM, NODES
from tests.lightning.wire import ask
from tests.regtest.chain import Chain
from tests.regtest.chain_server import ChainServer
from tests.regtest.plugin import write_plugin

COINS_SAT = 30_000_000  # each of what a node gets in the beginning
COINS = 4
MATURE_BLOCKS = 101
DEEP_BLOCKS = 6  # then a channel is announced
NORMAL = "CHANNELD_NORMAL"
CLOSED = {"CLOSINGD_COMPLETE", "FUNDING_SPEND_SEEN", "ONCHAIN", "CLOSED"}


def installed() -> str | None:
    """Return the program `lightningd`, if this machine has it."""
    return shutil.which("lightningd")


class NodeRefused(Exception):
    """A node answered with an error."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(f"{method}: {error}")
        self.code = error["code"]


@dataclass(slots=True)
class Rig:
    """Three nodes with money: `service` has a channel of 16,000,000 sat, half on each side, with each of the others."""

    directory: Path
    chain: ChainServer = field(init=False)
    sockets: dict[str, Path] = field(init=False)
    orders: Path = field(init=False)  # what the doormen shall do, one file each, the oldest first
    ids: dict[str, str] = field(default_factory=dict)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chain = ChainServer(self.directory / "chain")
        self.orders = self.directory / "orders"
        self.orders.mkdir()
        self.sockets = {name: self.directory / name / "regtest" / "lightning-rpc" for name in NODES}

    # ---- its life

    async def start(self) -> None:
        """Start everything, and return when money can go from each node to each other."""
        self.chain.start()
        self.chain.do(lambda chain: chain.mine(MATURE_BLOCKS))
        await asyncio.gather(*(self.start_node(name) for name in NODES))
        self.ids = {name: (await self.call(name, "getinfo"))["id"] for name in NODES}
        for name in NODES:
            await self.fund(name, [COINS_SAT] * COINS)
        await self.mine(1)
        for peer in NODES[1:]:
            await self.join("service", peer)
        await until("everybody knows every channel", self._all_is_known)

    def stop(self) -> None:
        """End everything, the hard way: what is in the directory is thrown away."""
        for name in list(self._processes):
            self.kill_node(name)
        self.chain.close()

    async def start_node(self, name: str) -> None:
        """Start a node, on what it remembers, and return when it answers and has read the chain."""
        program, home = installed(), self.directory / name
        assert program is not None, "no lightningd on the PATH"
        home.mkdir(exist_ok=True)
        (home / "config").write_text("\n".join(self._config(name, home)) + "\n", encoding="utf-8")
        with (home / "output").open("ab") as output:
            self._processes[name] = subprocess.Popen(  # noqa: ASYNC220  it starts at once and is waited for elsewhere
                [program, f"--lightning-dir={home}"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        await until(f"{name} answers", partial(self._is_level, name))

    def _config(self, name: str, home: Path) -> Sequence[str]:
        port = self._ports.setdefault(name, free_port())
        return (
            "network=regtest",
            f"alias=regtest-{name}",
            f"bind-addr={HOST}:{port}",
            "disable-plugin=bcli",
            f"important-plugin={write_plugin(home / 'backend', 'tests.regtest.backend', [str(self.chain.path)])}",
            f"plugin={write_plugin(home / 'doorman', 'tests.regtest.doorman', [str(self.orders)])}",
            f"log-file={home / 'log'}",
            "log-level=info",
            f"fee-base={FEE_BASE_MSAT}",
            f"fee-per-satoshi={FEE_PPM}",
            "developer",  # for those that follow: else every block takes up to half a minute
            "allow-deprecated-apis=true",  # as it is without `developer`
            "dev-bitcoind-poll=1",
            "dev-fast-gossip",
            "dev-no-reconnect",  # who is parted stays so until the test connects them
        )

    def runs(self, name: str) -> bool:
        return name in self._processes

    def kill_node(self, name: str) -> None:
        """Let a node die at once, with all its daemons and plugins."""
        process = self._processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    async def stop_node(self, name: str) -> None:
        """Let a node end as its operator would."""
        await self.call(name, "stop")
        await asyncio.to_thread(self._processes.pop(name).wait)

    # ---- the chain

    async def mine(self, count: int = 1) -> None:
        """Mine blocks, and wait until every node that runs has seen them."""
        self.chain.do(lambda chain: chain.mine(count))
        await self.level()

    async def reorganise(self, depth: int) -> None:
        """Take blocks away and put empty ones and one more in their place; what was in them waits again."""

        def on_another_branch(chain: Chain) -> None:
            chain.reorganise(depth)
            waiting, chain.waiting = chain.waiting, {}
            chain.mine(depth + 1)
            chain.waiting = waiting

        self.chain.do(on_another_branch)
        await self.level()

    async def level(self) -> None:
        """Wait until every node that runs has read the whole chain."""
        for name in list(self._processes):
            await until(f"{name} has read the chain", partial(self._is_level, name))

    async def _is_level(self, name: str) -> bool:
        try:
            info = await self.call(name, "getinfo")
        except (OSError, ValueError):  # it is still starting, or has just ended
            return False
        return bool(info["blockheight"] == self.chain.do(lambda chain: chain.height))

    # ---- money and channels

    async def call(self, node: str, method: str, params: object = ()) -> dict[str, Any]:
        """Return a node's result; NodeRefused for its errors, OSError or ValueError if it is not there."""
        answer = await ask(self.sockets[node], method, params)
        if "error" in answer:
            raise NodeRefused(method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    async def fund(self, node: str, coins_sat: Sequence[int]) -> None:
        """Send coins to a node's wallet; they count once they are mined."""
        for sat in coins_sat:
            address = (await self.call(node, "newaddr", {"addresstype": "p2tr"}))["p2tr"]
            self.chain.do(partial(Chain.give, address=address, sat=sat))

    async def connect(self, node: str, peer: str) -> None:
        """Connect two nodes."""
        await self.call(node, "connect", {"id": self.ids[peer], "host": HOST, "port": self._ports[peer]})

    async def join(self, opener: str, peer: str, sat: int = CHANNEL_SAT) -> None:
        """Open a channel, half of it on each side, and return when it is announced."""
        await self.connect(opener, peer)
        opened = {"id": self.ids[peer], "amount": sat, "push_msat": sat * 500, "feerate": "2000perkb"}
        await self.call(opener, "fundchannel", opened)
        await self.mine(DEEP_BLOCKS)
        await until(f"{opener} and {peer} are joined", lambda: self._are_joined(opener, peer))

    async def _are_joined(self, one: str, other: str) -> bool:
        found = [*await self.channels(one, other), *await self.channels(other, one)]
        alive = [each for each in found if each["state"] not in CLOSED]
        return all(each["state"] == NORMAL and each["peer_connected"] for each in alive)

    async def channels(self, node: str, peer: str | None = None) -> list[dict[str, Any]]:
        """Return the channels of a node, or those with one peer."""
        wanted = {"id": self.ids[peer]} if peer else {}
        rows: list[dict[str, Any]] = (await self.call(node, "listpeerchannels", wanted))["channels"]
        return rows

    async def at_rest(self) -> None:
        """Wait until no channel has an HTLC on its way, and every peer is connected."""
        for name in NODES:
            await until(f"{name} is at rest", partial(self._is_at_rest, name))

    async def _is_at_rest(self, name: str) -> bool:
        open_ones = [each for each in await self.channels(name) if each["state"] == NORMAL]
        return all(each["peer_connected"] and not each["htlcs"] for each in open_ones)

    async def pay_over(self, channel: Mapping[str, Any], payer: str, bolt11: str, amount_msat: int) -> None:
        """Pay the peer at the other end of a channel over just that channel; more than its invoice asks is allowed."""
        said = await self.call(payer, "decode", {"string": bolt11})
        hop = {"id": said["payee"], "channel": channel["short_channel_id"], "delay": 20, "amount_msat": amount_msat}
        payment = {"payment_hash": said["payment_hash"], "payment_secret": said["payment_secret"], "bolt11": bolt11}
        await self.call(payer, "sendpay", {"route": [hop], **payment})
        await self.call(payer, "waitsendpay", {"payment_hash": said["payment_hash"], "timeout": 60})

    async def _all_is_known(self) -> bool:
        known = [(await self.call(name, "listchannels"))["channels"] for name in NODES]
        return all(sum(each["active"] for each in rows) >= 2 * (len(NODES) - 1) for rows in known)
