"""Attack I8: readers that are slower than we are, and senders that are faster: neither makes us hold without bound."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from structlog.testing import capture_logs

from relaybot.relay.connections import SLOW_BYTES, Connections
from relaybot.relay.settings import RelayLimits
from tests.relay.authors import NOW, note, obj, raw
from tests.relay.conftest import Relay, limited, running
from tests.relay.test_queries import written_to
from tests.relay.wire import HANDSHAKE, masked, open_connections, until

LARGE = [note("x" * 60_000, at=NOW - number) for number in range(100)]


@asynccontextmanager
async def full(path: Path, **limits: float) -> AsyncIterator[Relay]:
    """Run a relay with 6 MB of events, more than the buffers of a connection."""
    async with running(path, limited(**limits)) as relay:
        await written_to(relay.store, LARGE)
        yield relay


def small_buffers(relay: Relay) -> socket.socket:
    """Return a connection that reads nothing by itself and takes little."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    one.connect((relay.host, relay.port))
    one.setblocking(False)
    return one


async def test_stored_events_wait_for_a_slow_reader_and_all_arrive(path: Path) -> None:
    async with full(path, unsent_bytes_max=1_000_000) as relay:
        with small_buffers(relay) as slow:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(slow, HANDSHAKE + masked(b'["REQ","s",{}]'))
            await until(lambda: any(connection._room is not None for connection in open_connections(relay.server)))
            received = b""
            while not received.endswith(b'["EOSE","s",["finish"]]'):
                received += await loop.sock_recv(slow, 1_000_000)
        assert received.count(b'["EVENT","s",') == len(LARGE)
        assert [received.count(raw(event)) for event in LARGE] == [1] * len(LARGE)


async def test_a_reader_that_takes_nothing_is_dropped_in_the_end(path: Path) -> None:
    async with full(path, stalled_seconds=0.1, close_seconds=0.1) as relay:
        with small_buffers(relay) as one, capture_logs() as logs:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(one, HANDSHAKE + masked(b'["REQ","s",{}]'))
            await until(lambda: bool(open_connections(relay.server)))
            await until(lambda: not open_connections(relay.server))
        assert [(line["event"], line["reason"]) for line in logs] == [("relay_connection_dropped", "too slow a reader")]
        assert len(relay.hub._subscriptions) == 0


async def test_a_reader_that_lets_new_events_pile_up_is_dropped_and_others_are_served(path: Path) -> None:
    async with running(path, limited(unsent_bytes_max=1_000_000, close_seconds=0.1)) as relay:
        with small_buffers(relay) as slow, capture_logs() as logs:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(slow, HANDSHAKE + masked(b'["REQ","s",{}]'))
            await until(lambda: len(relay.hub._subscriptions) == 1)
            async with relay.client() as quick, relay.client() as writer:
                await quick.subscribe({"limit": 0}, sub="q")
                assert await quick.until_eose("q") == []
                for event in LARGE:
                    await writer.accepted(event)
                    assert await quick.hear() == ["EVENT", "q", obj(event)]
                await until(lambda: len(open_connections(relay.server)) == 2)
        (dropped,) = logs
        assert dropped["event"] == "relay_connection_dropped"
        assert dropped["unsent"] > 1_000_000


async def test_who_sends_faster_than_we_work_is_not_read_from(path: Path) -> None:
    async with running(path, limited(unanswered_max=4)) as relay, relay.client() as client:
        events = [note(str(number), at=NOW - number) for number in range(60)]
        for event in events:
            await client.send("EVENT", obj(event))
        (connection,) = open_connections(relay.server)
        answers = []
        for _ in events:
            answers.append((await client.hear())[1])
            assert connection._unanswered <= 60
        assert sorted(answers) == sorted(event.id for event in events)
        await client.hears_nothing_more()


async def test_a_client_that_vanishes_in_the_middle_of_an_answer_is_forgotten(path: Path) -> None:
    async with full(path) as relay:
        async with relay.client() as client:
            await client.subscribe({}, sub="s")
            await client.hear()
            client.socket.transport.abort()
        await until(lambda: not open_connections(relay.server) and not relay.hub._tasks)
        assert len(relay.hub._subscriptions) == 0


class Buffer:
    """A transport that nobody reads from."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.closing = False

    def get_write_buffer_size(self) -> int:
        return self.size

    def is_closing(self) -> bool:
        return self.closing


async def test_slow_readers_together_leave_no_more_with_us_than_one_machine_can_bear() -> None:
    """A hundred connections of one address, eight MB each, are more than many a machine has."""
    limits = RelayLimits()
    everybody = Connections(None, limits, asyncio.Protocol)  # type: ignore[arg-type]  # nobody asks the hub
    readers = [Buffer(limits.unsent_bytes_max) for _ in range(100)]
    allowed = [everybody.may_leave(one, one.size) for one in readers]  # type: ignore[arg-type]  # all that is asked
    assert allowed == [limits.unsent_bytes_max] * 32 + [SLOW_BYTES] * 68
    assert everybody.may_leave(Buffer(1), 1) == limits.unsent_bytes_max  # type: ignore[arg-type]  # who reads may
    for one in readers[:40]:
        one.size = 0
    for one in readers[40:80]:
        one.closing = True
    assert everybody.may_leave(readers[99], readers[99].size) == limits.unsent_bytes_max  # type: ignore[arg-type]
