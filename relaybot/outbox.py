"""The outbox: every event we owe the world, stored signed in the Plan that made it true.

It is sent to each of our relays until that relay says OK, the same event every time, with
growing pauses. A relay that refuses it for good, or stays away for too long, is given up
loudly; the row stays, for the operator. After the first round it is also owed to where its
receiver reads (`visits.py`).
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import structlog

from relaybot.clock import Clock
from relaybot.db.database import Row
from relaybot.errors import Unavailable
from relaybot.loops import Stumbles
from relaybot.nostr.event import Event, encode_event, stored_event
from relaybot.nostr.messages import Ok
from relaybot.visits import visits_owed
from wallet.book import Book
from wallet.ledger import Insert, Plan, Update, Values

log = structlog.get_logger()

BATCH_MAX = 256  # events sent between two looks at the table
TRIES_MAX = 60  # with the pauses below: about two days
PAUSE_SECONDS_MAX = 3600
REFUSED_FOR_GOOD = ("invalid", "blocked", "restricted", "pow")  # NIP-01 prefixes that a retry will not change

Publish = Callable[[Event], Awaitable[Ok]]
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

    async def step(self) -> bool:
        """Send every event that is due once; tell whether more are waiting."""
        rows = await self._book.database.fetch(
            "SELECT * FROM outbox WHERE state = 'pending' AND next_at <= :now"
            " ORDER BY next_at, created_at, place LIMIT :limit",
            now=self._clock.now(),
            limit=BATCH_MAX,
        )
        about: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            about[row["about"]].append(row)
        noted = await asyncio.gather(
            *(
                self._stumbles.past("outbox", thing, partial(self._send_in_order, each), otherwise=False)
                for thing, each in about.items()
            )
        )
        return len(rows) == BATCH_MAX and all(noted)

    async def _send_in_order(self, rows: Sequence[Row]) -> bool:
        """Send what is owed about one thing, one after the other; tell whether the book took note of all."""
        sent = [await self._send(row) for row in rows]
        return all(await asyncio.gather(*(self._note(row, *outcome) for row, outcome in zip(rows, sent, strict=True))))

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

    async def _note(self, row: Row, settled: set[str], notes: Sequence[str]) -> bool:
        try:
            await self._remember(row, sorted(settled), notes)
        except Unavailable as error:  # the relays have the same event again in the next round
            log.warning("publish_not_noted", event_id=row["id"], reason=str(error))
            return False
        return True

    async def _remember(self, row: Row, settled: Sequence[str], notes: Sequence[str]) -> None:
        tries = row["tries"] + 1
        state = "sent" if len(settled) == len(self._relays) else "given-up" if tries >= TRIES_MAX else "pending"
        if state == "given-up":
            log.error("publish_given_up", event_id=row["id"], tries=tries, reason="; ".join(notes))
        pause = min(2 ** min(tries, 12), PAUSE_SECONDS_MAX)
        values: Values = {
            "relays": json.dumps(settled),
            "state": state,
            "tries": tries,
            "next_at": self._clock.now() + pause,
            "note": "; ".join(notes)[:500],
        }
        update = Update("outbox", row["id"], values, expect={"version": row["version"]})
        visits = await self._visits(row) if row["tries"] == 0 else ()
        await self._book.apply(Plan(f"outbox/{row['id']}/{tries}", changes=(update, *visits)))

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
