"""What changes while somebody looks: server-sent events that say so, and a page that is loaded again.

A stamp is any text that changes with what a page shows. It stands in the page, so nothing that
happens between the page and the connection is missed. Where no script runs, the page loads
itself every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from aiohttp import web

from relaybot.errors import Rejected
from relaybot.web.html import Html, el

LOOK_SECONDS = 0.5  # between two looks: other processes change the book, too
ALIVE_SECONDS = 15  # a word now and then: proxies cut what is silent
LIVE_SECONDS = 900  # then the browser connects anew by itself
LIVE_MAX, LIVE_EACH_MAX = 500, 6  # connections at once: of all, of one key

RELOAD_SECONDS = 5  # where no script runs


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a page shows now: `over` if it will change no more."""

    text: str
    over: bool = False


@dataclass(slots=True)
class Live:
    """The connections that wait for news."""

    closing: asyncio.Event = field(default_factory=asyncio.Event)
    open: Counter[str] = field(default_factory=Counter)

    @contextlib.contextmanager
    def place(self, pubkey: str) -> Iterator[None]:
        """Take one of the places. Rejected if there is none."""
        if self.open.total() >= LIVE_MAX or self.open[pubkey] >= LIVE_EACH_MAX:
            raise Rejected("rate-limited", "too many pages wait for news; load them again by hand")
        self.open[pubkey] += 1
        try:
            yield
        finally:
            self.open[pubkey] -= 1
            if not self.open[pubkey]:
                del self.open[pubkey]

    async def answer(
        self, request: web.Request, pubkey: str, look: Callable[[], Awaitable[Stamp]]
    ) -> web.StreamResponse:
        """Send one event when the stamp is another than `?at=`, or when nothing will change any more."""
        stamp, seen = await look(), request.query.get("at", "")
        with self.place(pubkey):
            response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            )
            await response.prepare(request)
            with contextlib.suppress(ConnectionResetError):  # who looked has left: nothing went wrong
                await self._watch(response, stamp, seen, look)
        return response

    async def _watch(
        self, response: web.StreamResponse, stamp: Stamp, seen: str, look: Callable[[], Awaitable[Stamp]]
    ) -> None:
        loop = asyncio.get_running_loop()
        end = said = loop.time()
        end += LIVE_SECONDS
        await response.write(b": waiting\n\n")
        while stamp.text == seen and not stamp.over and loop.time() < end and not self.closing.is_set():
            if loop.time() - said > ALIVE_SECONDS:
                said = loop.time()
                await response.write(b": waiting\n\n")
            await self._pause()
            stamp = await look()
        event = "changed" if stamp.text != seen else "over" if stamp.over else ""
        if event:
            await response.write(f"event: {event}\ndata: {event}\n\n".encode())

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self.closing.wait()


def live_mark(path: str, stamp: Stamp) -> Html | None:
    """Return what has the script listen at `path`; None if nothing will change."""
    if stamp.over:
        return None
    return el("div", data_live=f"{path}?at={stamp.text}", hidden=True)
