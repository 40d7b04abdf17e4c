"""What the book and the node say in figures, for the operator's monitoring.

Reads only. Work is counted while it is open, by the indexes that the loops use; what has
ended is counted as it ends, by the book itself (`Book.written`). The accounts are read whole:
who asks, asks every few seconds at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from relaybot.db.database import Reader, Row
from relaybot.errors import RelaybotError
from relaybot.figures import Figure, gauge
from wallet.accounts import (
    BANK,
    CAPITAL,
    CARD_LOSSES,
    CARD_RECEIVABLE,
    EXPENSE_CARD,
    EXPENSE_FX,
    EXPENSE_LIGHTNING,
    EXPENSE_ONCHAIN,
    FEES,
    NODE_LIGHTNING,
    NODE_ONCHAIN,
    PROMOTIONS,
    REVENUE,
    ROUTING_INCOME,
)
from wallet.book import Book
from wallet.chain import Chain, OutputState
from wallet.lightning import Lightning

OPERATORS = (
    *REVENUE.values(),
    FEES,
    ROUTING_INCOME,
    EXPENSE_LIGHTNING,
    EXPENSE_ONCHAIN,
    EXPENSE_CARD,
    EXPENSE_FX,
    PROMOTIONS,
    CARD_LOSSES,
    BANK,
    CAPITAL,
    NODE_LIGHTNING,
    NODE_ONCHAIN,
    CARD_RECEIVABLE,
)
_HOLDERS = [
    (holder, cls)
    for holder, classes in (
        ("user", ("sats", "card", "promo", "maturing")),
        ("org", ("sats", "card", "promo")),
        ("hold", ("sats", "card", "promo")),
    )
    for cls in classes
]
_OWED = f"""
SELECT whose, SUM(balance_msat) AS msat FROM (
    SELECT CASE {" ".join(f"WHEN id LIKE '{holder}/%/{cls}' THEN '{holder}/{cls}'" for holder, cls in _HOLDERS)}
        WHEN id LIKE 'user/%/owed' THEN 'owed' ELSE '' END AS whose, balance_msat
    FROM accounts WHERE balance_msat <> 0
) AS named WHERE whose <> '' GROUP BY whose
"""  # noqa: S608  our own names
_JOBS = "SELECT state, COUNT(*) AS n, MIN(created_at) AS oldest FROM jobs WHERE due_at IS NOT NULL GROUP BY state"
_PAYOUTS = """
SELECT kind, rail, state, COUNT(*) AS n, SUM(amount_msat) AS msat, MIN(created_at) AS oldest FROM payouts
WHERE next_at IS NOT NULL GROUP BY kind, rail, state
"""
_STUCK = """
SELECT COUNT(*) AS n FROM payouts JOIN attempts ON attempts.id = payouts.attempt
WHERE payouts.next_at IS NOT NULL AND attempts.state = 'sent' AND attempts.sent_at <= :before
"""
_BATCHES = "SELECT state, COUNT(*) AS n FROM batches WHERE state NOT IN ('buried', 'discarded') GROUP BY state"
_DEPOSITS = "SELECT COALESCE(SUM(amount_msat), 0) AS msat FROM deposits WHERE state = 'pending'"
_INBOX = "SELECT COUNT(*) AS n, MIN(received_at) AS oldest FROM inbox WHERE state = 'new'"
_OUTBOX = "SELECT COUNT(*) AS n, MIN(created_at) AS oldest FROM outbox WHERE state = 'pending'"
_WORKERS = "SELECT status, COUNT(*) AS n FROM workers WHERE beat_at > :since AND beat_until > :now GROUP BY status"
_PAUSES = "SELECT id, state FROM pauses ORDER BY id"


async def stuck_payments(reader: Reader, *, before: int) -> int:
    """Return how many payments were sent at `before` or earlier, and their end is not known."""
    return int((await reader.fetch(_STUCK, before=before))[0]["n"])


async def figures_of_book(book: Book, *, now: int, stuck_seconds: int, heartbeat_seconds: int) -> list[Figure]:
    """Return what the book says at `now`, as of one moment; Unavailable if the database does not answer."""
    async with book.database.snapshot() as reader:
        return [
            *await _money(reader),
            *await _work(reader, now - heartbeat_seconds, now),
            gauge("payments_stuck", await stuck_payments(reader, before=now - stuck_seconds)),
            *(gauge("paused", row["state"] != "open", scope=row["id"]) for row in await reader.fetch(_PAUSES)),
            *(gauge("rows_total", n, table=table, what=what) for (table, what), n in sorted(book.written.items())),
        ]


async def _money(reader: Reader) -> list[Figure]:
    sums = {row["whose"]: int(row["msat"]) for row in await reader.fetch(_OWED)}
    balances = await reader.rows_by_id("accounts", OPERATORS)
    return [
        *(
            Figure("owed_msat", sums.get(f"{holder}/{cls}", 0), {"holder": holder, "class": cls})
            for holder, cls in _HOLDERS
        ),
        gauge("debts_msat", -sums.get("owed", 0)),
        *(gauge("account_msat", int(row["balance_msat"]), account=name) for name, row in sorted(balances.items())),
    ]


async def _work(reader: Reader, beat_since: int, now: int) -> list[Figure]:
    found: list[Figure] = []
    for row in await reader.fetch(_JOBS):
        found += [gauge("jobs", row["n"], state=row["state"]), gauge("jobs_oldest", row["oldest"], state=row["state"])]
    for row in await reader.fetch(_PAYOUTS):
        labels = {name: row[name] for name in ("kind", "rail", "state")}
        found += [
            gauge("payouts", row["n"], **labels),
            gauge("payouts_msat", int(row["msat"]), **labels),
            gauge("payouts_oldest", row["oldest"], **labels),
        ]
    found += [gauge("batches", row["n"], state=row["state"]) for row in await reader.fetch(_BATCHES)]
    found.append(gauge("deposits_pending_msat", int((await reader.fetch(_DEPOSITS))[0]["msat"])))
    found += _queue("inbox", await reader.fetch(_INBOX))
    found += _queue("outbox", await reader.fetch(_OUTBOX))
    alive = await reader.fetch(_WORKERS, since=beat_since, now=now)
    return found + [gauge("workers_alive", row["n"], status=row["status"]) for row in alive]


def _queue(name: str, rows: Sequence[Row]) -> list[Figure]:
    waiting = [gauge(f"{name}_waiting", rows[0]["n"])]
    return waiting + ([gauge(f"{name}_oldest", rows[0]["oldest"])] if rows[0]["n"] else [])


async def figures_of_node(lightning: Lightning, chain: Chain, *, limit_seconds: float) -> list[Figure]:
    """Return what the node says, `node_up` alone if it does not answer in time."""
    try:
        async with asyncio.timeout(limit_seconds):
            info, spendable, receivable, outputs = await asyncio.gather(
                lightning.info(), lightning.spendable_msat(), lightning.receivable_msat(), chain.outputs()
            )
    except (RelaybotError, TimeoutError):
        return [gauge("node_up", 0)]
    coins = {
        state: sum(one.amount_msat for one in outputs if one.state is state)
        for state in (OutputState.CONFIRMED, OutputState.UNCONFIRMED)
    }
    return [
        gauge("node_up", 1),
        gauge("node_synced", info.synced),
        gauge("node_block_height", info.block_height),
        gauge("node_spendable_msat", spendable),
        gauge("node_receivable_msat", receivable),
        *(gauge("node_onchain_msat", msat, state=state.value) for state, msat in coins.items()),
    ]
