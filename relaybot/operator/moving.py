"""The relay's events as JSON lines, out and in, a piece at a time: however many they are, memory stays as it is.

What an import takes is what the relay takes, but for the rules about who sends: the operator
speaks for every author. So keys that are not allowed, accounts, AUTH (NIP-42), protection
(NIP-70), rates, age and proof of work are not asked for; shape, id, signature, sizes, dates
ahead, expiration, kinds, denied keys, deletions and requests to vanish are as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import IO, Any

from relaybot.app import relay_limits
from relaybot.clock import Clock
from relaybot.config import Config
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.event import Event, is_ephemeral, parse_event_and_raw
from relaybot.nostr.messages import Ok
from relaybot.relay.event_pages import all_events
from relaybot.relay.events import EventStore, InUse
from relaybot.relay.hub import Hub
from relaybot.relay.policies import ConnectionFacts
from relaybot.relay.server import relay_names
from relaybot.relay.settings import RelayLimits

Progress = Callable[[int, int | None], object]  # how much is done, of how much

BATCH_LINES = 1_000  # checked and committed together, as the relay does it
BATCH_BYTES = 4_194_304  # the same, where lines are long
REFUSALS_TOLD = 20  # the first; of all the others only the number


@dataclass(slots=True)
class Tally:
    """What became of the lines of an import."""

    accepted: int = 0
    duplicate: int = 0
    refused: int = 0
    refusals: list[dict[str, Any]] = field(default_factory=list)  # of the first: line, reason
    failed_at: int = 0  # the first line that could not be stored

    def note(self, line: int, ok: Ok) -> None:
        """Count what the relay said of a line."""
        if ok.accepted and not ok.message:
            self.accepted += 1
        elif ok.accepted:
            self.duplicate += 1
        elif ok.message.startswith("error:"):
            self.failed_at = min(line, self.failed_at or line)
        else:
            self.refuse(line, ok.message)

    def refuse(self, line: int, reason: str) -> None:
        """Count a line that is not taken."""
        self.refused += 1
        # answers of one batch come in any order
        told = [*self.refusals, {"line": line, "reason": reason}]
        self.refusals = sorted(told, key=itemgetter("line"))[:REFUSALS_TOLD]


def export_events(
    config: Config, write: Callable[[bytes], object], clock: Clock, progress: Progress, total: int | None
) -> int:
    """Write every event that has not expired by `write`, one a line; return how many there were.

    The relay may go on: of what arrives meanwhile, some may be in it.
    """
    count = 0
    for raw in all_events(config.relay.database, clock.now()):
        write(raw + b"\n")
        count += 1
        progress(count, total)
    return count


async def import_events(
    config: Config, source: IO[bytes], clock: Clock, progress: Progress, total: int | None
) -> Tally:
    """Store the events of `source`, one a line; when this returns, they are on the disk.

    Rejected if a relay is running on the file; Unavailable if it cannot be written, and what
    came before is stored. An import may always be repeated.
    """
    limits = _operator_limits(relay_limits(config))
    try:
        store = await EventStore.open(config.relay.database, limits)
    except InUse:
        raise Rejected("invalid", f"a relay is running on {config.relay.database}; stop it first") from None
    hub = Hub(store, limits, clock)
    names = relay_names(config.relay.public_url, config.relay.host, config.relay.port)
    try:
        return await _import(source, hub, names, lambda done: progress(done, total))
    finally:
        await hub.close()
        await store.close()


async def _import(source: IO[bytes], hub: Hub, names: frozenset[str], progress: Callable[[int], object]) -> Tally:
    tally, number, size = Tally(), 0, 0
    longest = hub.limits.message_bytes_max
    while lines := await asyncio.to_thread(_next_lines, source, longest):
        for line in lines:
            number += 1
            size += len(line)
            _take(line.strip(), number, hub, names, tally)
        await hub.all_answered()
        if tally.failed_at:
            raise Unavailable(f"line {tally.failed_at} could not be stored; import again when there is room")
        progress(size)
    return tally


def _take(line: bytes, number: int, hub: Hub, names: frozenset[str], tally: Tally) -> None:
    """Offer the event of one line to the hub, in its author's name; `tally` learns the answer."""
    if not line:
        return
    try:
        event, raw = _read(line, hub.limits.message_bytes_max)
    except Rejected as rejected:
        tally.refuse(number, str(rejected))
    else:
        facts = ConnectionFacts(address="", known_as=names, keys=frozenset({event.pubkey}))
        hub.submit(raw, event, facts, partial(tally.note, number))


def _read(line: bytes, bytes_max: int) -> tuple[Event, bytes]:
    if len(line) > bytes_max:
        raise Rejected("invalid", "the line is too long", allowed=f"{bytes_max} bytes")
    event, raw = parse_event_and_raw(line)
    if is_ephemeral(event.kind):
        raise Rejected("invalid", "ephemeral events are not stored", kind=event.kind)
    return event, raw


def _next_lines(source: IO[bytes], longest: int) -> list[bytes]:
    """Return the next lines, none at the end; of one that is too long, as much as shows that it is."""
    lines: list[bytes] = []
    size = 0
    while len(lines) < BATCH_LINES and size < BATCH_BYTES:
        line = part = source.readline(longest + 2)  # a byte too many, or the end of the line
        if not line:
            break
        while part and not part.endswith(b"\n"):
            part = source.readline(longest)
        lines.append(line)
        size += len(line)
    return lines


def _operator_limits(limits: RelayLimits) -> RelayLimits:
    """Return the limits without those about who sends."""
    return replace(
        limits,
        past_seconds=0,
        pow_bits_min=0,
        kinds_of_members=frozenset(),
        authors_allowed=frozenset(),
        auth_required=False,
    )
