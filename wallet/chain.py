"""The port to the node's own wallet on the chain: addresses, outputs, blocks, and its record of moves.

An output is what the node sees now, and goes back with the chain in a reorganisation; a
move is what its bookkeeper noted once, and stays. Only outputs are ever credited.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from wallet.money import Msat


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
