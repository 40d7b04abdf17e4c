"""Signatures of many events at a time, checked by a process of its own (signature_process.py).

Checking costs more than all else that is done for an event. A thread would have to win the
interpreter back from a busy loop after each signature; a process shares none. It is started
with the first flood and started anew when it has died; what it had not answered then counts as
not checked, and whoever sent it is told to try again.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Generic, TypeVar

import structlog

from relaybot.nostr.event import Event
from relaybot.relay.event_journal import Arrival

log = structlog.get_logger()

Offer = TypeVar("Offer", bound=Arrival)

PROGRAM = (sys.executable, "-P", "-m", "relaybot.relay.signature_process")  # -P: no module of the directory we are in
_SAID_BYTES_MAX = 65_536


class Verdict(Enum):
    """What is said of an event before it is stored."""

    GOOD = "good"
    KNOWN = "known"
    FORGED = "forged"
    FAILED = "failed"


class SignatureChecks(Generic[Offer]):
    """Used on the loop; ended by `close`, when nothing waits for an answer."""

    def __init__(self, told: Callable[[Sequence[Offer], Sequence[Verdict]], None]) -> None:
        """Tell `told` what was found, some offers at a time, in the order in which they came."""
        self._told = told
        self._waiting: deque[Offer] = deque()
        self._unsent: list[bytes] = []  # while the process starts
        self._writer: asyncio.StreamWriter | None = None
        self._serving: asyncio.Task[None] | None = None

    def check(self, offers: Sequence[Offer]) -> None:
        """Have the signatures of `offers` checked."""
        self._waiting.extend(offers)
        records = b"".join([_record(offer.event) for offer in offers])
        if self._writer is not None:
            self._writer.write(records)
        else:
            self._unsent.append(records)
            if self._serving is None:
                self._serving = asyncio.get_running_loop().create_task(self._serve())

    async def close(self) -> None:
        """End the process, if there is one."""
        if self._writer is not None:
            self._writer.close()
        if self._serving is not None:
            await self._serving

    async def _serve(self) -> None:
        """Start the process, and pass on what it finds, until it ends."""
        try:
            await self._converse()
        except OSError as error:
            log.warning("relay_signatures_not_checked", events=len(self._waiting), error=str(error))
        finally:
            unchecked = list(self._waiting)
            self._waiting.clear()
            self._unsent.clear()
            self._writer = self._serving = None
            if unchecked:
                self._told(unchecked, [Verdict.FAILED] * len(unchecked))

    async def _converse(self) -> None:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            with theirs:
                end = theirs.fileno()
                process = await asyncio.create_subprocess_exec(*PROGRAM, stdin=end, stdout=end)
            writer.writelines(self._unsent)
            self._unsent.clear()
            self._writer = writer
            while said := await reader.read(_SAID_BYTES_MAX):
                offers = [self._waiting.popleft() for _ in said]
                self._told(offers, [Verdict.GOOD if fits else Verdict.FORGED for fits in said])
        finally:
            writer.close()
        ended = await process.wait()
        if self._waiting:
            raise ChildProcessError(f"the process ended with {ended}")


def _record(event: Event) -> bytes:
    return bytes.fromhex(event.id + event.pubkey + event.sig)
