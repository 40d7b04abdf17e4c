"""How the story must end, whatever was killed in it: read from the book, the wallets and the node."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp

from relaybot.config import Config
from relaybot.demo.people import until
from relaybot.demo.story import EARNED, PLATFORM_MSAT, PRICE, TOP_UP_SAT, Outcome
from relaybot.nostr import flow_of_funds, liabilities
from relaybot.nostr.event import Event, parse_event
from relaybot.operator import checking
from tests.book.stores import book_file
from tests.crash.stage import DeadlyStage
from wallet.accounts import REVENUE, Class, user
from wallet.money import from_sat

LOOKS = 3
JOBS_DONE = 2  # of three: the last one fails
TOP_UP = from_sat(TOP_UP_SAT)
AT_WORK = """
SELECT 1 FROM inbox WHERE state = 'new'
UNION ALL SELECT 1 FROM outbox WHERE state = 'pending'
UNION ALL SELECT 1 FROM payouts WHERE next_at IS NOT NULL
UNION ALL SELECT 1 FROM users WHERE payout_check_at IS NOT NULL
UNION ALL SELECT 1 FROM jobs WHERE due_at IS NOT NULL
"""
PUBLISHED = {  # how many events of each kind, however often the service was killed; 7000 is looked at one by one
    0: 2,  # profiles of service and agent
    5: 1,  # the failed job's assignment is taken back
    1059: 6,  # five answers, and word of the top-up's arrival
    5050: 3,  # assignments
    6050: 2,  # results
    10002: 2,  # of service and agent
    10050: 1,
    31990: 1,
}
SAID = [  # to the customer, job by job, in any order; a claim that comes after its result says nothing
    ["payment-required", "processing", "success"],
    ["processing", "success"],
    ["error", "processing"],
]
CLAIMED = "a compute node has begun"

Fact = tuple[str, object, object]  # what, as it is, as it must be


async def problems_at_the_end(outcome: Outcome, stage: DeadlyStage, config: Config) -> list[str]:
    """Wait until nothing is left to do, then return everything that is not as in the worked example."""
    path = book_file(config)

    async def is_quiet() -> bool:
        return not _rows(path, AT_WORK)

    problems: list[str] = []
    for _ in range(LOOKS):  # an event of the compute node may come in while we look: then once more
        await until("nothing is left to do", is_quiet)
        facts = [*_figures(outcome), *_money(path, outcome), *_work(path), *_events(path, outcome)]
        facts += [*await _wallets(stage.wallets_url, path), *await _books(config)]
        problems = [f"{what}: {found}, not {wanted}" for what, found, wanted in facts if found != wanted]
        if not problems:
            break
    return problems


def _figures(outcome: Outcome) -> Iterator[Fact]:
    """What the story itself has read."""
    yield "the story", outcome.ok, True
    yield "the platform, after one job", outcome.platform_revenue_msat, PLATFORM_MSAT
    yield "earned in one job", {one["name"]: one["earned_msat"] for one in outcome.people}, EARNED
    yield "the payouts", {one["payout_state"] for one in outcome.people + outcome.totals}, {"paid"}
    balances = [(job["balance_before_msat"], job["balance_after_msat"]) for job in outcome.customer]
    yield "Bob's balance", balances, [(0, 0), (TOP_UP, TOP_UP - PRICE), (TOP_UP - PRICE, TOP_UP - PRICE)]
    twice = {name: JOBS_DONE * amount for name, amount in EARNED.items()}
    yield "earned in two jobs", {one["name"]: one["earned_msat"] for one in outcome.totals}, twice


def _money(path: Path, outcome: Outcome) -> Iterator[Fact]:
    balances = {row["id"]: row["balance_msat"] for row in _rows(path, "SELECT * FROM accounts")}
    yield "all balances together", sum(balances.values()), 0
    yield "in escrow", {account: left for account, left in balances.items() if account.startswith("hold/") and left}, {}
    yield "the platform", balances[REVENUE[Class.SATS]], JOBS_DONE * PLATFORM_MSAT
    for one in outcome.totals:
        left = one["earned_msat"] - one["paid_out_msat"] - one["payout_fee_msat"]
        yield f"{one['name']}'s balance", balances[user(one["pubkey"])], left


def _work(path: Path) -> Iterator[Fact]:
    yield "the inbox", _states(path, "inbox").keys(), {"done"}
    yield "the outbox", _states(path, "outbox").keys(), {"sent"}
    yield "the jobs", _states(path, "jobs"), {"captured": JOBS_DONE, "released": 1}
    yield "the payouts", _states(path, "payouts"), {"paid": JOBS_DONE * len(EARNED)}
    yield "their attempts", _states(path, "attempts"), {"paid": JOBS_DONE * len(EARNED)}


def _events(path: Path, outcome: Outcome) -> Iterator[Fact]:
    """What the service has published: nothing twice, nothing left out."""
    events = [parse_event(row["event"]) for row in _rows(path, "SELECT event FROM outbox ORDER BY created_at")]
    feedback = [event for event in events if event.kind == 7000]
    days = len(_rows(path, "SELECT id FROM summaries"))  # two, if it was played over midnight
    published = Counter(event.kind for event in events if event.kind != 7000)
    owing = (
        {liabilities.KIND: n} if (n := len(_rows(path, "SELECT id FROM liabilities"))) else {}
    )  # none by then, or one
    yield "events by kind", published, PUBLISHED | {flow_of_funds.KIND: days} | owing
    for job, statuses in zip(outcome.customer, SAID, strict=True):
        said = [event for event in feedback if event.tag("e") == job["request"]]
        claims = [event for event in said if _text(event) == CLAIMED]
        yield f"claims of the {job['job']} job", len(claims) <= 1, True
        yield f"feedback on the {job['job']} job", sorted(_status(e) for e in said if e not in claims), statuses


async def _wallets(url: str, path: Path) -> list[Fact]:
    """What people's own wallets say: one payment for each payout, and Bob's two invoices."""
    facts: list[Fact] = []
    async with aiohttp.ClientSession() as http:
        for name in EARNED:
            sql = "SELECT amount_msat FROM payouts WHERE target = :target ORDER BY created_at"
            sent = [row["amount_msat"] for row in _rows(path, sql, target=f"{name}@wallets.test")]
            async with http.get(f"{url}/wallets/{name}") as answer:
                received = [one["amount_msat"] for one in (await answer.json())["received"]]
            facts.append((f"received by {name}", received, sent))
        async with http.get(f"{url}/wallets/bob") as answer:
            facts.append(("paid by Bob", [one["status"] for one in (await answer.json())["sent"]], ["complete"] * 2))
    invoices = _rows(path, "SELECT amount_msat, received_msat FROM invoices ORDER BY amount_msat")
    facts.append(("Bob's invoices", invoices, [{"amount_msat": n, "received_msat": n} for n in (PRICE, TOP_UP)]))
    return facts


async def _books(config: Config) -> list[Fact]:
    found = await checking.check_books(config)
    return [("broken invariants", found["broken"], []), ("the node", found["node"], "agrees")]


def _states(path: Path, table: str) -> Counter[str]:
    return Counter(row["state"] for row in _rows(path, f"SELECT state FROM {table}"))  # noqa: S608  our own tables


def _rows(path: Path, sql: str, **values: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql, values)]


def _status(event: Event) -> str:
    return event.tag("status") or ""


def _text(event: Event) -> str:
    """Return the words beside the status."""
    return next((tag[2] for tag in event.tags if tag[0] == "status" and len(tag) > 2), "")
