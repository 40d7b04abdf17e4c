"""Why money moved, in words: a transfer, a job or a payout by its id, with everything that belongs to it.

A job's words name who asked, by which split, what each part's rule is and in which class of
money it was paid; a payout's words each attempt. The data behind them go with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relaybot.config import Config
from relaybot.db.database import Reader, Row
from relaybot.errors import Rejected
from relaybot.nostr import nip19
from relaybot.operator.opening import Answer, opened
from splits.resolved import ResolvedSplit
from splits.wording import rule_in_words
from wallet.accounts import Account, Class, owner
from wallet.book import on_accounts, transfers_of
from wallet.money import format_sat
from wallet.wording import class_in_words, told

_OF_ESCROW = f"SELECT * FROM transfers WHERE {on_accounts('sats', 'card', 'promo')} ORDER BY seq"  # noqa: S608  our own names
_ATTEMPTS = "SELECT id, number, state, reason, sent_at, expires_at FROM attempts WHERE payout = :id ORDER BY number"
_CLASS_WORDS = {
    "card": "card money",
    "maturing": "card money, which matures",
    "promo": "promo money",
    "sats": "sats",
}


@dataclass(frozen=True, slots=True)
class _Names:
    """How people are called: by the configuration's name, else by npub."""

    by_pubkey: Mapping[str, str]

    def of(self, pubkey: str) -> str:
        npub = nip19.encode_npub(pubkey)
        return f"{self.by_pubkey[pubkey]} ({npub})" if pubkey in self.by_pubkey else npub

    def account(self, account: str) -> str:
        pubkey = owner(Account(account))
        return self.of(pubkey) if pubkey is not None else account


async def explain(config: Config, what: str) -> Answer:
    """Say why money moved: for a transfer, a job, or a payout, by its id. Rejected if there is no such thing."""
    names = _Names({pubkey: name for name, pubkey in config.people.items()})
    async with opened(config) as book, book.database.snapshot() as reader:
        job_id, payout_id = what.removeprefix("job/"), what.removeprefix("payout/")
        if job := (await reader.rows_by_id("jobs", [job_id])).get(job_id):
            return await _job(reader, job, names)
        if payout := (await reader.rows_by_id("payouts", [payout_id])).get(payout_id):
            return await _payout(reader, payout, names)
        found = [row for row in await transfers_of(reader, what.rpartition("/")[0]) if row["id"] == what]
        if not found:
            raise Rejected("invalid", "no transfer, job or payout has this id", found=what[:80])
        return await _transfer(reader, found[0], names)


async def _transfer(reader: Reader, row: Row, names: _Names) -> Answer:
    debit, credit = Account(row["debit"]), Account(row["credit"])
    seen_from, other = (credit, debit) if owner(credit) is not None or owner(debit) is None else (debit, credit)
    why = told(plan=row["plan"], account=seen_from, other=other, reason=row["reason"])
    moved = f"{format_sat(row['amount_msat'])} went from {names.account(debit)} to {names.account(credit)}: {why}."
    together = await transfers_of(reader, row["plan"])
    answer: Answer = {"transfer": row["id"], "words": [moved], "plan": row["plan"], "transfers": _shown(together)}
    if row["plan"].startswith("job/"):
        job_id = row["plan"].split("/")[1]
        job = (await reader.rows_by_id("jobs", [job_id])).get(job_id)
        if job is not None:
            split = await _split(reader, job)
            answer["words"] += [_asked(job, names), _part(row, split, names)] if ":" in row["reason"] else []
    return answer


async def _of_escrow(reader: Reader, cause: str) -> Sequence[Row]:
    escrows = {cls.value: f"hold/{cause}/{cls.value}" for cls in Class}
    return await reader.fetch(_OF_ESCROW, **escrows)


async def _job(reader: Reader, job: Row, names: _Names) -> Answer:
    cause = f"job/{job['id']}"
    transfers = [*await _of_escrow(reader, cause), *await transfers_of(reader, f"{cause}/refund")]
    split = await _split(reader, job)
    words = [_asked(job, names)]
    held = [row for row in transfers if row["credit"].startswith(f"hold/{cause}/")]
    if held:
        words.append(f"Held: {', '.join(_amount(row, row['debit']) for row in held)}.")
    words += [_part(row, split, names) for row in transfers if ":" in row["reason"]]
    words += _referrers_left_out(split, transfers)
    back = [row for row in transfers if row["reason"] in {"unused", "release", "refund"}]
    words += [f"{_amount(row, row['credit'])} went back: {row['reason']}." for row in back]
    if job["reason"]:
        words.append(f"It ended so: {job['reason']}.")
    shown = {name: job[name] for name in job if name != "request"}
    body = json.loads(split.to_json()) if split is not None else None
    return {"job": shown, "words": words, "transfers": _shown(transfers), "split": body}


async def _payout(reader: Reader, payout: Row, names: _Names) -> Answer:
    cause = f"payout/{payout['id']}"
    transfers = await _of_escrow(reader, cause)
    attempts = await reader.fetch(_ATTEMPTS, id=payout["id"])
    amount, reserve = format_sat(payout["amount_msat"]), format_sat(payout["reserve_msat"])
    to = f"{names.of(payout['pubkey'])} to {payout['target'] or 'no target yet'}"
    words = [f"{amount} for {to}, with at most {reserve} of routing fee: {payout['state']}."]
    words += [f"Attempt {row['number']} ({row['id']}) is {row['state']}" + _because(row["reason"]) for row in attempts]
    if payout["state"] == "paid":
        words.append(
            f"{format_sat(payout['paid_msat'])} arrived, the route cost {format_sat(payout['fee_msat'])}, which the"
            " recipient bears; what the reserve did not need went back."
        )
    if payout["reason"]:
        words.append(f"It waits or stopped because: {payout['reason']}.")
    return {
        "payout": dict(payout),
        "words": words,
        "attempts": [dict(row) for row in attempts],
        "transfers": _shown(transfers),
    }


def _asked(job: Row, names: _Names) -> str:
    charged = f", {format_sat(job['charged_msat'])} of it charged" if job["charged_msat"] else ""
    price = f"{format_sat(job['price_msat'])} at most{charged}"
    who = f"{names.of(job['customer'])} asked the agent {job['agent']} for job {job['id']}"
    return f"{who}: {price}, by the split {job['split'][:16]}; it is {job['state']}."


def _part(row: Row, split: ResolvedSplit | None, names: _Names) -> str:
    """Say who got one part of a charge, in which class, and by which rule."""
    role, _, path = row["reason"].partition(":")
    rule = rule_in_words(split, path) if split is not None else path
    to = "the platform" if row["credit"].startswith("platform/") else names.account(row["credit"])
    return f"{_amount(row, row['credit'])} to {to} as {role}: {rule} ({path})."


def _referrers_left_out(split: ResolvedSplit | None, transfers: Sequence[Row]) -> list[str]:
    paid = {row["reason"].partition(":")[2] for row in transfers}
    beyond = any(row["credit"].endswith("/maturing") for row in transfers)
    if split is None or not beyond or any(path.endswith("referrer") for path in paid):
        return []
    return ["No referrer was paid: card money went beyond the platform's part, so no sats were left for them."]


def _amount(row: Row, account: str) -> str:
    """Say how much a transfer moved, and of which class, as `account` has it."""
    return f"{format_sat(row['amount_msat'])} of {_CLASS_WORDS[class_in_words(Account(account))]}"


def _because(reason: str) -> str:
    return f": {reason}." if reason else "."


async def _split(reader: Reader, job: Row) -> ResolvedSplit | None:
    row = (await reader.rows_by_id("splits", [job["split"]])).get(job["split"])
    return ResolvedSplit.from_json(row["body"]) if row is not None else None


def _shown(rows: Sequence[Row]) -> list[Answer]:
    names = ("id", "debit", "credit", "amount_msat", "reason", "created_at")
    return [{name: row[name] for name in names} for row in rows]
