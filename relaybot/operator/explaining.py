"""Why money moved: a transfer, a job or a payout by its id, with everything that belongs to it."""

from __future__ import annotations

import json

from relaybot.config import Config
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.operator.opening import Answer, opened
from wallet.book import Book, transfers_of


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
        transfers = await transfers_of(book.database, plan)
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


def _shown(row: Row) -> Answer:
    return {name: row[name] for name in ("id", "debit", "credit", "amount_msat", "reason", "created_at")}
