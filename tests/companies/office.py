"""An office: the bot on a real book of either kind, and people who say things to companies and ask for jobs."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from handlers import assignments, jobs
from handlers.assigning import Assigning
from handlers.bot import Bot
from handlers.commands import _run
from handlers.conversation import Asked
from handlers.credits import plan_company_fed, plan_fed
from relaybot.clock import SetClock
from relaybot.config import Config, parse_config
from relaybot.db.database import Row
from relaybot.keyring import Keyring
from relaybot.nostr import nip17, nip19, nip59, nip90
from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.keys import KeyPair
from relaybot.workings import build_bot
from tests.book.stores import Store, opened
from wallet.accounts import Class, company, of, user
from wallet.audit import unsound
from wallet.book import Book, loose_ends
from wallet.chain import Chain
from wallet.ledger import Answer, Plan, Put
from wallet.lightning import Lightning
from wallet.money import from_sat

NAMES = ("olga", "mia", "max", "alice", "carol", "frank", "eve", "mallory")
KEYS: Mapping[str, KeyPair] = {name: KeyPair(hashlib.sha256(name.encode()).digest()) for name in NAMES}
PEOPLE = {name: key.pubkey for name, key in KEYS.items()}
NPUBS = {name: nip19.encode_npub(pubkey) for name, pubkey in PEOPLE.items()}
PRICE = from_sat(12_000)
NOW = 1_795_000_000  # in November 2026
AGENT: dict[str, Any] = {
    "name": "AutoDev",
    "kinds": [5050],
    "price": "12000 sat",
    "payer_referrer": "120 sat",
    "shares": [
        {"to": "alice", "role": "algorithm", "amount": "2000 sat", "referrer": "120 sat"},
        {"to": "$worker", "role": "compute", "amount": "1000 sat"},
    ],
}
COMPANIES: dict[str, Any] = {"bulk": [{"from": "100000 sat", "bonus": "5%"}, {"from": "1000000 sat", "bonus": "10%"}]}


class Office:
    """One process on the book. Its people are called by their first names."""

    def __init__(self, bot: Bot, clock: SetClock) -> None:
        self.bot, self.clock = bot, clock
        self.book: Book = bot.book
        self._numbers = count()

    async def say(self, name: str, text: str, rumor: str = "") -> str:
        """Let somebody write a private message, and return the answer."""
        rumor = rumor or secrets.token_hex(32)
        replies: list[str] = []

        async def decide() -> Plan | None:
            if await self.book.row("plans", f"dm/{rumor}") is not None:
                return None
            command, *words = text.split()
            said = Asked(PEOPLE[name], rumor, self.clock.now(), words, text.partition(" ")[2])
            reply = await _run(self.bot, command, said)
            replies.append(reply.text)
            return Plan(f"dm/{rumor}", reply.transfers, reply.changes)

        answer = await self.book.decide(decide)
        assert answer.done, answer.reason
        return replies[-1] if replies else ""

    async def fund(self, name: str, sat: int) -> None:
        """Let somebody top up their own balance."""
        await self._apply(lambda: plan_fed(self.bot, PEOPLE[name], from_sat(sat), "topup"))

    async def fund_company(self, sat: int, org: str = "acme", asker: str = "olga") -> str:
        """Let a company be topped up, and return the cause."""
        cause = f"invoice/{secrets.token_hex(8)}"
        await self._apply(lambda: plan_company_fed(self.bot, cause, org, PEOPLE[asker], from_sat(sat)))
        return cause

    async def _apply(self, journal: Any) -> None:
        key = f"test/{secrets.token_hex(8)}"

        async def decide() -> Plan:
            plan: Plan = (await journal()).plan(key)
            return plan

        answer = await self.book.decide(decide)
        assert answer.done, answer.reason

    async def founded(self, sat: int = 100_000, *members: str, budget: str = "") -> None:
        """Found acme, fund it, and let people join it."""
        await self.fund("olga", 1)
        assert "is your company" in await self.say("olga", "org create acme Acme Ltd.")
        if sat:
            await self.fund_company(sat)
        for name in members:
            assert "asked to join" in await self.say("olga", f"org add {NPUBS[name]} {budget}")
            assert "You belong to acme" in await self.say(name, "org accept acme")

    def request(self, name: str, org: str | None = "acme", *tags: Sequence[str]) -> Event:
        """Return a request of somebody's, paid by `org`."""
        [agent] = self.bot.agents
        paid = [["param", "org", org]] if org is not None else []
        base = [["i", f"Fix issue {next(self._numbers)} {secrets.token_hex(4)}", "text"], ["p", agent]]
        return KEYS[name].sign(kind=5050, content="", tags=[*base, *paid, *tags], created_at=self.clock.now())

    async def ask(self, name: str, org: str | None = "acme", *tags: Sequence[str]) -> str:
        """Let somebody ask for a job, and return its id."""
        request = self.request(name, org, *tags)
        await self.decide_request(request)
        return request.id

    async def decide_request(self, request: Event) -> Answer:
        """Handle a request as the inbox does."""

        async def decide() -> Plan | None:
            decision = await jobs.on_request(self.bot, request)
            return decision if isinstance(decision, Plan) else None

        return await self.book.decide(decide)

    async def state(self, job_id: str) -> str:
        """Return the state of a job; '' if it was refused."""
        row = await self.book.row("jobs", job_id)
        return str(row["state"]) if row is not None else ""

    async def job(self, job_id: str) -> Row:
        row = await self.book.row("jobs", job_id)
        assert row is not None, f"job {job_id} was refused"
        return row

    async def assigned(self, job_id: str) -> Event:
        """Let Carol's node have the job, and return the assignment."""
        now = self.clock.now()
        beat: dict[str, str | int | None] = {
            "kinds": "[5050]",
            "announced_at": now,
            "announced_until": now + 900,
            "status": "idle",
        }
        beat |= {"beat_at": now, "beat_until": now + 900}
        row = Put("workers", PEOPLE["carol"], beat, fresh={"assigned_at": 0})
        assert (await self.book.apply(Plan(f"test/beat/{job_id}", changes=(row,)))).done
        await Assigning(self.bot).step()
        job = await self.job(job_id)
        rows = await self.book.database.rows_by_id("outbox", [job["assignment"]])
        return parse_event(rows[job["assignment"]]["event"])

    async def deliver(self, job_id: str) -> None:
        """Let Carol's node have the job, and deliver."""
        child = await self.assigned(job_id)
        await self.result(child)

    async def result(self, child: Event) -> None:
        """Let Carol deliver on this assignment."""
        encrypt = Encryption(NIP44, secrets.token_bytes(32))
        now = self.clock.now()
        result = nip90.build_result(KEYS["carol"], request=child, content="done", encrypt=encrypt, now=now)

        async def decide() -> Plan | None:
            decision = await assignments.on_result(self.bot, result)
            return decision if isinstance(decision, Plan) else None

        answer = await self.book.decide(decide)
        assert answer.done, answer.reason

    async def release(self, job_id: str, reason: str = "test") -> None:
        """End a job without a charge."""

        async def decide() -> Plan:
            return await jobs.plan_released(self.bot, await self.job(job_id), reason)

        assert (await self.book.decide(decide)).done

    async def org(self, cls: Class = Class.SATS, org: str = "acme") -> int:
        """Return what a company has, in msat."""
        return await self.book.balance(of(company(org), cls))

    async def has(self, name: str, cls: Class = Class.SATS) -> int:
        """Return what somebody has, in msat."""
        return await self.book.balance(user(PEOPLE[name], cls))

    async def used(self, name: str, org: str = "acme", month: int = 202611) -> int:
        """Return what is counted in somebody's budget, in msat."""
        row = await self.book.row("tallies", f"budget/{org}/{PEOPLE[name]}/{month}")
        return int(row["msat"]) if row is not None else 0

    async def heard(self, name: str) -> list[str]:
        """Return what somebody was told in private messages, in no order."""
        rows = await self.book.database.fetch("SELECT event FROM outbox ORDER BY created_at, id")
        events = [parse_event(row["event"]) for row in rows]
        mine = [event for event in events if event.kind == 1059 and event.tag("p") == PEOPLE[name]]
        return [nip17.parse_message(nip59.unwrap(event, KEYS[name])).text for event in mine]

    async def sound(self) -> None:
        """Assert every invariant of the book, and that budgets say what jobs say."""
        assert [*await unsound(self.book.database), *await loose_ends(self.book.database)] == []
        sums = await self.book.database.fetch(
            "SELECT 'budget/' || company || '/' || customer || '/' || CAST(month AS TEXT) AS id,"
            " SUM(CASE state WHEN 'captured' THEN charged_msat WHEN 'released' THEN 0 ELSE price_msat END) AS msat"
            " FROM jobs WHERE month > 0 AND reason <> 'paid back by the operator' GROUP BY company, customer, month"
        )
        booked = {row["id"]: int(row["msat"]) for row in sums}
        rows = await self.book.database.fetch("SELECT id, msat FROM tallies WHERE id LIKE 'budget/%'")
        assert {row["id"]: row["msat"] for row in rows if row["msat"]} == {key: n for key, n in booked.items() if n}


def config(tmp_path: Path, **sections: Any) -> Config:
    """Return the configuration of the office; `sections` are laid over it."""
    base: dict[str, Any] = {
        "people": {name: PEOPLE[name] for name in ("alice", "carol")},
        "agents": {"autodev": AGENT},
        "companies": COMPANIES,
        "workers": {"allowed": ["carol"], "open_jobs_max": 100},
    }
    for name, values in sections.items():
        base[name] = {**base.get(name, {}), **values}
    return parse_config(base, config_dir=tmp_path)


@asynccontextmanager
async def an_office(store: Store, settings: Config, clock: SetClock | None = None) -> AsyncIterator[Office]:
    """Open an office on `store`, as one more process would."""
    clock = clock or SetClock(NOW)
    async with opened(store, clock=clock) as book:
        node: Lightning = None  # type: ignore[assignment]  # nobody asks the node for anything here
        chain: Chain = None  # type: ignore[assignment]  # nor its wallet
        bot = build_bot(settings, Keyring(bytes(32)), book, node, clock, chain=chain, chance=secrets.token_bytes)
        yield Office(replace(bot), clock)


async def together(*work: Any) -> list[Any]:
    """Do things at once."""
    return list(await asyncio.gather(*work))
