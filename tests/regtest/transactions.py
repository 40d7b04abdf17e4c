"""Bitcoin's bytes, as far as a made-up chain needs them: transactions read and written, addresses as scripts."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import bech32

SEGWIT_MARK = b"\x00\x01"
HRP = "bcrt"
_BECH32M = 0x2BC830A3  # BIP-350


class Outpoint(NamedTuple):
    """One output of one transaction; `txid` in hex, as people write it."""

    txid: str
    place: int


class Input(NamedTuple):
    """What a transaction spends, and how long that must have lain (BIP-68)."""

    spends: Outpoint
    script: bytes
    sequence: int


class Output(NamedTuple):
    """What a transaction makes."""

    sat: int
    script: bytes


class Malformed(Exception):
    """These bytes are no transaction."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction as it was read, with its bytes."""

    version: int
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    lock_time: int
    raw: bytes
    bare: bytes  # without witnesses

    @property
    def txid(self) -> str:
        return double_sha256(self.bare)[::-1].hex()

    @property
    def witness_hash(self) -> bytes:
        return double_sha256(self.raw)

    @property
    def virtual_size(self) -> int:
        return (3 * len(self.bare) + len(self.raw) + 3) // 4


def double_sha256(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def compact(number: int) -> bytes:
    """Return a length as Bitcoin writes it."""
    if number < 0xFD:
        return bytes([number])
    for mark, width in ((b"\xfd", 2), (b"\xfe", 4), (b"\xff", 8)):
        if number < 1 << (8 * width):
            return mark + number.to_bytes(width, "little")
    raise ValueError(number)


class _Reader:
    """Bytes that are taken from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        taken = self._data[self.at : self.at + count]
        if len(taken) < count:
            raise Malformed("it ends too soon")
        self.at += count
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def length(self) -> int:
        first = self.number(1)
        return first if first < 0xFD else self.number({0xFD: 2, 0xFE: 4, 0xFF: 8}[first])

    def text(self) -> bytes:
        return self.take(self.length())

    def skip(self, mark: bytes) -> bool:
        """Pass over `mark` if it is next."""
        found = self._data.startswith(mark, self.at)
        self.at += len(mark) if found else 0
        return found


def read_transaction(raw: bytes) -> Transaction:
    """Read one transaction, to its last byte; Malformed if it is none."""
    reader = _Reader(raw)
    version = reader.number(4)
    has_witness = reader.skip(SEGWIT_MARK)
    begin = reader.at
    inputs = tuple(_read_input(reader) for _ in range(reader.length()))
    outputs = tuple(Output(reader.number(8), reader.text()) for _ in range(reader.length()))
    end = reader.at
    for _ in inputs if has_witness else ():
        for _ in range(reader.length()):
            reader.text()
    lock_time = reader.number(4)
    if reader.at != len(raw) or not inputs or not outputs:
        raise Malformed("it is empty, or there is more after it")
    return Transaction(version, inputs, outputs, lock_time, raw, raw[:4] + raw[begin:end] + raw[-4:])


def _read_input(reader: _Reader) -> Input:
    spends = Outpoint(reader.take(32)[::-1].hex(), reader.number(4))
    return Input(spends, reader.text(), reader.number(4))


def build_transaction(
    inputs: Sequence[Input], outputs: Sequence[Output], *, witness: Sequence[bytes] = (), lock_time: int = 0
) -> Transaction:
    """Write a transaction of version 2; `witness` is the stack of each of its inputs."""
    parts = [compact(len(inputs))]
    for spends, script, sequence in inputs:
        parts += [bytes.fromhex(spends.txid)[::-1], struct.pack("<I", spends.place)]
        parts += [compact(len(script)), script, struct.pack("<I", sequence)]
    parts.append(compact(len(outputs)))
    for sat, script in outputs:
        parts += [struct.pack("<Q", sat), compact(len(script)), script]
    stack = compact(len(witness)) + b"".join(compact(len(item)) + item for item in witness)
    body, ends = b"".join(parts), struct.pack("<I", lock_time)
    marked = (SEGWIT_MARK + body + stack * len(inputs)) if witness else body
    return read_transaction(struct.pack("<I", 2) + marked + ends)


def script_of(address: str) -> bytes:
    """Return the script of a segwit address of regtest (BIP-173, BIP-350); ValueError if it is none."""
    version, program = bech32.decode(HRP, address)
    if version is None or program is None:
        version, program = _decode_bech32m(address.lower())
    return bytes([0x50 + version if version else 0, len(program), *program])


def _decode_bech32m(address: str) -> tuple[int, list[int]]:
    prefix, _, letters = address.partition("1")
    words = [bech32.CHARSET.find(letter) for letter in letters]
    valid = prefix == HRP and -1 not in words and len(words) > 6
    if not valid or bech32.bech32_polymod(bech32.bech32_hrp_expand(prefix) + words) != _BECH32M:
        raise ValueError(f"not a regtest address: {address}")
    program = bech32.convertbits(words[1:-6], 5, 8, pad=False)
    if program is None:
        raise ValueError(f"not a regtest address: {address}")
    return words[0], program
