"""A probe is told of every border a crash could fall on: commits of both files, and outside calls.

The product passes `no_probe`. The crash tests pass one that counts, and one that kills.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

Probe = Callable[[str], None]


def no_probe(_border: str) -> None:
    """Do nothing at any border."""


Port = TypeVar("Port")


def probed(port: Port, probe: Probe) -> Port:
    """Return `port` with `probe` told before and after each call of its methods."""
    return cast("Port", _Probed(port, probe))


class _Probed:
    def __init__(self, port: object, probe: Probe) -> None:
        self._port = port
        self._probe = probe

    def __getattr__(self, name: str) -> object:
        method = getattr(self._port, name)
        if not callable(method):  # something it says of itself: no border
            return method

        async def call(*args: object, **kwargs: object) -> object:
            self._probe(f"{name}:before")
            answer = await method(*args, **kwargs)
            self._probe(f"{name}:after")
            return answer

        return call
