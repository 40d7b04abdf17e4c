"""What the `bolt11` package does bit by bit, done at once: else reading invoices is slow."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import bolt11
from bitstring import BitArray


def from_groups(groups: Iterable[int]) -> BitArray:
    """Return groups of five as bits."""
    return BitArray(bin="".join(map("{:05b}".format, groups)))


def hasten() -> None:
    """Have the package use this, for the rest of the process."""
    sys.modules[f"{bolt11.__name__}.decode"].u5_to_bitarray = from_groups  # type: ignore[attr-defined]
