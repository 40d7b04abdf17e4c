"""Compute nodes make themselves known: NIP-89 announcements (31990) and heartbeats (11998).

Both are noted of every node, whether it is admitted or not, within `workers.strangers_max`:
so a change of `workers:` or a word of the operator's counts at once. A node that is not
admitted is told so, by a 7000 on its announcement. Who gets jobs is decided in `nodes.py`.
"""

from __future__ import annotations

import json

import structlog

from handlers.bot import Bot, events_owed, written
from handlers.nodes import Record, Said
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.inbox import Decision
from relaybot.nostr import nip19, nip89, nip90
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from wallet.ledger import Change, Insert, Plan, Values

log = structlog.get_logger()

STRANGER_SECONDS = 2 * 86_400  # a stranger not heard of for so long makes room; nodes announce themselves daily
BEAT_SECONDS = 30  # a beat that says what the one before said, so soon after it, is not noted

_UNKNOWN: Values = {
    "name": "",
    "kinds": "[]",
    "models": "[]",
    "least_msat": 0,
    "schemes": '["nip44"]',
    "concurrency": 0,
    "announcement": "",
    "announced_at": 0,
    "announced_until": 0,
    "status": "busy",
    "beat_at": 0,
    "beat_until": 0,
    "said": "",
    "assigned_at": 0,
}


async def on_announcement(bot: Bot, event: Event) -> Decision:
    """Take a node's announcement: what it can do, and until when that stands."""
    announcement = nip89.parse_worker_announcement(event)
    if announcement.service != bot.service.pubkey:
        return "announced to another service"
    row, said_at = await bot.book.row("workers", event.pubkey), bot.believed_date(event.created_at)
    if row is not None and row["announced_at"] > said_at:
        return "an older announcement"
    await _check_room(bot, event.pubkey, row)
    able = announcement.capability
    values: Values = {
        "name": announcement.name[:100],
        "kinds": json.dumps(sorted(announcement.kinds)),
        "models": json.dumps(sorted(able.models)),
        "least_msat": able.least_msat,
        "schemes": json.dumps(sorted(able.schemes)),
        "concurrency": able.concurrency,
        "announcement": event.id,
        "announced_at": said_at,
        "announced_until": announcement.expiration,
    }
    told: tuple[Insert, ...] = ()
    said = said_of(row)
    if not bot.node_rules.admits(event.pubkey, said):
        log.warning("node_not_admitted", worker=nip19.encode_npub(event.pubkey))
        told = told_admission(
            bot.service, event.pubkey, event.id, bot.node_rules.refusal_words(said), now=bot.clock.now()
        )
    return Plan(f"worker/{event.id}", changes=(_changed(bot, event.pubkey, row, values), *told))


async def on_heartbeat(bot: Bot, event: Event) -> Decision:
    """Take a node's heartbeat: whether it is idle, and until when that stands."""
    beat = nip89.parse_heartbeat(event)
    if beat.service != bot.service.pubkey:
        return "announced to another service"
    row, said_at = await bot.book.row("workers", event.pubkey), bot.believed_date(event.created_at)
    if row is not None and row["beat_at"] > said_at:
        return "an older heartbeat"
    if row is not None and row["status"] == beat.status and said_at - row["beat_at"] < BEAT_SECONDS:
        return "a heartbeat that says nothing new"
    await _check_room(bot, event.pubkey, row)
    values: Values = {"status": beat.status, "beat_at": said_at, "beat_until": beat.expiration}
    return Plan(f"worker/{event.id}", changes=(_changed(bot, event.pubkey, row, values),))


def said_of(row: Row | None) -> Said:
    """Return what the operator has said about a node."""
    return Said(row["said"]) if row is not None else Said.NOTHING


def record_of(row: Row) -> Record:
    """Return how a node has worked."""
    return Record(
        done=row["done"],
        failed=row["failed"],
        failures=row["failures"],
        success_ppm=row["success_ppm"],
        job_ms=row["job_ms"],
        measured_at=row["measured_at"],
        rests_until=row["rests_until"],
    )


def told_admission(
    service: KeyPair, worker: str, announcement_id: str, reason: str, *, now: int, admitted: bool = False
) -> tuple[Insert, ...]:
    """Return what is owed to tell a node how its announcement stands: 7000 `error`, or `processing` once admitted."""
    tags = [["status", "processing" if admitted else "error", reason], ["e", announcement_id], ["p", worker]]
    return events_owed(now, service.sign(kind=nip90.FEEDBACK_KIND, content="", tags=tags, created_at=now))


def said_now(row: Row | None, pubkey: str, said: Said, now: int) -> Change:
    """Return the change of a node's row when the operator speaks about it; it need not have announced itself."""
    values: Values = {"said": said.value, "changed_at": now}
    return written("workers", pubkey, row, values if row is not None else {**_UNKNOWN, **values})


async def _check_room(bot: Bot, pubkey: str, row: Row | None) -> None:
    """Raise Rejected if this is a stranger's first word, and too many strangers are known."""
    if row is not None or bot.node_rules.trusts(pubkey, Said.NOTHING):
        return
    allowed = bot.config.workers.strangers_max
    found = await bot.book.database.fetch(
        "SELECT COUNT(*) AS strangers FROM workers WHERE said = '' AND (announced_at > :since OR beat_at > :since)",
        since=bot.clock.now() - STRANGER_SECONDS,
    )
    if found[0]["strangers"] >= allowed:
        raise Rejected("rate-limited", "too many nodes that nobody vouches for", allowed=allowed)


def _changed(bot: Bot, pubkey: str, row: Row | None, values: Values) -> Change:
    values = {**values, "changed_at": bot.clock.now()}
    return written("workers", pubkey, row, values if row is not None else {**_UNKNOWN, **values})
