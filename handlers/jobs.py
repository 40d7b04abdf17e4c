"""A job from its request to its end, but for what the compute nodes say (`assignments.py`).

Theory of operation. One row in `jobs`, one escrow `hold/job/<id>`. Each step is one Plan
that guards the row's version, so of two steps that race (a cancel and a delivery, say)
one applies and the other decides again on what it finds.

    request ──► (refused: 7000 error) | hold ──► held | ask ──► awaiting_payment
    a member's, above the company's limit: submit ──► awaiting_approval ──► held   (company_commands.py)
    settlement of the invoice, in one Plan: credit, hold ──► held
    held ──► assigned ──► working ──► delivered, captured      (assignments.py)
    cancel, deadline, node's error ──► released: the escrow goes back, 7000 error says why

A job outlives its agent: if the operator takes the agent out of the configuration, the
service's own key speaks for it, a node that has begun is paid, and the others are released.

A crash before a Plan: the event is still new in the inbox, or the row still due; it is
decided again. After it: its key answers `already`. The invoice of a job is made before
its Plan, under the label `job/<id>`, so a repeat finds the same invoice.
"""

from __future__ import annotations

import json
from dataclasses import replace

from handlers.answers import told
from handlers.bot import Agent, Bot, events_owed
from handlers.companies import ORG, Unpaid, charging, not_used, payer_of, plan_charged
from handlers.invoices import make_invoice, new_invoice
from handlers.states import JOB, JobState, JobStep
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.inbox import Decision
from relaybot.nostr import nip19, nip90
from relaybot.nostr.event import HEX32_LENGTH, Event, encode_event, is_hex, stored_event
from relaybot.nostr.keys import KeyPair
from splits.resolved import ResolvedSplit
from wallet.accounts import person
from wallet.charges import plan_hold, plan_release
from wallet.ledger import Change, Insert, Journal, Plan, Put, Update, Values
from wallet.money import Msat, format_sat
from wallet.purses import escrow_of, purse_of

APPROVAL_DIGITS = 8  # of a job's id, by which an owner names it
FETCHED_MAX = 8  # inputs of one job: each is a request or a look-up
CANCELLED_MAX = 100  # jobs that one deletion may name: each costs a look and a commit

_UNPAID = "restricted: the company does not pay for it; a private message says why"
_NO_WAY_OUT = "restricted: this agent is not for you at present; a private message says why"

OPEN_STATES = (
    JobState.AWAITING_PAYMENT,
    JobState.AWAITING_APPROVAL,
    JobState.HELD,
    JobState.ASSIGNED,
    JobState.WORKING,
)


class WayOut(Rejected):
    """A job would let money out for somebody whose withdrawals are closed: `reason` is for the customer only."""


def cause_of(job_id: str) -> str:
    """Return the cause under which a job's money moves."""
    return f"job/{job_id}"


async def on_request(bot: Bot, event: Event) -> Decision:
    """Take a job request (kinds 5000 to 5999): hold its price, or ask for it; refuse it with a reason."""
    agent = _addressed_agent(bot, event)
    if agent is None:
        return "a request to somebody else"
    try:
        request = _accepted(bot, agent, event)
        await _check_room(bot, request.customer)
        await check_no_way_out(bot, agent, request.customer)
        price = agent.split.price_max if request.bid_msat is None else min(agent.split.price_max, request.bid_msat)
        if request.param(ORG) is not None:
            return await _on_company(bot, agent, event, request, Msat(price))
        return await _on_customer(bot, agent, event, Msat(price))
    except WayOut as refusal:
        return _refuse_privately(bot, agent, event, refusal.reason, reason=_NO_WAY_OUT)
    except Unpaid as refusal:
        why = f"Your job is not paid by the company: {refusal.reason}."
        return _refuse_privately(bot, agent, event, why, reason=_UNPAID)
    except Rejected as refusal:
        return _refuse(bot, agent, event, str(refusal))


def cancelled(event: Event) -> tuple[str, ...]:
    """Return the ids of the requests that a deletion names, each once; no more of them than are looked at."""
    named = dict.fromkeys(tag[1] for tag in event.tags_named("e") if len(tag) > 1 and is_hex(tag[1], HEX32_LENGTH))
    return tuple(named)[:CANCELLED_MAX]


async def plan_released(bot: Bot, job: Row, reason: str) -> Plan:
    """Return the Plan that ends `job` without a charge: escrow back, and a 7000 `error` that says why."""
    escrow = await escrow_of(bot.book.database, cause_of(job["id"]), payer_of(job))
    changes: list[Change] = [
        changed_job(bot, job, JobStep.RELEASE, reason=reason, due_at=None),
        *not_used(job, job["price_msat"]),
        *told_of(bot, job, "error", reason),
    ]
    changes += assignment_taken_back(bot, job)
    return plan_release(escrow).plan(f"{cause_of(job['id'])}/release", *changes)


def assignment_taken_back(bot: Bot, job: Row) -> tuple[Insert, ...]:
    """Return what is owed to take the job's assignment back, if it has one (NIP-09): its node may stop."""
    if not job["assignment"]:
        return ()
    now, kind = bot.clock.now(), stored_event(job["request"]).kind
    tags = [["e", job["assignment"]], ["k", str(kind)], ["p", job["worker"]]]
    # The reason may be the node's own words about an encrypted job: it is for the customer only.
    return events_owed(now, bot.service.sign(kind=5, content="", tags=tags, created_at=now))


def changed_job(bot: Bot, job: Row, *steps: JobStep | str, **values: str | int | None) -> Update:
    """Return the change of `job` by these steps of its life, guarded by the version that was read."""
    state = JobState(job["state"])
    for step in steps:
        state = JOB.after(state, JobStep(step))
    return Update(
        "jobs",
        job["id"],
        {"state": state.value, "updated_at": bot.clock.now(), **values},
        expect={"version": job["version"]},
    )


def told_of(bot: Bot, job: Row, status: nip90.Status, text: str) -> tuple[Insert, ...]:
    """Return what is owed to say this to the customer of `job`."""
    return told(bot, voice(bot, job), stored_event(job["request"]), status, text)


def voice(bot: Bot, job: Row) -> KeyPair:
    """Return the key that speaks for `job`: its agent's, or the service's if that has left the configuration."""
    agent = bot_agent(bot, job)
    return agent.keypair if agent is not None else bot.service


def bot_agent(bot: Bot, job: Row) -> Agent | None:
    """Return the agent that `job` was asked of, or None if it has left the configuration."""
    return next((agent for agent in bot.agents.values() if agent.id == job["agent"]), None)


async def promised_split(bot: Bot, job: Row) -> ResolvedSplit:
    """Return the split that was promised when the job was taken."""
    agent = bot_agent(bot, job)
    if agent is not None and agent.split_hash == job["split"]:
        return agent.split
    row = await bot.book.row("splits", job["split"])
    assert row is not None, f"job {job['id']} names a split that is not there"
    return ResolvedSplit.from_json(row["body"])


def held_job_changes(bot: Bot, job: Row, **values: int) -> tuple[Change, ...]:
    """Return the changes that let a paid job go on: `held`, and 7000 `processing`."""
    now = bot.clock.now()
    return (
        changed_job(bot, job, JobStep.HOLD, due_at=now + bot.config.jobs.queue_seconds, **values),
        *told_of(bot, job, "processing", "paid; looking for a compute node"),
    )


def _addressed_agent(bot: Bot, event: Event) -> Agent | None:
    named = [tag[1] for tag in event.tags_named("p") if len(tag) > 1]
    for pubkey in named:
        if pubkey in bot.agents:
            return bot.agents[pubkey]
    if named:
        return None
    return next((a for a in bot.agents.values() if a.takes_open_requests and event.kind in a.kinds), None)


def _accepted(bot: Bot, agent: Agent, event: Event) -> nip90.JobRequest:
    """Return the request, read and checked; Rejected with the reason the customer is told."""
    jobs, now = bot.config.jobs, bot.clock.now()
    if event.kind not in agent.kinds:
        kinds = ", ".join(str(kind) for kind in sorted(agent.kinds))
        raise Rejected("invalid", f"kind: {agent.name} takes {kinds}", found=event.kind)
    if event.created_at > now + jobs.future_seconds:
        raise Rejected("invalid", "created_at: the request is from the future")
    if len(encode_event(event).encode()) > jobs.input_bytes_max:
        raise Rejected("invalid", "the request is too large", allowed=f"{jobs.input_bytes_max} bytes")
    request = nip90.parse_job_request(event, agent.keypair)
    # NIP-40: an expired request is not worked; without the tag it lives for jobs.ttl_seconds.
    lives_until = event.created_at + jobs.ttl_seconds if request.expiration is None else request.expiration
    if lives_until <= now:
        raise Rejected("invalid", "expiration: the request has expired")
    _check_params(agent, request)
    if agent.fetches_inputs and sum(one.type != "text" for one in request.inputs) > FETCHED_MAX:
        raise Rejected("invalid", "i: too many inputs that are to be fetched", allowed=FETCHED_MAX)
    price = agent.split.price_min
    if request.bid_msat is not None and request.bid_msat < price:
        raise Rejected("invalid", f"bid: below the price of {format_sat(price)}", found=format_sat(request.bid_msat))
    return request


def _check_params(agent: Agent, request: nip90.JobRequest) -> None:
    """Raise Rejected if a parameter is missing or has a value that is not taken; others are the node's."""
    for name, param in agent.params.items():
        value = request.param(name)
        if value is None and param.required:
            raise Rejected("invalid", f"param: {agent.name} needs {name}")
        if value is not None and param.values and value not in param.values:
            allowed = ", ".join(param.values)
            raise Rejected("invalid", f"param: {name} has another value than {agent.name} takes", allowed=allowed)


async def check_no_way_out(bot: Bot, agent: Agent, payer: str) -> None:
    """Raise WayOut if `payer`, whose withdrawals are closed, wrote the split that would take the money to others.

    Jobs stay open to them; what other splits than their own do is nothing that they decide (docs/adr/0020).
    """
    if agent.author != payer:
        return
    user = await bot.book.row("users", payer)
    if user is not None and user["withdrawals"] != "open":
        raise WayOut("restricted", "Withdrawals are closed: until they are open again, your own agent is not for you.")


async def _check_room(bot: Bot, customer: str) -> None:
    """Raise Rejected if the customer has enough open jobs, or so many wait that another would wait in vain."""
    await _check_queue(bot)
    allowed = bot.config.jobs.open_per_customer_max
    rows = await bot.book.database.fetch(
        "SELECT COUNT(*) AS open FROM jobs WHERE customer = :customer AND due_at IS NOT NULL", customer=customer
    )
    if rows[0]["open"] >= allowed:
        raise Rejected("rate-limited", "too many open jobs; wait for one to end", allowed=allowed)


async def _on_customer(bot: Bot, agent: Agent, event: Event, price: Msat) -> Decision:
    """Charge the customer at once, or ask to be paid."""
    purse = await purse_of(bot.book.database, person(event.pubkey))
    if purse.owed_msat:
        return _refuse_debtor(bot, agent, event, purse.owed_msat)
    mix = purse.draw(price, promo_max=agent.split.platform_part_min(price))
    if mix is not None:
        return _plan_hold_at_once(bot, agent, event, plan_hold(cause_of(event.id), purse, mix))
    return await _ask(bot, agent, event, price)


async def _on_company(bot: Bot, agent: Agent, event: Event, request: nip90.JobRequest, price: Msat) -> Plan:
    """Charge a company at once, or submit the job to its owner, whose word it needs above the company's limit."""
    by = await charging(bot, request.param(ORG) or "", request.customer)
    await check_no_way_out(bot, agent, by.company["owner"])
    limit, promo_max = by.needs_approval_above, agent.split.platform_part_min(price)
    held, month = await plan_charged(bot, cause_of(event.id), by, price, promo_max=promo_max)
    if limit is None or price <= limit:
        return _plan_hold_at_once(bot, agent, event, held, company=by.company["id"], month=month)
    now, seconds = bot.clock.now(), bot.config.companies.approval_seconds
    due_at = now + seconds if request.expiration is None else min(request.expiration, now + seconds)
    wanted = (
        f"{nip19.encode_npub(by.pubkey)} asks {agent.name} for a job over {format_sat(price)}, which {by.company['id']}"
        f" would pay. Write org approve {event.id[:APPROVAL_DIGITS]}, or org refuse {event.id[:APPROVAL_DIGITS]};"
        f" it waits for {-(-(due_at - now) // 60)} minutes."
    )
    return Plan(
        f"{cause_of(event.id)}/submit",
        changes=(
            *_new_job(bot, agent, event, JobStep.SUBMIT, price=price, due_at=due_at, company=by.company["id"]),
            *told(bot, agent.keypair, event, "processing", "it waits for the company to approve it"),
            bot.message(by.company["owner"], wanted),
        ),
    )


async def _check_queue(bot: Bot) -> None:
    now, allowed = bot.clock.now(), bot.config.jobs.queue_max
    if bot.queue.counted_at != now:  # counting thousands for each request would cost more than the request
        rows = await bot.book.database.fetch(
            "SELECT COUNT(*) AS held FROM (SELECT 1 FROM jobs WHERE state = 'held' LIMIT :limit) AS waiting",
            limit=allowed,
        )
        bot.queue.counted_at, bot.queue.held = now, rows[0]["held"]
    if bot.queue.held >= allowed:
        raise Rejected("rate-limited", "the queue is full: too many jobs wait for a node; try again later")


def _plan_hold_at_once(
    bot: Bot, agent: Agent, event: Event, held: Journal, *, company: str = "", month: int = 0
) -> Plan:
    price = Msat(sum(transfer.amount_msat for transfer in held.transfers))
    due_at = bot.clock.now() + bot.config.jobs.queue_seconds
    begun = told(bot, agent.keypair, event, "processing", "paid from balance; looking for a node")
    return held.plan(
        f"{cause_of(event.id)}/hold",
        *_new_job(bot, agent, event, JobStep.HOLD, price=price, due_at=due_at, company=company, month=month),
        *begun,
    )


async def _ask(bot: Bot, agent: Agent, event: Event, price: Msat) -> Plan:
    """Return the Plan that waits for payment of the full price (a shortfall would publish the balance)."""
    now, seconds = bot.clock.now(), bot.config.jobs.payment_seconds
    label = cause_of(event.id)
    invoice = await make_invoice(
        bot,
        label=label,
        amount_msat=price,
        description=f"{agent.name}: job {event.id[:8]}",
        expiry_seconds=seconds,
    )
    asking = told(
        bot,
        agent.keypair,
        event,
        "payment-required",
        f"{agent.name} costs {format_sat(price)}: pay the invoice and the job goes on by itself",
        amount_msat=price,
        bolt11=invoice.bolt11,
    )
    return Plan(
        f"{cause_of(event.id)}/ask",
        changes=(
            *_new_job(bot, agent, event, JobStep.ASK, price=price, due_at=now + seconds, invoice=label),
            new_invoice(invoice, purpose="job", owner=event.pubkey, job=event.id, now=now),
            *asking,
        ),
    )


def _new_job(
    bot: Bot,
    agent: Agent,
    event: Event,
    step: JobStep,
    *,
    price: Msat,
    due_at: int,
    invoice: str = "",
    company: str = "",
    month: int = 0,
) -> tuple[Change, ...]:
    now = bot.clock.now()
    values: Values = {
        "agent": agent.id,
        "customer": event.pubkey,
        "request": encode_event(event),
        "state": JOB.after(JobState.RECEIVED, step).value,
        "reason": "",
        "split": agent.split_hash,
        "on_cancel": agent.on_cancel,
        "result_schema": None if agent.result_schema is None else json.dumps(agent.result_schema),
        "price_msat": price,
        "charged_msat": 0,
        "invoice": invoice,
        "company": company,
        "month": month,
        "attempt": 0,
        "assignment": "",
        "worker": "",
        "result": "",
        "delivery": "",
        "partial": "",
        "due_at": due_at,
        "created_at": now,
        "updated_at": now,
    }
    return (Insert("jobs", event.id, values), Put("splits", agent.split_hash, {"body": agent.split.to_json()}))


def _refuse(bot: Bot, agent: Agent, event: Event, reason: str) -> Decision:
    """Tell the customer why, if the request named us; nobody else's requests are answered."""
    if not event.tags_named("p"):
        return f"refused, untold: {reason}"
    return Plan(f"{cause_of(event.id)}/refuse", changes=told(bot, agent.keypair, event, "error", reason))


def _refuse_debtor(bot: Bot, agent: Agent, event: Event, owed_msat: Msat) -> Decision:
    """Refuse whoever owes us; how much is nobody else's business."""
    why = (
        f"A payment of yours was taken back, and {format_sat(owed_msat)} of it had been spent: you owe them."
        " Your next top-up clears this first; until then no job is taken."
    )
    return _refuse_privately(
        bot, agent, event, why, reason="blocked: your account is blocked; a private message says why"
    )


def _refuse_privately(bot: Bot, agent: Agent, event: Event, why: str, *, reason: str) -> Decision:
    """Refuse, and say why to the customer only."""
    refused = _refuse(bot, agent, event, reason)
    if isinstance(refused, str):
        return refused
    return replace(refused, changes=(*refused.changes, bot.message(event.pubkey, why)))
