"""What the operator can stop, let go on, and decide by hand: users' exits, rails, payouts that are stuck."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import structlog

from relaybot.clock import SystemClock
from relaybot.config import Config
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.keyring import Keyring
from relaybot.operator.opening import Answer, opened, opened_bot
from wallet.batch_rules import STUCK_SECONDS
from wallet.book import Book
from wallet.cln import CoreLightning
from wallet.ledger import Plan
from wallet.lightning import Lightning, PaymentState
from wallet.payout_notices import Notice
from wallet.payout_plans import plan_given_up, plan_retried
from wallet.payouts import ORPHAN
from wallet.states import AttemptState, PayoutState, Rail
from wallet.switches import CLOSED, OPEN, OPERATOR, SCOPES, plan_pause, plan_resume, plan_withdrawals

log = structlog.get_logger()

_STUCK = """
SELECT payouts.id, payouts.pubkey, payouts.kind, payouts.amount_msat, payouts.target, attempts.id AS payment_hash,
       attempts.state, attempts.reason, attempts.doubt, attempts.sent_at, attempts.expires_at
FROM attempts JOIN payouts ON payouts.id = attempts.payout
WHERE (attempts.state = 'sent' AND attempts.sent_at <= :before) OR attempts.doubt = 'paid'
ORDER BY attempts.sent_at
"""


_STUCK_BATCHES = """
SELECT id, txid, outputs, amount_msat, fee_msat, created_at FROM batches
WHERE state = 'sent' AND height = 0 AND created_at <= :before ORDER BY created_at
"""


async def pause(config: Config, scope: str, reason: str) -> Answer:
    """Pause one scope. Rejected if there is no such scope."""
    async with opened(config) as book:
        row = await _switch(book, scope)
        plan = plan_pause(row, reason=reason, by=OPERATOR, now=SystemClock().now())
        if plan is not None:
            await _apply(book, plan)
        return await _shown_switch(book, scope)


async def resume(config: Config, scope: str) -> Answer:
    """Let one scope go on. Rejected if there is no such scope."""
    async with opened(config) as book:
        row = await _switch(book, scope)
        plan = plan_resume(row, by=OPERATOR, now=SystemClock().now())
        if plan is not None:
            await _apply(book, plan)
        return await _shown_switch(book, scope)


async def set_withdrawals(config: Config, keyring: Keyring, pubkey: str, *, open_: bool, reason: str) -> Answer:
    """Open or close every exit of one user, who is told so if they can be reached. Rejected if nobody knows them."""
    async with opened_bot(config, keyring) as bot:
        row = await bot.book.row("users", pubkey)
        if row is None:
            raise Rejected("invalid", "nobody with this key was ever here")
        plan = plan_withdrawals(
            row, state=OPEN if open_ else CLOSED, reason="" if open_ else reason, now=bot.clock.now()
        )
        said = "open again" if open_ else f"closed: {reason}" if reason else "closed; ask the operator"
        told = await bot.tell(Notice(pubkey, f"Your withdrawals are {said}.", asked=False))
        await _apply(bot.book, Plan(plan.key, changes=(*plan.changes, *told)))
    return {"pubkey": pubkey, "withdrawals": OPEN if open_ else CLOSED, "reason": "" if open_ else reason}


async def stuck_payouts(config: Config) -> Sequence[Answer]:
    """Return every payment whose end is not known for too long, or that contradicts the book, and what to do."""
    now = SystemClock().now()
    async with opened(config) as book:
        rows = await book.database.fetch(_STUCK, before=now - config.payouts.stuck_seconds)
        batches = await book.database.fetch(_STUCK_BATCHES, before=now - STUCK_SECONDS)
    return [*(_stuck(row, now) for row in rows), *(_stuck_batch(row, now) for row in batches)]


def _stuck_batch(row: Row, now: int) -> Answer:
    return {
        "id": f"batch {row['id']}",
        "kind": "batch",
        "amount_msat": row["amount_msat"],
        "target": f"{row['outputs']} payments",
        "payment_hash": row["txid"],
        "reason": "in no block",
        "age_seconds": now - row["created_at"],
        "what_to_do": "it pays too little to be mined now: wait (it is sent again by itself)",
    }


def _stuck(row: Row, now: int) -> Answer:
    shown = {name: row[name] for name in ("id", "kind", "amount_msat", "target", "payment_hash", "reason")}
    return {**shown, "age_seconds": now - row["sent_at"], "what_to_do": _what_to_do(row, now)}


def _what_to_do(row: Row, now: int) -> str:
    if row["doubt"] == "paid":
        return "the node says it was paid after it had counted as failed: relaybot books check, books own"
    if row["reason"] == ORPHAN:
        return "make sure that no channel holds it (listhtlcs, closed channels), then payouts give-up --i-have-checked"
    if now < row["expires_at"]:
        return "wait: the invoice has not expired, it may still be paid"
    return "wait while the node says pending: the recipient may hold it; the records decide"


async def retry(config: Config, payout_id: str) -> Answer:
    """Look at a payout now instead of after its pause. Rejected if it is over."""
    async with opened(config) as book:
        row = await _payout(book, payout_id)
        await _apply(book, plan_retried(row, SystemClock().now()))
    return {"id": payout_id, "state": row["state"], "next": "now"}


async def give_up(config: Config, payout_id: str, *, checked: bool) -> Answer:
    """Make a payout's money balance again. Rejected where it may have been paid, or may be yet."""
    node = CoreLightning(config.lightning.socket)
    try:
        async with opened(config) as book:
            answer = await book.decide(partial(_decide_give_up, book, node, payout_id, checked=checked))
            if not answer.done:
                raise Rejected("error", "the book did not take it", detail=answer.reason)
            row = await _payout(book, payout_id)
    finally:
        await node.close()
    log.warning("payout_given_up", payout=payout_id, checked=checked)
    return {"id": payout_id, "state": row["state"], "reason": row["reason"]}


async def _decide_give_up(book: Book, node: Lightning, payout_id: str, *, checked: bool) -> Plan:
    payout = await _payout(book, payout_id)
    if payout["rail"] == Rail.ONCHAIN.value and payout["state"] == PayoutState.PAYING.value:
        raise Rejected(
            "invalid", "it is in a transaction, of which there is one version only: it is sent until it is confirmed"
        )
    attempt = await book.row("attempts", payout["attempt"]) if payout["attempt"] else None
    sent = attempt is not None and AttemptState(attempt["state"]) is AttemptState.SENT
    if attempt is not None and sent:
        if not checked:
            raise Rejected("invalid", "it was sent, and its end is not known: only --i-have-checked gives it up")
        report = await node.payment(attempt["id"])
        if report.state is PaymentState.SETTLED:
            raise Rejected("invalid", "the node says that it was paid: it is settled by itself")
        if attempt["id"] in await node.htlc_hashes():
            raise Rejected("invalid", "a channel holds it right now: it may still arrive")
        if not (await node.info()).synced:
            raise Rejected("invalid", "the node lags behind the chain: what it says proves nothing")
        if SystemClock().now() < attempt["expires_at"]:
            raise Rejected("invalid", "its invoice has not expired: it may still be paid")
    return plan_given_up(payout, attempt, SystemClock().now())


async def _payout(book: Book, payout_id: str) -> Row:
    row = await book.row("payouts", payout_id)
    if row is None:
        raise Rejected("invalid", "there is no such payout", found=payout_id[:80])
    return row


async def _switch(book: Book, scope: str) -> Row:
    row = await book.row("pauses", scope)
    if row is None:
        raise Rejected("invalid", f"can be paused: {', '.join(SCOPES)}", found=scope[:40])
    return row


async def _shown_switch(book: Book, scope: str) -> Answer:
    row = await _switch(book, scope)
    return {"scope": scope, "state": row["state"], "reason": row["reason"], "by": row["paused_by"]}


async def _apply(book: Book, plan: Plan) -> None:
    answer = await book.apply(plan)
    if not answer.done:
        raise Rejected("error", "the book did not take it", detail=answer.reason)
