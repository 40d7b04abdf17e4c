"""What the `bolt11` package does bit by bit, done at once: else reading and writing invoices is a sixth of a story."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import bolt11
from bitstring import BitArray, Bits


def to_groups(bits: Bits) -> list[int]:
    """Return bits in groups of five."""
    text = bits.bin
    return [int(text[start : start + 5], 2) for start in range(0, len(text), 5)]


def from_groups(groups: Iterable[int]) -> BitArray:
    """Return groups of five as bits."""
    return BitArray(bin="".join(map("{:05b}".format, groups)))


def hasten() -> None:
    """Have the package use these, for the rest of the process."""
    sys.modules[f"{bolt11.__name__}.encode"].bitarray_to_u5 = to_groups  # type: ignore[attr-defined]
    sys.modules[f"{bolt11.__name__}.decode"].u5_to_bitarray = from_groups  # type: ignore[attr-defined]
