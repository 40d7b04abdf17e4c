"""Payments that were made after a backup, booked to their payouts by the node's word.

A restored book does not know what was paid after it was copied. The node does, and every
payment of ours carries the payout's name as its label. So before anything is sent again,
each settled payment that the book lacks is booked as if its answer had come only now: to
the payout if the book has it, open; else to a payout made anew out of its owner's balance,
if that suffices. What cannot be booked so stays a difference, and the operator decides.
One Plan each, under the key that the payment's end has anyway: nothing is booked twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

import structlog

from relaybot.db.database import Row
from relaybot.errors import Rejected
from wallet.accounts import hold, user
from wallet.bolt11_invoice import parse_bolt11
from wallet.book import Book
from wallet.ledger import Change, Insert, Journal, Plan, Transfer, Update, Values, Verdict
from wallet.lightning import Lightning, PaymentReport, PaymentState
from wallet.money import Msat
from wallet.opening import cause_of
from wallet.payout_plans import plan_paid
from wallet.states import ATTEMPT, AttemptState, AttemptStep, PayoutKind, PayoutState, Rail

log = structlog.get_logger()

LABEL = "payout/"  # before the payout's id
AFTER_BACKUP = "paid after the backup"

_PAYOUT = re.compile(r"([0-9a-f]{64})/([1-9][0-9]{0,8})", re.ASCII)  # of a contributor: whose, and the how many-th
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


async def replay(book: Book, lightning: Lightning, keys: Iterable[str], now: int) -> int:
    """Book what can be of the payments on which the books differ; return how many. Unavailable if the node is away."""
    done = 0
    for payment_hash in filter(_HASH.fullmatch, keys):
        answer = await book.decide(partial(_decide, book, lightning, payment_hash, now))
        if answer.verdict is Verdict.APPLIED:
            done += 1
            log.warning("payment_replayed", payment_hash=payment_hash)
    return done


async def _decide(book: Book, lightning: Lightning, payment_hash: str, now: int) -> Plan | None:
    if await book.row("attempts", payment_hash) is not None:
        return None  # it takes the way of all payments
    report = await lightning.payment(payment_hash)
    if report.state is not PaymentState.SETTLED or not (report.label or "").startswith(LABEL):
        return None
    payout_id = str(report.label).removeprefix(LABEL)
    payout = await book.row("payouts", payout_id)
    if payout is None:
        return await _plan_made_anew(book, payout_id, payment_hash, report, now)
    if payout["next_at"] is None:
        return None  # its money is somewhere else by now
    before = await book.row("attempts", payout["attempt"]) if payout["state"] == PayoutState.PAYING.value else None
    if before is not None and AttemptState(before["state"]) is not AttemptState.PREPARED:
        return None  # it was sent before the backup: the node's records decide about that one first
    return _plan_adopted(payout, before, payment_hash, report, now)


def _plan_adopted(payout: Row, prepared: Row | None, payment_hash: str, report: PaymentReport, now: int) -> Plan:
    """Book a payment to the payout that was open when the book was copied."""
    changes = list[Change]()
    if prepared is not None:
        failed = ATTEMPT.after(AttemptState(prepared["state"]), AttemptStep.FAIL).value
        values: Values = {"state": failed, "reason": AFTER_BACKUP}
        changes.append(Update("attempts", prepared["id"], values, expect={"version": prepared["version"]}))
    sent: Values = {
        "state": PayoutState.PAYING.value,
        "attempts": payout["attempts"] + 1,
        "attempt": payment_hash,
        "updated_at": now,
    }
    changes.append(Update("payouts", payout["id"], sent, expect={"version": payout["version"]}))
    after = {**payout, **sent, "version": payout["version"] + 1}
    return _plan_ended(after, Journal(changes=tuple(changes)), payment_hash, report, now)


async def _plan_made_anew(
    book: Book, payout_id: str, payment_hash: str, report: PaymentReport, now: int
) -> Plan | None:
    """Book a payment to a payout that was opened after the book was copied; None if its owner's balance lacks it."""
    name = _PAYOUT.fullmatch(payout_id)
    owner = await book.row("users", name[1]) if name is not None else None
    total = report.amount_sent_msat
    if name is None or owner is None or total is None or await book.balance(user(name[1])) < total:
        return None
    amount = min(_amount_of(report) or total, total)
    values: Values = {
        "pubkey": owner["id"],
        "kind": PayoutKind.PAYOUT.value,
        "rail": Rail.LIGHTNING.value,
        "state": PayoutState.PAYING.value,
        "amount_msat": amount,
        "reserve_msat": total - amount,
        "paid_msat": 0,
        "fee_msat": 0,
        "target": AFTER_BACKUP,
        "attempts": 1,
        "attempt": payment_hash,
        "reason": "",
        "next_at": now,
        "created_at": now,
        "updated_at": now,
    }
    counted: Values = {"payouts": max(owner["payouts"], int(name[2]))}
    changes = (
        Update("users", owner["id"], counted, expect={"version": owner["version"]}),
        Insert("payouts", payout_id, values),
    )
    held = Transfer(user(owner["id"]), hold(cause_of(payout_id)), total, "hold")
    return _plan_ended({"id": payout_id, "version": 1, **values}, Journal((held,), changes), payment_hash, report, now)


def _plan_ended(payout: Row, made: Journal, payment_hash: str, report: PaymentReport, now: int) -> Plan:
    """Return what `made` the payout and its attempt, and the end of both."""
    attempt: Values = {
        "payout": payout["id"],
        "number": payout["attempts"],
        "state": AttemptState.SENT.value,
        "bolt11": report.invoice or "",
        "amount_msat": None,
        "expires_at": now,
        "reason": AFTER_BACKUP,
        "sent_at": now,
        "doubt": "",
        "doubt_since": 0,
        "created_at": now,
    }
    paid = plan_paid(payout, {"id": payment_hash, "version": 1, **attempt}, report, now)
    attempted = Journal(paid.transfers, (Insert("attempts", payment_hash, attempt), *paid.changes))
    return (made + attempted).plan(paid.key)


def _amount_of(report: PaymentReport) -> Msat | None:
    try:
        return parse_bolt11(report.invoice or "").amount_msat
    except Rejected:  # of an offer
        return None
