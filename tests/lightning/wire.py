"""Small ends of the wire for tests: a raw JSON-RPC caller, and a node that answers what it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parent / "recordings"

Answer = Mapping[str, Any] | bytes | None  # an answer's result or error, raw bytes, or None to hang up
Answers = Callable[[str, Mapping[str, Any]], Answer]


def recording(name: str) -> dict[str, Any]:
    """Return one recorded pair: method, params, result or error."""
    recorded: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return recorded


def reply(name: str) -> dict[str, Any]:
    """Return a recorded answer as it stood on the wire: its result or its error."""
    recorded = recording(name)
    return {key: recorded[key] for key in ("result", "error") if key in recorded}


async def ask(
    socket: Path, method: str, params: object, *, escaped: bool = False, wanted: object = None
) -> dict[str, Any]:
    """Send one request over a connection of its own and return the whole answer."""
    request = {"jsonrpc": "2.0", "id": "1", "method": method, "params": params}
    if wanted is not None:
        request["filter"] = wanted
    answer = await ask_raw(socket, json.dumps(request, ensure_ascii=escaped).encode())
    read: dict[str, Any] = json.loads(answer)
    return read


async def ask_raw(socket: Path, request: bytes) -> bytes:
    """Send bytes and return the bytes of the first answer, or nothing if the other side hangs up."""
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(request)
        return await reader.readuntil(b"\n\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    finally:
        writer.close()


class ScriptedNode:
    """A node of a few lines: each request is answered by `answers`, in the test's own event loop."""

    def __init__(self, path: Path, answers: Answers) -> None:
        self.path = path
        self.answers = answers
        self.heard: list[tuple[str, Mapping[str, Any]]] = []
        self.silent = asyncio.Event()  # set while a request is left without an answer
        self.hung_up = asyncio.Event()  # set when such a caller has gone
        self.said: list[bytes] = []
        self._connections: dict[asyncio.Task[None], asyncio.WriteTransport] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._connected, path=self.path)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for transport in self._connections.values():
            transport.abort()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer.transport
        try:
            await self._serve(reader, writer)
        except ConnectionError:  # the caller has gone, as many do here
            writer.close()
        finally:
            del self._connections[task]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _request(reader)
        self.heard.append((request["method"], request["params"]))
        answer = self.answers(request["method"], request["params"])
        if isinstance(answer, bytes):
            writer.write(answer)
        elif answer is not None:
            writer.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer}).encode() + b"\n\n")
        writer.close()


async def _request(reader: asyncio.StreamReader) -> dict[str, Any]:
    text = b""
    while True:
        chunk = await reader.read(65_536)
        if not chunk:
            raise ConnectionResetError("the caller hung up")
        text += chunk
        try:
            request: dict[str, Any] = json.loads(text)
        except ValueError:
            continue
        return request


class SilentNode(ScriptedNode):
    """A node that hears and never answers."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append(("", {}))
        self.said.append(await reader.read(65_536))
        self.silent.set()
        while chunk := await reader.read(65_536):
            self.said.append(chunk)
        self.hung_up.set()
        writer.close()
