"""A relay seen from below: plain TCP, hand-made HTTP and frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from relaybot.relay.connection import Connection
from relaybot.relay.server import RelayServer
from tests.relay.conftest import Relay


class Wire:
    """A plain TCP connection to the relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: str) -> tuple[str, bytes]:
        """Send an HTTP request; return head and body of the answer."""
        self.writer.write(request.replace("\n", "\r\n").encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = next((line for line in head.splitlines() if line.lower().startswith("content-length:")), ":0")
        return head, await self.reader.readexactly(int(length.partition(":")[2]))

    async def ended(self) -> bool:
        """Wait until the relay has nothing more to say."""
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True


@asynccontextmanager
async def wire(relay: Relay) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(relay.host, relay.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


HANDSHAKE = """GET / HTTP/1.1
Host: relay.test
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==

""".replace("\n", "\r\n").encode()


async def opened(one: Wire) -> None:
    """Open a websocket on this connection."""
    one.writer.write(HANDSHAKE)
    assert b" 101 " in await one.reader.readuntil(b"\r\n\r\n")


def masked(text: bytes) -> bytes:
    """Return a client's text frame (masked with zeroes)."""
    size = len(text)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + b"\0\0\0\0" + text


def open_connections(server: RelayServer) -> list[Connection]:
    """Return the connections of a server that runs."""
    assert server._connections is not None
    return cast("list[Connection]", list(server._connections.open))


async def until(true: Callable[[], bool]) -> None:
    """Let the loop turn until something is true; the test's time limit ends it otherwise."""
    while not true():
        await asyncio.to_thread(lambda: None)
