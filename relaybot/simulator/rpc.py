"""Core Lightning's JSON-RPC on a Unix socket: framing, dispatch, filters, error answers.

Requests are JSON objects one after the other, with or without white space between;
answers end with an empty line. Each request runs by itself, and a caller who hangs up
ends its waiting but never a payment. What the commands do stands in `node.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from relaybot.errors import BadConfig
from relaybot.simulator.params import EscapedText, Fault
from relaybot.simulator.payments import ConnectionLost

REQUEST_BYTES_MAX = 1_048_576  # more than any description or invoice needs
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un holds 108, one of them for the end

_INVALID_REQUEST = -32600
_INTERNAL_ERROR = -32603
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\]]', re.DOTALL)
_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u[0-9a-fA-F]{4}", re.ASCII)

Answer = Callable[[str, object], Awaitable[dict[str, Any]]]

log = structlog.get_logger()


def checked_socket_path(path: Path) -> Path:
    """Return `path` if a Unix socket can stand there; BadConfig if it is too long."""
    size = len(os.fsencode(path))
    if size > SOCKET_PATH_BYTES_MAX:
        allowed = f"a path of at most {SOCKET_PATH_BYTES_MAX} bytes, this one has {size}: choose a shorter directory"
        raise BadConfig("lightning.socket", str(path), allowed)
    return path


class RpcServer:
    """One node's socket."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = checked_socket_path(path)
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.WriteTransport] = {}

    async def start(self) -> None:
        """Listen. A socket left by a killed process is replaced."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._connected, path=self.path)
        self.path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening; whoever waits hears the end of the stream."""
        if self._server is not None:
            for listening in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
            for _ in range(3):  # whoever is just being accepted is connected then: asyncio would lose them
                await asyncio.sleep(0)
            self._server.close()
        for transport in [*self._connections.values()]:
            transport.abort()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection over at once, so that none is forgotten when the socket is closed."""
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections[task] = writer.transport
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._connections.pop(task).abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until its caller hangs up."""
        requests: set[asyncio.Task[None]] = set()
        try:
            async for frame in _frames(reader):
                request = asyncio.create_task(self._respond(frame, writer))
                requests.add(request)
                request.add_done_callback(requests.discard)
                await asyncio.sleep(0)  # it starts now: a payment is sent even if its caller is already gone
        except ConnectionError:
            log.debug("simulator_caller_gone", socket=self.path.parent.name)
        finally:
            for request in requests:  # nobody hears their answers
                request.cancel()

    async def _respond(self, frame: bytes | None, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        request = _Request()
        try:
            request.read(frame)
            result = await self._answer(request.method, request.params)
            answer: dict[str, Any] = {"result": _filtered(result, request.filter)}
        except Fault as fault:
            error: dict[str, Any] = {"code": fault.code, "message": fault.message}
            answer = {"error": error if fault.data is None else error | {"data": fault.data}}
        except ConnectionLost:
            writer.transport.abort()
            return
        except Exception:
            log.exception("simulator_command_failed", method=request.method)
            answer = {"error": {"code": _INTERNAL_ERROR, "message": "the simulator failed, see its log"}}
        text = json.dumps({"jsonrpc": "2.0", "id": request.id, **answer}, ensure_ascii=False)
        writer.write(text.encode(errors="replace") + b"\n\n")


class _Request:
    """One request, as far as it could be read: an error answer wants the id even of a bad one."""

    def __init__(self) -> None:
        self.id: object = None
        self.method = ""
        self.params: object = {}
        self.filter: object = None

    def read(self, frame: bytes | None) -> None:
        """Read the JSON; Fault if it is no request."""
        if frame is None:
            raise Fault(_INVALID_REQUEST, f"Invalid request: no JSON object of at most {REQUEST_BYTES_MAX} bytes")
        try:
            said = _decode(frame.decode())
        except (ValueError, RecursionError):
            raise Fault(_INVALID_REQUEST, "Invalid request: not JSON") from None
        assert isinstance(said, dict), "frames begin with a brace"
        self.id = said.get("id")
        method = said.get("method")
        if not isinstance(method, str):
            raise Fault(_INVALID_REQUEST, "Invalid request: no method")
        self.method, self.params, self.filter = method, said.get("params", {}), said.get("filter")


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes | None]:
    """Yield each JSON object; None, and no more, for what is none."""
    waiting = b""
    while True:
        waiting = waiting.lstrip()
        if len(waiting) > REQUEST_BYTES_MAX or waiting[:1] not in (b"", b"{"):
            yield None
            return
        end = _object_end(waiting)
        if end is not None:
            yield waiting[:end]
            waiting = waiting[end:]
            continue
        chunk = await reader.read(65_536)
        if not chunk:
            return
        waiting += chunk


def _object_end(text: bytes) -> int | None:
    """Return where the object ends that `text` begins with, or None if it is not complete yet."""
    depth = 0
    for token in _TOKENS.finditer(text):
        if token[0] == b'"':  # a string without its end
            return None
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return None


def _decode(text: str) -> object:
    """Read JSON; parameters with an escape by number are marked, for some commands refuse them."""
    said = json.loads(text)
    if "\\u" not in text or not isinstance(said, dict):
        return said
    marked = json.loads(_ESCAPE.sub(r"\1\\uffff", text))  # where this differs, an escape stood
    return said | {"params": _marked(said.get("params"), marked.get("params"))}


def _marked(params: object, other: object) -> object:
    """Return `params` with the texts that differ from their `other` reading as EscapedText."""
    if isinstance(params, dict) and isinstance(other, dict):
        return dict(zip(params, map(_marked, params.values(), other.values()), strict=True))
    if isinstance(params, list) and isinstance(other, list):
        return list(map(_marked, params, other))
    return EscapedText(params) if isinstance(params, str) and params != other else params


def _filtered(result: object, wanted: object) -> object:
    """Return only what the request's `filter` names."""
    if isinstance(wanted, Mapping) and isinstance(result, Mapping):
        return {name: _filtered(value, wanted[name]) for name, value in result.items() if name in wanted}
    if isinstance(wanted, list) and wanted and isinstance(result, list):
        return [_filtered(each, wanted[0]) for each in result]
    return result
