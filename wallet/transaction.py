"""Bitcoin transactions that are not signed yet, read from their bytes. Pure.

What a node has prepared is read by ourselves before anything of it is stored: which coins
it spends, whom it pays how much, and by what id it will be known. Inputs of today's forms
carry their signatures outside the id (BIP-141), so signing does not change it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from relaybot.errors import Rejected

_SIZES = {0xFD: 2, 0xFE: 4, 0xFF: 8}  # of a count that needs more than one byte
_OUTPOINT, _SEQUENCE, _VERSION, _LOCK_TIME, _AMOUNT = 36, 4, 4, 4, 8  # bytes


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a transaction without signatures says."""

    txid: str
    inputs: tuple[str, ...]  # the outputs it spends: <txid>:<vout>
    outputs: tuple[tuple[int, str], ...]  # sat, and the script in hex


class _Octets:
    """Bytes that are taken from the front."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._octets[self._at : self._at + count]
        if len(taken) < count:
            raise Rejected("invalid", "the transaction ends too soon")
        self._at += count
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def count(self) -> int:
        first = self.number(1)
        return self.number(_SIZES[first]) if first in _SIZES else first

    @property
    def left(self) -> int:
        return len(self._octets) - self._at


def read_unsigned(text: str) -> Transaction:
    """Read a transaction without signatures, written in hex; Rejected if it is none."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise Rejected("invalid", "the transaction is not hex") from None
    octets = _Octets(raw)
    octets.take(_VERSION)
    inputs = tuple(_input(octets) for _ in range(octets.count()))
    outputs = tuple((octets.number(_AMOUNT), octets.take(octets.count()).hex()) for _ in range(octets.count()))
    octets.take(_LOCK_TIME)
    if octets.left or not inputs or not outputs:  # one with signatures says here that it has no inputs
        raise Rejected("invalid", "the transaction is empty, signed, or longer than it says")
    return Transaction(hashlib.sha256(hashlib.sha256(raw).digest()).digest()[::-1].hex(), inputs, outputs)


def _input(octets: _Octets) -> str:
    outpoint = octets.take(_OUTPOINT)
    octets.take(octets.count())  # the script that signs: empty
    octets.take(_SEQUENCE)
    return f"{outpoint[:32][::-1].hex()}:{int.from_bytes(outpoint[32:], 'little')}"
