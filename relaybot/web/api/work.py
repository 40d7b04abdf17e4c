"""The API's endpoints for work: agents and jobs, wallet connections, referrals."""

from __future__ import annotations

from functools import partial

from handlers.asking import ask_for, named_agent
from handlers.commands import COMMANDS
from handlers.connections import PERIODS, connect, disconnect, open_connections, spent
from relaybot.db.database import Row
from relaybot.nostr.event import parse_event
from relaybot.web.account.apps import connect_words, uri_in
from relaybot.web.account.desk import Desk
from relaybot.web.account.jobs import job_of, jobs_of, request_in, result_of
from relaybot.web.api import models
from relaybot.web.api.acting import act
from relaybot.web.api.door import Call
from relaybot.web.api.money import NEWEST
from wallet.ledger import Insert

_PERIOD_OF: dict[int, models.Period] = {PERIODS["day"]: "day", PERIODS["week"]: "week", PERIODS["month"]: "month"}


async def agents(desk: Desk, _call: Call) -> models.Agents:
    """Return whom one can ask."""
    return models.Agents(
        agents=[
            models.Agent(
                id=agent.id,
                name=agent.name,
                about=agent.about,
                pubkey=agent.keypair.pubkey,
                kinds=sorted(agent.kinds),
                price_min_msat=agent.split.price_min,
                price_max_msat=agent.split.price_max,
                params=[
                    models.Param(name=name, about=one.about, required=one.required, values=list(one.values))
                    for name, one in agent.params.items()
                ],
            )
            for agent in sorted(desk.bot.agents.values(), key=lambda one: one.id)
        ]
    )


async def jobs(desk: Desk, call: Call) -> models.Jobs:
    """Return the caller's newest jobs."""
    return models.Jobs(jobs=[_job(row) for row in await jobs_of(desk, call.pubkey, NEWEST)])


async def ask(desk: Desk, call: Call) -> models.Job:
    """Ask an agent, as the command `job` does."""
    asked: models.JobOrder = call.body
    agent = named_agent(desk.bot, asked.agent)
    params = list(asked.params.items())
    done = await act(
        desk,
        call,
        "job",
        partial(ask_for, agent=agent, params=params, text=asked.input),
        [agent.id, *(f"{name}={value}" for name, value in params)],
        text=asked.input,
        resource=request_in,
    )
    return await _one(desk, call.pubkey, done.resource)


async def one_job(desk: Desk, call: Call) -> models.Job:
    """Return a job of the caller's own, with its result."""
    return await _one(desk, call.pubkey, call.path["id"])


async def connections(desk: Desk, call: Call) -> models.Connections:
    """Return the caller's wallet connections."""
    rows = await open_connections(desk.bot, call.pubkey)
    return models.Connections(connections=[_connection(desk, row) for row in rows])


async def make_connection(desk: Desk, call: Call) -> models.Connection:
    """Connect an app, by the command `connect`; its address is told once."""
    asked: models.ConnectionOrder = call.body
    words = connect_words(asked.name, str(asked.sats) if asked.sats is not None else "", asked.period)
    done = await act(
        desk,
        call,
        "connect",
        connect,
        words,
        resource=lambda reply: next(
            one.id for one in reply.changes if isinstance(one, Insert) and one.table == "connections"
        ),
        secret="told once",  # noqa: S106  what is kept instead of one
    )
    row = await desk.bot.book.row("connections", done.resource)
    assert row is not None, f"connection {done.resource} was made"
    return _connection(desk, row, None if done.again else uri_in(done.text))


async def end_connection(desk: Desk, call: Call) -> models.Done:
    """Disconnect an app, by the command `disconnect`."""
    return models.Done(words=(await act(desk, call, "disconnect", disconnect, (call.path["name"],))).text)


async def refer(desk: Desk, call: Call) -> models.Done:
    """Name the caller's referrer, by the command `refer`."""
    return models.Done(words=(await act(desk, call, "refer", COMMANDS["refer"].run, call.body.npub.split())).text)


async def _one(desk: Desk, pubkey: str, job_id: str) -> models.Job:
    row = await job_of(desk, pubkey, job_id)
    if row is not None:
        waits = row["state"] == "awaiting_payment"
        bill = await desk.bot.book.row("invoices", row["invoice"]) if waits else None
        result = await result_of(desk, row) if row["state"] == "captured" else None
        return _job(row).model_copy(update={"bolt11": bill["bolt11"] if bill is not None else None, "result": result})
    waiting = await desk.bot.book.row("inbox", job_id)
    assert waiting is not None, f"request {job_id} is there"
    request = parse_event(waiting["event"])
    agent = desk.bot.agents.get(request.tag("p") or "")
    new = waiting["state"] == "new"
    return models.Job(
        id=job_id,
        agent=agent.id if agent is not None else "",
        state="received" if new else "refused",
        reason="" if new else waiting["note"],
        price_msat=None,
        charged_msat=0,
        created_at=request.created_at,
    )


def _job(row: Row) -> models.Job:
    names = ("id", "agent", "state", "reason", "price_msat", "charged_msat", "created_at")
    return models.Job(**{name: row[name] for name in names})


def _connection(desk: Desk, row: Row, uri: str | None = None) -> models.Connection:
    used, _ = spent(row, desk.bot.clock.now())
    return models.Connection(
        name=row["name"],
        budget_msat=row["budget_msat"],
        spent_msat=used,
        period=_PERIOD_OF[row["period"]],
        created_at=row["created_at"],
        uri=uri,
    )
