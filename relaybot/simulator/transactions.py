"""The bytes of the simulated chain's transactions, real ones: their ids are their hashes, as everywhere.

Only the signatures are made up, for nobody checks them here. A PSBT is of version 0
(BIP-174), with an empty map for each input and output; a signed input has its final witness.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from relaybot.errors import Rejected
from wallet.transaction import Transaction, read_unsigned

VERSION = 2
SEQUENCE = 0xFFFF_FFFD  # may be replaced (BIP-125)
_MAGIC, _UNSIGNED, _FINAL_WITNESS, _END = b"psbt\xff", b"\x01\x00", b"\x01\x08", b"\x00"
_LONG = 0xFD  # a count from here on has two bytes more
_WITNESS = b"\x01\x40" + bytes(64)  # one signature of taproot's size


@dataclass(frozen=True, slots=True)
class Made:
    """A transaction as it is built: what it spends, and whom it pays how much."""

    inputs: Sequence[tuple[str, int]]
    outputs: Sequence[tuple[int, str]]  # sat, and the script in hex
    lock_time: int = 0

    def raw(self, *, signed: bool) -> bytes:
        """Return its bytes, with or without the witnesses (BIP-144)."""
        parts = [struct.pack("<I", VERSION), b"\x00\x01" if signed else b"", _count(len(self.inputs))]
        for txid, vout in self.inputs:
            parts.append(bytes.fromhex(txid)[::-1] + struct.pack("<IBI", vout, 0, SEQUENCE))
        parts.append(_count(len(self.outputs)))
        for sat, script in self.outputs:
            octets = bytes.fromhex(script)
            parts.append(struct.pack("<Q", sat) + _count(len(octets)) + octets)
        witnesses = _WITNESS * len(self.inputs) if signed else b""
        return b"".join((*parts, witnesses, struct.pack("<I", self.lock_time)))

    @property
    def txid(self) -> str:
        """Return its id, which no signature changes."""
        return hashlib.sha256(hashlib.sha256(self.raw(signed=False)).digest()).digest()[::-1].hex()

    def psbt(self, *, signed: bool) -> str:
        """Return it as a PSBT in base64."""
        raw = self.raw(signed=False)
        one = _FINAL_WITNESS + _count(len(_WITNESS)) + _WITNESS + _END if signed else _END
        maps = one * len(self.inputs) + _END * len(self.outputs)
        return base64.b64encode(_MAGIC + _UNSIGNED + _count(len(raw)) + raw + _END + maps).decode()


def read_psbt(text: str) -> tuple[Made, bool]:
    """Return what a PSBT of ours holds, and whether it is signed; Rejected if it is none."""
    try:
        octets = base64.b64decode(text, validate=True).removeprefix(_MAGIC + _UNSIGNED)
        size, width = (octets[0], 1) if octets[0] < _LONG else (int.from_bytes(octets[1:3], "little"), 3)
    except (ValueError, IndexError):
        raise Rejected("invalid", "not a PSBT") from None
    raw, maps = octets[width : width + size], octets[width + size :]
    read = read_unsigned(raw.hex())
    return made_of(read, lock_time=int.from_bytes(raw[-4:], "little")), _FINAL_WITNESS in maps


def made_of(read: Transaction, *, lock_time: int) -> Made:
    """Return what was read as it is built."""
    inputs = [(txid, int(vout)) for txid, _, vout in (outpoint.partition(":") for outpoint in read.inputs)]
    return Made(inputs, read.outputs, lock_time)


def _count(number: int) -> bytes:
    return bytes([number]) if number < _LONG else bytes([_LONG]) + struct.pack("<H", number)
