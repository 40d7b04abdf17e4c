"""What all connections of one server share: the list of those that are open, counts of them, and when they write.

What happens on one of them is connection.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from websockets.frames import CloseCode

from relaybot.relay.frames import EventFrames
from relaybot.relay.hub import Hub
from relaybot.relay.proxies import origin
from relaybot.relay.rates import Rate
from relaybot.relay.settings import RelayLimits

SLOW_BYTES = 262_144  # unsent bytes from which on a reader counts as slow
UNSENT_BYTES_MAX = 268_435_456  # of all slow readers together: one address alone may have a hundred connections

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_LARGE = (  # a wallet reads why its zap request was not taken (LUD-06)
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"Access-Control-Allow-Origin: *\r\nContent-Length: 66\r\n\r\n"
    b'{"status": "ERROR", "reason": "the request is too long for a URL"}'
)


class Open(Protocol):
    """A connection, as far as its server needs it."""

    def flush(self) -> None:
        """Write what has gathered, in one piece."""

    def check_times(self, now: float) -> None:
        """Ask who is silent whether they are there; let go of who is silent too long."""

    def stop_reading(self) -> None:
        """Take no more messages for now."""

    def close(self, code: CloseCode, reason: str) -> None:
        """Begin the closing handshake; before it is opened, a connection is just ended."""

    def abort(self) -> None:
        """End the connection at once."""


class Connections:
    """What all connections of one server share, and the list of those that are open."""

    def __init__(self, hub: Hub, limits: RelayLimits, http: Callable[[], asyncio.Protocol]) -> None:
        """Take what connections need; `http` makes the protocol for those that are no websockets."""
        self.hub = hub
        self.limits = limits
        self.http = http
        self.open: set[Open] = set()
        self._handed_over: dict[asyncio.BaseTransport, str] = {}  # to the HTTP server → the origin they count for
        self.all_gone = asyncio.Event()
        self.all_gone.set()
        self.stopping = False  # from here on nobody is listened to again
        self.frames = EventFrames()
        self.known_as: frozenset[str] = frozenset()  # names of this relay (nip42.relay_name)
        self.requests = Rate(limits.requests_per_address_minute_max)
        self._by_origin: dict[str, int] = {}
        # Slow readers → their unsent bytes, when they were last written to.
        self._slow: dict[asyncio.WriteTransport, int] = {}
        self._loop = asyncio.get_running_loop()
        self._to_flush: list[Open] = []

    def time(self) -> float:
        """Return the loop's time, in seconds."""
        return self._loop.time()

    def enter(self, connection: Open) -> None:
        """Count a connection in."""
        self.open.add(connection)
        self.all_gone.clear()

    def leave(self, connection: Open, counted_as: str) -> None:
        """Count a connection out: it is lost, or belongs to the HTTP server now."""
        if connection in self.open:
            self.open.discard(connection)
            self.move(counted_as, "")
        if not self.open:
            self.all_gone.set()

    def hand_over(self, connection: Open, transport: asyncio.BaseTransport, counted_as: str) -> None:
        """Let the HTTP server have a connection: it counts until it is closed, a proxy's for no single client."""
        self.open.discard(connection)
        peer = transport.get_extra_info("peername")
        if origin(peer[0] if peer else "") != counted_as:
            self.move(counted_as, "")
            counted_as = ""
        self._handed_over[transport] = counted_as
        if not self.open:
            self.all_gone.set()

    def forget_closed(self) -> None:
        """Count those no more that the HTTP server, or who was there, has closed."""
        for transport, counted_as in list(self._handed_over.items()):
            if transport.is_closing():
                del self._handed_over[transport]
                self.move(counted_as, "")

    def move(self, before: str, now: str) -> None:
        """Count a connection under another origin than before; the empty one is not counted."""
        left = self._by_origin.pop(before, 1) - 1
        if left:
            self._by_origin[before] = left
        if now:
            self._by_origin[now] = self._by_origin.get(now, 0) + 1

    def too_many(self, counted_as: str, spare: int = 0) -> bool:
        """Tell whether more connections are open, all together or of one origin, than the limits and `spare` allow."""
        if not self._exceeds(counted_as, spare):
            return False
        self.forget_closed()
        return self._exceeds(counted_as, spare)

    def _exceeds(self, counted_as: str, spare: int) -> bool:
        most, most_of_one = self.limits.connections_max, self.limits.connections_per_address_max
        of_one = self._by_origin.get(counted_as, 0) if most_of_one else 0
        return len(self.open) + len(self._handed_over) > most + spare or of_one > most_of_one + spare

    def may_leave(self, transport: asyncio.WriteTransport, unsent: int) -> int:
        """Return how many bytes a reader may leave unsent; few while all slow ones together leave too many."""
        self._slow.pop(transport, None)
        if unsent > SLOW_BYTES:
            self._slow[transport] = unsent
            if sum(self._slow.values()) > UNSENT_BYTES_MAX:  # or did, when they were written to
                sizes = {one: one.get_write_buffer_size() for one in self._slow if not one.is_closing()}
                self._slow = {one: size for one, size in sizes.items() if size > SLOW_BYTES}
                if sum(self._slow.values()) > UNSENT_BYTES_MAX:
                    return SLOW_BYTES
        return self.limits.unsent_bytes_max

    def flush_soon(self, connection: Open) -> None:
        """Write what `connection` has to send after this turn of the loop."""
        self._to_flush.append(connection)
        if len(self._to_flush) == 1:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        connections, self._to_flush = self._to_flush, []
        for connection in connections:
            connection.flush()
