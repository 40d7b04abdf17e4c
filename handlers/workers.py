"""Compute nodes make themselves known: NIP-89 announcements (31990) and heartbeats (11998)."""

from __future__ import annotations

import json

import structlog

from handlers.bot import Bot, written
from relaybot.db.database import Row
from relaybot.inbox import Decision
from relaybot.nostr import nip19, nip89
from relaybot.nostr.event import Event
from wallet.ledger import Plan, Values

log = structlog.get_logger()

_UNKNOWN: Values = {
    "kinds": "[]",
    "announced_at": 0,
    "announced_until": 0,
    "status": "busy",
    "beat_at": 0,
    "beat_until": 0,
    "assigned_at": 0,
}


def admitted(bot: Bot, pubkey: str) -> bool:
    """Tell whether this node may work for us (`workers.admission`)."""
    return bot.config.workers.admission == "open" or pubkey in bot.workers_allowed


async def on_announcement(bot: Bot, event: Event) -> Decision:
    """Take a node's announcement: which kinds of job it does, and until when that stands."""
    announcement = nip89.parse_worker_announcement(event)
    if announcement.service != bot.service.pubkey:
        return "announced to another service"
    if not admitted(bot, event.pubkey):
        log.warning("node_not_admitted", worker=nip19.encode_npub(event.pubkey))
        return "refused: this node is not admitted (workers.allowed)"
    row, said_at = await bot.book.row("workers", event.pubkey), bot.believed_date(event.created_at)
    if row is not None and row["announced_at"] > said_at:
        return "an older announcement"
    values: Values = {
        "kinds": json.dumps(sorted(announcement.kinds)),
        "announced_at": said_at,
        "announced_until": announcement.expiration,
    }
    return Plan(f"worker/{event.id}", changes=(written("workers", event.pubkey, row, _with_unknown(row, values)),))


async def on_heartbeat(bot: Bot, event: Event) -> Decision:
    """Take a node's heartbeat: whether it is idle, and until when that stands."""
    beat = nip89.parse_heartbeat(event)
    if not admitted(bot, event.pubkey):
        return "refused: this node is not admitted (workers.allowed)"
    row, said_at = await bot.book.row("workers", event.pubkey), bot.believed_date(event.created_at)
    if row is not None and row["beat_at"] > said_at:
        return "an older heartbeat"
    values: Values = {"status": beat.status, "beat_at": said_at, "beat_until": beat.expiration}
    return Plan(f"worker/{event.id}", changes=(written("workers", event.pubkey, row, _with_unknown(row, values)),))


def _with_unknown(row: Row | None, values: Values) -> Values:
    return values if row is not None else {**_UNKNOWN, **values}
