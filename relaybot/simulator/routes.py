"""Finding paths through the simulated channels: pure, on a picture of them.

A path costs what the forwarding nodes charge (base and parts per million of what
they forward). One path is preferred; where none is wide enough the amount is split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

HOPS_MAX = 4  # of one path; the simulated networks are small
PARTS_MAX = 10


@dataclass(frozen=True, slots=True)
class Edge:
    """One direction of one channel, as its sender sees it."""

    channel: int
    sender: str
    receiver: str
    spendable_msat: int
    fee_base_msat: int
    fee_ppm: int
    connected: bool

    def fee_msat(self, amount_msat: int) -> int:
        """Return what the sender charges to forward `amount_msat` here. BOLT 7: rounded down."""
        return self.fee_base_msat + amount_msat * self.fee_ppm // 1_000_000


@dataclass(frozen=True, slots=True)
class Hop:
    """One channel on a path and what goes over it."""

    channel: int
    sender: str
    receiver: str
    amount_msat: int


@dataclass(frozen=True, slots=True)
class Path:
    """The hops of one part, in order."""

    hops: tuple[Hop, ...]

    @property
    def sent_msat(self) -> int:
        """What leaves the payer, fees included."""
        return self.hops[0].amount_msat

    @property
    def delivered_msat(self) -> int:
        """What reaches the payee."""
        return self.hops[-1].amount_msat


class NoPath(Exception):
    """There is no way to send the amount; `largest_msat` could be sent in one part."""

    def __init__(self, largest_msat: int) -> None:
        super().__init__(largest_msat)
        self.largest_msat = largest_msat


def find_paths(edges: Sequence[Edge], *, source: str, destination: str, amount_msat: int) -> list[Path]:
    """Return the cheapest way to bring `amount_msat` to `destination`, in as few parts as it can; NoPath if none."""
    used: dict[tuple[int, str], int] = {}
    found: list[Path] = []
    missing = amount_msat
    for _ in range(PARTS_MAX):
        ways = list(_ways(edges, source, destination))
        wide = [path for way in ways if (path := _carry(way, missing, used)) is not None]
        if wide:
            return [*found, min(wide, key=lambda path: path.sent_msat)]
        widest = max(ways, key=lambda way: _width(way, used), default=None)
        share = 0 if widest is None else _width(widest, used)
        path = None if widest is None or share <= 0 else _carry(widest, share, used)
        if path is None:
            break
        found.append(path)
        missing -= share
        for hop in path.hops:
            used[hop.channel, hop.sender] = used.get((hop.channel, hop.sender), 0) + hop.amount_msat
    raise NoPath(max((_width(way, {}) for way in _ways(edges, source, destination)), default=0))


def _ways(edges: Sequence[Edge], at: str, destination: str, behind: tuple[str, ...] = ()) -> Iterator[tuple[Edge, ...]]:
    """Yield all ways that visit no node twice."""
    visited = (*behind, at)
    if len(visited) > HOPS_MAX:
        return
    for edge in edges:
        if edge.sender != at or not edge.connected or edge.receiver in visited:
            continue
        if edge.receiver == destination:
            yield (edge,)
        else:
            yield from ((edge, *rest) for rest in _ways(edges, edge.receiver, destination, visited))


def _carry(way: Sequence[Edge], amount_msat: int, used: Mapping[tuple[int, str], int]) -> Path | None:
    """Return the path that delivers `amount_msat` this way, or None if a channel on it cannot carry it."""
    hops: list[Hop] = []
    amount = amount_msat
    for position, edge in reversed(list(enumerate(way))):
        if amount > edge.spendable_msat - used.get((edge.channel, edge.sender), 0):
            return None
        hops.append(Hop(edge.channel, edge.sender, edge.receiver, amount))
        if position:  # the payer charges itself nothing
            amount += edge.fee_msat(amount)
    return Path(tuple(reversed(hops)))


def _width(way: Sequence[Edge], used: Mapping[tuple[int, str], int]) -> int:
    """Return the largest amount that can surely be delivered this way."""
    width = min(edge.spendable_msat - used.get((edge.channel, edge.sender), 0) for edge in way)
    fees = sum(edge.fee_msat(max(width, 0)) for edge in way[1:])
    return width - fees
