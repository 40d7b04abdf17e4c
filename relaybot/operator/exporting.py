"""The whole book for other programs: an hledger journal or CSV, written as it is read, a page at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Literal

from relaybot.config import Config
from relaybot.db.database import Row
from relaybot.operator.opening import opened
from wallet.audit import all_transfers

Format = Literal["hledger", "csv"]
COLUMNS = ("seq", "time", "id", "plan", "debit", "credit", "amount_msat", "debit_after", "credit_after", "reason")

HLEDGER_HEADER = """\
; All amounts in msat. What others hold for us is positive, what we owe is negative.
commodity 0 msat
"""


async def export(config: Config, form: Format, write: Callable[[str], object]) -> int:
    """Write every transfer by `write`, in the order of the book; return how many there were.

    It is one committed state of the book, whatever is booked meanwhile.
    """
    count = 0
    async with opened(config) as book, book.database.snapshot() as reader:
        async for text in _texts(all_transfers(reader), form):
            write(text)
            count += 1
    return count - 1  # the first text is the header


async def _texts(rows: AsyncIterator[Row], form: Format) -> AsyncIterator[str]:
    match form:
        case "csv":
            yield _line(COLUMNS)
            async for row in rows:
                yield _line([row[name] if name != "time" else _time(row) for name in COLUMNS])
        case "hledger":  # pragma: no branch  (the type checker knows no other)
            yield HLEDGER_HEADER
            async for row in rows:
                yield _transaction(row)


def _transaction(row: Row) -> str:
    """Return one transfer with its running balances as assertions: hledger itself then checks every entry.

    hledger's debit is positive, our balance is credits minus debits: the signs are turned.
    """
    debit, credit = _account(row["debit"]), _account(row["credit"])
    return (
        f"\n{_time(row)[:10]} {row['plan']} | {row['reason']}  ; id:{row['id']}\n"
        f"    {debit}  {row['amount_msat']} msat = {-row['debit_after']} msat\n"
        f"    {credit}  {-row['amount_msat']} msat = {-row['credit_after']} msat\n"
    )


def _account(name: str) -> str:
    return name.replace("/", ":")


def _line(values: list[object] | tuple[str, ...]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(values)
    return out.getvalue()


def _time(row: Row) -> str:
    return datetime.fromtimestamp(row["created_at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
