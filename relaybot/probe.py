"""A probe is told of every border a crash could fall on: commits and outside calls.

The product passes `no_probe`. The crash tests pass one that counts, and one that kills.
"""

from __future__ import annotations

from collections.abc import Callable

Probe = Callable[[str], None]


def no_probe(_border: str) -> None:
    """Do nothing at any border."""
