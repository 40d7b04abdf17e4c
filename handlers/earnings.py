"""What somebody has earned, by agent and role, and why an entry of theirs is as large as it is.

The same facts as the operator's `books explain`, but of one's own entries only, and without
anybody else's name.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from relaybot.db.database import Reader, Row
from relaybot.errors import Rejected
from splits.resolved import ResolvedSplit
from splits.wording import rule_in_words
from wallet.accounts import Account, Class, maturing, owner, user
from wallet.book import transfers_of
from wallet.money import Msat, format_sat
from wallet.wording import class_in_words, told

EARNINGS_MAX = 10_000  # of each class, the newest: what is added up
GIFTS = "gifts"  # where no job is behind it

# Plans of jobs are named job/<64 hex digits>/…
_EARNED = """
SELECT plans.id AS plan, entry.place, entry.reason, entry.amount_msat, entry.seq, plans.applied_at, jobs.agent
FROM (SELECT * FROM entries WHERE credit = (SELECT number FROM accounts WHERE id = :account)
      ORDER BY seq DESC LIMIT :limit) AS entry
JOIN plans ON plans.number = entry.plan
LEFT JOIN jobs ON jobs.id = substr(plans.id, 5, 64)
WHERE entry.reason LIKE '%:%' ORDER BY entry.seq DESC
"""
_NO_EARNINGS = ("disputed", "won", "written off")


@dataclass(frozen=True, slots=True)
class Earned:
    """One part of one charge or gift that came to somebody."""

    id: str  # of the transfer
    agent: str
    role: str
    cls: str
    amount_msat: Msat
    seq: int
    at: int


@dataclass(frozen=True, slots=True)
class Sum:
    """What one role in one agent's jobs has brought, and how often."""

    agent: str
    role: str
    amount_msat: Msat
    count: int


@dataclass(frozen=True, slots=True)
class Why:
    """Why an entry is as large as it is: `words` say it, the rest is what they rest on."""

    id: str
    amount_msat: int
    at: int
    words: tuple[str, ...]
    path: str = ""  # of the share in the split
    split: str = ""  # the split's hash


async def earned(reader: Reader, pubkey: str) -> list[Earned]:
    """Return the newest earnings of somebody, newest first."""
    found: list[Earned] = []
    for cls, account in (
        ("sats", user(pubkey)),
        ("card", user(pubkey, Class.CARD)),
        ("maturing", maturing(pubkey)),
    ):
        rows = await reader.fetch(_EARNED, account=account, limit=EARNINGS_MAX)
        found += [_earned(row, cls) for row in rows if row["reason"].partition(":")[0] not in _NO_EARNINGS]
    return sorted(found, key=lambda one: -one.seq)


def sums_of(earnings: list[Earned]) -> list[Sum]:
    """Return what each role in each agent's jobs has brought, the largest first."""
    amounts: Counter[tuple[str, str]] = Counter()
    counts: Counter[tuple[str, str]] = Counter()
    for one in earnings:
        amounts[one.agent, one.role] += one.amount_msat
        counts[one.agent, one.role] += 1
    ordered = sorted(amounts, key=lambda key: (-amounts[key], key))
    return [Sum(agent, role, Msat(amounts[agent, role]), counts[agent, role]) for agent, role in ordered]


async def why(reader: Reader, pubkey: str, transfer_id: str) -> Why:
    """Explain one entry of `pubkey`. Rejected if none of theirs has this id."""
    plan = transfer_id.rpartition("/")[0]
    row = next((one for one in await transfers_of(reader, plan) if one["id"] == transfer_id), None)
    if row is None or pubkey not in {owner(Account(row["credit"])), owner(Account(row["debit"]))}:
        raise Rejected("invalid", "no entry of yours has this id")
    came = owner(Account(row["credit"])) == pubkey
    account, other = (row["credit"], row["debit"]) if came else (row["debit"], row["credit"])
    amount = row["amount_msat"] if came else -row["amount_msat"]
    what = told(plan=plan, account=Account(account), other=Account(other), reason=row["reason"])
    words = [f"{format_sat(amount)} ({class_in_words(Account(account))}): {what}."]
    if not plan.startswith("job/"):
        return Why(transfer_id, amount, row["created_at"], tuple(words))
    more, path, split = await _of_job(reader, plan.split("/")[1], row["reason"])
    return Why(transfer_id, amount, row["created_at"], (*words, *more), path, split)


async def _of_job(reader: Reader, job_id: str, reason: str) -> tuple[list[str], str, str]:
    job = (await reader.rows_by_id("jobs", [job_id])).get(job_id)
    if job is None:
        return [], "", ""
    charged = f"{format_sat(job['charged_msat'])} were charged" if job["charged_msat"] else "nothing was charged so far"
    words = [f"It belongs to job {job_id} of the agent {job['agent']}, for which {charged}; the job is {job['state']}."]
    role, colon, path = reason.partition(":")
    if not colon:
        return words, "", ""
    stored = (await reader.rows_by_id("splits", [job["split"]])).get(job["split"])
    if stored is not None:
        rule = rule_in_words(ResolvedSplit.from_json(stored["body"]), path)
        words.append(f"The share of {role} is {rule}. The split stands in the book since the job was asked for.")
    return words, path, job["split"]


def _earned(row: Row, cls: str) -> Earned:
    agent = row["agent"] if row["plan"].startswith("job/") and row["agent"] is not None else GIFTS
    role = row["reason"].partition(":")[0]
    return Earned(
        f"{row['plan']}/{row['place']}", agent, role, cls, Msat(row["amount_msat"]), row["seq"], row["applied_at"]
    )
