"""What an operator can ask of the books from the command line. Each answer is plain data, for a table or JSON."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from relaybot.accounting.publishing import publish_day
from relaybot.app import open_book_database
from relaybot.clock import SystemClock
from relaybot.config import Config
from relaybot.db.database import Reader, Row
from relaybot.errors import Rejected, Unavailable
from relaybot.keyring import Keyring
from relaybot.workings import accounting_rules
from wallet.accounts import Account, user
from wallet.book import Book, invariants, loose_ends, running
from wallet.cln import CoreLightning
from wallet.reconcile import reconcile

Answer = dict[str, Any]

_JOBS = (
    "SELECT id, agent, customer, state, reason, price_msat, charged_msat, worker, created_at FROM jobs"
    " ORDER BY created_at DESC LIMIT :limit"
)
_PAYOUTS = (
    "SELECT id, pubkey, state, amount_msat, reserve_msat, paid_msat, fee_msat, target, attempts, reason, created_at"
    " FROM payouts ORDER BY created_at DESC LIMIT :limit"
)
_EARNED = (
    "SELECT COALESCE(SUM(amount_msat), 0) AS earned_msat FROM transfers"
    " WHERE credit = :account AND plan LIKE 'job/%/capture' AND reason LIKE '%:%'"
)
_PAID_OUT = "SELECT state, paid_msat, fee_msat FROM payouts WHERE pubkey = :pubkey ORDER BY created_at, id"
_OPEN_PAYOUTS = _PAYOUTS.replace(" ORDER BY", " WHERE next_at IS NOT NULL ORDER BY")


@contextlib.asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Book]:
    """Open the book beside a service that may be running on it. Rejected if there is none."""
    if not config.database.exists():
        raise Rejected("invalid", f"no book at {config.database}; the first start of the service makes it")
    clock = SystemClock()
    database = await open_book_database(config, clock)
    try:
        async with running(Book(database, clock)) as book:
            yield book
    finally:
        await database.close()


async def migrate(config: Config) -> None:
    """Bring the book's database up to date; make it, if there is none."""
    database = await open_book_database(config, SystemClock())
    await database.close()


async def check_books(config: Config) -> Answer:
    """Check every invariant, and the node's movements against ours."""
    async with opened(config) as book, book.database.snapshot() as reader:
        broken = [*await invariants(reader), *await loose_ends(reader)]
        node = CoreLightning(config.lightning.socket)
        try:
            found = await reconcile(reader, node)
            differences = [str(one) for one in found.differences]
            node_said = "agrees" if not differences else "differs"
        except Unavailable as error:
            differences, node_said = [], f"not compared: {error}"
        finally:
            await node.close()
        counts = await reader.fetch("SELECT COUNT(*) AS transfers FROM transfers")
    return {
        "sound": not broken and not differences,
        "broken": broken,
        "node": node_said,
        "differences": differences,
        "transfers": counts[0]["transfers"],
    }


async def explain(config: Config, what: str) -> Answer:
    """Say why money moved: for a transfer, a job, or a payout, by its id. Rejected if there is no such thing."""
    async with opened(config) as book:
        found = await book.database.fetch("SELECT plan FROM transfers WHERE id = :id", id=what)
        job_id = what.removeprefix("job/")
        for cause, table, row_id in (("job", "jobs", job_id), ("payout", "payouts", what.removeprefix("payout/"))):
            row = await book.row(table, row_id)
            if row is not None:
                return await _explain_cause(book, cause, row)
        if not found:
            raise Rejected("invalid", "no transfer, job or payout has this id", found=what[:80])
        plan = found[0]["plan"]
        transfers = await book.database.fetch("SELECT * FROM transfers WHERE plan = :plan ORDER BY seq", plan=plan)
        cause, _, rest = plan.partition("/")
        job = await book.row("jobs", rest.partition("/")[0]) if cause == "job" else None
        answer = {"transfer": what, "plan": plan, "transfers": [_shown(row) for row in transfers]}
        return answer | (await _explain_cause(book, "job", job) if job is not None else {})


async def _explain_cause(book: Book, cause: str, row: Row) -> Answer:
    escrow = f"hold/{cause}/{row['id']}/sats"
    transfers = await book.database.fetch(
        "SELECT * FROM transfers WHERE debit = :escrow OR credit = :escrow ORDER BY seq", escrow=escrow
    )
    answer: Answer = {cause: dict(row), "transfers": [_shown(one) for one in transfers]}
    if cause == "job":
        answer["job"].pop("request")
        split = await book.row("splits", row["split"])
        answer["split"] = json.loads(split["body"]) if split is not None else None
    else:
        attempts = await book.database.fetch(
            "SELECT id, number, state, reason, sent_at, expires_at FROM attempts WHERE payout = :id ORDER BY number",
            id=row["id"],
        )
        answer["attempts"] = [dict(one) for one in attempts]
    return answer


async def list_jobs(config: Config, limit: int) -> Sequence[Answer]:
    """Return the newest jobs."""
    async with opened(config) as book:
        return [dict(row) for row in await book.database.fetch(_JOBS, limit=limit)]


async def list_payouts(config: Config, limit: int, *, unfinished: bool) -> Sequence[Answer]:
    """Return the newest payouts, or only those that are not finished."""
    async with opened(config) as book:
        return [dict(row) for row in await book.database.fetch(_OPEN_PAYOUTS if unfinished else _PAYOUTS, limit=limit)]


async def balance(config: Config, account: Account) -> int:
    """Return the balance of one account in msat."""
    async with opened(config) as book:
        return await book.balance(account)


async def worker_is_ready(config: Config, pubkey: str) -> bool:
    """Tell whether a compute node has announced itself and is idle."""
    async with opened(config) as book:
        row = await book.row("workers", pubkey)
    return row is not None and row["announced_until"] > 0 and row["status"] == "idle"


async def earnings(config: Config, people: Sequence[tuple[str, str, str]]) -> list[Answer]:
    """Return what each of `people` (name, role, hex pubkey) earned and was paid, and how their last payout stands."""
    async with opened(config) as book, book.database.snapshot() as reader:
        return [await _earnings(reader, *person) for person in people]


async def _earnings(reader: Reader, name: str, role: str, pubkey: str) -> Answer:
    earned = await reader.fetch(_EARNED, account=user(pubkey))
    payouts = await reader.fetch(_PAID_OUT, pubkey=pubkey)
    rows = await reader.rows_by_id("users", [pubkey])
    last = payouts[-1]["state"] if payouts else "none"
    looking = pubkey in rows and rows[pubkey]["payout_check_at"] is not None
    return {
        "name": name,
        "pubkey": pubkey,
        "role": role,
        "earned_msat": earned[0]["earned_msat"],
        "paid_out_msat": sum(row["paid_msat"] for row in payouts),
        "payout_fee_msat": sum(row["fee_msat"] for row in payouts),
        "payout_state": "due" if looking else last,
    }


async def publish_accounts(config: Config, keyring: Keyring, day: str | None) -> Answer:
    """Publish the accounts of one UTC day now (today, if none is named): it is done once."""
    now = SystemClock().now()
    day = day or datetime.fromtimestamp(now, UTC).date().isoformat()
    async with opened(config) as book:
        published = await publish_day(book, keyring.key("books"), accounting_rules(config), day, now=now)
        row = await book.row("summaries", day)
    return {"day": day, "published_now": published, "event": row["event"] if row is not None else None}


def _shown(row: Row) -> Answer:
    return {name: row[name] for name in ("id", "debit", "credit", "amount_msat", "reason", "created_at")}
