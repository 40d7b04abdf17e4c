"""Looking at the work and the people: jobs, payouts, what somebody has and earned."""

from __future__ import annotations

from collections.abc import Sequence

from relaybot.config import Config
from relaybot.db.database import Reader
from relaybot.operator.opening import Answer, opened
from wallet.accounts import Account, user

_JOBS = """
SELECT id, agent, customer, state, reason, price_msat, charged_msat, worker, attempt, created_at FROM jobs
WHERE (:state = '' OR state = :state) AND (:customer = '' OR customer = :customer)
AND (:open = 0 OR due_at IS NOT NULL) ORDER BY created_at DESC, id LIMIT :limit
"""
_PAYOUTS = (
    "SELECT id, pubkey, rail, state, amount_msat, reserve_msat, paid_msat, fee_msat, target, attempts, reason,"
    " created_at, (SELECT txid FROM batches WHERE batches.id = payouts.attempt AND payouts.rail = 'onchain') AS txid"
    " FROM payouts ORDER BY created_at DESC LIMIT :limit"
)
_BATCHES = (
    "SELECT id, state, txid, outputs, amount_msat, fee_msat, height, needs, reason, sent_at, created_at FROM batches"
    " ORDER BY created_at DESC, id LIMIT :limit"
)
_OPEN_BATCHES = _BATCHES.replace(" ORDER BY", " WHERE state NOT IN ('buried', 'discarded') ORDER BY")
_EARNED = (
    "SELECT COALESCE(SUM(amount_msat), 0) AS earned_msat FROM transfers"
    " WHERE credit = :account AND plan LIKE 'job/%/capture' AND reason LIKE '%:%'"
)
_PAID_OUT = "SELECT state, paid_msat, fee_msat FROM payouts WHERE pubkey = :pubkey ORDER BY created_at, id"
_OPEN_PAYOUTS = _PAYOUTS.replace(" ORDER BY", " WHERE next_at IS NOT NULL ORDER BY")


async def list_jobs(
    config: Config, limit: int, *, state: str = "", customer: str = "", only_open: bool = False
) -> Sequence[Answer]:
    """Return the newest jobs: all, or those in one state, of one customer, or that are not over."""
    async with opened(config) as book:
        rows = await book.database.fetch(_JOBS, state=state, customer=customer, open=int(only_open), limit=limit)
    return [dict(row) for row in rows]


async def list_payouts(config: Config, limit: int, *, unfinished: bool) -> Sequence[Answer]:
    """Return the newest payouts, or only those that are not finished."""
    async with opened(config) as book:
        return [dict(row) for row in await book.database.fetch(_OPEN_PAYOUTS if unfinished else _PAYOUTS, limit=limit)]


async def list_batches(config: Config, limit: int, *, unfinished: bool) -> Sequence[Answer]:
    """Return the newest transactions that pay several people on the chain, or only those that may still move."""
    async with opened(config) as book:
        return [dict(row) for row in await book.database.fetch(_OPEN_BATCHES if unfinished else _BATCHES, limit=limit)]


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
