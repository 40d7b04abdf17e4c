"""A compute node: from an assignment to its result.

Theory of operation. An assignment is an encrypted job request of the service to us, with a
lease. In one step of the journal it is taken; a known one is passed over, whichever relay
brings it. A bee works on it until shortly before the lease ends, or until the service takes
it back. What is not done at once is claimed (7000 `processing`); what is, its result claims.
In one more step the job is finished and its result (6xxx), or 7000 `error`, is owed, and the
delivery sends what is owed until the relays have it.
A crash before the first step: the assignment is read again. Between the two: the journal
has it, and it is worked on again. After the second: the same event is sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial

import structlog

from relaybot.clock import Clock
from relaybot.connection import Pause, RelayConnection
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.encryption import Encryption
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.nostr.nip40 import parse_expiration
from relaybot.nostr.nip89 import WorkerStatus
from relaybot.nostr.nip90 import (
    FEEDBACK_KIND,
    build_feedback,
    build_result,
    encryption_of,
    parse_job_request,
)
from relaybot.worker.command import command_work
from relaybot.worker.delivery import Delivery
from relaybot.worker.earnings import Earnings
from relaybot.worker.journal import Journal
from relaybot.worker.model import model_work
from relaybot.worker.presence import Presence
from relaybot.worker.settings import Chance, WorkerSettings
from relaybot.worker.work import Done, Work, WorkFailed

log = structlog.get_logger()

OVERLAP_SECONDS = 900  # read again at each connection: relays do not promise an order
DELIVERY_SECONDS = 5.0  # of a lease are kept for the way of the result (half of a short one)
NONCE_BYTES = 32
DELETION_KIND = 5  # NIP-09
WORDS_SECONDS = 60  # before our start: what was said to us earlier is said again when we announce ourselves


async def run_worker(
    settings: WorkerSettings,
    *,
    clock: Clock,
    chance: Chance,
    jitter: Callable[[], float],
    pause: Pause = asyncio.sleep,
) -> None:
    """Be a compute node until cancelled. BadConfig if another process uses the same state directory.

    `chance` gives random bytes, `jitter` numbers of 0 … 1, `pause` waits for seconds.
    """
    key = settings.keypair
    connections = [RelayConnection(url, jitter=jitter, keypair=key, pause=pause) for url in settings.relay_urls]
    with closing(Journal(settings.state_dir, settings.relay_urls)) as journal:
        await Node(settings, journal, connections, clock=clock, chance=chance, pause=pause).run()


class Node:
    """The parts of a compute node, wired."""

    def __init__(
        self,
        settings: WorkerSettings,
        journal: Journal,
        connections: Sequence[RelayConnection],
        *,
        clock: Clock,
        chance: Chance,
        pause: Pause,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._connections = connections
        self._clock = clock
        self._chance = chance
        self._work = _work_of(settings)
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._running = 0
        self._mine: dict[str, asyncio.Timeout | None] = {}  # assignments in hand, and what ends the work on them
        self._claims: dict[str, asyncio.TimerHandle] = {}  # of those of them that may be done before they are claimed
        self._taken_back: set[str] = set()
        self._told_at = 0  # the newest word of the service about our admission
        self._started_at = clock.now()
        self._earnings = Earnings(settings, journal)
        self._presence = Presence(settings, connections, status=self._status, clock=clock, pause=pause)
        self._deliveries = [Delivery(journal, one, clock=clock, pause=pause) for one in connections]

    async def run(self) -> None:
        """Work until cancelled."""
        self._earnings.tell_known()
        try:
            await self._work_on()
        finally:
            for claim in self._claims.values():
                claim.cancel()

    async def _work_on(self) -> None:
        for event in self._journal.unfinished():
            self._line_up(event)
        async with asyncio.TaskGroup() as tasks:
            for connection in self._connections:
                await connection.subscribe("assignments", self._filters, self._on_assignment, self._tidy)
                await connection.subscribe("words", self._words, self._on_word)
                await connection.subscribe("earnings", self._earnings.filters, self._earnings.on_slip)
                tasks.create_task(connection.run())
            for delivery in self._deliveries:
                tasks.create_task(delivery.run())
            for _ in range(self._settings.concurrency):
                tasks.create_task(self._bee())
            tasks.create_task(self._presence.run())

    def _filters(self) -> list[Filter]:
        newest = self._journal.newest() or self._started_at
        return [
            Filter(
                kinds=self._settings.kinds,
                authors=frozenset({self._settings.service_pubkey}),
                tags={"p": frozenset({self._settings.keypair.pubkey})},
                since=max(0, min(newest, self._clock.now()) - OVERLAP_SECONDS),
            )
        ]

    def _words(self) -> list[Filter]:
        return [
            Filter(
                kinds=frozenset({FEEDBACK_KIND, DELETION_KIND}),
                authors=frozenset({self._settings.service_pubkey}),
                tags={"p": frozenset({self._settings.keypair.pubkey})},
                since=max(0, self._started_at - WORDS_SECONDS),
            )
        ]

    def _status(self) -> WorkerStatus:
        return "busy" if self._running + self._queue.qsize() >= self._settings.concurrency else "idle"

    async def _on_assignment(self, event: Event) -> None:
        """Take an assignment on. The connection has checked its signature, author, kind and addressee."""
        try:
            expires_at = parse_expiration(event)
        except Rejected as problem:
            log.warning("assignment_malformed", assignment=event.id, reason=problem.reason)
            return
        if expires_at is None or expires_at <= self._clock.now():
            log.info("assignment_expired", assignment=event.id)
            return
        if self._queue.qsize() >= self._settings.queue_max:
            log.warning("assignment_left", assignment=event.id, reason="the queue is full")
            return
        if self._journal.take(event, expires_at=expires_at):
            log.info("assignment_taken", assignment=event.id, kind=event.kind)
            self._line_up(event)
            self._presence.changed()

    def _line_up(self, event: Event) -> None:
        self._mine[event.id] = None
        self._queue.put_nowait(event)
        after = self._settings.claim_after_seconds
        self._claims[event.id] = asyncio.get_running_loop().call_later(after, self._claim, event)
        if not after:
            self._claim(event)

    def _claim(self, event: Event) -> Event:
        """Owe the claim of an assignment, and return it."""
        self._claims.pop(event.id).cancel()
        claim = build_feedback(
            self._settings.keypair,
            request=event,
            status="processing",
            encrypt=self._encryption(event),
            now=self._clock.now(),
        )
        if self._journal.claim(event, expires_at=parse_expiration(event) or 0, claim=claim):
            self._tell()
        return claim

    async def _on_word(self, event: Event) -> None:
        """Hear what the service says to us: an assignment is taken back, or how our announcement stands."""
        if event.kind == DELETION_KIND:
            for tag in event.tags_named("e"):
                self._stop(tag[1] if len(tag) > 1 else "")
            return
        said, told = event.tag("status"), next(iter(event.tags_named("status")), ())
        if event.created_at < self._told_at or said not in {"error", "processing"}:
            return
        self._told_at = event.created_at
        words = told[2][:200] if len(told) > 2 else ""  # noqa: PLR2004  status, which, words
        if said == "error":
            log.warning("not_admitted", reason=words)
        else:
            log.info("admitted")

    def _stop(self, assignment_id: str) -> None:
        if assignment_id not in self._mine:
            return
        log.info("assignment_taken_back", assignment=assignment_id)
        self._taken_back.add(assignment_id)
        limit = self._mine[assignment_id]
        if limit is not None:
            limit.reschedule(asyncio.get_running_loop().time())

    async def _tidy(self) -> None:
        self._journal.forget(self._clock.now())

    async def _bee(self) -> None:
        while True:
            event = await self._queue.get()
            self._running += 1
            outcome = await self._outcome(event) if event.id not in self._taken_back else None
            if event.id in self._taken_back:
                outcome = None  # nobody waits for it
            if event.id in self._claims:
                self._claims.pop(event.id).cancel()
            self._journal.finish(event.id, outcome)
            self._mine.pop(event.id, None)
            self._taken_back.discard(event.id)
            self._running -= 1
            self._tell()
            await asyncio.sleep(0)  # work that waits for nothing would keep the loop until the queue is empty

    async def _outcome(self, event: Event) -> Event | None:
        """Work on an assignment; return the event that ends it, None if its lease has ended meanwhile."""
        try:
            job = parse_job_request(event, self._settings.keypair)
            assert job.expiration is not None, "an assignment without a lease was taken"
            seconds = job.expiration - self._clock.now()
            if seconds <= 0:
                log.warning("assignment_too_late", assignment=event.id)
                return None
            async with asyncio.timeout(seconds - min(DELIVERY_SECONDS, seconds / 2)) as limit:
                self._mine[event.id] = limit
                done = await self._work(job, partial(self._say, event))
            return self._result(event, done)
        except TimeoutError:
            is_up = event.id not in self._taken_back
            return self._failure(event, "the time for the job was up" if is_up else "the service has taken it back")
        except (WorkFailed, Rejected) as problem:
            return self._failure(event, str(problem))
        except Exception:  # of built-in work: a fault of ours, told to the operator and, in short, to the service
            log.exception("work_broke", assignment=event.id)
            return self._failure(event, "the node's own work broke")

    async def _say(self, event: Event, piece: str) -> None:
        """Pass on a piece of a result; what does not arrive is part of the whole, which does."""
        feedback = build_feedback(
            self._settings.keypair,
            request=event,
            status="partial",
            text=piece,
            encrypt=self._encryption(event),
            now=self._clock.now(),
        )
        said = (
            [self._claim(event), feedback] if event.id in self._claims else [feedback]
        )  # a claim stands before a piece
        for connection in self._connections:
            with suppress(Unavailable):
                for one in said:
                    await connection.publish(one)

    def _result(self, event: Event, done: Done) -> Event:
        result = build_result(
            self._settings.keypair,
            request=event,
            content=done.text,
            usage=done.usage.items(),
            encrypt=self._encryption(event),
            now=self._clock.now(),
        )
        log.info("work_done", assignment=event.id, result=result.id)
        return result

    def _failure(self, event: Event, reason: str) -> Event:
        log.warning("work_failed", assignment=event.id, reason=reason)
        return build_feedback(
            self._settings.keypair,
            request=event,
            status="error",
            text=reason,
            encrypt=self._encryption(event),
            now=self._clock.now(),
        )

    def _encryption(self, request: Event) -> Encryption | None:
        scheme = encryption_of(request)
        return None if scheme is None else Encryption(scheme, self._chance(NONCE_BYTES))

    def _tell(self) -> None:
        """Something is owed, and the status may be another one."""
        self._presence.changed()
        for delivery in self._deliveries:
            delivery.wake()


def _work_of(settings: WorkerSettings) -> Work:
    if settings.work is not None:
        return settings.work
    if settings.model is not None:
        return model_work(settings.model, output_bytes_max=settings.output_bytes_max)
    assert settings.command is not None, "settings have one of the three"
    return command_work(settings.command, output_bytes_max=settings.output_bytes_max)
