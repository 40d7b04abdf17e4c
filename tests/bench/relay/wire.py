"""A websocket to any relay, made for loading it: frames are masked beforehand, answers only counted.

What is counted is found by a pattern in the bytes as they come. That is sound here: no
compression is offered, and the words of NIP-01's messages can stand in no event of the
workload, for quotation marks are escaped in JSON.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias, cast
from urllib.parse import urlsplit

from websockets.frames import Frame, Opcode

Heard: TypeAlias = Callable[[Sequence[bytes]], None]

OKS = re.compile(rb'\["OK", ?"[0-9a-f]*", ?(true|false)')
ANSWERS = re.compile(rb'\["(EVENT|EOSE|CLOSED|NOTICE)"')
LIVE = re.compile(rb'"id": ?"([0-9a-f]{64})"')  # of an event, wherever the relay puts it

_BROKEN_MAX = 400  # bytes of a pattern that may come in two parts
_HEAD_END = b"\r\n\r\n"


def client_frame(text: str) -> bytes:
    """Return `text` as a client's frame, masked by chance."""
    return bytes(Frame(Opcode.TEXT, text.encode()).serialize(mask=True))


class Wire(asyncio.Protocol):
    """One connection; `listen` says what to look for and whom to tell."""

    def __init__(self) -> None:
        self._transport = cast("asyncio.Transport", None)  # until it is connected
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rest = b""
        self._pattern = OKS
        self._heard: Heard = _ignore
        self.gone = False

    @classmethod
    async def open(cls, url: str) -> Wire:
        """Connect and shake hands; OSError if the relay will not."""
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        _, wire = await loop.create_connection(cls, parts.hostname or "", port, ssl=parts.scheme == "wss" or None)
        key = base64.b64encode(os.urandom(16)).decode()
        wire.send(
            (
                f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
            ).encode()
        )
        await wire._opened
        return wire

    def listen(self, pattern: re.Pattern[bytes], heard: Heard) -> None:
        """From here on tell `heard` each find of the pattern's group."""
        self._pattern, self._heard = pattern, heard

    def send(self, data: bytes) -> None:
        """Write frames."""
        self._transport.write(data)

    def close(self) -> None:
        """End it without ceremony."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Look for what is wanted."""
        data = self._rest + data
        if not self._opened.done():
            end = data.find(_HEAD_END)
            self._rest = data
            if end >= 0:
                self._rest = data[end + len(_HEAD_END) :]
                accepted = data.startswith(b"HTTP/1.1 101")
                self._opened.set_result(None) if accepted else self._opened.set_exception(OSError(data[:200]))
            return
        end = 0
        found = []
        for match in self._pattern.finditer(data):
            found.append(match[1])
            end = match.end()
        self._rest = data[max(end, len(data) - _BROKEN_MAX) :]
        if found:
            self._heard(found)

    def connection_lost(self, _error: Exception | None) -> None:
        """Note that the relay has gone, or we."""
        self.gone = True
        if not self._opened.done():
            self._opened.set_exception(OSError("the relay closed the connection"))


def _ignore(_found: Sequence[bytes]) -> None:
    """Count nothing."""
