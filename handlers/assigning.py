"""Giving held jobs to compute nodes: whose turn it is among the customers, and what the node is sent.

Customers take turns, in the order of their keys: each gives its oldest job that a free node
can do, then the next customer, round and round. So whoever has a thousand jobs waiting
delays another's first job by one, and a job costs the same however long the line is. Which
node gets it is decided in `nodes.py`.

An assignment is a child job request, encrypted to one node, with a lease. Who has the turn,
and what held jobs need of a node, is only in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from handlers.bot import Bot, events_owed
from handlers.companies import ORG
from handlers.inputs import inputs_for_node
from handlers.jobs import bot_agent, cause_of, changed_job, plan_released, promised_split
from handlers.nodes import Node, Wanted, choose
from handlers.roster import Roster
from handlers.states import JobStep
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.nostr import nip90
from relaybot.nostr.encryption import Encryption, Scheme
from relaybot.nostr.event import Event, stored_event
from wallet.ledger import Change, Insert, Plan, Values
from wallet.money import Msat

CUSTOMERS_MAX = 64  # whose turn is looked for at once
LINE_PIECES = (2, 20, 200)  # jobs of one customer that are read at a time: mostly the first can be done
EXAMINED_MAX = 500  # jobs in one round: among them are some that no node can do
KEPT_MAX = 20_000  # jobs of which it is remembered what they need

_NEXT_CUSTOMERS = """
WITH RECURSIVE line(customer, place) AS (
    SELECT MIN(customer), 1 FROM jobs WHERE state = 'held' AND customer > :after {agents}
    UNION ALL
    SELECT (SELECT MIN(customer) FROM jobs WHERE state = 'held' AND customer > line.customer {agents}), place + 1
    FROM line WHERE line.customer IS NOT NULL AND place < :limit
)
SELECT customer FROM line WHERE customer IS NOT NULL
"""
_LINE = """
SELECT * FROM jobs WHERE state = 'held' AND customer = :customer AND (created_at, id) > (:created_at, :id)
ORDER BY created_at, id LIMIT :limit
"""


class Assigning:
    """Gives held jobs away, round after round."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._rules = bot.node_rules
        self._roster = Roster(bot)
        self._after = ""  # the customer who had the last turn
        self._looked_at = -1
        self._wanted: dict[tuple[str, int], Wanted] = {}  # by job and attempt

    async def step(self) -> bool:
        """Give held jobs to free nodes. What is given changes jobs, which wakes whoever calls this in a loop."""
        if not await self._bot.book.database.fetch("SELECT 1 FROM jobs WHERE state = 'held' LIMIT 1"):
            return False
        round_ = _Round(await self._roster.look())
        asked_for = {kind for agent in self._bot.agents.values() for kind in agent.kinds}
        kinds = {kind for kind in asked_for & round_.nodes.keys() if round_.has_free(kind)}
        now = self._bot.clock.now()
        if kinds or now != self._looked_at:  # each second also for jobs of agents that are offered no more
            self._looked_at = now
            plans = await self._give(await self._customers(kinds), kinds, round_)
            await asyncio.gather(*(self._bot.book.apply(plan) for plan in plans))
        return False

    async def _customers(self, kinds: Collection[int]) -> Sequence[str]:
        """Return whose turn is next: those after the last one, and then from the first again."""
        hopeless = [agent.id for agent in self._bot.agents.values() if agent.kinds.isdisjoint(kinds)]
        names = {f"agent{place}": agent for place, agent in enumerate(hopeless)}
        agents = f"AND agent NOT IN ({', '.join(f':{name}' for name in names)})" if names else ""
        sql, database = _NEXT_CUSTOMERS.format(agents=agents), self._bot.book.database
        found = [row["customer"] for row in await database.fetch(sql, after=self._after, limit=CUSTOMERS_MAX, **names)]
        if len(found) < CUSTOMERS_MAX and self._after:
            first = await database.fetch(sql, after="", limit=CUSTOMERS_MAX - len(found), **names)
            found += [row["customer"] for row in first if row["customer"] <= self._after]
        return found

    async def _give(self, customers: Sequence[str], kinds: Collection[int], round_: _Round) -> list[Plan]:
        """Return a Plan for each job that is given away, or cannot be done any more; customers take turns.

        Once the nodes of one kind are all busy, the rest is for the next round, which passes over their jobs.
        """
        plans: list[Plan] = []
        lines = {customer: _Line(self._bot, customer) for customer in customers}
        while lines and round_.examined < EXAMINED_MAX:
            for customer in tuple(lines):
                if not all(round_.has_free(kind) for kind in kinds):
                    return plans
                self._after = customer
                plan = await self._next(lines[customer], round_)
                if plan is None:
                    del lines[customer]
                else:
                    plans.append(plan)
        return plans

    async def _next(self, line: _Line, round_: _Round) -> Plan | None:
        """Return the Plan of a customer's next job that a node can have now."""
        while (job := await line.pop()) is not None:
            plan = await self._bot.stumbles.past("assign", job["id"], partial(self._plan, job, round_), otherwise=None)
            if plan is not None:
                return plan
        return None

    async def _plan(self, job: Row, round_: _Round) -> Plan | None:
        round_.examined += 1
        agent, key = bot_agent(self._bot, job), (job["id"], job["attempt"])
        if agent is None:
            return await plan_released(self._bot, job, "this agent is no longer offered")
        wanted, asked, now = self._wanted.get(key), None, self._bot.clock.now()
        if wanted is not None and round_.is_hopeless(wanted):
            return None
        try:
            asked = nip90.parse_job_request(stored_event(job["request"]), agent.keypair)
        except Rejected as refusal:  # the agent was given another key
            return await plan_released(self._bot, job, f"the request cannot be read any more: {refusal.reason}")
        inputs = await inputs_for_node(self._bot, agent, job, asked)
        if inputs is None or isinstance(inputs, Plan):  # they are fetched first, or are being fetched
            return inputs
        asked = replace(asked, inputs=tuple(inputs))
        if wanted is None:
            wanted = await self._needs(job, asked)
            self._wanted[key] = wanted
            if len(self._wanted) > KEPT_MAX:
                del self._wanted[next(iter(self._wanted))]
        node = choose(list(round_.nodes.get(wanted.kind, {}).values()), wanted, self._rules, now)
        if node is None:
            round_.give_up(wanted)
            return None
        self._roster.given(node, now)
        self._wanted.pop(key)
        return _plan_assigned(self._bot, job, asked, node, wanted)

    async def _needs(self, job: Row, asked: nip90.JobRequest) -> Wanted:
        split = await promised_split(self._bot, job)
        tried = await tried_nodes(self._bot, job)
        return wanted_of(job, asked, worker_msat=split.worker_part_max(), tried=tried)


async def tried_nodes(bot: Bot, job: Row) -> frozenset[str]:
    """Return the nodes that have had the job."""
    if not job["attempt"]:
        return frozenset()
    rows = await bot.book.database.fetch("SELECT worker FROM assignments WHERE job = :job", job=job["id"])
    return frozenset(row["worker"] for row in rows)


def wanted_of(job: Row, asked: nip90.JobRequest, *, worker_msat: Msat, tried: frozenset[str]) -> Wanted:
    """Return what a job needs of a node."""
    return Wanted(
        kind=asked.kind,
        model=asked.param("model"),
        scheme=asked.encrypted,
        price_msat=job["price_msat"],
        worker_msat=worker_msat,
        held_at=job["updated_at"],
        tried=tried,
    )


class _Round:
    """One round: the nodes by kind, who waited longest first, and what none of them can have now."""

    def __init__(self, nodes: Mapping[int, Mapping[str, Node]]) -> None:
        self.nodes = nodes
        self.examined = 0
        self._hopeless: set[Wanted] = set()

    def has_free(self, kind: int) -> bool:
        """Tell whether a node of this kind can take one more job."""
        return any(node.is_free for node in self.nodes[kind].values())

    def is_hopeless(self, wanted: Wanted) -> bool:
        """Tell whether no node was found for another job that needs the same: what is free gets only less."""
        return replace(wanted, held_at=0) in self._hopeless

    def give_up(self, wanted: Wanted) -> None:
        """Note that no node was found."""
        self._hopeless.add(replace(wanted, held_at=0))


class _Line:
    """One customer's held jobs, oldest first, read piece by piece."""

    def __init__(self, bot: Bot, customer: str) -> None:
        self._bot = bot
        self._customer = customer
        self._rows: list[Row] = []
        self._last = ("", -1)
        self._pieces = iter(LINE_PIECES)

    async def pop(self) -> Row | None:
        """Return the next job; None after the last."""
        if not self._rows:
            self._rows = list(await self._read(next(self._pieces, 0)))[::-1]
        return self._rows.pop() if self._rows else None

    async def _read(self, limit: int) -> Sequence[Row]:
        if not limit:
            return ()
        job_id, created_at = self._last
        rows = await self._bot.book.database.fetch(
            _LINE, customer=self._customer, created_at=created_at, id=job_id, limit=limit
        )
        if rows:
            self._last = rows[-1]["id"], rows[-1]["created_at"]
        if len(rows) < limit:
            self._pieces = iter(())
        return rows


def _plan_assigned(bot: Bot, job: Row, asked: nip90.JobRequest, node: Node, wanted: Wanted) -> Plan:
    now, number = bot.clock.now(), job["attempt"] + 1
    lease_until = now + bot.config.jobs.lease_seconds
    child = _child_request(bot, asked, node.pubkey, wanted.scheme_for(node), lease_until, bid_msat=wanted.worker_msat)
    assignment: Values = {
        "job": job["id"],
        "number": number,
        "worker": node.pubkey,
        "lease_until": lease_until,
        "created_at": now,
    }
    claim_by = min(now + bot.config.jobs.claim_seconds, lease_until)
    changes: tuple[Change, ...] = (
        changed_job(bot, job, JobStep.ASSIGN, attempt=number, assignment=child.id, worker=node.pubkey, due_at=claim_by),
        Insert("assignments", child.id, assignment),
        *events_owed(now, child),
    )
    return Plan(f"{cause_of(job['id'])}/assign/{number}", changes=changes)


def _child_request(
    bot: Bot, asked: nip90.JobRequest, worker: str, scheme: Scheme, lease_until: int, *, bid_msat: Msat
) -> Event:
    """Return the assignment: the customer's inputs, encrypted to one node."""
    return nip90.build_job_request(
        bot.service,
        kind=asked.kind,
        inputs=asked.inputs,
        params=[param for param in asked.params if param[:1] != (ORG,)],  # who pays is not the node's business
        bid_msat=bid_msat,
        provider=worker,
        encrypt=Encryption(scheme, bot.chance(32)),
        expiration=lease_until,
        now=bot.clock.now(),
    )
