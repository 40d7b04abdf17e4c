"""The operator's word on compute nodes: which are there, how they work, and who may."""

from __future__ import annotations

from collections.abc import Sequence

from handlers.bot import node_rules
from handlers.nodes import Rules, Said
from handlers.workers import record_of, said_now, said_of, told_admission
from relaybot.clock import SystemClock
from relaybot.config import Config
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.keyring import Keyring
from relaybot.nostr import nip19
from relaybot.operator.opening import Answer, opened
from wallet.ledger import Change, Plan

_WORKERS = "SELECT * FROM workers ORDER BY beat_at DESC, id LIMIT :limit"
_MILLIONTHS_PER_PERCENT = 10_000


async def list_nodes(config: Config, limit: int, *, waiting: bool) -> Sequence[Answer]:
    """Return the nodes that were heard of last, or only those that wait for the operator's word."""
    now, rules = SystemClock().now(), node_rules(config.workers, frozenset(config.workers.allowed))
    async with opened(config) as book:
        rows = await book.database.fetch(_WORKERS, limit=limit)
    shown = [_shown(row, rules, now, config.workers.heartbeat_seconds_max) for row in rows]
    return [one for one in shown if not waiting or one["admission"] == "waiting"]


async def speak(config: Config, keyring: Keyring, pubkey: str, said: Said) -> Answer:
    """Approve or refuse a node, from now on; it is told if it has announced itself.

    Rejected where an approval would change nothing: `workers.admission: closed`.
    """
    rules, now, service = (
        node_rules(config.workers, frozenset(config.workers.allowed)),
        SystemClock().now(),
        keyring.key("service"),
    )
    if said is Said.APPROVED and rules.admission == "closed":
        raise Rejected("invalid", "workers.admission is closed: only workers.allowed counts", allowed="approved, open")
    async with opened(config) as book:
        row = await book.row("workers", pubkey)
        told: tuple[Change, ...] = ()
        if row is not None and row["announcement"] and said_of(row) is not said:
            words = "admitted" if said is Said.APPROVED else rules.refusal_words(said)
            admitted = said is Said.APPROVED
            told = told_admission(service, pubkey, row["announcement"], words, now=now, admitted=admitted)
        version = row["version"] if row is not None else 0
        plan = Plan(f"workers/{pubkey}/{version}", changes=(said_now(row, pubkey, said, now), *told))
        answer = await book.apply(plan)
        if not answer.done:
            raise Rejected("error", "the book did not take it", detail=answer.reason)
    return {"npub": nip19.encode_npub(pubkey), "said": said.value, "known": row is not None}


def _shown(row: Row, rules: Rules, now: int, beat_seconds_max: int) -> Answer:
    is_there = row["announced_until"] > now and row["beat_until"] > now and row["beat_at"] >= now - beat_seconds_max
    record = record_of(row)
    return {
        "npub": nip19.encode_npub(row["id"]),
        "name": row["name"],
        "admission": _admission(row, rules),
        "status": row["status"] if is_there else "away",
        "kinds": row["kinds"],
        "done": record.done,
        "failed": record.failed,
        "success_percent": record.faded(now).success_ppm // _MILLIONTHS_PER_PERCENT,
        "job_ms": record.faded(now).job_ms,
        "rests_seconds": max(0, record.rests_until - now),
    }


def _admission(row: Row, rules: Rules) -> str:
    said = said_of(row)
    if rules.trusts(row["id"], said):
        return "admitted"
    if said is Said.REFUSED:
        return "refused"
    if rules.admission == "open":
        return "admitted" if row["done"] >= rules.probation_jobs else "on probation"
    return "waiting" if rules.admission == "approved" else "not admitted"
