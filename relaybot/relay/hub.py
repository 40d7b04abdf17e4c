"""Where events come in and go out: store, subscriptions, and listeners of this process.

The way of an event: policies, then what is known already, then the signature, then the
commit, then subscribers and OK. Ephemeral events skip the commit. Signatures of many are
checked by a process (signatures.py), those of a few at once. Sockets are not known here:
connection.py brings frames in and out.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial

import structlog

from relaybot.clock import Clock
from relaybot.errors import Rejected, RelaybotError, Unavailable
from relaybot.nostr.event import Event, is_ephemeral, parse_event
from relaybot.nostr.filters import Filter
from relaybot.nostr.keys import verify
from relaybot.nostr.messages import Ok
from relaybot.relay.event_journal import Arrival
from relaybot.relay.event_writes import Outcome
from relaybot.relay.events import EventStore
from relaybot.relay.feeds import Feed, Sink, TooSlow
from relaybot.relay.policies import INSIDE, ConnectionFacts, refusal, refusal_of_a_stranger, rules_in_force
from relaybot.relay.rates import Rate
from relaybot.relay.settings import RelayLimits
from relaybot.relay.signatures import SignatureChecks, Verdict
from relaybot.relay.subscriptions import Subscriptions

log = structlog.get_logger()

Answer = Callable[[Ok], None]
BeforeOk = Callable[[Event], Awaitable[None]]
HasAccount = Callable[[str], Awaitable[bool]]

CHECKED_AT_ONCE_MAX = 8  # events of one turn of the loop that are checked on it: 60 µs each
EPHEMERAL_REMEMBERED = 10_000  # ids of ephemeral events, which the store does not know

_ACCEPTED = (True, "")
_KNOWN = (True, "duplicate: already have this event")
_FAILED = (False, "error: the event could not be stored, try again later")
_ANSWERS = {
    Outcome.STORED: _ACCEPTED,
    Outcome.KNOWN: _KNOWN,
    Outcome.OUTDATED: (True, "duplicate: a newer event has taken its place"),
    Outcome.DELETED: (False, "blocked: its author asked for its deletion"),
    Outcome.VANISHED: (False, "blocked: its author asked to be forgotten"),
    Outcome.FAILED: _FAILED,
}
_FORGED = (False, "invalid: the signature does not fit")
_NOT_TAKEN = (False, "error: the event could not be taken in, try again later")


class _Offer(Arrival, frozen=True, eq=False):
    """An event on its way, and who waits for the answer: first its sender, then those who sent it again."""

    answers: list[Answer]
    signed: bool = False  # whoever offers it made the signature, or has checked it


class Hub:
    """The relay without its sockets."""

    def __init__(
        self,
        store: EventStore,
        limits: RelayLimits,
        clock: Clock,
        *,
        before_ok: BeforeOk | None = None,
        has_account: HasAccount | None = None,
    ) -> None:
        """Work on `store`, which the caller closes after this.

        `before_ok` is awaited for each accepted event, ephemeral ones too, that meets a
        durable subscription of this process; its sender is told afterwards. If it raises
        a RelaybotError, the sender is told to try again. `has_account` is asked about keys
        that write a kind of `kinds_of_members`; without it, nobody has an account.
        """
        self.limits = limits
        self.before_ok = before_ok
        self._has_account = has_account
        self._rules = rules_in_force(limits)
        self._key_rate = Rate(limits.events_per_key_minute_max)
        self._address_rate = Rate(limits.events_per_address_minute_max)
        self._store = store
        self._clock = clock
        self._subscriptions: Subscriptions[Feed] = Subscriptions()
        self._offers: dict[str, _Offer] = {}  # by id, until they are answered
        self._unchecked: list[_Offer] = []
        self._being_stored: set[bytes] = set()
        self._ephemeral: dict[str, None] = {}  # ids, oldest first
        self._checks = SignatureChecks(self._checked)
        self._tasks: set[asyncio.Task[None]] = set()
        self.answered: Counter[str] = Counter()  # events, by `ok` or the prefix of what was said instead
        self._feeding: dict[Feed, asyncio.Task[None]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    # ---- events in

    async def publish(self, event_raw: bytes, event: Event, *, signed: bool = False) -> Ok:
        """Offer an event of this process; `event_raw` is its compact JSON. Returns what a client would be told.

        `signed`: its signature was made or checked in this process, and is not checked again.
        """
        said: asyncio.Future[Ok] = asyncio.get_running_loop().create_future()
        self.submit(event_raw, event, INSIDE, lambda ok: None if said.done() else said.set_result(ok), signed=signed)
        return await said

    def submit(self, raw: bytes, event: Event, facts: ConnectionFacts, answer: Answer, *, signed: bool = False) -> None:
        """Offer an event whose id is checked and whose JSON `raw` is compact; `answer` is called once, on the loop."""
        rejected = refusal(event, facts, self._clock.now(), self.limits, self._rules)
        if rejected is None and facts.origin:
            rejected = self._too_fast(event, facts)
        if rejected is not None:
            self.answered[rejected.prefix] += 1
            answer(Ok(event.id, False, str(rejected)))
        elif event.kind in self.limits.kinds_of_members and facts is not INSIDE:
            self._spawn(self._submit_of_member(raw, event, facts, answer))
        else:
            self._submit(raw, event, answer, signed=signed)

    def _too_fast(self, event: Event, facts: ConnectionFacts) -> Rejected | None:
        now = asyncio.get_running_loop().time()
        if not self._address_rate.take(facts.origin, now):
            allowed = f"{self.limits.events_per_address_minute_max} a minute"
            return Rejected("rate-limited", "too many events from this address", allowed=allowed)
        if not self._key_rate.take(event.pubkey, now):
            allowed = f"{self.limits.events_per_key_minute_max} a minute"
            return Rejected("rate-limited", "too many events of this key", allowed=allowed)
        return None

    async def _submit_of_member(self, raw: bytes, event: Event, facts: ConnectionFacts, answer: Answer) -> None:
        try:
            known = [await self._has_account(key) for key in (event.pubkey, *facts.keys)] if self._has_account else []
        except RelaybotError as error:
            log.error("relay_account_not_looked_up", event_id=event.id, error=str(error))  # noqa: TRY400 - foreseen
            answer(Ok(event.id, *_NOT_TAKEN))
            return
        if any(known):
            self._submit(raw, event, answer)
        else:
            answer(Ok(event.id, False, str(refusal_of_a_stranger(facts))))

    def _submit(self, raw: bytes, event: Event, answer: Answer, *, signed: bool = False) -> None:
        if event.id in self._offers:
            self._offers[event.id].answers.append(answer)
        elif event.id in self._ephemeral:
            answer(Ok(event.id, *_KNOWN))
        else:
            offer = self._offers[event.id] = _Offer(raw, event, [answer], signed)
            self._idle.clear()
            self._unchecked.append(offer)
            if len(self._unchecked) == 1:
                asyncio.get_running_loop().call_soon(self._start_checks)

    def _start_checks(self) -> None:
        """Check what this turn of the loop brought, from all connections."""
        offers, self._unchecked = self._unchecked, []
        try:
            known = self._store.known([offer.event.id for offer in offers])
        except sqlite3.Error as error:
            log.error("relay_lookup_failed", events=len(offers), error=str(error))  # noqa: TRY400 - an outside fault, no bug
            self._checked(offers, [Verdict.FAILED] * len(offers))
            return
        if known:
            again = [offer for offer in offers if offer.event.id in known]
            self._checked(again, [Verdict.KNOWN] * len(again))
            offers = [offer for offer in offers if offer.event.id not in known]
        signed = [offer for offer in offers if offer.signed]
        offers = [offer for offer in offers if not offer.signed]
        self._checked(signed, [Verdict.GOOD] * len(signed))
        if len(offers) > CHECKED_AT_ONCE_MAX:
            self._checks.check(offers)
        else:
            self._checked(offers, [Verdict.GOOD if verify(offer.event) else Verdict.FORGED for offer in offers])

    def _checked(self, offers: Sequence[_Offer], verdicts: Sequence[Verdict]) -> None:
        to_store = []
        for offer, verdict in zip(offers, verdicts, strict=True):
            match verdict:
                case Verdict.GOOD if is_ephemeral(offer.event.kind):
                    self._remember_ephemeral(offer)
                    self._accepted(offer)
                case Verdict.GOOD:
                    to_store.append(offer)
                case Verdict.KNOWN:
                    self._settle(offer, *_KNOWN)
                case Verdict.FORGED:
                    self._settle(offer, *_FORGED)
                case Verdict.FAILED:
                    self._settle(offer, *_FAILED)
        if to_store:
            self._being_stored.update([offer.raw for offer in to_store])
            self._store.write(to_store, partial(self._written, to_store))

    def _written(self, offers: Sequence[_Offer], outcomes: Sequence[Outcome]) -> None:
        for offer, outcome in zip(offers, outcomes, strict=True):
            self._being_stored.discard(offer.raw)
            if outcome is Outcome.STORED:
                self._accepted(offer)
            else:
                self._settle(offer, *_ANSWERS[outcome])

    def _accepted(self, offer: _Offer) -> None:
        if self._hand_out(offer) and self.before_ok is not None:
            self._spawn(self._take_in(offer, self.before_ok))
        else:
            self._settle(offer, *_ACCEPTED)

    async def _take_in(self, offer: _Offer, before_ok: BeforeOk) -> None:
        answer = _NOT_TAKEN
        try:
            await before_ok(offer.event)
            answer = _ACCEPTED
        except RelaybotError as error:
            log.error("relay_before_ok_failed", event_id=offer.event.id, error=str(error))  # noqa: TRY400 - foreseen
        finally:
            if answer is _NOT_TAKEN:
                self._ephemeral.pop(offer.event.id, None)
            self._settle(offer, *answer)

    def _settle(self, offer: _Offer, accepted: bool, message: str) -> None:  # noqa: FBT001 - NIP-01's order
        event_id = offer.event.id
        del self._offers[event_id]
        if not self._offers:
            self._idle.set()
        first, *again = offer.answers
        self.answered[message.partition(":")[0] or "ok"] += 1
        self.answered["duplicate"] += len(again)
        first(Ok(event_id, accepted, message))
        for answer in again:
            answer(Ok(event_id, *(_KNOWN if accepted else (accepted, message))))

    def _remember_ephemeral(self, offer: _Offer) -> None:
        self._ephemeral[offer.event.id] = None
        if len(self._ephemeral) > EPHEMERAL_REMEMBERED:
            del self._ephemeral[next(iter(self._ephemeral))]

    # ---- events out

    def open(self, filters: Sequence[Filter], sink: Sink, *, durable: bool = False) -> Feed:
        """Subscribe `sink`: stored events, EOSE, then new ones. Ends by `end`, or by the sink's `closed`."""
        feed = Feed(filters, sink, durable=durable, early_bytes_max=self.limits.unsent_bytes_max)
        self._subscriptions.add(feed, filters)
        if not feed.send_at_once(self._store, self._being_stored, expired_by=self._expired_by()):
            self._feeding[feed] = self._spawn(self._feed(feed))
        return feed

    def end(self, feed: Feed) -> None:
        """End a subscription; nothing more reaches its sink."""
        self._subscriptions.remove(feed)
        task = self._feeding.pop(feed, None)
        if task is not None:
            task.cancel()

    async def subscribe(
        self, filters: Sequence[Filter], callback: Callable[[Event], None], *, durable: bool = False
    ) -> Feed:
        """Let a part of this process listen: returns (that is its EOSE) after `callback` had all stored events.

        New events follow, each event once; `callback` must not wait. A filter without a
        limit gets everything stored. Raises Unavailable if the store cannot answer.
        """
        listener = _Listener(callback)
        feed = self.open(filters, listener, durable=durable)
        try:
            await listener.ready
        except asyncio.CancelledError:
            self.end(feed)
            raise
        return feed

    def count(
        self, filters: Sequence[Filter], counted: Callable[[int], None], refused: Callable[[str], None]
    ) -> asyncio.Task[None]:
        """Count what is stored; one of both functions is called, unless the task is cancelled before."""
        return self._spawn(self._count(filters, counted, refused))

    async def _count(
        self, filters: Sequence[Filter], counted: Callable[[int], None], refused: Callable[[str], None]
    ) -> None:
        try:
            found = await self._store.count(filters, self._clock.now())
        except Unavailable as error:
            refused(str(Rejected("error", str(error))))
        else:
            counted(found)

    def now(self) -> int:
        """Return the time by which events are judged."""
        return self._clock.now()

    async def all_answered(self) -> None:
        """Wait until every event that was offered is answered."""
        await self._idle.wait()

    async def close(self) -> None:
        """Answer what was offered, end all subscriptions."""
        await self.all_answered()
        for feed in list(self._feeding):
            self.end(feed)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._checks.close()

    def _hand_out(self, offer: _Offer) -> bool:
        """Send a new event to whom it concerns; tell whether a durable subscription is among them."""
        durable = False
        for feed in self._subscriptions.matching(offer.event):
            durable |= feed.durable
            try:
                feed.offer(offer.raw, offer.event)
            except TooSlow as error:
                self._refuse(feed, error)
        return durable

    async def _feed(self, feed: Feed) -> None:
        try:
            await feed.send_stored(self._store, self._being_stored, expired_by=self._expired_by())
            self._feeding.pop(feed, None)
        except Unavailable as error:
            self._feeding.pop(feed, None)
            self._refuse(feed, error)

    def _expired_by(self) -> int:
        """Return up to when events that are stored may have expired; 0 if none has."""
        now = self._clock.now()
        return now if now >= self._store.next_expiry else 0

    def _refuse(self, feed: Feed, error: Unavailable) -> None:
        self.end(feed)
        feed.sink.closed(str(Rejected("error", str(error))))

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run `work` beside the loop; all of it ends in `close`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Listener:
    """The sink of a listener in this process."""

    def __init__(self, callback: Callable[[Event], None]) -> None:
        self._callback = callback
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def has_room(self) -> bool:
        return True

    async def room(self) -> None:
        pass

    def stored(self, raws: Sequence[bytes]) -> None:
        for raw in raws:
            self._callback(parse_event(raw))

    def eose(self, _hint: str) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def live(self, _raw: bytes, event: Event) -> None:
        self._callback(event)

    def closed(self, message: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(Unavailable(message))
