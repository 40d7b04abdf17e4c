"""The compute nodes' side of a job: who is asked, what they say, and the charge at the end.

An assignment is a child job request, encrypted to one node, with a lease. Only the node
that holds the current assignment is listened to: what comes late, twice, from another key
or for another assignment pays nobody and is noted. The result that arrives within the
lease is stored (it is in the inbox) and captured in one Plan: shares, rest, unused hold,
the result and `success` for the customer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from handlers.answers import PIECE_CHARACTERS_MAX, delivered
from handlers.bot import Bot, check_payouts, events_owed
from handlers.jobs import OPEN_STATES, bot_agent, cause_of, changed_job, plan_released, told_of, voice
from handlers.states import JobState, JobStep
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.inbox import Decision
from relaybot.nostr import nip90
from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import Event, parse_event
from splits.compute import Part, compute
from splits.resolved import ResolvedSplit
from wallet.accounts import person
from wallet.charges import Terms, plan_capture, referrers_are_paid
from wallet.ledger import Change, Insert, Plan, Put, Values
from wallet.lots import Escrow, Mix
from wallet.money import Msat
from wallet.purses import escrow_of

log = structlog.get_logger()

BATCH_MAX = 200  # jobs read at a time
DAY = 86_400

_FREE_WORKERS = """
SELECT id, kinds, open_jobs FROM (
    SELECT workers.*, (SELECT COUNT(*) FROM jobs WHERE jobs.worker = workers.id AND due_at IS NOT NULL) AS open_jobs
    FROM workers WHERE announced_until > :now AND beat_until > :now AND beat_at >= :beat_at_min AND status = 'idle'
) AS alive WHERE open_jobs < :open_jobs_max ORDER BY open_jobs, assigned_at, id
"""


@dataclass(slots=True)
class FreeWorker:
    """A node that may be given a job now."""

    pubkey: str
    kinds: frozenset[int]
    open_jobs: int


async def assign_held(bot: Bot) -> bool:
    """Give each held job to a free node, oldest job first; tell whether more may be waiting."""
    free, last = await _free_workers(bot), ("", -1)
    while free:
        held = await _held_after(bot, *last)
        found = [
            await bot.stumbles.past("assign", job["id"], partial(_assignment, bot, job, free), otherwise=None)
            for job in held
        ]
        plans = [plan for plan in found if plan is not None]
        await asyncio.gather(*(bot.book.apply(plan) for plan in plans))
        if len(held) < BATCH_MAX:
            break
        last = held[-1]["id"], held[-1]["created_at"]
    return False


async def _held_after(bot: Bot, job_id: str, created_at: int) -> Sequence[Row]:
    """Return the held jobs that come after this one: those that no free node can do hide none behind them."""
    return await bot.book.database.fetch(
        "SELECT * FROM jobs WHERE state = 'held' AND (created_at, id) > (:created_at, :id)"
        " ORDER BY created_at, id LIMIT :limit",
        created_at=created_at,
        id=job_id,
        limit=BATCH_MAX,
    )


async def on_feedback(bot: Bot, event: Event) -> Decision:
    """Take a node's 7000 on its assignment: `processing` claims it, `partial` is passed on, `error` ends the job."""
    job = await _leased_job(bot, event)
    if isinstance(job, str):
        return job
    said = nip90.parse_feedback(event, bot.service)
    if said.status == "error":
        reason = f"the compute node failed: {said.text[:200] or 'no reason given'}"
        log.info("node_failed", job=job["id"], worker=event.pubkey)
        return await plan_released(bot, job, reason)
    if said.status == "processing" and JobState(job["state"]) is JobState.ASSIGNED:
        lease = await bot.book.row("assignments", job["assignment"])
        assert lease is not None, f"job {job['id']} names an assignment that is not there"
        changes: tuple[Change, ...] = (
            changed_job(bot, job, JobStep.CLAIM, due_at=lease["lease_until"]),
            *told_of(bot, job, "processing", "a compute node has begun"),
        )
        return Plan(f"{cause_of(job['id'])}/claim/{job['attempt']}", changes=changes)
    if said.status == "partial" and 0 < len(said.text) <= PIECE_CHARACTERS_MAX:
        return Plan(f"{cause_of(job['id'])}/partial/{event.id}", changes=told_of(bot, job, "partial", said.text))
    return f"{said.status}: nothing to change"


async def on_result(bot: Bot, event: Event) -> Decision:
    """Take a node's result (6000 to 6999): within its lease it is captured, else it pays nobody."""
    job = await _leased_job(bot, event)
    if isinstance(job, str):
        return job
    request = parse_event(job["request"])
    # NIP-90: the result's kind is the request's plus 1000.
    if event.kind != request.kind + nip90.RESULT_OFFSET:
        return "refused: the result's kind is not the request's plus 1000"
    escrow = await escrow_of(bot.book.database, cause_of(job["id"]), person(job["customer"]))
    if escrow.held.total != job["price_msat"]:  # the job has ended since its row was read: decide on what is there now
        return await on_result(bot, event)
    try:
        return await _plan_captured(bot, job, event.pubkey, _usable_result(bot, event), escrow)
    except Rejected as refusal:  # the node's error: it is not paid, and the customer is not charged
        log.warning("result_refused", job=job["id"], worker=event.pubkey, reason=refusal.reason)
        return await plan_released(bot, job, f"the compute node's result cannot be used: {refusal.reason}")


def _usable_result(bot: Bot, event: Event) -> nip90.Result:
    result, allowed = nip90.parse_result(event, bot.service), bot.config.jobs.result_bytes_max
    if len(result.content.encode()) > allowed:
        raise Rejected("invalid", "it is too large", allowed=f"{allowed} bytes")
    return result


async def _plan_captured(bot: Bot, job: Row, worker: str, result: nip90.Result, escrow: Escrow) -> Plan:
    now, cause = bot.clock.now(), cause_of(job["id"])
    request = parse_event(job["request"])
    if result.amount_msat is not None and result.amount_msat > job["price_msat"]:
        log.warning("amount_above_bid", job=job["id"], worker=worker, asked_msat=result.amount_msat)
    parts = await _parts(bot, job, worker, result, escrow.held)
    charged = sum(part.amount_msat for part in parts)
    result_id, answers = delivered(bot, voice(bot, job), request, result.content)
    changes: list[Change] = [
        changed_job(
            bot,
            job,
            JobStep.DELIVER,
            JobStep.CAPTURE,
            charged_msat=charged,
            result=result_id,
            delivery=result.event_id,
            due_at=None,
        ),
        *answers,
        *check_payouts([part.to for part in parts if part.to is not None], now),
    ]
    terms = Terms(matures_at=now + bot.config.card.maturity_days * DAY, own=frozenset({job["customer"]}))
    return plan_capture(escrow, parts, terms).plan(f"{cause}/capture", *changes)


async def _parts(bot: Bot, job: Row, worker: str, result: nip90.Result, held: Mix) -> Sequence[Part]:
    split = await _promised_split(bot, job)
    users = await bot.book.database.rows_by_id("users", {job["customer"], worker, *split.people()})
    referrers = {pubkey: row["referrer"] for pubkey, row in users.items() if row["referrer"] is not None}

    def parts(referrers: Mapping[str, str]) -> Sequence[Part]:
        return compute(
            split,
            charge_msat=split.price_for(result.usage, bid_msat=job["price_msat"]),
            worker=worker,
            referrers=referrers,
            payer_referrer=referrers.get(job["customer"]),
            usage=result.usage,
            now=bot.clock.now(),
        )

    found = parts(referrers)
    return found if referrers_are_paid(held, found) else parts({})


async def _promised_split(bot: Bot, job: Row) -> ResolvedSplit:
    """Return the split that was promised when the job was taken."""
    agent = bot_agent(bot, job)
    if agent is not None and agent.split_hash == job["split"]:
        return agent.split
    row = await bot.book.row("splits", job["split"])
    assert row is not None, f"job {job['id']} names a split that is not there"
    return ResolvedSplit.from_json(row["body"])


async def _leased_job(bot: Bot, event: Event) -> Row | str:
    """Return the job whose current assignment this event answers, or a note why it answers none."""
    named = [tag[1] for tag in event.tags_named("e") if len(tag) > 1]
    for assignment in (await bot.book.database.rows_by_id("assignments", named)).values():
        job = await bot.book.row("jobs", assignment["job"])
        assert job is not None, f"assignment {assignment['id']} has no job"
        problem = _lease_problem(bot, event, assignment, job)
        if problem is not None:
            if event.kind != nip90.FEEDBACK_KIND:  # a claim may well come after its result
                log.warning("not_the_lease_holder", job=job["id"], worker=event.pubkey, reason=problem)
            return f"pays nobody: {problem}"
        return job
    return "answers no assignment of ours"


def _lease_problem(bot: Bot, event: Event, assignment: Row, job: Row) -> str | None:
    if event.pubkey != assignment["worker"]:
        return "from another key than the assigned node's"
    if JobState(job["state"]) not in OPEN_STATES or job["assignment"] != assignment["id"]:
        return "the job is finished or was given to another node"
    if bot.clock.now() > assignment["lease_until"]:
        return "the lease has run out"
    return None


async def _free_workers(bot: Bot) -> list[FreeWorker]:
    now, workers = bot.clock.now(), bot.config.workers
    rows = await bot.book.database.fetch(
        _FREE_WORKERS,
        now=now,
        beat_at_min=now - workers.heartbeat_seconds_max,
        open_jobs_max=workers.open_jobs_max,
    )
    return [FreeWorker(row["id"], frozenset(json.loads(row["kinds"])), row["open_jobs"]) for row in rows]


async def _assignment(bot: Bot, job: Row, free: list[FreeWorker]) -> Plan | None:
    """Return the Plan that gives a job to the first free node of its kind that has not had it, if there is one.

    `free` is kept in turn: the node goes to the end, or leaves when it has all it may have.
    """
    tried: set[str] = set()
    if job["attempt"]:
        rows = await bot.book.database.fetch("SELECT worker FROM assignments WHERE job = :job", job=job["id"])
        tried = {row["worker"] for row in rows}
    request, agent = parse_event(job["request"]), bot_agent(bot, job)
    worker = next((one for one in free if request.kind in one.kinds and one.pubkey not in tried), None)
    if worker is None:
        return None
    if agent is None:
        return await plan_released(bot, job, "this agent is no longer offered")
    try:
        asked = nip90.parse_job_request(request, agent.keypair)
    except Rejected as refusal:  # the agent was given another key
        return await plan_released(bot, job, f"the request cannot be read any more: {refusal.reason}")
    free.remove(worker)
    worker.open_jobs += 1
    if worker.open_jobs < bot.config.workers.open_jobs_max:
        free.append(worker)
    return _plan_assigned(bot, job, asked, worker.pubkey, await _promised_split(bot, job))


def _plan_assigned(bot: Bot, job: Row, asked: nip90.JobRequest, worker: str, split: ResolvedSplit) -> Plan:
    now, number = bot.clock.now(), job["attempt"] + 1
    lease_until = now + bot.config.jobs.lease_seconds
    child = _child_request(bot, asked, worker, lease_until, bid_msat=split.worker_part_max())
    assignment: Values = {
        "job": job["id"],
        "number": number,
        "worker": worker,
        "lease_until": lease_until,
        "created_at": now,
    }
    claim_by = min(now + bot.config.jobs.claim_seconds, lease_until)
    changes: tuple[Change, ...] = (
        changed_job(bot, job, JobStep.ASSIGN, attempt=number, assignment=child.id, worker=worker, due_at=claim_by),
        Insert("assignments", child.id, assignment),
        Put("workers", worker, {"assigned_at": now}),
        *events_owed(now, child),
    )
    return Plan(f"{cause_of(job['id'])}/assign/{number}", changes=changes)


def _child_request(bot: Bot, asked: nip90.JobRequest, worker: str, lease_until: int, *, bid_msat: Msat) -> Event:
    """Return the assignment: the customer's inputs, encrypted to one node."""
    return nip90.build_job_request(
        bot.service,
        kind=asked.kind,
        inputs=asked.inputs,
        params=asked.params,
        bid_msat=bid_msat,
        provider=worker,
        encrypt=Encryption(NIP44, bot.chance(32)),
        expiration=lease_until,
        now=bot.clock.now(),
    )


async def on_due(bot: Bot, job: Row) -> Plan:
    """Return what follows when the time of a job's state has run out."""
    match JobState(job["state"]):
        case JobState.AWAITING_PAYMENT:
            return await plan_released(bot, job, "not paid in time")
        case JobState.HELD:
            return await plan_released(bot, job, "no compute node was free in time")
        case JobState.ASSIGNED | JobState.WORKING:
            if job["attempt"] >= bot.config.jobs.attempts_max:
                return await plan_released(bot, job, "no compute node delivered in time")
            due_at = bot.clock.now() + bot.config.jobs.queue_seconds
            lost = changed_job(bot, job, JobStep.LOSE, assignment="", worker="", due_at=due_at)
            return Plan(f"{cause_of(job['id'])}/lose/{job['attempt']}", changes=(lost,))
        case JobState.RECEIVED | JobState.DELIVERED | JobState.CAPTURED | JobState.RELEASED as state:
            raise Rejected("error", "a finished job has nothing due", state=state.value)


async def release_due(bot: Bot) -> bool:
    """Move on every job whose time has run out; tell whether more may be due."""
    now, jobs = bot.clock.now(), bot.config.jobs
    due = await bot.book.database.fetch(
        "SELECT id FROM jobs WHERE due_at <= :now OR (due_at > :latest AND updated_at > :ahead)"
        " ORDER BY due_at LIMIT :limit",
        now=now,
        latest=now + max(jobs.payment_seconds, jobs.queue_seconds, jobs.claim_seconds, jobs.lease_seconds),
        ahead=now + jobs.future_seconds,
        limit=BATCH_MAX,
    )
    for row in due:
        await bot.stumbles.past("deadlines", row["id"], partial(_end_due, bot, row["id"]), otherwise=None)
    return len(due) == BATCH_MAX


async def _end_due(bot: Bot, job_id: str) -> None:
    await bot.book.decide(partial(_decide_due, bot, job_id))


async def _decide_due(bot: Bot, job_id: str) -> Plan | None:
    job = await bot.book.row("jobs", job_id)
    return await on_due(bot, job) if job is not None and _is_due(bot, job) else None


def _is_due(bot: Bot, job: Row) -> bool:
    if job["due_at"] is None:
        return False
    now = bot.clock.now()
    # Last changed at a time that has not come yet: the clock was ahead then, and so is the deadline.
    return bool(job["due_at"] <= now or job["updated_at"] > now + bot.config.jobs.future_seconds)
