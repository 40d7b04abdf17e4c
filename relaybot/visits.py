"""Events that shall also reach relays of others: where a zap's sender or a message's recipient reads.

The outbox (`outbox.py`) owes every event to our own relays; these are a courtesy. Each row is
one event for one relay, is part of the Plan that made the event true, and is tried a few
times. A slow relay keeps nobody waiting but itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import structlog

from relaybot.clock import Clock
from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from relaybot.loops import Stumbles
from relaybot.nostr.event import Event, encode_event, stored_event
from relaybot.nostr.messages import Ok
from wallet.book import Book
from wallet.ledger import Insert, Plan, Update, Values

log = structlog.get_logger()

BATCH_MAX = 64  # visits begun in one round
TRIES_MAX = 4  # with the pauses below: a quarter of an hour
PAUSE_SECONDS = 30  # after the first try; each further pause is four times as long
NOTE_CHARACTERS_MAX = 200
REFUSED_FOR_GOOD = ("invalid", "blocked", "restricted", "pow", "auth-required")  # a visitor has shown its key

Publish = Callable[[str, Event], Awaitable[Ok]]  # (relay's URL, event): Rejected, Unavailable


def visits_owed(event: Event, relays: Iterable[str], now: int) -> tuple[Insert, ...]:
    """Return the rows by which `event` is also offered to `relays`, to be part of the Plan that makes it true."""
    text = encode_event(event)
    values: Values = {"event": text, "tries": 0, "next_at": now, "note": "", "created_at": now}
    return tuple(Insert("visits", f"{event.id}/{relay}", {**values, "relay": relay}) for relay in dict.fromkeys(relays))


class Visits:
    """Bring events to the relays of others by `publish`."""

    def __init__(self, book: Book, clock: Clock, publish: Publish, stumbles: Stumbles | None = None) -> None:
        self._book = book
        self._clock = clock
        self._publish = publish
        self._stumbles = stumbles or Stumbles(clock)

    async def step(self) -> bool:
        """Make every visit that is due once; tell whether more are waiting."""
        rows = await self._book.database.fetch(
            "SELECT * FROM visits WHERE next_at <= :now ORDER BY next_at LIMIT :limit",
            now=self._clock.now(),
            limit=BATCH_MAX,
        )
        await asyncio.gather(
            *(self._stumbles.past("visits", row["id"], partial(self._visit, row), otherwise=None) for row in rows)
        )
        return len(rows) == BATCH_MAX

    async def _visit(self, row: Row) -> None:
        event = stored_event(row["event"])
        outcome = await self._offer(row["relay"], event)
        tries = row["tries"] + 1
        over = outcome is None or tries >= TRIES_MAX or outcome.startswith(REFUSED_FOR_GOOD)
        if outcome is not None:
            log.info("visit_in_vain", event_id=event.id, kind=event.kind, tries=tries, over=over, reason=outcome)
        pause = PAUSE_SECONDS * 4 ** row["tries"]
        values: Values = {
            "tries": tries,
            "next_at": None if over else self._clock.now() + pause,
            "note": outcome or "",
        }
        update = Update("visits", row["id"], values, expect={"version": row["version"]})
        await self._book.apply(Plan(f"visits/{row['id']}/{tries}", changes=(update,)))

    async def _offer(self, relay: str, event: Event) -> str | None:
        """Return None if the relay has the event now, else why not."""
        try:
            ok = await self._publish(relay, event)
        except Unavailable as error:
            return f"unavailable: {error}"[:NOTE_CHARACTERS_MAX]
        except Rejected as refusal:  # an address that is not visited
            return str(refusal)[:NOTE_CHARACTERS_MAX]
        # NIP-01: a relay that has the event already answers OK true with `duplicate:`; some answer false.
        return None if ok.accepted or ok.message.startswith("duplicate") else ok.message[:NOTE_CHARACTERS_MAX]
