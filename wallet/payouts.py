"""Money on its way out over Lightning: contributors' payouts, and withdrawals that users asked for.

Theory of operation. A payout holds its amount and fee reserve first (`opening.py`). Then,
as often as needed, an attempt:

    prepare   fetch an invoice from the target; Plan: store invoice and payment hash
    send      wait for a place at the node; Plan: the attempt is `sent`; commit; only then the one call
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

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

import structlog

from relaybot.clock import Clock
from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from relaybot.loops import Stumbles
from relaybot.processes import ALONE, Process
from wallet.book import Book
from wallet.ledger import Change, Plan, Verdict
from wallet.lightning import DecodedInvoice, Lightning, PaymentReport, PaymentState
from wallet.lnurl import OWN_NODE
from wallet.money import Msat
from wallet.obstacles import Obstacles
from wallet.opening import PayoutRules
from wallet.payout_notices import Tell, notice_of, stuck_notice, tell_nobody
from wallet.payout_plans import (
    Finding,
    evidence_of,
    may_be_sent_again,
    plan_contradicted,
    plan_failed,
    plan_paused,
    plan_prepared,
    plan_sent,
    plan_sent_again,
    plan_settled,
    plan_stopped,
    plan_taken,
    plan_waiting,
)
from wallet.payout_queue import SLOW_SECONDS, PayoutQueue
from wallet.states import AttemptState, PayoutKind, PayoutState, Rail
from wallet.targets import payable_targets, rail_of

log = structlog.get_logger()


ORPHAN = "pending at the node, but in no channel: the node lost it when it was killed; to be looked at by hand"

_PAYOUT_OF = "SELECT payouts.* FROM attempts JOIN payouts ON payouts.id = attempts.payout WHERE attempts.id = :attempt"

# (payout, attempt, report): what is owed to others than the owner when a payment arrived, in the Plan that books it
Heard = Callable[[Row, Row, PaymentReport], Awaitable[Sequence[Change]]]
RequestInvoice = Callable[[str, Msat], Awaitable[DecodedInvoice]]  # (target, amount): Rejected, Unavailable
# (payout, target): an invoice that is also a zap, and what notes that, or None: then it is asked for plainly
RequestZap = Callable[[Row, str], Awaitable[tuple[DecodedInvoice, tuple[Change, ...]] | None]]


async def no_zap(_payout: Row, _target: str) -> None:
    """Pay everybody plainly."""
    return


async def heard_by_nobody(_payout: Row, _attempt: Row, _report: PaymentReport) -> Sequence[Change]:
    """Owe nobody word of a payment."""
    return ()


class Payouts:
    """The life of payouts over Lightning. `run` is a task of the service."""

    def __init__(
        self,
        book: Book,
        lightning: Lightning,
        clock: Clock,
        rules: PayoutRules,
        *,
        request_invoice: RequestInvoice,
        request_zap: RequestZap = no_zap,
        tell: Tell = tell_nobody,
        heard: Heard = heard_by_nobody,
        process: Process = ALONE,
        stumbles: Stumbles | None = None,
    ) -> None:
        self._stumbles = stumbles or Stumbles(clock)
        self._book = book
        self._lightning = lightning
        self._clock = clock
        self._rules = rules
        self._request_invoice = request_invoice
        self._request_zap = request_zap
        self._tell = tell
        self._heard = heard
        self._obstacles = Obstacles(book, lightning, clock, rules)
        self._process = process
        self._calling: set[str] = set()  # payment hashes with a call under way in this process
        self.queue = PayoutQueue(book, clock, rules, self.step, calling=self._calling, stumbles=self._stumbles)

    # Going on

    async def run(self, *, concurrency: int, at_once: int, slow_seconds: float = SLOW_SECONDS) -> None:
        """Bring on every payout that is due, for ever, `concurrency` at the node at once.

        As many more are made ready, or booked, meanwhile. What hangs makes room for the next. `at_once` of all
        may go to the same host: one wallet's trouble leaves room for the others.
        """
        await self.queue.run(concurrency=concurrency, at_once=at_once, slow_seconds=slow_seconds)

    async def _taken(self, payout_id: str) -> tuple[Row, Row | None] | None:
        """Return a payout that is ours to bring on, and its attempt; None if another process does.

        It is taken by a Plan that raises its version, which every later Plan guards. What may
        have been paid is taken by nobody: whoever hears of it settles it.
        """
        payout = await self._book.row("payouts", payout_id)
        assert payout is not None, f"no payout {payout_id}"
        attempt = await self._book.row("attempts", payout["attempt"]) if payout["attempt"] else None
        sent = attempt is not None and AttemptState(attempt["state"]) is AttemptState.SENT
        if sent or payout["holder"] == self._process.name:
            return payout, attempt
        if not await self._process.is_gone(payout["holder"]):
            return None
        answer = await self._book.apply(plan_taken(payout, self._process.name))
        mine = await self._book.row("payouts", payout_id) if answer.done else None
        return None if mine is None else (mine, attempt)

    async def step(self, payout_id: str) -> bool:
        """Bring one payout on by one step: prepare an attempt, send it, or ask what became of it.

        Return whether an attempt is prepared now, and can be sent at once.
        """
        taken = await self._taken(payout_id)
        if taken is None:
            return False
        payout, attempt = taken
        match PayoutState(payout["state"]):
            case PayoutState.OPEN | PayoutState.WAITING:
                return await self._prepare(payout)
            case PayoutState.PAYING:
                assert attempt is not None, f"payout {payout_id} names an attempt that is not there"
                if AttemptState(attempt["state"]) is AttemptState.PREPARED:
                    await self._send(payout, attempt)
                else:
                    await self._inquire(payout, attempt)
            case PayoutState.PAID | PayoutState.STOPPED:
                pass
        return False

    async def _prepare(self, payout: Row) -> bool:
        targets = await self._targets(payout)
        reason = await self._obstacles.closed(payout["pubkey"]) if targets else "there is no payout target"
        if reason is not None:
            await self._stop(payout, reason)
            return False
        obstacle = await self._obstacles.before_asking(payout)
        if obstacle is not None:
            await self._pause(payout, obstacle)
            return False
        target = targets[payout["attempts"] % len(targets)]  # after a failure the next one has its turn
        try:
            zap = await self._request_zap(payout, target)
            invoice, noted = zap or (await self._request_invoice(target, Msat(payout["amount_msat"])), ())
        except Unavailable as error:
            await self._wait(payout, f"the target does not answer: {error}")
            return False
        except Rejected as error:
            if error.reason == OWN_NODE:  # that is where the money is already
                await self._stop(payout, "the target is our own node: it stays balance")
            else:
                await self._refused_target(payout, str(error))
            return False
        assert invoice.amount_msat in (payout["amount_msat"], None), f"{payout['id']}: invoice of {invoice.amount_msat}"
        plan = plan_prepared(payout, invoice, target, self._clock.now())
        answer = await self._book.apply(replace(plan, changes=(*plan.changes, *noted)))
        if not answer.done and await self._book.row("attempts", invoice.payment_hash) is not None:
            await self._refused_target(payout, "the target gave an invoice that was used before")
        return answer.done

    async def _targets(self, payout: Row) -> list[str]:
        """Return where it may go: a withdrawal where it was said, a payout where its owner wants to be paid."""
        if PayoutKind(payout["kind"]) is PayoutKind.WITHDRAWAL:
            return [payout["target"]]
        settled = self._clock.now() - self._rules.cooldown_seconds
        targets = await payable_targets(self._book, payout["pubkey"], said_by=settled)
        return [target for target in targets if rail_of(target) is Rail.LIGHTNING]

    async def _send(self, payout: Row, attempt: Row) -> None:
        async with self.queue.at_node.one():
            paused = await self._obstacles.switched_off(payout)
            if paused is not None:
                await self._pause(payout, paused)
                return
            obstacle = await self._obstacle(payout, attempt)
            if obstacle is not None:  # nothing has left: this invoice can be put aside
                await self._apply_told(payout, plan_failed(payout, attempt, obstacle, self._rules, self._clock.now()))
                return
            answer = await self._book.apply(plan_sent(payout, attempt, self._rules, self._clock.now()))
            if answer.verdict is not Verdict.APPLIED:  # `already`: another process did it, and makes the call
                return
            report = await self._call(payout, attempt)
        await self._hear(payout, attempt, report)

    async def _obstacle(self, payout: Row, attempt: Row) -> str | None:
        """Return why a prepared attempt must not be sent any more: it may have been prepared long ago."""
        closed = await self._obstacles.closed(payout["pubkey"])
        if closed is not None:
            return closed
        if payout["target"] not in await self._targets(payout):
            return "the target was changed before it was sent"
        if attempt["expires_at"] <= self._clock.now():
            return "the invoice expired before it was sent"
        return None

    async def _call(self, payout: Row, attempt: Row) -> PaymentReport:
        """Make the one call to the node; the attempt is `sent` and committed before."""
        self._calling.add(attempt["id"])
        log.info("payout_sent", payout=payout["id"], payment_hash=attempt["id"], amount_msat=payout["amount_msat"])
        try:
            return await self._lightning.pay(
                attempt["bolt11"],
                maxfee_msat=Msat(payout["reserve_msat"]),
                label=f"payout/{payout['id']}",
                amount_msat=attempt["amount_msat"],
            )
        finally:
            self._calling.discard(attempt["id"])

    async def _hear(self, payout: Row, attempt: Row, report: PaymentReport) -> None:
        """Take the call's answer."""
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
        elif AttemptState(after["state"]) is AttemptState.SENT:
            await self._tell_if_stuck(payout, after)

    async def _is_orphan(self, attempt: Row, report: PaymentReport) -> bool:
        """Tell whether the node lost this payment when it was killed: pending for ever, and in no channel."""
        late = self._clock.now() - attempt["expires_at"] >= self._rules.failed_after_expiry_seconds
        if report.state is not PaymentState.PENDING or not late or attempt["id"] in await self._lightning.htlc_hashes():
            return False
        if attempt["reason"] != ORPHAN:
            log.error("payment_orphaned", payout=attempt["payout"], payment_hash=attempt["id"])
        return True

    async def _send_again(self, payout: Row, attempt: Row) -> None:
        async with self.queue.at_node.one():
            answer = await self._book.apply(plan_sent_again(payout, attempt, self._clock.now()))
            if answer.verdict is not Verdict.APPLIED:
                return
            report = await self._call(payout, attempt)
        await self._hear(payout, attempt, report)

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
        # The payout first: while its attempt is still `sent` afterwards, it was paying when it was read.
        (payout,) = await self._book.database.fetch(_PAYOUT_OF, attempt=payment_hash)
        attempt = await self._book.row("attempts", payment_hash)
        assert attempt is not None, f"no attempt {payment_hash}"
        if AttemptState(attempt["state"]) is not AttemptState.SENT:
            if found.report.state is PaymentState.SETTLED and AttemptState(attempt["state"]) is AttemptState.FAILED:
                log.error("paid_after_failure", payout=payout["id"], payment_hash=payment_hash)
                return plan_contradicted(attempt)
            return None
        plan = plan_settled(payout, attempt, found, self._rules, self._clock.now())
        _log(payout, payment_hash, found.report, plan)
        if found.report.state is PaymentState.SETTLED:
            plan = replace(plan, changes=(*plan.changes, *await self._heard(payout, attempt, found.report)))
        return await self._told(payout, plan)

    # Waiting and stopping

    async def _wait(self, payout: Row, reason: str) -> None:
        log.info("payout_waits", payout=payout["id"], reason=reason)
        await self._apply_told(payout, plan_waiting(payout, reason, self._rules, self._clock.now()))

    async def _pause(self, payout: Row, reason: str) -> None:
        log.info("payout_waits", payout=payout["id"], reason=reason)
        await self._apply_told(payout, plan_paused(payout, reason, self._rules, self._clock.now()))

    async def _refused_target(self, payout: Row, reason: str) -> None:
        """Ask a target that refuses again later, then give it up: the money is balance again."""
        asked_for = PayoutKind(payout["kind"]) is PayoutKind.WITHDRAWAL
        if asked_for or payout["attempts"] + 1 >= self._rules.attempts_max:
            await self._stop(payout, reason)
        else:
            await self._wait(payout, reason)

    async def _stop(self, payout: Row, reason: str) -> None:
        log.warning("payout_stopped", payout=payout["id"], reason=reason)
        await self._apply_told(payout, plan_stopped(payout, reason, self._clock.now()))

    # Telling

    async def _tell_if_stuck(self, payout: Row, attempt: Row) -> None:
        """Tell owner and operator, once, of a payment whose end is not known for too long."""
        key, age = f"payment/{attempt['id']}/stuck", self._clock.now() - attempt["sent_at"]
        if age < self._rules.stuck_seconds or await self._book.row("plans", key) is not None:
            return
        log.warning("payment_stuck", payout=payout["id"], payment_hash=attempt["id"], seconds=age)
        await self._book.apply(Plan(key, changes=tuple(await self._tell(stuck_notice(payout)))))

    async def _apply_told(self, payout: Row, plan: Plan) -> None:
        await self._book.apply(await self._told(payout, plan))

    async def _told(self, payout: Row, plan: Plan) -> Plan:
        """Return `plan` with the message owed to the payout's owner, if it ends or begins to wait by it."""
        notice = notice_of(payout, plan)
        return plan if notice is None else replace(plan, changes=(*plan.changes, *await self._tell(notice)))


def _log(payout: Row, payment_hash: str, report: PaymentReport, plan: Plan) -> None:
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
