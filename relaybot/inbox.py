"""The inbox: every event we must handle is stored once, then handled once, at our own pace.

A relay's reading loop only calls `receive`. A handler reads, decides and returns a Plan;
the mark that its event is done is part of that Plan. So a crash before the Plan handles
the event again, and a crash after it does not. Two processes may handle the same event:
the second one's Plan finds the mark and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import structlog

from relaybot.clock import Clock
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.event import Event, encode_event, parse_event
from wallet.book import Book
from wallet.ledger import Insert, Plan, Update, Values, Verdict

log = structlog.get_logger()

BATCH_MAX = 256  # rows read at a time
HANDLED_AT_ONCE = 64  # handlers may wait for the node; this many waiting ones do not stop the others
RETRY_SECONDS = 2.0  # after something outside was not available

Decision = Plan | str  # a str is a note: nothing changes but the mark that the event is done
Handler = Callable[[Event], Awaitable[Decision]]


class Inbox:
    """Store events and hand them to `handlers`, by the first range of kinds that holds theirs."""

    def __init__(self, book: Book, clock: Clock, handlers: Mapping[range, Handler], *, waiting_max: int) -> None:
        self._book = book
        self._waiting_max = waiting_max
        self._waiting = 0  # stored by this process and not handled yet
        self._clock = clock
        self._handlers = handlers
        self._taken: set[str] = set()  # ids being handled in this process
        self._news = book.watch("inbox")
        self._slots = asyncio.Semaphore(HANDLED_AT_ONCE)

    async def receive(self, event: Event, source: str) -> None:
        """Store `event` durably, if it is new; `source` is the relay it came from. Unavailable if too many wait."""
        if self._waiting >= self._waiting_max:
            raise Unavailable("too many events are waiting; try again later")
        values: Values = {
            "kind": event.kind,
            "event": encode_event(event),
            "source": source,
            "state": "new",
            "note": "",
            "received_at": self._clock.now(),
        }
        answer = await self._book.apply(Plan(f"inbox/{event.id}", changes=(Insert("inbox", event.id, values),)))
        self._waiting += answer.verdict is Verdict.APPLIED

    async def run(self) -> None:
        """Handle what is new, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._news.clear()
                rows = await self._book.database.fetch(
                    "SELECT id, event FROM inbox WHERE state = 'new' ORDER BY received_at LIMIT :limit",
                    limit=BATCH_MAX + len(self._taken),
                )
                fresh = [row for row in rows if row["id"] not in self._taken]
                for row in fresh:
                    await self._slots.acquire()
                    self._taken.add(row["id"])
                    tasks.create_task(self._handle(parse_event(row["event"])))
                if not fresh:
                    await self._news.wait()

    async def _handle(self, event: Event) -> None:
        try:
            await self._handle_until_done(event)
        except Exception:  # a fault of ours: the event is kept for the operator, and nothing was applied
            log.exception("event_failed", event_id=event.id, kind=event.kind)
            mark = Update("inbox", event.id, {"state": "failed"}, expect={"state": "new"})
            await self._book.apply(Plan(f"inbox/{event.id}/failed", changes=(mark,)))
        finally:
            self._taken.discard(event.id)
            self._waiting = max(0, self._waiting - 1)
            self._slots.release()

    async def _handle_until_done(self, event: Event) -> None:
        while True:
            try:
                answer = await self._book.decide(lambda: self._decide(event))
            except Unavailable as error:
                log.warning("event_waits", event_id=event.id, kind=event.kind, reason=str(error))
            else:
                if answer.verdict is Verdict.ALREADY:  # done by another event or process: only the mark is left
                    await self._book.apply(Plan(f"inbox/{event.id}/done", changes=(_done(event, "done before"),)))
                if answer.done:
                    return
                log.warning("event_waits", event_id=event.id, kind=event.kind, reason=answer.reason)
            await asyncio.sleep(RETRY_SECONDS)

    async def _decide(self, event: Event) -> Plan | None:
        row = await self._book.row("inbox", event.id)
        if row is None or row["state"] != "new":
            return None
        try:
            decision = await self._handler(event.kind)(event)
        except Rejected as refusal:
            decision = f"refused: {refusal}"
        if isinstance(decision, str):
            log.info("event_done", event_id=event.id, kind=event.kind, note=decision)
            return Plan(f"inbox/{event.id}/done", changes=(_done(event, decision),))
        return replace(decision, changes=(*decision.changes, _done(event, decision.key)))

    def _handler(self, kind: int) -> Handler:
        for kinds, handler in self._handlers.items():
            if kind in kinds:
                return handler
        return _ignore


async def _ignore(_event: Event) -> Decision:
    return "nobody handles this kind"


def _done(event: Event, note: str) -> Update:
    return Update("inbox", event.id, {"state": "done", "note": note[:500]}, expect={"state": "new"})
