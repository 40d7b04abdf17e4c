"""The inputs of a job that are not there yet: a URL, an event, another job's result (NIP-90), fetched for the node.

Theory of operation. Nothing is fetched for whoever has not paid: only a job whose price is held,
and for which a node is free, gets a row here. A standing task fetches what the row's job names,
all at once, within limits; then the node gets texts. What is not there for good ends the job, and
the 7000 `error` names the input; what only does not answer is tried again a few times.

    held, a node is free ──► wanted ──► there ──► assigned      (assigning.py)
                               └──► failed: the escrow goes back

A crash between any two of these does the last one again; a fetch has no effect on anything.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Protocol

from handlers.answers import UNSIGNED
from handlers.bot import Agent, Bot
from handlers.jobs import OPEN_STATES, bot_agent, cause_of, plan_released
from handlers.states import JobState
from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr import nip90
from relaybot.nostr.event import Event, encode_event, stored_event
from relaybot.nostr.nip90 import Input
from wallet.ledger import Insert, Plan, Update, Values

BATCH_MAX = 16  # jobs whose inputs are fetched at once: each is up to eight requests
TRIES_MAX = 3  # of something that does not answer
RETRY_SECONDS = 5
WANTED, THERE, FAILED = "wanted", "there", "failed"

_DUE = "SELECT * FROM job_inputs WHERE next_at <= :now ORDER BY next_at, id LIMIT :limit"


class Sources(Protocol):
    """Where inputs come from (`relaybot.sources`)."""

    async def text_at(self, url: str, *, bytes_max: int) -> str:
        """Return the text at a public address. Rejected if there is none; Unavailable if nobody answers."""
        ...

    async def event(self, event_id: str, hint: str) -> Event | None:
        """Return an event of our relays, or of the one that is named; None if none of them has it."""
        ...


class _NotYet(Exception):
    """Another job's result will come, or not, in its own time."""


async def inputs_for_node(bot: Bot, agent: Agent, job: Row, asked: nip90.JobRequest) -> Sequence[Input] | Plan | None:
    """Return a job's inputs as the node gets them; a Plan that wants them fetched; None while they are."""
    if not agent.fetches_inputs or all(one.type == "text" for one in asked.inputs):
        return asked.inputs
    row = await bot.book.row("job_inputs", job["id"])
    if row is None:
        now = bot.clock.now()
        wanted: Values = {"state": WANTED, "body": "", "tries": 0, "next_at": now, "created_at": now}
        return Plan(f"{cause_of(job['id'])}/inputs", changes=(Insert("job_inputs", job["id"], wanted),))
    return tuple(Input(**one) for one in json.loads(row["body"])) if row["state"] == THERE else None


class Gathering:
    """Fetches what jobs want, round after round."""

    def __init__(self, bot: Bot, sources: Sources) -> None:
        self._bot = bot
        self._sources = sources

    async def step(self) -> bool:
        """Fetch the inputs of the jobs that have waited longest; tell whether more may be waiting."""
        rows = await self._bot.book.database.fetch(_DUE, now=self._bot.clock.now(), limit=BATCH_MAX)
        await asyncio.gather(
            *(self._bot.stumbles.past("inputs", row["id"], partial(self._gather, row), otherwise=None) for row in rows)
        )
        return len(rows) == BATCH_MAX

    async def _gather(self, row: Row) -> None:
        await self._bot.book.apply(await self._decided(row))

    async def _decided(self, row: Row) -> Plan:
        """Return the Plan that follows from one try."""
        job = await self._bot.book.row("jobs", row["id"])
        assert job is not None, f"inputs of {row['id']}, which is no job"
        agent = bot_agent(self._bot, job)
        if agent is None or JobState(job["state"]) is not JobState.HELD:  # it has ended, or ends when it is assigned
            return _moved(row, {"state": FAILED, "next_at": None})
        again = self._bot.clock.now() + RETRY_SECONDS
        try:
            body = await self._body(job, agent)
        except _NotYet:
            moved: Values = {"next_at": again}
        except Unavailable as error:
            if row["tries"] + 1 == TRIES_MAX:
                return await self._failed(row, job, str(error))
            moved = {"tries": row["tries"] + 1, "next_at": again}
        except Rejected as refusal:
            return await self._failed(row, job, refusal.reason)
        else:
            moved = {"state": THERE, "body": body, "next_at": None}
        return _moved(row, moved)

    async def _body(self, job: Row, agent: Agent) -> str:
        """Return all inputs of a job as texts, as JSON."""
        asked = nip90.parse_job_request(stored_event(job["request"]), agent.keypair)
        allowed = self._bot.config.jobs.input_bytes_max
        found = await asyncio.gather(*(self._fetched(job, place, one) for place, one in enumerate(asked.inputs, 1)))
        body = json.dumps([asdict(one) for one in found], ensure_ascii=False)
        if len(body.encode()) > allowed:
            raise Rejected("invalid", f"the inputs have more than {allowed} bytes together")
        return body

    async def _failed(self, row: Row, job: Row, reason: str) -> Plan:
        released = await plan_released(self._bot, job, reason)
        over = _moved(row, {"state": FAILED, "next_at": None})
        return Plan(released.key, released.transfers, (*released.changes, *over.changes))

    async def _fetched(self, job: Row, place: int, one: Input) -> Input:
        """Return an input as a text; what is raised names it."""
        if one.type == "text":
            return one
        named = f"input {place} ({one.type})"
        try:
            return Input(await self._text_of(job, one), "text", marker=one.marker)
        except Rejected as refusal:
            raise Rejected(refusal.prefix, f"{named}: {refusal.reason}") from None
        except Unavailable as error:
            raise Unavailable(f"{named}: {error}") from None

    async def _text_of(self, job: Row, one: Input) -> str:
        if one.type == "url":
            return await self._sources.text_at(one.data, bytes_max=self._bot.config.jobs.input_bytes_max)
        if one.type == "job":
            return await self._result_of(job, one.data)
        event = await self._sources.event(one.data, one.relay)
        if event is None:
            raise Rejected("invalid", "no relay that was asked has it")
        return encode_event(event)

    async def _result_of(self, job: Row, job_id: str) -> str:
        """Return the result of another job of ours; of a private one to its own customer only."""
        other = await self._bot.book.row("jobs", job_id)
        if other is None or (other["customer"] != job["customer"] and _is_private(stored_event(other["request"]))):
            raise Rejected("invalid", "no job of this service, or not yours")
        if JobState(other["state"]) in OPEN_STATES:
            raise _NotYet
        delivery = await self._bot.book.row("inbox", other["delivery"]) if other["delivery"] else None
        if delivery is None:
            raise Rejected("invalid", "that job ended without a result")
        return nip90.parse_result(stored_event(delivery["event"]), self._bot.service).content


def _is_private(request: Event) -> bool:
    return request.sig == UNSIGNED or nip90.encryption_of(request) is not None


def _moved(row: Row, values: Values) -> Plan:
    change = Update("job_inputs", row["id"], values, expect={"version": row["version"]})
    return Plan(f"{cause_of(row['id'])}/inputs/{row['version']}", changes=(change,))
