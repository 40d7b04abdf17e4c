"""Payouts: everybody's balance above their threshold is sent to them, by Lightning.

Theory of operation. A payout holds its amount and fee reserve first (`open`). Then, as
often as needed, an attempt:

    prepare   fetch an invoice from the target; Plan: store invoice and payment hash
    send      Plan: the attempt is `sent`; commit; only then the one call to the node
    settle    whatever is heard of that payment hash, live, after a restart or by polling,
              goes through `settle` and nowhere else

A crash before `send` is committed: nothing has left, the attempt is sent later. A crash
after it: the attempt is `sent`, so the node's own records decide. Unknown stays held.
Only the records can end an attempt: complete means paid; all failed, once the call is
over and seen twice with a pause and no HTLC, means failed; an empty list means the call is
made again with the same invoice, or, when that has expired and the node has been synced
long enough, failed. The payment hash is the attempt's id: one hash settles one payout,
ever. A new attempt needs the old one definitely failed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from relaybot.clock import Clock
from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from relaybot.processes import ALONE, Process
from wallet.accounts import user
from wallet.book import Book
from wallet.ledger import Plan, Verdict
from wallet.lightning import DecodedInvoice, Lightning, PaymentReport, PaymentState
from wallet.lnurl import OWN_NODE
from wallet.money import Msat, floor_to_sat
from wallet.payout_plans import (
    Finding,
    PayoutRules,
    evidence_of,
    may_be_sent_again,
    plan_failed,
    plan_looked,
    plan_opened,
    plan_prepared,
    plan_sent,
    plan_sent_again,
    plan_settled,
    plan_stopped,
    plan_taken,
    plan_waiting,
    reserve_msat,
)
from wallet.states import AttemptState, PayoutState

log = structlog.get_logger()

CHECKS_MAX = 200  # users looked at in one round
DUE_MAX = 200  # payouts looked at in one round
ROUND_SECONDS = 1.0  # between two looks for what is due
SLOW_SECONDS = 5.0  # a call that takes longer no longer counts against the concurrency

KEEP = "keep"  # a target that means: leave it as balance
TARGET_SOURCES = ("registered", "10133", "profile")  # in the order in which they are obeyed
CLOSED = "withdrawals are closed"
ORPHAN = "pending at the node, but in no channel: the node lost it when it was killed; to be looked at by hand"

LookUp = Callable[[str], Awaitable[None]]  # (pubkey): ask the relays where this user wants to be paid
RequestInvoice = Callable[[str, Msat], Awaitable[DecodedInvoice]]  # (target, amount): Rejected, Unavailable


class Payouts:
    """The life of payouts. `open_due` and `step` are called by the service's loops."""

    def __init__(
        self,
        book: Book,
        lightning: Lightning,
        clock: Clock,
        rules: PayoutRules,
        *,
        request_invoice: RequestInvoice,
        look_up: LookUp,
        process: Process = ALONE,
    ) -> None:
        self._book = book
        self._lightning = lightning
        self._clock = clock
        self._rules = rules
        self._request_invoice = request_invoice
        self._look_up = look_up
        self._process = process
        self._calling: set[str] = set()  # payment hashes with a call under way in this process

    # Opening

    async def open_due(self) -> bool:
        """Open a payout for each user whose balance is due; tell whether more users are waiting for a look."""
        rows = await self._book.database.fetch(
            "SELECT id FROM users WHERE payout_check_at <= :now ORDER BY payout_check_at LIMIT :limit",
            now=self._clock.now(),
            limit=CHECKS_MAX,
        )
        for row in rows:
            if await self.target_of(row["id"]) is None:
                try:
                    await self._look_up(row["id"])  # what is found comes in by the inbox, and asks for another look
                except Unavailable as error:  # this one is looked at again in the next round; the others go on
                    log.warning("target_not_looked_up", pubkey=row["id"], reason=str(error))
                    continue
            await self._book.decide(partial(self._decide_open, row["id"]))
        return len(rows) == CHECKS_MAX

    async def _decide_open(self, pubkey: str) -> Plan | None:
        row = await self._book.row("users", pubkey)
        assert row is not None, f"no row of user {pubkey}"
        balance = await self._book.balance(user(pubkey))
        total = floor_to_sat(Msat(balance))
        reserve = reserve_msat(self._rules, total)
        amount = floor_to_sat(Msat(max(0, total - reserve)))
        threshold = self._rules.threshold_msat if row["threshold_msat"] is None else row["threshold_msat"]
        target = await self.target_of(pubkey)
        idle = (
            balance < threshold
            or amount == 0
            or target is None
            or row["withdrawals"] != "open"
            or await self._has_open_payout(pubkey)
        )
        if idle or target is None:
            return plan_looked(row)
        return plan_opened(row, target, amount=amount, reserve=reserve, now=self._clock.now())

    async def _has_open_payout(self, pubkey: str) -> bool:
        sql = "SELECT 1 FROM payouts WHERE pubkey = :pubkey AND next_at IS NOT NULL LIMIT 1"
        return bool(await self._book.database.fetch(sql, pubkey=pubkey))

    async def target_of(self, pubkey: str) -> str | None:
        """Return where `pubkey` wants to be paid: registered with us, else kind 10133, else the profile's lud16."""
        found = await self._book.database.rows_by_id("targets", [f"{pubkey}/{source}" for source in TARGET_SOURCES])
        for source in TARGET_SOURCES:
            row = found.get(f"{pubkey}/{source}")
            if row is not None and row["target"]:
                return None if row["target"] == KEEP else str(row["target"])
        return None

    # Going on

    async def run(self, *, concurrency: int, slow_seconds: float = SLOW_SECONDS) -> None:
        """Bring on every payout that is due, for ever, so many at once; one that hangs makes room for the next."""
        news, slots, running = self._book.watch("payouts"), asyncio.Semaphore(concurrency), set[str]()

        async def bring_on(payout_id: str) -> None:
            step = tasks.create_task(self._step_or_wait(payout_id))
            step.add_done_callback(lambda _: running.discard(payout_id))
            await asyncio.wait({step}, timeout=slow_seconds)
            slots.release()

        async with asyncio.TaskGroup() as tasks:
            while True:
                news.clear()
                for payout_id in await self._due_or_none():
                    if payout_id not in running:
                        await slots.acquire()
                        running.add(payout_id)
                        tasks.create_task(bring_on(payout_id))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), ROUND_SECONDS)

    async def _due_or_none(self) -> list[str]:
        try:
            return await self._due()
        except Unavailable as error:  # the database: the next round looks again
            log.warning("payouts_unavailable", reason=str(error))
            return []

    async def _due(self) -> list[str]:
        """Return the ids of payouts that have something to do now, longest waiting first."""
        now, rules = self._clock.now(), self._rules
        rows = await self._book.database.fetch(
            "SELECT id, attempt FROM payouts WHERE next_at <= :now OR next_at > :latest ORDER BY next_at LIMIT :limit",
            now=now,
            latest=now + max(rules.retry_seconds_max, rules.poll_seconds, rules.confirm_seconds),  # the clock was ahead
            limit=DUE_MAX + len(self._calling),
        )
        return [row["id"] for row in rows if row["attempt"] not in self._calling]

    async def _step_or_wait(self, payout_id: str) -> None:
        try:
            await self.step(payout_id)
        except Unavailable as error:  # the node: what is sent stays sent, and is asked about in the next round
            log.warning("payout_unavailable", payout=payout_id, reason=str(error))
            await asyncio.sleep(ROUND_SECONDS)

    async def _taken(self, payout_id: str) -> Row | None:
        """Return a payout that is ours to bring on; None if another process does.

        It is taken by a Plan that raises its version, which every later Plan guards. What may
        have been paid is taken by nobody: whoever hears of it settles it.
        """
        payout = await self._book.row("payouts", payout_id)
        assert payout is not None, f"no payout {payout_id}"
        attempt = await self._book.row("attempts", payout["attempt"]) if payout["attempt"] else None
        sent = attempt is not None and AttemptState(attempt["state"]) is AttemptState.SENT
        if sent or payout["holder"] == self._process.name:
            return payout
        if not await self._process.is_gone(payout["holder"]):
            return None
        answer = await self._book.apply(plan_taken(payout, self._process.name))
        return await self._book.row("payouts", payout_id) if answer.done else None

    async def step(self, payout_id: str) -> None:
        """Bring one payout on by one step: prepare an attempt, send it, or ask what became of it."""
        payout = await self._taken(payout_id)
        if payout is None:
            return
        match PayoutState(payout["state"]):
            case PayoutState.OPEN | PayoutState.WAITING:
                await self._prepare(payout)
            case PayoutState.PAYING:
                attempt = await self._book.row("attempts", payout["attempt"])
                assert attempt is not None, f"payout {payout_id} names an attempt that is not there"
                if AttemptState(attempt["state"]) is AttemptState.PREPARED:
                    await self._send(payout, attempt)
                else:
                    await self._inquire(payout, attempt)
            case PayoutState.PAID | PayoutState.STOPPED:
                pass

    async def _prepare(self, payout: Row) -> None:
        target = await self.target_of(payout["pubkey"])
        if target is None or await self._is_closed(payout["pubkey"]):
            await self._stop(payout, "there is no payout target" if target is None else CLOSED)
            return
        try:
            invoice = await self._request_invoice(target, Msat(payout["amount_msat"]))
        except Unavailable as error:
            await self._wait(payout, f"the target does not answer: {error}")
            return
        except Rejected as error:
            if error.reason == OWN_NODE:  # that is where the money is already
                await self._stop(payout, "the target is our own node: it stays balance")
            else:
                await self._refused_target(payout, str(error))
            return
        assert invoice.amount_msat == payout["amount_msat"], f"payout {payout['id']}: invoice of {invoice.amount_msat}"
        answer = await self._book.apply(plan_prepared(payout, invoice, target, self._clock.now()))
        if not answer.done and await self._book.row("attempts", invoice.payment_hash) is not None:
            await self._refused_target(payout, "the target gave an invoice that was used before")

    async def _send(self, payout: Row, attempt: Row) -> None:
        obstacle = await self._obstacle(payout, attempt)
        if obstacle is not None:  # nothing has left: this invoice can be put aside
            await self._book.apply(plan_failed(payout, attempt, obstacle, self._rules, self._clock.now()))
            return
        answer = await self._book.apply(plan_sent(payout, attempt, self._rules, self._clock.now()))
        if answer.verdict is Verdict.APPLIED:  # `already`: another process did it, and makes the call
            await self._call(payout, attempt)

    async def _obstacle(self, payout: Row, attempt: Row) -> str | None:
        """Return why a prepared attempt must not be sent any more: it may have been prepared long ago."""
        if await self._is_closed(payout["pubkey"]):
            return CLOSED
        if await self.target_of(payout["pubkey"]) != payout["target"]:
            return "the target was changed before it was sent"
        if attempt["expires_at"] <= self._clock.now():
            return "the invoice expired before it was sent"
        return None

    async def _is_closed(self, pubkey: str) -> bool:
        owner = await self._book.row("users", pubkey)
        return owner is None or owner["withdrawals"] != "open"

    async def _call(self, payout: Row, attempt: Row) -> None:
        """Make the one call to the node; the attempt is `sent` and committed before."""
        self._calling.add(attempt["id"])
        log.info("payout_sent", payout=payout["id"], payment_hash=attempt["id"], amount_msat=payout["amount_msat"])
        try:
            report = await self._lightning.pay(
                attempt["bolt11"], maxfee_msat=Msat(payout["reserve_msat"]), label=f"payout/{payout['id']}"
            )
        finally:
            self._calling.discard(attempt["id"])
        if report.state is PaymentState.SETTLED:
            await self.settle(attempt["id"], report)
        else:  # an error is never "not paid": the records are asked at once, and again until they answer
            log.info("payout_unknown", payout=payout["id"], payment_hash=attempt["id"], reason=report.reason)
            await self.settle(attempt["id"], await self._lightning.payment(attempt["id"]), said=report.reason or "")

    async def _inquire(self, payout: Row, attempt: Row) -> None:
        report = await self._lightning.payment(attempt["id"])
        await self.settle(attempt["id"], report, said=ORPHAN if await self._is_orphan(attempt, report) else "")
        after = await self._book.row("attempts", attempt["id"])
        assert after is not None, f"no attempt {attempt['id']}"
        if AttemptState(after["state"]) is AttemptState.SENT and may_be_sent_again(
            after, self._rules, self._clock.now()
        ):
            await self._send_again(payout, after)

    async def _is_orphan(self, attempt: Row, report: PaymentReport) -> bool:
        """Tell whether the node lost this payment when it was killed: pending for ever, and in no channel."""
        late = self._clock.now() - attempt["expires_at"] >= self._rules.failed_after_expiry_seconds
        if report.state is not PaymentState.PENDING or not late or attempt["id"] in await self._lightning.htlc_hashes():
            return False
        if attempt["reason"] != ORPHAN:
            log.error("payment_orphaned", payout=attempt["payout"], payment_hash=attempt["id"])
        return True

    async def _send_again(self, payout: Row, attempt: Row) -> None:
        answer = await self._book.apply(plan_sent_again(payout, attempt, self._clock.now()))
        if answer.verdict is Verdict.APPLIED:
            await self._call(payout, attempt)

    # Settling

    async def settle(self, payment_hash: str, report: PaymentReport, *, said: str = "") -> None:
        """Take what is known of a payment: the one finish for live answers, restarts and polling.

        `said` is why it is not paid yet, in words for people.
        """
        synced, in_flight = True, False
        if report.state in {PaymentState.FAILED, PaymentState.UNKNOWN}:
            synced = (await self._lightning.info()).synced
            in_flight = payment_hash in await self._lightning.htlc_hashes()
        found = Finding(report, evidence_of(report) if synced and not in_flight else "", said)
        await self._book.decide(partial(self._decide_settle, payment_hash, found))

    async def _decide_settle(self, payment_hash: str, found: Finding) -> Plan | None:
        attempt = await self._book.row("attempts", payment_hash)
        assert attempt is not None, f"no attempt {payment_hash}"
        payout = await self._book.row("payouts", attempt["payout"])
        assert payout is not None, f"attempt {payment_hash} has no payout"
        if AttemptState(attempt["state"]) is not AttemptState.SENT:
            if found.report.state is PaymentState.SETTLED and AttemptState(attempt["state"]) is AttemptState.FAILED:
                log.error("paid_after_failure", payout=payout["id"], payment_hash=payment_hash)
            return None
        plan = plan_settled(payout, attempt, found, self._rules, self._clock.now())
        _tell(payout, payment_hash, found.report, plan)
        return plan

    # Waiting and stopping

    async def _wait(self, payout: Row, reason: str) -> None:
        log.info("payout_waits", payout=payout["id"], reason=reason)
        await self._book.apply(plan_waiting(payout, reason, self._rules, self._clock.now()))

    async def _refused_target(self, payout: Row, reason: str) -> None:
        """Ask a target that refuses again later, then give it up: the money is balance again."""
        if payout["attempts"] + 1 >= self._rules.attempts_max:
            await self._stop(payout, reason)
        else:
            await self._wait(payout, reason)

    async def _stop(self, payout: Row, reason: str) -> None:
        log.warning("payout_stopped", payout=payout["id"], reason=reason)
        await self._book.apply(plan_stopped(payout, reason, self._clock.now()))


def _tell(payout: Row, payment_hash: str, report: PaymentReport, plan: Plan) -> None:
    """Log how a payment ended, if it did; loudly where the node did what it should not."""
    names = {"payout": payout["id"], "payment_hash": payment_hash}
    if plan.key.endswith("/failed"):
        log.info("payout_attempt_failed", **names, reason=report.reason)
    if report.amount_sent_msat is None:
        return
    fee = report.amount_sent_msat - payout["amount_msat"]
    log.info("payout_paid", **names, sent_msat=report.amount_sent_msat)
    if fee < 0:
        log.error("paid_in_part", **names, sent_msat=report.amount_sent_msat, amount_msat=payout["amount_msat"])
    if fee > payout["reserve_msat"]:
        log.error("fee_above_reserve", **names, fee_msat=fee, reserve_msat=payout["reserve_msat"])
