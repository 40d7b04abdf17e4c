"""Is the book sound? Every invariant of docs/ledger.md, each broken one in words.

Reads only, in pages, so that a book of any size can be looked at while it is written to:
inside one snapshot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

from relaybot.db.database import Reader, Row
from wallet.book import invariants

PAGE = 5_000  # transfers read at a time
SHOWN_MAX = 20  # broken entries that are named: after the first, all later ones of an account are wrong, too

_LOTS = """
SELECT accounts.id, balance_msat, COALESCE(SUM(lots.amount_msat), 0) AS lots_msat
FROM accounts LEFT JOIN lots ON lots.account = accounts.id
WHERE (accounts.id LIKE '%/card' AND accounts.id NOT LIKE 'platform/%') OR accounts.id LIKE '%/maturing'
GROUP BY accounts.id, balance_msat HAVING balance_msat <> COALESCE(SUM(lots.amount_msat), 0)
"""
_NO_ACCOUNT = """
SELECT account, SUM(amount_msat) AS lots_msat FROM lots
WHERE amount_msat > 0 AND account NOT IN (SELECT id FROM accounts) GROUP BY account
"""
_PAID_TOO_MUCH = "SELECT id, balance_msat FROM accounts WHERE id LIKE '%/owed' AND balance_msat > 0"
_UNNAMED = """
SELECT seq FROM entries WHERE plan NOT IN (SELECT number FROM plans)
OR debit NOT IN (SELECT number FROM accounts) OR credit NOT IN (SELECT number FROM accounts) ORDER BY seq LIMIT :limit
"""


async def unsound(reader: Reader) -> list[str]:
    """Return every broken invariant of the money, in words; an empty list is a sound book."""
    return [*await invariants(reader), *await lots_unsound(reader), *await entries_unsound(reader)]


async def lots_unsound(reader: Reader) -> list[str]:
    """Return where the lots of card money do not add up to their account, and debts that were paid twice."""
    broken = [
        f"{row['id']} says {row['balance_msat']} msat, its lots say {row['lots_msat']}"
        for row in await reader.fetch(_LOTS)
    ]
    broken += [
        f"{row['account']} does not exist, its lots say {row['lots_msat']}" for row in await reader.fetch(_NO_ACCOUNT)
    ]
    broken += [
        f"{row['id']} is above zero: {row['balance_msat']} msat were paid on no debt"
        for row in await reader.fetch(_PAID_TOO_MUCH)
    ]
    return broken


async def entries_unsound(reader: Reader) -> list[str]:
    """Return the entries whose running balances do not go on from the one before, and those of no Plan or account."""
    broken = [
        f"entry {row['seq']} names no Plan or no account" for row in await reader.fetch(_UNNAMED, limit=SHOWN_MAX)
    ]
    sums: Counter[str] = Counter()
    async for row in all_transfers(reader):
        sums[row["debit"]] -= row["amount_msat"]
        sums[row["credit"]] += row["amount_msat"]
        after = {row["debit"]: row["debit_after"], row["credit"]: row["credit_after"]}
        for account, balance in after.items():
            if sums[account] != balance:
                broken.append(f"{row['id']} leaves {balance} msat on {account}, its transfers {sums[account]}")
                sums[account] = balance  # told once: what follows goes on from here
        if len(broken) >= SHOWN_MAX:
            return [*broken, "more entries may be broken: these are the first"]
    return broken


async def all_transfers(reader: Reader) -> AsyncIterator[Row]:
    """Yield every transfer in the order of the book, a page in memory at a time."""
    sql = "SELECT * FROM transfers WHERE seq > :after ORDER BY seq LIMIT :limit"
    after = 0
    while page := await reader.fetch(sql, after=after, limit=PAGE):
        for row in page:
            yield row
        after = page[-1]["seq"]
