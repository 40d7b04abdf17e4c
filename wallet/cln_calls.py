"""Calls to Core Lightning over its Unix socket: the one door to pyln-client.

Each call runs in a thread of a lane. pyln sets no socket timeout and a call may hang for
ever, so each has a time limit of ours; when it passes, or the caller is cancelled, the
call's socket is shut and its thread is free again. What is asked stands in `cln.py`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

# Importing pyln.client replaces json.JSONEncoder.default in the whole process (objects with a to_json method are
# written by it). Nothing of ours has such a method; a test shows that event ids stay what they were.
from pyln.client import LightningRpc, RpcError

from relaybot.errors import Unavailable


class NodeError(Exception):
    """The node answered with an error; only its code is kept."""

    def __init__(self, method: str, code: int) -> None:
        super().__init__(f"{method}: the node answered error {code}")
        self.code = code


class _Silent:
    """A logger that keeps nothing: pyln logs whole payloads, invoices included."""

    def debug(self, *_: object) -> None:
        """Drop it."""


class _Call(LightningRpc):  # type: ignore[misc]  # pyln has no types
    """One call over one socket, which can be given up from another thread."""

    def __init__(self, path: str, *, timeout_seconds: float) -> None:
        super().__init__(path, logger=_Silent())
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._given_up = False

    def _writeobj(self, sock: Any, obj: object) -> None:
        """Send the request, on a socket that cannot block for ever: pyln itself sets no timeout."""
        with self._lock:
            if self._given_up:
                raise TimeoutError("given up before it was sent")
            self._socket = sock.sock
            sock.sock.settimeout(self._timeout_seconds)
        super()._writeobj(sock, obj)

    def close(self) -> None:
        """Close the socket, in the thread that used it: pyln leaves it open after most errors."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def give_up(self) -> None:
        """Free the thread: nothing more is sent, and the one that reads hears the end of the stream."""
        with self._lock:
            self._given_up = True
            if self._socket is not None:
                with suppress(OSError):  # the node hung up first
                    self._socket.shutdown(socket.SHUT_RDWR)


class Lane:
    """One pool of threads for one sort of calls."""

    def __init__(self, name: str, *, path: Path, threads: int) -> None:
        self._path = str(path)
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=f"lightning-{name}")
        self._calls: set[_Call] = set()
        self._closed = False

    async def call(self, method: str, params: Mapping[str, object], *, limit_seconds: float) -> object:
        """Return the node's result; raise NodeError for its errors and Unavailable for all else."""
        if self._closed:
            raise Unavailable(f"lightning node: {method}: closed")
        call = _Call(self._path, timeout_seconds=limit_seconds)
        self._calls.add(call)
        try:
            async with asyncio.timeout(limit_seconds):  # waiting for a free thread counts
                return await asyncio.get_running_loop().run_in_executor(self._pool, partial(_ask, call, method, params))
        except TimeoutError:
            raise Unavailable(f"lightning node: {method} took longer than {limit_seconds:g} s") from None
        finally:
            call.give_up()  # nothing to give up after an answer; else the thread is freed now
            self._calls.discard(call)

    def close(self) -> None:
        """Take no more calls and end those that run."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for call in self._calls:
            call.give_up()


def _ask(call: _Call, method: str, params: Mapping[str, object]) -> object:
    """Make one blocking call, in a thread."""
    try:
        return call.call(method, dict(params))
    except RpcError as error:
        # On a lost connection .error is a string, not a dictionary.
        code = error.error.get("code") if isinstance(error.error, dict) else None
        lost = Unavailable(f"lightning node: connection lost during {method}")
        failure: Exception = NodeError(method, code) if type(code) is int else lost
    except OSError as error:
        # No socket: FileNotFoundError. A dead node: ConnectionRefusedError or ConnectionResetError.
        failure = Unavailable(f"lightning node: {method}: {type(error).__name__}")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        # pyln reads whatever comes as JSON and as a dictionary.
        failure = Unavailable(f"lightning node: {method}: unreadable answer ({type(error).__name__})")
    finally:
        call.close()
    raise failure  # out here nothing is chained to it: RpcError's text holds the payload, invoices and all
