"""Some stories have a chain: withdrawals to bitcoin addresses, blocks, fees that rise, and reorganisations.

What an outsider knows of it is the chain itself: which outputs pay to whose address, and what each transaction cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pynostr import bech32

from relaybot.simulator.network import SERVICE_NODE
from tests.simulator.cast import CONFIRMATIONS
from tests.simulator.timeline import wait
from wallet.accounts import NODE_ONCHAIN
from wallet.chain_address import parse_chain_address

if TYPE_CHECKING:
    from tests.simulator.people import Person
    from tests.simulator.script import Stage
    from tests.simulator.world import World

COINS, COIN_MSAT = 10, 100_000_000
BLOCK_SECONDS = 25.0
FEERATE = 253  # sat per 1,000 units of weight: the least there is

_UNMINED = "SELECT txid FROM transactions WHERE state <> 'mined'"
_UNSPENT = "SELECT sum(amount_msat) FROM coins WHERE node = ? AND spent_by IS NULL"
_FEE = (
    "SELECT (SELECT sum(amount_msat) FROM coins WHERE spent_by = :txid)"
    " - (SELECT sum(amount_msat) FROM coins WHERE txid = :txid)"
)
_PAID = "SELECT txid, script, amount_msat FROM coins WHERE node IS NULL ORDER BY txid, vout"
_BLOCK = "SELECT block FROM transactions WHERE txid = ?"
_SUM = "SELECT sum(amount_msat) FROM coins WHERE txid = ? AND node IS NULL"


class Coins:
    """The chain of one story, and whose each address is."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.chance = world.chance("coins")
        self.there = self.chance.of(40)
        self._owners: dict[str, str] = {}  # by the script of an address

    def give(self) -> None:
        """Give our node coins, before anybody looks: they are the operator's."""
        chain, wallet = self._world.network.chain, self._world.network.nodes[SERVICE_NODE].wallet
        for _ in range(COINS):
            chain.send(wallet._change_address(), COIN_MSAT)
        chain.mine(6)
        self._world.facts.given["the operator"] += COINS * COIN_MSAT

    async def run(self) -> None:
        """Find a block now and then, until the evening, which has its own pace."""
        while not self._world.quiet:
            await wait(self.chance.seconds(2 * BLOCK_SECONDS))
            self._world.network.chain.mine()

    def address(self, name: str) -> str:
        """Return a fresh address of somebody's wallet, of one of two sizes."""
        program = self.chance.randbytes(self.chance.choice((20, 32)))
        made = str(bech32.encode("bcrt", 0, list(program)))
        self._owners[parse_chain_address(made, currency="bcrt").script] = name
        return made

    def left_over(self) -> Iterator[str]:
        """Yield what is in no block yet."""
        for row in self._world.network._store.rows(_UNMINED):
            yield f"transaction {row['txid'][:6]} is in no block"

    def holds(self) -> int:
        """Return what our node has in coins, in msat, once everything is in blocks."""
        return self._world.network._store.number(_UNSPENT, (SERVICE_NODE,))

    def spent(self) -> Counter[str]:
        """Return what each has sent away by transactions, their part of the fees included."""
        store, spent = self._world.network._store, Counter[str]()
        paid = store.rows(_PAID)
        for txid in sorted({row["txid"] for row in paid}):
            fee = store.row(_FEE, {"txid": txid})[0]  # type: ignore[index]
            outputs = [row for row in paid if row["txid"] == txid]
            weights = [4 * (9 + len(row["script"]) // 2) for row in outputs]
            for row, weight in zip(outputs, weights, strict=True):
                share = -(-fee * weight // sum(weights))
                spent[self._owners[row["script"]]] += row["amount_msat"] + share
        return spent

    def too_early(self, txid: str) -> str:
        """Return why a transaction must not be booked yet; '' if it lies deep enough."""
        store = self._world.network._store
        block, paid = store.number(_BLOCK, (txid,)), store.number(_SUM, (txid,))
        depth = self._world.network.chain.height() - block + 1 if block else 0
        needed = max(blocks for least, blocks in CONFIRMATIONS if paid >= least * 1_000)
        return f"booked {depth} blocks deep, and needs {needed}" if depth < needed else ""

    def booked(self) -> int:
        """Return what our node has in coins by the book."""
        rows = self._world.auditor.rows("SELECT balance_msat FROM accounts WHERE id = ?", NODE_ONCHAIN)
        return -int(rows[0][0]) if rows else 0


async def begin(stage: Stage) -> None:
    """Wait until the bot has looked at the node: the coins are the operator's then. From there on blocks come."""
    world = stage.world
    while not world.auditor.rows("SELECT 1 FROM plans WHERE id = 'node/opening'"):
        await wait(1)
    world.spawn(world.coins.run())
    stage.begin(stage.somebody().top_up(2_500))


async def withdraw(person: Person) -> None:
    """Withdraw to an address, now and then more than there is or too little."""
    chance = person.chance
    said = chance.choice(("all", "all", "600", "900", "1400", "300"))
    await person.command(f"withdraw {said} {person.world.coins.address(person.name)}", twice=chance.of(15))


async def withdraws(stage: Stage) -> None:
    """Have somebody who can withdraw to an address, and perhaps another one at once: they share a transaction."""
    for name in stage.world.auditor.richest_first(tuple(stage.people))[: 1 + stage.chance.of(50)]:
        stage.begin(withdraw(stage.people[name]))


async def forgotten(stage: Stage) -> None:
    """Have somebody withdraw, and the chain take the transaction back when it is sent; mempools forget it, too."""
    await withdraws(stage)
    stage.begin(_forgotten(stage.world))


async def _forgotten(world: World) -> None:
    while not world.quiet:
        await wait(3)
        if world.auditor.rows("SELECT 1 FROM batches WHERE state = 'sent'"):
            await wait(world.coins.chance.seconds(BLOCK_SECONDS))
            chain = world.network.chain
            chain.reorganise(2, length=2)
            for txid in chain.describe()["mempool"]:
                chain.forget(txid)
            return world.tell("the chain takes 2 blocks back, and mempools forget what waits")
    return None


async def reorganised(stage: Stage) -> None:
    """Take blocks back; their transactions wait again, or the mempool forgets them, too."""
    chain, blocks = stage.world.network.chain, stage.chance.choice((1, 1, 2, 4))
    chain.reorganise(blocks, length=blocks + stage.chance.choice((0, 1)))
    stage.world.tell(f"the chain takes {blocks} blocks back")
    if stage.chance.of(25):
        for txid in chain.describe()["mempool"]:
            chain.forget(txid)
        stage.world.tell("mempools forget what waits")


async def fees_change(stage: Stage) -> None:
    """Let fees rise or fall."""
    perkw = stage.chance.choice((FEERATE, FEERATE, 400, 900))
    stage.world.network.chain.set_feerate(perkw)
    stage.world.tell(f"fees are {perkw} sat per 1,000 units of weight now")
