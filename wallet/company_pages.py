"""What a company may see of its money: balance, members, what waits for approval, jobs, statement.

Read by private commands, the operator's tools and the pages; nothing here decides anything.
Who may see what is the reader's affair: the owner all, a member what is their own.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from relaybot.db.database import Reader, Row
from relaybot.nostr import nip19
from wallet.accounts import Account, Class, company, of
from wallet.companies import budget_id, month_span
from wallet.lots import NOTHING, Mix
from wallet.money import Msat
from wallet.statements import HISTORY_MAX, Entry, history_of
from wallet.wording import class_in_words, told

BELONGINGS_MAX = 100  # companies of one person that are listed

_BELONGINGS = """
SELECT id, name, 'owner' AS role, state FROM companies WHERE owner = :pubkey
UNION ALL
SELECT companies.id, name, members.state, companies.state FROM members JOIN companies ON companies.id = members.company
WHERE members.pubkey = :pubkey AND members.state IN ('invited', 'member') AND companies.owner <> :pubkey
ORDER BY id LIMIT :limit
"""
_HELD = """
SELECT COALESCE(SUM(price_msat), 0) AS msat FROM jobs
WHERE company = :org AND due_at IS NOT NULL AND state IN ('held', 'assigned', 'working')
"""
_APPROVALS = """
SELECT id, customer, agent, price_msat, due_at, created_at FROM jobs
WHERE company = :org AND state = 'awaiting_approval' ORDER BY created_at, id LIMIT :limit
"""
_JOBS = """
SELECT id, customer, agent, state, price_msat, charged_msat, reason, created_at, updated_at FROM jobs
WHERE company = :org AND (:customer = '' OR customer = :customer) ORDER BY created_at DESC, id LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class Belonging:
    """A company that somebody has to do with."""

    id: str
    name: str
    role: str  # owner, member, invited
    state: str  # open, dissolved


@dataclass(frozen=True, slots=True)
class MemberShown:
    """A member, and what their jobs have cost this month, what is held for them included."""

    pubkey: str
    state: str  # invited, member, gone
    budget_msat: Msat | None  # None: no limit of their own
    used_msat: Msat


@dataclass(frozen=True, slots=True)
class Approval:
    """A job that waits for the owner."""

    job: str
    customer: str
    agent: str
    price_msat: Msat
    due_at: int
    created_at: int


@dataclass(frozen=True, slots=True)
class CompanyShown:
    """A company as its owner sees it now."""

    id: str
    name: str
    owner: str
    state: str
    limit_msat: Msat | None
    has: Mix
    held_msat: Msat
    owner_used_msat: Msat
    members: tuple[MemberShown, ...]
    approvals: tuple[Approval, ...]


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One entry on a company's accounts; `member` asked for the job it belongs to, '' for all else."""

    entry: Entry
    member: str


async def belongings_of(reader: Reader, pubkey: str) -> list[Belonging]:
    """Return the companies that somebody owns, belongs to, or is asked to join."""
    rows = await reader.fetch(_BELONGINGS, pubkey=pubkey, limit=BELONGINGS_MAX)
    return [Belonging(row["id"], row["name"], row["role"], row["state"]) for row in rows]


async def company_shown(reader: Reader, org: str, month: int, *, limit: int = 1_000) -> CompanyShown | None:
    """Return all of a company that its owner may see, with what was used in this `month`; None if there is none."""
    rows = await reader.rows_by_id("companies", [org])
    if org not in rows:
        return None
    row = rows[org]
    accounts = {cls: of(company(org), cls) for cls in Class}
    balances = await reader.rows_by_id("accounts", list(accounts.values()))
    has = {cls: Msat(balances[name]["balance_msat"]) if name in balances else NOTHING for cls, name in accounts.items()}
    held = await reader.fetch(_HELD, org=org)
    approvals = await reader.fetch(_APPROVALS, org=org, limit=limit)
    members = await reader.fetch("SELECT * FROM members WHERE company = :org ORDER BY created_at, id", org=org)
    used = await _used(reader, org, [row["owner"], *(one["pubkey"] for one in members)], month)
    return CompanyShown(
        org,
        row["name"],
        row["owner"],
        row["state"],
        row["limit_msat"],
        Mix(has[Class.PROMO], has[Class.CARD], has[Class.SATS]),
        Msat(held[0]["msat"]),
        used[row["owner"]],
        tuple(MemberShown(one["pubkey"], one["state"], one["budget_msat"], used[one["pubkey"]]) for one in members),
        tuple(
            Approval(one["id"], one["customer"], one["agent"], one["price_msat"], one["due_at"], one["created_at"])
            for one in approvals
        ),
    )


async def member_shown(reader: Reader, org: str, pubkey: str, month: int) -> MemberShown | None:
    """Return what a member may see of their own place in a company."""
    rows = await reader.rows_by_id("members", [f"{org}/{pubkey}"])
    if not rows:
        return None
    (row,) = rows.values()
    used = await _used(reader, org, [pubkey], month)
    return MemberShown(pubkey, row["state"], row["budget_msat"], used[pubkey])


async def jobs_of(reader: Reader, org: str, customer: str = "", *, limit: int = 50) -> Sequence[Row]:
    """Return the newest jobs that a company pays: all, or those of one member."""
    return await reader.fetch(_JOBS, org=org, customer=customer, limit=limit)


async def statement_of(reader: Reader, org: str, month: int | None, member: str = "") -> list[StatementRow]:
    """Return the entries on a company's accounts in a month, or ever, oldest first; `member`: of their jobs only."""
    begins, ends = (0, 2**62) if month is None else month_span(month)
    entries: list[Entry] = []
    before, seen = None, frozenset[Account]()
    while True:
        page = await history_of(reader, company(org), limit=HISTORY_MAX, before=before)
        fresh = [entry for entry in page if entry.seq + 1 != before or entry.account not in seen]
        entries += [entry for entry in fresh if begins <= entry.created_at < ends]
        if not fresh or fresh[-1].created_at < begins:
            break
        last = fresh[-1].seq
        before, seen = last + 1, frozenset(entry.account for entry in page if entry.seq == last)
    jobs = await reader.rows_by_id("jobs", {entry.cause.removeprefix("job/") for entry in entries})
    found = [StatementRow(entry, _member_of(entry, jobs)) for entry in reversed(entries)]
    return [row for row in found if not member or row.member == member]


def statement_csv(rows: Iterable[StatementRow]) -> str:
    """Return a statement as CSV with a header; amounts are in msat, as exact as the book."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("time", "account", "amount_msat", "balance_msat", "what", "member", "id"))
    for row in rows:
        entry = row.entry
        time = datetime.fromtimestamp(entry.created_at, UTC).strftime("%Y-%m-%d %H:%M")
        member = nip19.encode_npub(row.member) if row.member else ""
        cls = class_in_words(entry.account)
        writer.writerow((time, cls, entry.amount_msat, entry.balance_msat, why(entry), member, entry.id))
    return out.getvalue()


def why(entry: Entry) -> str:
    """Say in words why an entry is there."""
    return told(plan=f"{entry.cause}/", account=entry.account, other=entry.other, reason=entry.reason)


def _member_of(entry: Entry, jobs: dict[str, Row]) -> str:
    job = jobs.get(entry.cause.removeprefix("job/"))
    return str(job["customer"]) if job is not None else ""


async def _used(reader: Reader, org: str, pubkeys: Sequence[str], month: int) -> dict[str, Msat]:
    rows = await reader.rows_by_id("tallies", {budget_id(org, pubkey, month) for pubkey in pubkeys})
    used = {pubkey: rows.get(budget_id(org, pubkey, month)) for pubkey in pubkeys}
    return {pubkey: Msat(row["msat"]) if row is not None else NOTHING for pubkey, row in used.items()}
