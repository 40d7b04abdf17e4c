"""The port to the node's own wallet on the chain: addresses, outputs, blocks, and its record of moves.

An output is what the node sees now, and goes back with the chain in a reorganisation; a
move is what its bookkeeper noted once, and stays. Only outputs are ever credited.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from relaybot.errors import Rejected
from wallet.money import Msat

TOO_FEW_COINS = "too few coins are free"
REFUSED_PAYMENT = "the node refuses one of these payments"


def too_few_coins() -> Rejected:
    """Return what is raised where too few coins are free and deep enough."""
    return Rejected("invalid", TOO_FEW_COINS)


def refused_payment() -> Rejected:
    """Return what is raised where the node refuses a transaction for one of its outputs."""
    return Rejected("invalid", REFUSED_PAYMENT)


class OutputState(Enum):
    """Where an output of the node's wallet stands on the chain it sees."""

    CONFIRMED = "confirmed"  # in a block, and not spent
    UNCONFIRMED = "unconfirmed"  # in no block, or not to be spent yet
    SPENT = "spent"  # by a transaction in a block


@dataclass(frozen=True, slots=True)
class Output:
    """One output that pays one of the node's addresses."""

    txid: str
    vout: int
    address: str
    amount_msat: Msat
    state: OutputState
    height: int | None  # of its block, while it is confirmed

    @property
    def outpoint(self) -> str:
        """Return what names it: `<txid>:<vout>`."""
        return f"{self.txid}:{self.vout}"


@dataclass(frozen=True, slots=True)
class ChainMove:
    """One row of the node's books: an output came, or was spent. There is none for a fee."""

    index: int
    txid: str  # of the transaction that moved it: the one that made the output, or the one that spends it
    outpoint: str
    credit_msat: Msat
    debit_msat: Msat
    tag: str  # the node's first tag: deposit, withdrawal, channel_open, …
    account: str  # whose books: wallet, external, or a channel's id


@dataclass(frozen=True, slots=True)
class Payment:
    """One output that a transaction of ours shall have."""

    address: str
    script: str  # what an output to that address says, in hex
    amount_msat: Msat  # whole sats


@dataclass(frozen=True, slots=True)
class Prepared:
    """A transaction of ours that is complete but for its signatures, which do not change its id.

    Whoever has the PSBT can let the node sign and send it again at any time: the same
    coins, the same outputs, the same id. Its coins are reserved at the node meanwhile.
    """

    txid: str
    psbt: str
    inputs: tuple[str, ...]  # outpoints
    fee_msat: Msat


class Chain(Protocol):
    """A wallet on the chain. Every call raises Unavailable if the node does not answer, or not in time."""

    async def new_address(self) -> str:
        """Return an address nobody was told yet, in bech32m."""
        ...

    async def outputs(self) -> list[Output]:
        """Return every output the wallet has ever seen in a block, those that are spent included."""
        ...

    async def wait_for_block(self, height: int, *, timeout_seconds: int) -> None:
        """Return when the chain is `height` blocks high, or when the time is over."""
        ...

    async def chain_moves(self, *, after_index: int, limit: int) -> list[ChainMove]:
        """Return up to `limit` rows of the node's books above `after_index`, oldest first."""
        ...

    # Spending. Nothing leaves before `send`.

    async def feerate(self, blocks: int) -> int:
        """Return what a transaction must pay to be within about so many blocks, in sat per 1,000 units of weight."""
        ...

    async def is_own(self, address: str) -> bool:
        """Tell whether an address is one of this wallet's."""
        ...

    async def prepare(self, payments: Sequence[Payment], *, feerate: int, confirmations: int) -> Prepared:
        """Return one transaction with these outputs, out of coins that are so deep, at this feerate.

        Rejected if there are too few such coins, or if the node refuses a payment. What the
        node prepared is read and compared with what was asked for. Unavailable leaves nothing
        but coins that the node reserves for half a day.
        """
        ...

    async def discard(self, txid: str) -> None:
        """Free the coins of what was prepared and never sent; nothing happens if the node has forgotten it."""
        ...

    async def send(self, txid: str, psbt: str) -> str:
        """Sign and broadcast what was prepared, as often as wanted: it is the same transaction each time.

        Return '' or, for people, what the node said instead: that proves nothing. It raises nothing;
        `heights` tells what became of it.
        """
        ...

    async def heights(self, txids: Collection[str]) -> Mapping[str, int]:
        """Return the height of the block each of these stands in, 0 for none; the unknown are left out."""
        ...
