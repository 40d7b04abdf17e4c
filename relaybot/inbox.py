"""The inbox: every event we must handle is stored once, then handled once, at our own pace.

A relay's reading loop only calls `receive`. A handler reads, decides and returns a Plan;
the mark that its event is done is part of that Plan. So a crash before the Plan handles
the event again, and a crash after it does not.

An event belongs to the process that stored it. When that process is gone, another takes
it over by a Plan that raises the row's version; every Plan of the work guards it, so a
process that was only thought to be gone changes nothing any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from relaybot.clock import Clock
from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from relaybot.loops import repeat
from relaybot.nostr.event import Event, encode_event, stored_event
from relaybot.processes import ALONE, Process
from wallet.book import Book
from wallet.ledger import Insert, Plan, Update, Values, Verdict

log = structlog.get_logger()

BATCH_MAX = 256  # rows read at a time
HANDLED_AT_ONCE = 64  # in each lane
NOTE_CHARACTERS_MAX = 500
STORED_VERSION = 1  # of a row that was just stored
LOOK_SECONDS = 1.0  # between two looks for events of processes that are gone
RETRY_SECONDS = 2.0  # after something outside was not available
REFUSED_MAX = 60  # rounds of decisions that came too late: then it is no race, but a Plan that can never apply

Decision = Plan | str  # a str is a note: nothing changes but the mark that the event is done
Handler = Callable[[Event], Awaitable[Decision]]


_Taken = tuple[Event, int]  # what is to be handled, and the version of its row


@dataclass(slots=True)
class _Lane:
    """Events that are handled apart from the others, so that they can hold up only each other."""

    condition: str  # in SQL
    lines: dict[str, deque[_Taken]] = field(default_factory=dict)  # by who speaks of what: one after the other
    arrived: deque[_Taken] = field(default_factory=deque)  # stored by us, and handed over without asking the book
    look: asyncio.Event = field(default_factory=asyncio.Event)  # set: the book may have more
    news: asyncio.Event = field(default_factory=asyncio.Event)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(HANDLED_AT_ONCE))
    waiting: int = 0  # stored by this process and not handled yet


class Inbox:
    """Store events and hand them to `handlers`, by the first range of kinds that holds theirs.

    The kinds of `waiting`, whose handlers may wait for the node, are handled in a lane of
    their own: however many strangers ask for invoices, results and cancels go on.
    """

    def __init__(
        self,
        book: Book,
        clock: Clock,
        handlers: Mapping[range, Handler],
        *,
        waiting_max: int,
        waiting: Collection[range] = (),
        process: Process = ALONE,
    ) -> None:
        self._book = book
        self._process = process
        self._waiting_max = waiting_max
        self._clock = clock
        self._handlers = handlers
        self._taken: set[str] = set()  # ids being handled in this process
        self._leading_on: set[str] = set()  # those of them that put a further event into the inbox
        self._waiting_kinds = waiting
        slow = " OR ".join(f"kind BETWEEN {kinds.start} AND {kinds.stop - 1}" for kinds in waiting) or "1 = 0"
        self._slow, self._quick = _Lane(f"({slow})"), _Lane(f"NOT ({slow})")

    async def receive(self, event: Event, source: str) -> None:
        """Store `event` durably, if it is new; `source` is the relay it came from. Unavailable if too many wait.

        Each lane has room of its own: while the node hangs, whoever asks for invoices keeps no result out.
        """
        lane = self._slow if any(event.kind in kinds for kinds in self._waiting_kinds) else self._quick
        if lane.waiting >= self._waiting_max:
            raise Unavailable("too many events are waiting; try again later")
        stored = arrived(event, source, self._clock.now(), self._process.name)
        answer = await self._book.apply(Plan(f"inbox/{event.id}", changes=(stored,)))
        if answer.verdict is Verdict.APPLIED:
            lane.waiting += 1
            lane.arrived.append((event, STORED_VERSION))
            lane.news.set()

    @property
    def process_name(self) -> str:
        """The process under whose name we take events."""
        return self._process.name

    def look(self) -> None:
        """Look for what others have put into the inbox for us, by Plans of their own."""
        for lane in (self._slow, self._quick):
            lane.look.set()
            lane.news.set()

    async def run(self) -> None:
        """Handle what is new, for ever."""
        self.look()
        async with asyncio.TaskGroup() as tasks:
            for lane in (self._slow, self._quick):
                tasks.create_task(self._run(lane, tasks))
            tasks.create_task(repeat("inbox of others", self.take_over, wake=asyncio.Event(), seconds=LOOK_SECONDS))

    async def take_over(self) -> bool:
        """Take the events of processes that are gone; tell whether there may be more."""
        rows = await self._book.database.fetch(
            "SELECT id, version, holder FROM inbox WHERE state = 'new' AND holder <> :me ORDER BY received_at"
            " LIMIT :limit",
            me=self._process.name,
            limit=BATCH_MAX,
        )
        gone = {holder for holder in {row["holder"] for row in rows} if await self._process.is_gone(holder)}
        taken = [row for row in rows if row["holder"] in gone]
        await asyncio.gather(*(self._take(row) for row in taken))
        self.look()  # also for what is ours, and was stored for somebody who did not wait to hear it
        return len(taken) == BATCH_MAX

    async def _take(self, row: Row) -> None:
        ours = Update("inbox", row["id"], {"holder": self._process.name}, expect={"version": row["version"]})
        await self._book.apply(Plan(f"inbox/{row['id']}/taken/{row['version']}", changes=(ours,)))

    async def _run(self, lane: _Lane, tasks: asyncio.TaskGroup) -> None:
        while True:
            lane.news.clear()
            try:
                fresh = await self._found(lane) if lane.look.is_set() else self._arrived(lane)
            except Unavailable as error:
                log.warning("inbox_unavailable", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for taken in fresh:
                self._taken.add(taken[0].id)
                await self._line_up(lane, taken, tasks)
            if not fresh:
                await lane.news.wait()

    def _arrived(self, lane: _Lane) -> Sequence[_Taken]:
        """Return what was stored by us and is not being handled."""
        arrived = [taken for taken in lane.arrived if taken[0].id not in self._taken]
        lane.arrived.clear()
        return arrived

    async def _found(self, lane: _Lane) -> Sequence[_Taken]:
        """Return what the book has for us and is not being handled; once that is nothing, no more looks are needed."""
        rows = await self._book.database.fetch(
            f"SELECT id, event, version FROM inbox WHERE state = 'new' AND holder = :me AND {lane.condition}"  # noqa: S608  our own kinds
            " ORDER BY received_at LIMIT :limit",
            me=self._process.name,
            limit=BATCH_MAX + len(self._taken),
        )
        fresh = [row for row in rows if row["id"] not in self._taken]
        if not fresh:
            lane.look.clear()
            lane.news.set()  # what arrived meanwhile was not looked at
        ids = {row["id"] for row in fresh}
        kept = [taken for taken in lane.arrived if taken[0].id not in ids]
        lane.arrived.clear()
        lane.arrived.extend(kept)
        return [(stored_event(row["event"]), row["version"]) for row in fresh]

    async def _line_up(self, lane: _Lane, taken: _Taken, tasks: asyncio.TaskGroup) -> None:
        """Have an event handled: after what the same key said before about the same, or they would race for its row.

        What waits in a line has no slot: however much one key says about one thing, others are handled.
        """
        event = taken[0]
        line = f"{event.pubkey}/{event.tag('e') or event.id}"
        if line in lane.lines:
            lane.lines[line].append(taken)
            return
        await lane.slots.acquire()
        lane.lines[line] = deque((taken,))
        tasks.create_task(self._work_off(lane, line))

    async def _work_off(self, lane: _Lane, line: str) -> None:
        """Handle a line, which has a slot; between two events it gives that away and waits for its next turn."""
        waiting = lane.lines[line]
        try:
            await self._handle(*waiting.popleft(), lane)
            while waiting:
                await lane.slots.acquire()
                await self._handle(*waiting.popleft(), lane)
        finally:
            del lane.lines[line]

    async def _handle(self, event: Event, version: int, lane: _Lane) -> None:
        """Handle an event in a slot, which is free again after it."""
        try:
            await self._handle_until_done(event, version)
        finally:
            self._taken.discard(event.id)
            lane.waiting = max(0, lane.waiting - 1)
            lane.slots.release()
            if event.id in self._leading_on:
                self._leading_on.discard(event.id)
                self.look()

    async def _handle_until_done(self, event: Event, version: int | None) -> None:
        refused = 0
        while True:
            try:
                if await self._is_done(event, version):
                    return
                version = None  # somebody else was faster: what we know of it may be out of date
                refused += 1
                if refused == REFUSED_MAX:
                    log.error("event_failed", event_id=event.id, kind=event.kind, reason="refused again and again")
                    await self._fail(event)
                    return
            except Unavailable as error:
                log.warning("event_waits", event_id=event.id, kind=event.kind, reason=str(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _is_done(self, event: Event, version: int | None) -> bool:
        """Handle an event; False if what steered the decision keeps moving. Unavailable: it is tried again.

        `version` is that of its row as it was read when it was taken; None: it is to be read.
        """
        known = [version]

        async def decide() -> Plan | None:
            found = known.pop() if known else None
            found = await self._version(event.id) if found is None else found
            return None if found is None else await self._decide(event, found)

        try:
            answer = await self._book.decide(decide)
        except Unavailable:
            raise
        except Exception:  # a fault of ours: the event is kept for the operator, and nothing was applied
            log.exception("event_failed", event_id=event.id, kind=event.kind)
            await self._fail(event)
            return True
        if answer.verdict is Verdict.ALREADY:  # done by another event or process: only the mark is left
            ours: Values = {"state": "new", "holder": self._process.name}
            mark = replace(handled(event.id, "done before"), expect=ours)
            await self._book.apply(Plan(f"inbox/{event.id}/done", changes=(mark,)))
        if not answer.done:
            log.warning("event_waits", event_id=event.id, kind=event.kind, reason=answer.reason)
        return answer.done

    async def _fail(self, event: Event) -> None:
        """Keep an event for the operator: nothing of it was applied."""
        failed = Update("inbox", event.id, {"state": "failed"}, expect={"state": "new"})
        await self._book.apply(Plan(f"inbox/{event.id}/failed", changes=(failed,)))

    async def _version(self, event_id: str) -> int | None:
        """Return the version of an event's row as it is now; None if it is not ours to handle any more."""
        row = await self._book.row("inbox", event_id)
        is_ours = row is not None and row["state"] == "new" and row["holder"] == self._process.name
        return row["version"] if row is not None and is_ours else None

    async def _decide(self, event: Event, version: int) -> Plan:
        try:
            decision = await self._handler(event.kind)(event)
        except Rejected as refusal:
            decision = f"refused: {refusal}"
        if isinstance(decision, str):
            mark = handled(event.id, decision, version)
            log.info("event_done", event_id=event.id, kind=event.kind, note=mark.values["note"])
            return Plan(f"inbox/{event.id}/done", changes=(mark,))
        if any(isinstance(change, Insert) and change.table == "inbox" for change in decision.changes):
            self._leading_on.add(event.id)
        return replace(decision, changes=(*decision.changes, handled(event.id, decision.key, version)))

    def _handler(self, kind: int) -> Handler:
        for kinds, handler in self._handlers.items():
            if kind in kinds:
                return handler
        return _ignore


async def _ignore(_event: Event) -> Decision:
    return "nobody handles this kind"


def arrived(event: Event, source: str, now: int, process: str) -> Insert:
    """Return the row of an event that came from `source` and is to be handled by `process`.

    A handler may make it part of its Plan: the event is handled after that, like any other.
    """
    values: Values = {
        "kind": event.kind,
        "event": encode_event(event),
        "source": source,
        "state": "new",
        "note": "",
        "received_at": now,
        "holder": process,
    }
    return Insert("inbox", event.id, values)


def handled(event_id: str, note: str, version: int | None = None) -> Update:
    """Return the mark that an event is done, with a note of what became of it; it can quote what a stranger wrote.

    It guards the `version` by which the event was taken, unless another event makes it pointless.
    """
    storable = note[:NOTE_CHARACTERS_MAX].encode(errors="replace").decode()  # a lone surrogate is no text
    guard: Values = {"state": "new"} if version is None else {"state": "new", "version": version}
    return Update("inbox", event_id, {"state": "done", "note": storable}, expect=guard)
