"""From the book to the published day: whose money moved is read here, the rest is `closing.py`.

Each day takes the transfers that no earlier day has taken, in the order of the book, up
to its end. The summary, what it carries on and the signed event are one Plan, so a day
is published once and never again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta

import structlog

from relaybot.accounting.carry import Carry
from relaybot.accounting.closing import Contributions, Rules, close_day
from relaybot.clock import Clock
from relaybot.db.database import Reader, Row
from relaybot.errors import Rejected
from relaybot.nostr.flow_of_funds import DAY_SECONDS, CellName, Period, build_summary, day_period
from relaybot.nostr.keys import KeyPair
from relaybot.outbox import owed
from wallet.accounts import NODE_LIGHTNING, NODE_ONCHAIN, REVENUE, Account, company, of, owner
from wallet.book import Book
from wallet.ledger import Insert, Plan, Values

log = structlog.get_logger()

Cells = dict[CellName, Counter[str]]
Whose = Callable[[Account], str | None]

TIPS: CellName = ("tips", "given")
ONCHAIN: CellName = ("in", "onchain")
_GIFTS, _ESCROW, _COMPANY = "hold/zap/", "hold/payout/", "org/"
_GIVERS = "whoever gives"  # counts as one account: a giver's key may be made for one gift alone

# A day ends with the first transfer of a later one: clocks may jump, and two processes' may differ, but none is missed.
_NEW_TRANSFERS = """
SELECT * FROM transfers WHERE seq > :last AND seq < COALESCE(
    (SELECT seq FROM transfers WHERE seq > :last AND created_at >= :end ORDER BY seq LIMIT 1), :no_later
) ORDER BY seq
"""


async def publish_day(book: Book, keypair: KeyPair, rules: Rules, day: str, *, now: int) -> bool:
    """Publish the accounts of `day`, unless they are; tell whether they are published now.

    Rejected if `day` is not over and the rules are not those of a demonstration, or if
    a later day is published already.
    """
    period = day_period(day)
    if period.end > now:
        if not rules.demo:
            raise Rejected("invalid", "this day is not over", day=day)
        period = Period(period.start, now + 1)  # the second that is running belongs to it
    last = await _last_summary(book)
    if last is not None and last["id"] >= day:
        if await book.row("summaries", day) is not None:
            return False
        raise Rejected("invalid", "a later day is published already", day=day, published=last["id"])
    carried = Carry.from_json(last["carry"]) if last is not None else Carry()
    last_seq = last["last_seq"] if last is not None else 0
    async with book.database.snapshot() as reader:
        cells, last_seq = await read_cells(reader, after_seq=last_seq, end=period.end)
    summary, carry = close_day(Contributions(period, cells), carried, rules)
    event = build_summary(keypair, summary, now, previous=last["event"] if last is not None else "")
    row: Values = {"event": event.id, "carry": carry.to_json(), "last_seq": last_seq, "created_at": now}
    answer = await book.apply(Plan(f"summary/{day}", changes=(Insert("summaries", day, row), owed(event, now))))
    log.info("day_published", day=day, event_id=event.id, answer=answer.verdict.value)
    return answer.done


async def publish_due(book: Book, keypair: KeyPair, rules: Rules, clock: Clock, *, delay_seconds: int) -> bool:
    """Publish every whole day that is over for `delay_seconds`, oldest first; tell whether one was published."""
    now = clock.now()
    newest = datetime.fromtimestamp(now - delay_seconds - DAY_SECONDS, UTC).date()
    last = await _last_summary(book)
    if last is not None:
        due = date.fromisoformat(last["id"]) + timedelta(days=1)
    else:
        first = await book.database.fetch("SELECT created_at FROM transfers ORDER BY seq LIMIT 1")
        if not first:
            return False
        due = datetime.fromtimestamp(first[0]["created_at"], UTC).date()
    if due > newest:
        return False
    return await publish_day(book, keypair, rules, due.isoformat(), now=now)


async def read_cells(reader: Reader, *, after_seq: int, end: int) -> tuple[Cells, int]:
    """Return whose money moved in which cell by the transfers after `after_seq` and before `end`, and the last seq."""
    rows = await reader.fetch(_NEW_TRANSFERS, last=after_seq, end=end, no_later=2**63 - 1)
    jobs = await reader.rows_by_id("jobs", {_job_of(row) for row in rows if _is_capture(row)})
    payouts = await reader.rows_by_id("payouts", {_payout_of(row) for row in rows if _is_paid_out(row)})
    whose = await _whose(reader, rows, jobs)
    cells: Cells = defaultdict(Counter)
    for row in rows:
        for cell, account, amount in [*_contributions(row, jobs, whose), *_paid_out(row, payouts)]:
            cells[cell][account] += amount
    cells[ONCHAIN] = +cells[ONCHAIN]  # what came on an earlier day and was taken back on this one is not subtracted
    for job in jobs.values():
        cells["jobs", "count"][_customer(job, whose)] += 1
    return dict(cells), rows[-1]["seq"] if rows else after_seq


async def _whose(reader: Reader, rows: Sequence[Row], jobs: dict[str, Row]) -> Whose:
    """Return who is counted for an account: a company's owner, however many belong to it, or have several of them."""
    accounts = {row[side] for row in rows for side in ("debit", "credit") if row[side].startswith(_COMPANY)}
    named = {account.split("/")[1] for account in accounts} | {job["company"] for job in jobs.values()} - {""}
    companies = await reader.rows_by_id("companies", named)

    def whose(account: Account) -> str | None:
        found = companies.get(account.split("/")[1]) if account.startswith(_COMPANY) else None
        return str(found["owner"]) if found is not None else owner(account)

    return whose


def _customer(job: Row, whose: Whose) -> str:
    return whose(of(company(job["company"]))) or str(job["customer"]) if job["company"] else str(job["customer"])


def _contributions(row: Row, jobs: dict[str, Row], whose: Whose) -> list[tuple[CellName, str, int]]:
    amount, payer, payee = row["amount_msat"], Account(row["debit"]), Account(row["credit"])
    if NODE_ONCHAIN in {payer, payee}:
        return _on_chain(payer, payee, amount, whose)
    if payer == NODE_LIGHTNING:
        return _over_lightning(payee, amount, row["reason"], whose)
    given_inside = owner(payer) is not None and row["reason"] == "zap"  # by one user here to another
    if (given_inside or payer.startswith(_GIFTS)) and owner(payee) is not None:
        return [(TIPS, str(owner(payee)), amount)]
    if _is_capture(row) and ":" in row["reason"]:
        customer = _customer(jobs[_job_of(row)], whose)
        role = row["reason"].partition(":")[0]
        earner = customer if payee in REVENUE.values() else str(owner(payee))
        return [(("earned", role), earner, amount), (("jobs", "charged"), customer, amount)]
    return []


def _over_lightning(payee: Account, amount: int, reason: str, whose: Whose) -> list[tuple[CellName, str, int]]:
    if (to := whose(payee)) is not None:
        came_in: list[tuple[CellName, str, int]] = [(("in", "lightning"), to, amount)]
        return came_in + ([(TIPS, to, amount)] if reason == "zap" else [])
    if payee.startswith(_GIFTS) or reason == "donation":
        return [(("in", "lightning"), _GIVERS, amount)]
    return []


def _paid_out(row: Row, payouts: dict[str, Row]) -> list[tuple[CellName, str, int]]:
    """Return what left for somebody, counted by whose balance it was, however often they withdrew."""
    if not _is_paid_out(row):
        return []
    chain, fee = row["credit"] == NODE_ONCHAIN, row["reason"] == "fee"
    cell: CellName = (
        ("fees", "onchain" if chain else "routing") if fee else ("out", "onchain" if chain else "lightning")
    )
    return [(cell, payouts[_payout_of(row)]["pubkey"], row["amount_msat"])]


def _is_paid_out(row: Row) -> bool:
    return bool(row["debit"].startswith(_ESCROW) and row["credit"] in {NODE_LIGHTNING, NODE_ONCHAIN})


def _payout_of(row: Row) -> str:
    return str(row["debit"].removeprefix(_ESCROW).removesuffix("/sats"))


def _on_chain(payer: Account, payee: Account, amount: int, whose: Whose) -> list[tuple[CellName, str, int]]:
    """Return what a deposit added, or what the chain has taken back of one."""
    if payer == NODE_ONCHAIN and (to := whose(payee)) is not None:
        return [(ONCHAIN, to, amount)]
    if payee == NODE_ONCHAIN and (of_whom := whose(payer)) is not None:
        return [(ONCHAIN, of_whom, -amount)]
    return []


def _is_capture(row: Row) -> bool:
    return bool(row["plan"].startswith("job/") and row["plan"].endswith("/capture"))


def _job_of(row: Row) -> str:
    return str(row["plan"].split("/")[1])


async def _last_summary(book: Book) -> Row | None:
    rows = await book.database.fetch("SELECT * FROM summaries ORDER BY id DESC LIMIT 1")
    return rows[0] if rows else None
