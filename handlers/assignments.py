"""The compute nodes' side of a job: what they say about their assignments, and the charge at the end.

Only the node that holds the current assignment is listened to: what comes late, twice, from
another key or for another assignment pays nobody and is noted. The result that arrives
within the lease is stored (it is in the inbox) and captured in one Plan: shares, rest,
unused hold, the result and `success` for the customer. A node that fails is not paid, and
the next one gets the job; if there is none, the customer's money goes back at once. How
the node did is part of the same Plan.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import structlog

from handlers.answers import PIECE_CHARACTERS_MAX, delivered
from handlers.assigning import tried_nodes, wanted_of
from handlers.bot import Bot, check_payouts
from handlers.companies import belonging, not_used, payer_of
from handlers.jobs import (
    OPEN_STATES,
    assignment_taken_back,
    bot_agent,
    cause_of,
    changed_job,
    plan_released,
    promised_split,
    told_of,
    voice,
)
from handlers.nodes import Record, could_do
from handlers.pay_slips import earned
from handlers.referrals import NOBODY, Referrers, counted, referral_max, referrers_in
from handlers.roster import Roster
from handlers.states import JobState, JobStep
from handlers.wishes import zap_tags
from handlers.workers import record_of
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.inbox import Decision
from relaybot.nostr import job_tags, nip90
from relaybot.nostr.event import Event, stored_event
from relaybot.nostr.strict_json import parse_json
from splits.compute import Part, compute, referrals_of
from splits.shape import fault_of
from wallet.charges import Terms, plan_capture, referrers_are_paid
from wallet.ledger import Change, Plan, Put
from wallet.lots import Escrow, Mix
from wallet.money import Msat
from wallet.purses import escrow_of

log = structlog.get_logger()

BATCH_MAX = 200  # jobs read at a time
DAY = 86_400

Measure = Callable[[Record], Record]


@dataclass(frozen=True, slots=True)
class _Lease:
    """A job, and its current assignment."""

    job: Row
    assignment: Row


async def on_feedback(bot: Bot, event: Event) -> Decision:
    """Take a node's 7000 on its assignment: `processing` claims it, `partial` is passed on, `error` gives it up."""
    lease = await _lease_of(bot, event)
    if isinstance(lease, str):
        return lease
    job, said = lease.job, nip90.parse_feedback(event, bot.service)
    if said.status == "error":
        reason = f"the compute node failed: {said.text[:200] or 'no reason given'}"
        log.info("node_failed", job=job["id"], worker=event.pubkey)
        return await _plan_failed(bot, job, reason)
    if said.status == "processing" and JobState(job["state"]) is JobState.ASSIGNED:
        changes: tuple[Change, ...] = (
            changed_job(bot, job, JobStep.CLAIM, due_at=lease.assignment["lease_until"]),
            *told_of(bot, job, "processing", _begun_text(job)),
        )
        return Plan(f"{cause_of(job['id'])}/claim/{job['attempt']}", changes=changes)
    if said.status == "partial" and 0 < len(said.text) <= PIECE_CHARACTERS_MAX:
        passed_on = (*_noted_part(bot, job, event), *told_of(bot, job, "partial", said.text))
        return Plan(f"{cause_of(job['id'])}/partial/{event.id}", changes=passed_on)
    return f"{said.status}: nothing to change"


def _begun_text(job: Row) -> str:
    if job["on_cancel"] == "none":
        return "a compute node has begun"
    cost = "in full" if job["on_cancel"] == "full" else "by what was used"
    return f"a compute node has begun; after its first partial result a cancellation is charged {cost}"


def _noted_part(bot: Bot, job: Row, event: Event) -> tuple[Change, ...]:
    """Return the note that a part was passed on, and what the node had used by then, where a cancel may cost that."""
    if job["on_cancel"] == "none" or JobState(job["state"]) is not JobState.WORKING:
        return ()
    return (changed_job(bot, job, partial=json.dumps(job_tags.usage(event.tags), sort_keys=True)),)


async def on_result(bot: Bot, event: Event) -> Decision:
    """Take a node's result (6000 to 6999): within its lease it is captured, else it pays nobody."""
    lease = await _lease_of(bot, event)
    if isinstance(lease, str):
        return lease
    job = lease.job
    request = stored_event(job["request"])
    # NIP-90: the result's kind is the request's plus 1000.
    if event.kind != request.kind + nip90.RESULT_OFFSET:
        return "refused: the result's kind is not the request's plus 1000"
    escrow = await escrow_of(bot.book.database, cause_of(job["id"]), payer_of(job))
    if escrow.held.total != job["price_msat"]:  # the job has ended since its row was read: decide on what is there now
        return await on_result(bot, event)
    try:
        return await _plan_captured(bot, lease, _usable_result(bot, job, event), escrow)
    except Rejected as refusal:  # the node's error: it is not paid, and the customer is not charged
        log.warning("result_refused", job=job["id"], worker=event.pubkey, reason=refusal.reason)
        return await _plan_failed(bot, job, f"the compute node's result cannot be used: {refusal.reason}")


def _usable_result(bot: Bot, job: Row, event: Event) -> nip90.Result:
    result, allowed = nip90.parse_result(event, bot.service), bot.config.jobs.result_bytes_max
    if len(result.content.encode()) > allowed:
        raise Rejected("invalid", "it is too large", allowed=f"{allowed} bytes")
    if job["result_schema"] is not None:
        _check_shape(json.loads(job["result_schema"]), result.content)
    return result


def _check_shape(schema: Mapping[str, Any], content: str) -> None:
    try:
        fault = fault_of(schema, parse_json(content))
    except Rejected:
        fault = "$: not JSON"
    if fault is not None:
        raise Rejected("invalid", f"it does not fit the agent's schema, {fault}")


async def _plan_captured(bot: Bot, lease: _Lease, result: nip90.Result, escrow: Escrow) -> Plan:
    job, worker = lease.job, lease.assignment["worker"]
    now, request = bot.clock.now(), stored_event(job["request"])
    if result.amount_msat is not None and result.amount_msat > job["price_msat"]:
        log.warning("amount_above_bid", job=job["id"], worker=worker, asked_msat=result.amount_msat)
    charge = (await promised_split(bot, job)).price_for(result.usage, bid_msat=job["price_msat"])
    parts = await parts_of(bot, job, worker, usage=result.usage, charge_msat=charge, held=escrow.held)
    speaker = voice(bot, job)
    tags = await zap_tags(bot, speaker.pubkey, request, parts)
    result_id, answers = delivered(bot, speaker, request, result.content, tags)
    delivery = result.event_id
    steps = (JobStep.DELIVER, JobStep.CAPTURE)
    return await plan_charged(
        bot,
        job,
        escrow,
        parts,
        changed_job(bot, job, *steps, charged_msat=charge, result=result_id, delivery=delivery, due_at=None),
        *answers,
        measure=lambda record: record.after_success(now - lease.assignment["created_at"], now),
    )


async def plan_charged(
    bot: Bot, job: Row, escrow: Escrow, parts: Sequence[Part], *changes: Change, measure: Measure | None = None
) -> Plan:
    """Return the Plan that charges a job: its parts, what is left of the hold, and these changes.

    What its node earns is added up in the node's row, beside what is to be `measure`d of its work.
    """
    node = await bot.book.row("workers", job["worker"])
    now, charged = bot.clock.now(), sum(part.amount_msat for part in parts)
    terms = Terms(matures_at=now + bot.config.card.maturity_days * DAY, own=await _payers(bot, job))
    return plan_capture(escrow, parts, terms).plan(
        f"{cause_of(job['id'])}/capture",
        *changes,
        *not_used(job, job["price_msat"] - charged),
        *counted(bot, parts),
        *(_measured(bot, node, measure) if measure is not None else ()),
        *(earned(node["id"], parts) if node is not None else ()),
        *check_payouts([part.to for part in parts if part.to is not None], now),
    )


async def parts_of(
    bot: Bot, job: Row, worker: str, *, usage: Mapping[str, int], charge_msat: Msat, held: Mix
) -> Sequence[Part]:
    """Return who gets what of a charge; referrers only where there are sats for them."""
    split, now = await promised_split(bot, job), bot.clock.now()

    def parts(referrers: Referrers, most: Mapping[str, int] | None = None) -> Sequence[Part]:
        return compute(
            split,
            charge_msat=charge_msat,
            worker=worker,
            referrers=referrers.of,
            payer_referrer=referrers.payer,
            referral_max=most,
            usage=usage,
            now=now,
        )

    referrers = await referrers_in(bot, job, sorted({worker, *split.people()}), await _payers(bot, job))
    found = parts(referrers)
    if not referrals_of(found):
        return found
    if not referrers_are_paid(held, found):
        return parts(NOBODY)
    return parts(referrers, await referral_max(bot, found))


async def _payers(bot: Bot, job: Row) -> frozenset[str]:
    """Return whose own money pays: the customer's, or that of everybody in the company."""
    return await belonging(bot, job["company"]) if job["company"] else frozenset({job["customer"]})


async def _plan_failed(bot: Bot, job: Row, reason: str) -> Plan:
    """Return the Plan that follows a node's failure: the next node gets the job, or the money goes back."""
    if job["attempt"] < bot.config.jobs.attempts_max and await _another_could(bot, job):
        return await _plan_lost(bot, job)
    return await _with_failure(bot, job, await plan_released(bot, job, reason))


async def _plan_lost(bot: Bot, job: Row) -> Plan:
    """Return the Plan that takes a job from its node: it waits for the next one."""
    due_at = bot.clock.now() + bot.config.jobs.queue_seconds
    lost = changed_job(bot, job, JobStep.LOSE, assignment="", worker="", partial="", due_at=due_at)
    key = f"{cause_of(job['id'])}/lose/{job['attempt']}"
    return await _with_failure(bot, job, Plan(key, changes=(lost, *assignment_taken_back(bot, job))))


async def _with_failure(bot: Bot, job: Row, plan: Plan) -> Plan:
    now = bot.clock.now()
    node = await bot.book.row("workers", job["worker"])
    return replace(plan, changes=(*plan.changes, *_measured(bot, node, lambda record: record.after_failure(now))))


async def _another_could(bot: Bot, job: Row) -> bool:
    """Tell whether a node that is there, and has not had the job, could do it."""
    agent = bot_agent(bot, job)
    if agent is None:
        return False
    try:
        asked = nip90.parse_job_request(stored_event(job["request"]), agent.keypair)
    except Rejected:
        return False
    split = await promised_split(bot, job)
    wanted = wanted_of(job, asked, worker_msat=split.worker_part_max(), tried=await tried_nodes(bot, job))
    nodes = await Roster(bot).look()
    return could_do(nodes.get(wanted.kind, {}).values(), wanted, bot.node_rules)


def _measured(bot: Bot, node: Row | None, measure: Measure) -> tuple[Change, ...]:
    """Return the change of a node's record. It guards nothing: of two measures at once one may be lost."""
    if node is None:
        return ()
    return (Put("workers", node["id"], {**asdict(measure(record_of(node))), "changed_at": bot.clock.now()}),)


async def _lease_of(bot: Bot, event: Event) -> _Lease | str:
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
        return _Lease(job, assignment)
    return "answers no assignment of ours"


def _lease_problem(bot: Bot, event: Event, assignment: Row, job: Row) -> str | None:
    if event.pubkey != assignment["worker"]:
        return "from another key than the assigned node's"
    if JobState(job["state"]) not in OPEN_STATES or job["assignment"] != assignment["id"]:
        return "the job is finished or was given to another node"
    if bot.clock.now() > assignment["lease_until"]:
        return "the lease has run out"
    return None


async def on_due(bot: Bot, job: Row) -> Plan:
    """Return what follows when the time of a job's state has run out."""
    match JobState(job["state"]):
        case JobState.AWAITING_PAYMENT:
            return await plan_released(bot, job, "not paid in time")
        case JobState.AWAITING_APPROVAL:
            return await plan_released(bot, job, "the company did not approve it in time")
        case JobState.HELD:
            return await plan_released(bot, job, "no compute node was free in time")
        case JobState.ASSIGNED | JobState.WORKING:
            if job["attempt"] >= bot.config.jobs.attempts_max:
                released = await plan_released(bot, job, "no compute node delivered in time")
                return await _with_failure(bot, job, released)
            return await _plan_lost(bot, job)
        case JobState.RECEIVED | JobState.DELIVERED | JobState.CAPTURED | JobState.RELEASED as state:
            raise Rejected("error", "a finished job has nothing due", state=state.value)


async def release_due(bot: Bot) -> bool:
    """Move on every job whose time has run out; tell whether more may be due."""
    now, jobs, approval = bot.clock.now(), bot.config.jobs, bot.config.companies.approval_seconds
    due = await bot.book.database.fetch(
        "SELECT id FROM jobs WHERE due_at <= :now OR (due_at > :latest AND updated_at > :ahead)"
        " ORDER BY due_at LIMIT :limit",
        now=now,
        latest=now + max(jobs.payment_seconds, jobs.queue_seconds, jobs.claim_seconds, jobs.lease_seconds, approval),
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
