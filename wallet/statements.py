"""What a user may see of their money: one query each, each by an index, whatever the book has grown to.

Balance by class, what is held for what, and the history with its causes. Read by private
commands, the operator's tools and the pages; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from relaybot.db.database import Reader, Row
from wallet.accounts import Account, Class, Owner, maturing, of, owed
from wallet.lots import NOTHING, Mix
from wallet.money import Msat

HISTORY_MAX = 1_000  # entries of one answer

HELD = """
SELECT 'job' AS what, id, price_msat AS amount_msat, state, created_at FROM jobs
WHERE customer = :pubkey AND due_at IS NOT NULL AND state IN ('held', 'assigned', 'working') AND company = ''
UNION ALL
SELECT 'payout', id, amount_msat + reserve_msat, state, created_at FROM payouts
WHERE pubkey = :pubkey AND next_at IS NOT NULL
ORDER BY created_at, id
"""
# Each account is read by its own indexes, newest first, and no further than is shown.
_ONE_SIDE = """
SELECT * FROM (SELECT seq, {sign} AS sign FROM entries
WHERE {side} = (SELECT number FROM accounts WHERE id = :{name}) AND seq < :before ORDER BY seq DESC LIMIT :limit)
"""
_HISTORY = """
SELECT transfers.seq, id, plan, CASE sign WHEN 1 THEN credit ELSE debit END AS account,
    CASE sign WHEN 1 THEN debit ELSE credit END AS other, sign * amount_msat AS amount_msat,
    CASE sign WHEN 1 THEN credit_after ELSE debit_after END AS balance_msat, reason, created_at
FROM (SELECT * FROM ({sides}) AS side ORDER BY seq DESC, sign LIMIT :limit) AS newest
JOIN transfers ON transfers.seq = newest.seq ORDER BY transfers.seq DESC, sign
"""


@dataclass(frozen=True, slots=True)
class Balance:
    """What somebody has, as it stands now."""

    has: Mix
    maturing_msat: Msat
    owed_msat: Msat
    held_msat: Msat


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of somebody's history; `amount_msat` is below zero where money left the account."""

    seq: int
    id: str
    cause: str
    account: Account
    other: Account
    amount_msat: int
    balance_msat: Msat
    reason: str
    created_at: int


async def balance_of(reader: Reader, pubkey: str) -> Balance:
    """Return what a user has by class, what matures, what is owed and what is held."""
    owner = Owner(f"user/{pubkey}")
    accounts = [of(owner, cls) for cls in Class]
    rows = await reader.rows_by_id("accounts", [*accounts, maturing(pubkey), owed(pubkey)])
    balances = {account: Msat(row["balance_msat"]) for account, row in rows.items()}
    held = sum(row["amount_msat"] for row in await held_of(reader, pubkey))
    return Balance(
        Mix(*(balances.get(account, NOTHING) for account in accounts)),
        balances.get(maturing(pubkey), NOTHING),
        Msat(max(0, -balances.get(owed(pubkey), 0))),
        Msat(held),
    )


async def held_of(reader: Reader, pubkey: str) -> Sequence[Row]:
    """Return what is held for a user's jobs and payouts under way: what, id, amount_msat, state, created_at."""
    return await reader.fetch(HELD, pubkey=pubkey)


async def history_of(
    reader: Reader, owner: Owner, *, limit: int, before: int | None = None, only: str = "", sign: int = 0
) -> list[Entry]:
    """Return the newest entries on all of somebody's accounts, newest first, older than the entry `before`.

    `only` one class of money, `sign` 1 for what came and -1 for what left.
    """
    sql, accounts = history_sql(owner, only=only, sign=sign)
    until = before if before is not None else 2**62
    rows = await reader.fetch(sql, **accounts, before=until, limit=min(limit, HISTORY_MAX))
    return [
        Entry(
            row["seq"],
            row["id"],
            row["plan"].rpartition("/")[0],
            Account(row["account"]),
            Account(row["other"]),
            row["amount_msat"],
            Msat(row["balance_msat"]),
            row["reason"],
            row["created_at"],
        )
        for row in rows
    ]


async def history_page(
    reader: Reader, owner: Owner, *, limit: int, before: int | None = None, only: str = "", sign: int = 0
) -> tuple[list[Entry], int | None]:
    """Return up to `limit` entries, and before which entry the next page begins; None if there is none.

    A transfer between two of somebody's accounts is two entries of one number, which stay together.
    """
    entries = await history_of(reader, owner, limit=limit + 1, before=before, only=only, sign=sign)
    if len(entries) <= limit:
        return entries, None
    shown = entries[:limit]
    if shown[-1].seq == entries[limit].seq:
        shown = shown[:-1]
    return shown, shown[-1].seq


async def every_entry(reader: Reader, owner: Owner, **only: Any) -> AsyncIterator[Entry]:
    """Yield all entries on somebody's accounts, newest first."""
    entries, before = await history_page(reader, owner, limit=HISTORY_MAX - 1, **only)
    while True:
        for entry in entries:
            yield entry
        if before is None:
            return
        entries, before = await history_page(reader, owner, limit=HISTORY_MAX - 1, before=before, **only)


def history_sql(owner: Owner, *, only: str = "", sign: int = 0) -> tuple[str, dict[str, str]]:
    """Return the query for the newest entries on the accounts of `owner`, and the accounts it names."""
    names = [cls.value for cls in Class] + ([] if owner.startswith("org/") else ["maturing", "owed"])
    names = [name for name in names if only in {"", name}]
    sides = [
        _ONE_SIDE.format(side=side, sign=way, name=name)
        for name in names
        for side, way in (("debit", -1), ("credit", 1))
        if sign in {0, way}
    ]
    sql = _HISTORY.format(sides=" UNION ALL ".join(sides))
    return sql, {name: f"{owner}/{name}" for name in names}
