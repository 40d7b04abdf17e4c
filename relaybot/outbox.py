"""The outbox: every event we owe the world, stored signed in the Plan that made it true.

It is sent to each of our relays until that relay says OK, the same event every time, with
growing pauses. A relay that refuses it for good, or stays away for too long, is given up
loudly; the row stays, for the operator. After the first round it is also owed to where its
receiver reads (`visits.py`).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import structlog

from relaybot.clock import Clock
from relaybot.db.database import Row
from relaybot.errors import Unavailable
from relaybot.loops import Stumbles, repeat
from relaybot.nostr.event import Event, encode_event, stored_event
from relaybot.nostr.messages import Ok
from relaybot.visits import visits_owed
from wallet.book import Book
from wallet.ledger import Change, Insert, Plan, Update, Values, Verdict

log = structlog.get_logger()

BATCH_MAX = 256  # events of one round
LOOK_SECONDS = 1.0  # between two looks for what is due again
TRIES_MAX = 60  # with the pauses below: about two days
PAUSE_SECONDS_MAX = 3600
REFUSED_FOR_GOOD = ("invalid", "blocked", "restricted", "pow")  # NIP-01 prefixes that a retry will not change

Publish = Callable[[Event], Awaitable[Ok]]
_Note = tuple[Row, Sequence[Change]]  # an event that was sent, and what is to be noted of it
Readers = Callable[[Event], Awaitable[Sequence[str]]]  # the relays of others where an event's receiver reads


async def nobody_elsewhere(_event: Event) -> Sequence[str]:
    """Say that everybody reads our own relays."""
    return ()


def owed(event: Event, now: int, place: int = 0) -> Insert:
    """Return the outbox row of `event`, to be part of the Plan that makes it true.

    `place` is its place among what that Plan owes about one thing: a result goes out before `success`.
    """
    values: Values = {
        "event": encode_event(event),
        "about": event.tag("e") or event.id,
        "place": place,
        "relays": "[]",
        "state": "pending",
        "tries": 0,
        "next_at": now,
        "note": "",
        "created_at": now,
    }
    return Insert("outbox", event.id, values)


class Outbox:
    """Send what is owed to `relays`: how to publish, by the relay's name."""

    def __init__(
        self,
        book: Book,
        clock: Clock,
        relays: Mapping[str, Publish],
        readers: Readers = nobody_elsewhere,
        stumbles: Stumbles | None = None,
    ) -> None:
        self._book = book
        self._clock = clock
        self._relays = relays
        self._readers = readers
        self._stumbles = stumbles or Stumbles(clock)
        self._under_way: Counter[str] = Counter()  # how many events, by what they are about

    async def run(self, is_ours: Callable[[], Awaitable[bool]], *, wake: asyncio.Event) -> None:
        """Send what is owed, for ever, as long as `is_ours` says so; `wake` is set when there may be more.

        Who is slow to say OK holds up what is owed about the same thing, and nothing else.
        """
        async with asyncio.TaskGroup() as tasks:

            async def look() -> bool:
                due = await self._due() if await is_ours() else ()
                if due:
                    tasks.create_task(self._send_round(due))
                return len(due) == BATCH_MAX

            await repeat("outbox", look, wake=wake, seconds=LOOK_SECONDS)

    async def step(self) -> bool:
        """Send every event that is due once; tell whether more are waiting."""
        due = await self._due()
        return await self._send_round(due) and len(due) == BATCH_MAX

    async def _due(self) -> Sequence[Row]:
        """Return what is due and not under way, nor about anything that is."""
        rows = await self._book.database.fetch(
            "SELECT * FROM outbox WHERE state = 'pending' AND next_at <= :now"
            " ORDER BY next_at, created_at, place LIMIT :limit",
            now=self._clock.now(),
            limit=BATCH_MAX + self._under_way.total(),
        )
        return [row for row in rows if row["about"] not in self._under_way][:BATCH_MAX]

    async def _send_round(self, rows: Sequence[Row]) -> bool:
        """Send what is owed, what is about one thing in its order; tell whether the book took note of all."""
        about: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            about[row["about"]].append(row)
        here = Counter({thing: len(each) for thing, each in about.items()})
        self._under_way += here
        try:
            notes = await asyncio.gather(
                *(
                    self._stumbles.past("outbox", thing, partial(self._send_in_order, each), otherwise=None)
                    for thing, each in about.items()
                )
            )
            known = [note for each in notes if each is not None for note in each]
            return await self._note(known) and len(known) == len(rows)
        finally:
            self._under_way -= here

    async def _send_in_order(self, rows: Sequence[Row]) -> Sequence[_Note]:
        """Send what is owed about one thing, one after the other; return what is to be noted."""
        return [await self._noted(row, *await self._send(row)) for row in rows]

    async def _send(self, row: Row) -> tuple[set[str], list[str]]:
        """Send one event to every relay that has not settled it; return who has now, and why others have not."""
        event = stored_event(row["event"])
        settled = set(json.loads(row["relays"]))
        notes = []
        for name, publish in self._relays.items():
            if name in settled:
                continue
            outcome = await _publish(publish, event)
            if outcome is None:
                settled.add(name)
                continue
            notes.append(f"{name}: {outcome}")
            if outcome.startswith(REFUSED_FOR_GOOD):
                settled.add(name)
                log.error("publish_refused", event_id=event.id, kind=event.kind, relay=name, reason=outcome)
        return settled, notes

    async def _noted(self, row: Row, settled: set[str], notes: Sequence[str]) -> _Note:
        tries = row["tries"] + 1
        state = "sent" if len(settled) == len(self._relays) else "given-up" if tries >= TRIES_MAX else "pending"
        if state == "given-up":
            log.error("publish_given_up", event_id=row["id"], tries=tries, reason="; ".join(notes))
        pause = min(2 ** min(tries, 12), PAUSE_SECONDS_MAX)
        values: Values = {
            "relays": json.dumps(sorted(settled)),
            "state": state,
            "tries": tries,
            "next_at": self._clock.now() + pause,
            "note": "; ".join(notes)[:500],
        }
        update = Update("outbox", row["id"], values, expect={"version": row["version"]})
        visits = await self._visits(row) if row["tries"] == 0 else ()
        return row, (update, *visits)

    async def _note(self, notes: Sequence[_Note]) -> bool:
        """Note what came of a round in one Plan; one by one if another process has noted some of it."""
        if not notes:
            return True
        (first, _), *others = notes
        changes = tuple(change for _, each in notes for change in each)
        try:
            answer = await self._book.apply(Plan(f"outbox/{first['id']}/{first['tries'] + 1}", changes=changes))
        except Unavailable as error:  # the relays have the same events again in the next round
            for row, _ in notes:
                log.warning("publish_not_noted", event_id=row["id"], reason=str(error))
            return False
        if others and answer.verdict is not Verdict.APPLIED:
            return all([await self._note([one]) for one in notes])
        return True

    async def _visits(self, row: Row) -> Sequence[Insert]:
        event = stored_event(row["event"])
        return visits_owed(event, await self._readers(event), self._clock.now())


async def _publish(publish: Publish, event: Event) -> str | None:
    """Return None if the relay has the event now, else why not."""
    try:
        ok = await publish(event)
    except Unavailable as error:
        return f"unavailable: {error}"
    # NIP-01: a relay that has the event already answers OK true with `duplicate:`; some answer false.
    return None if ok.accepted or ok.message.startswith("duplicate") else ok.message
