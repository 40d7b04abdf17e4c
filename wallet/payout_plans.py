"""What a payout and its attempts turn into: the Plan of each step. Pure: rows and the time in, a Plan out.

The theory of operation stands in `payouts.py`, which reads the rows, calls the node and
applies what is planned here.
"""

from __future__ import annotations

from dataclasses import dataclass

from relaybot.db.database import Row
from relaybot.errors import Rejected
from wallet.accounts import EXPENSE_LIGHTNING, NODE_LIGHTNING, hold, user
from wallet.ledger import Change, Expect, Insert, Plan, Put, Transfer, Update, Values
from wallet.lightning import DecodedInvoice, PaymentReport, PaymentState
from wallet.money import Msat
from wallet.opening import PayoutRules, cause_of
from wallet.states import ATTEMPT, PAYOUT, AttemptState, AttemptStep, PayoutKind, PayoutState, PayoutStep
from wallet.switches import RESTORED

REASON_CHARACTERS_MAX = 200  # of why something waits, stopped or failed

GIVEN_UP = "given up by the operator"
NO_RECORD = "no record"  # the reason with which the port reports an empty list
PAID_AFTER_ALL = "paid"  # in the place of a doubt: the node contradicts the book
FAILED, EMPTY = "failed", "empty"  # what a synced node's records can say that may end an attempt


# Going on


def plan_taken(payout: Row, holder: str) -> Plan:
    """Have the process `holder` bring the payout on, and nobody else while it lives."""
    taken = Update("payouts", payout["id"], {"holder": holder}, expect={"version": payout["version"]})
    return Plan(f"{cause_of(payout['id'])}/taken/{payout['version']}", changes=(taken,))


def plan_prepared(payout: Row, invoice: DecodedInvoice, target: str, now: int) -> Plan:
    """Store invoice and payment hash of the next attempt; nothing has left."""
    number = payout["attempts"] + 1
    attempt: Values = {
        "payout": payout["id"],
        "number": number,
        "state": AttemptState.PREPARED.value,
        "bolt11": invoice.bolt11,
        "amount_msat": payout["amount_msat"] if invoice.amount_msat is None else None,
        "expires_at": invoice.expires_at,
        "reason": "",
        "sent_at": 0,
        "doubt": "",
        "doubt_since": 0,
        "created_at": now,
    }
    values: Values = {"attempts": number, "attempt": invoice.payment_hash, "target": target, "next_at": now}
    changes = (_moved(payout, PayoutStep.PREPARE, values, now), Insert("attempts", invoice.payment_hash, attempt))
    return Plan(f"{cause_of(payout['id'])}/attempt/{number}", changes=changes)


def plan_sent(payout: Row, attempt: Row, rules: PayoutRules, now: int) -> Plan:
    """Note that the attempt is sent: from this commit on it may have been paid. Guarded by every switch that is on."""
    sent: Values = {"state": ATTEMPT.after(AttemptState.PREPARED, AttemptStep.SEND).value, "sent_at": now}
    next_look: Values = {"next_at": now + rules.poll_seconds}
    changes: tuple[Change, ...] = (
        *switches(payout),
        Update("attempts", attempt["id"], sent, expect={"version": attempt["version"]}),
        Update("payouts", payout["id"], next_look, expect={"version": payout["version"]}),
    )
    return Plan(f"payment/{attempt['id']}/sent", changes=changes)


def plan_sent_again(payout: Row, attempt: Row, now: int) -> Plan:
    """Note that the same invoice is tried again; what the records said before no longer counts."""
    sent: Values = {"sent_at": now, "doubt": "", "doubt_since": 0}
    changes: tuple[Change, ...] = (
        *switches(payout),
        Update("attempts", attempt["id"], sent, expect={"version": attempt["version"]}),
    )
    return Plan(f"payment/{attempt['id']}/again/{attempt['version']}", changes=changes)


def switches(payout: Row) -> tuple[Expect, ...]:
    """Return the guards that this user's withdrawals, this kind of payout and its rail are open."""
    return (
        Expect("users", payout["pubkey"], {"withdrawals": "open"}),
        *(Expect("pauses", scope, {"state": "open"}) for scope in scopes_of(payout)),
    )


def scopes_of(payout: Row) -> tuple[str, ...]:
    """Return the switches that must be open for this payout: its kind's, its rail's, and that of a restore."""
    return f"{payout['kind']}s", payout["rail"], RESTORED


def may_be_sent_again(attempt: Row, rules: PayoutRules, now: int) -> bool:
    """Tell whether nothing was ever sent, as far as a synced node knows for long enough."""
    return bool(
        attempt["doubt"] == EMPTY
        and now - attempt["doubt_since"] >= rules.empty_seconds
        and now < attempt["expires_at"]
    )


# Settling


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about a payment; `said` is why it is not paid yet, in words for people."""

    report: PaymentReport
    evidence: str  # FAILED or EMPTY if a synced node without this HTLC says so, else ''
    said: str = ""


def evidence_of(report: PaymentReport) -> str:
    """Return what a report says that may end an attempt: FAILED, EMPTY, or '' for neither."""
    return FAILED if report.state is PaymentState.FAILED else EMPTY if report.reason == NO_RECORD else ""


def plan_settled(payout: Row, attempt: Row, found: Finding, rules: PayoutRules, now: int) -> Plan:
    """Return what follows for a sent attempt: paid, definitely failed, or held on and asked about again."""
    if found.report.state is PaymentState.SETTLED:
        return plan_paid(payout, attempt, found.report, now)
    evidence = found.evidence
    if evidence == FAILED and now < attempt["sent_at"] + rules.call_seconds:
        evidence = ""  # the call may be between two routes: every attempt failed, and one more follows
    since = _since(payout, attempt, evidence, rules, now)
    if evidence and _is_definite(attempt, evidence, since, rules, now):
        reason = found.said or attempt["reason"] or found.report.reason or NO_RECORD
        return plan_failed(payout, attempt, reason, rules, now)
    return _plan_doubted(payout, attempt, Finding(found.report, evidence, found.said), rules, since=since, now=now)


def plan_contradicted(attempt: Row) -> Plan:
    """Note that the node says paid of an attempt that counted as failed: `payouts list --stuck` shows it."""
    change = Update("attempts", attempt["id"], {"doubt": PAID_AFTER_ALL}, expect={"version": attempt["version"]})
    return Plan(f"payment/{attempt['id']}/contradicted", changes=(change,))


def plan_failed(payout: Row, attempt: Row, reason: str, rules: PayoutRules, now: int) -> Plan:
    """End an attempt that definitely did not pay; the payout waits for the next one, or its money is balance again."""
    state = ATTEMPT.after(AttemptState(attempt["state"]), AttemptStep.FAIL).value
    failed: Values = {"state": state, "reason": reason[:REASON_CHARACTERS_MAX]}
    ended = Update("attempts", attempt["id"], failed, expect={"version": attempt["version"]})
    single = attempt["bolt11"] == payout["target"]  # an invoice of the user's own: one payment hash pays once, ever
    transfers, change = _after_failure(payout, reason, payout["attempts"], rules, single=single, now=now)
    return Plan(f"payment/{attempt['id']}/failed", transfers, (ended, change))


def plan_paid(payout: Row, attempt: Row, report: PaymentReport, now: int) -> Plan:
    """Book a payment that arrived: amount and fee have left the escrow, the rest is its owner's again."""
    escrow, owner, amount = hold(cause_of(payout["id"])), user(payout["pubkey"]), Msat(payout["amount_msat"])
    assert report.amount_sent_msat is not None, f"payment {attempt['id']} settled without an amount"
    paid = min(report.amount_sent_msat, amount)  # less than the amount: the payee took a part of the parts only
    fee = report.amount_sent_msat - paid
    charged = min(fee, payout["reserve_msat"])  # more than the reserve: the node broke its limit, the platform bears it
    transfers = (
        (escrow, NODE_LIGHTNING, paid, "payout"),
        (escrow, NODE_LIGHTNING, charged, "fee"),
        (EXPENSE_LIGHTNING, NODE_LIGHTNING, fee - charged, "fee above the reserve"),
        (escrow, owner, amount - paid, "not taken"),
        (escrow, owner, payout["reserve_msat"] - charged, "reserve not needed"),
    )
    ended: Values = {
        "state": ATTEMPT.after(AttemptState.SENT, AttemptStep.PAY).value,
        "preimage": report.preimage or "",
    }
    values: Values = {"paid_msat": paid, "fee_msat": charged, "next_at": None, "reason": ""}
    changes = (
        Update("attempts", attempt["id"], ended, expect={"version": attempt["version"]}),
        _moved(payout, PayoutStep.PAY, values, now),
        Put("users", payout["pubkey"], {"payout_check_at": now}),
    )
    return Plan(
        f"payment/{attempt['id']}/settled",
        tuple(Transfer(debit, credit, Msat(msat), why) for debit, credit, msat, why in transfers if msat),
        changes,
    )


def _plan_doubted(payout: Row, attempt: Row, found: Finding, rules: PayoutRules, *, since: int, now: int) -> Plan:
    """Remember what the records say; the money stays held, and they are asked again."""
    pause = rules.confirm_seconds if found.evidence == FAILED else rules.poll_seconds
    reason: Values = {"reason": found.said[:REASON_CHARACTERS_MAX]} if found.said else {}
    doubt: Values = {"doubt": found.evidence, "doubt_since": since, **reason}
    next_look: Values = {"next_at": now + pause, **reason}
    changes = (
        Update("attempts", attempt["id"], doubt, expect={"version": attempt["version"]}),
        Update("payouts", payout["id"], next_look, expect={"version": payout["version"]}),
    )
    return Plan(f"payment/{attempt['id']}/doubt/{attempt['version']}", changes=changes)


def _since(payout: Row, attempt: Row, evidence: str, rules: PayoutRules, now: int) -> int:
    """Return since when the records have said so without a break: no other answer, and no look left out."""
    if not evidence:
        return 0
    watched = now - payout["next_at"] <= rules.empty_seconds  # the look was wanted at `next_at`
    return min(now, attempt["doubt_since"]) if watched and evidence == attempt["doubt"] else now


def _is_definite(attempt: Row, evidence: str, since: int, rules: PayoutRules, now: int) -> bool:
    if evidence != attempt["doubt"]:
        return False  # the first sight: a second one, after a pause, must say the same
    if evidence == FAILED:
        return now - since >= rules.confirm_seconds
    seconds = rules.failed_after_expiry_seconds
    return bool(now - since >= seconds and now - attempt["expires_at"] >= seconds)


# Waiting and stopping


def plan_waiting(payout: Row, reason: str, rules: PayoutRules, now: int) -> Plan:
    """Try again later: no attempt could be made. The money stays held, or is balance again if it waited too long."""
    tries = payout["attempts"] + 1
    transfers, change = _after_failure(payout, reason, tries, rules, single=False, now=now)
    return Plan(f"{cause_of(payout['id'])}/attempt/{tries}", transfers, (change,))


def plan_paused(payout: Row, reason: str, rules: PayoutRules, now: int) -> Plan:
    """Look again later, without counting it as a try: a switch or a limit of ours stands against it.

    What is prepared stays so; a withdrawal that waited too long is given up, its money is balance again.
    """
    key, prepared = f"{cause_of(payout['id'])}/paused/{payout['version']}", payout["state"] == PayoutState.PAYING.value
    if _is_late(payout, rules, now) and not prepared:
        return plan_stopped(payout, reason, now)
    values: Values = {"reason": reason[:REASON_CHARACTERS_MAX], "next_at": now + rules.retry_seconds}
    if prepared:
        return Plan(key, changes=(Update("payouts", payout["id"], values, expect={"version": payout["version"]}),))
    return Plan(key, changes=(_moved(payout, PayoutStep.WAIT, values, now),))


def plan_stopped(payout: Row, reason: str, now: int) -> Plan:
    """Give a payout up before anything of it was sent: its money is balance again."""
    transfers, change = _stopped(payout, PayoutState(payout["state"]), reason, now)
    return Plan(f"{cause_of(payout['id'])}/stop", transfers, (change,))


def plan_retried(payout: Row, now: int) -> Plan:
    """Look at a payout now; Rejected if it is over. It changes when something happens, never what."""
    _require_open(payout)
    values: Values = {"next_at": now}
    soon = Update("payouts", payout["id"], values, expect={"version": payout["version"]})
    return Plan(f"{cause_of(payout['id'])}/retry/{payout['version']}", changes=(soon,))


def plan_given_up(payout: Row, attempt: Row | None, now: int) -> Plan:
    """Make a payout's money balance again because the operator says so; Rejected if it is over.

    That a sent attempt can never arrive is what the caller has made sure of.
    """
    _require_open(payout)
    state, ended = PayoutState(payout["state"]), tuple[Change, ...]()
    if state is PayoutState.PAYING:
        assert attempt is not None, f"payout {payout['id']} is paying by nothing"
        failed: Values = {"state": ATTEMPT.after(AttemptState(attempt["state"]), AttemptStep.FAIL).value}
        values: Values = {**failed, "reason": GIVEN_UP}
        ended = (Update("attempts", attempt["id"], values, expect={"version": attempt["version"]}),)
        state = PAYOUT.after(state, PayoutStep.WAIT)
    transfers, change = _stopped(payout, state, GIVEN_UP, now, why="given up")
    return Plan(f"{cause_of(payout['id'])}/give-up", transfers, (*ended, change))


def _require_open(payout: Row) -> None:
    if payout["next_at"] is None:
        raise Rejected("invalid", f"the payout is over: {payout['state']}")


def _after_failure(
    payout: Row, reason: str, tries: int, rules: PayoutRules, *, single: bool, now: int
) -> tuple[tuple[Transfer, ...], Change]:
    """Wait for the next try; stop a withdrawal that was tried for long enough, or whose invoice is used up."""
    if single or _is_late(payout, rules, now):
        return _stopped(payout, PAYOUT.after(PayoutState(payout["state"]), PayoutStep.WAIT), reason, now)
    return (), _waiting(payout, reason, tries, rules, now)


def _is_late(payout: Row, rules: PayoutRules, now: int) -> bool:
    asked = PayoutKind(payout["kind"]) is PayoutKind.WITHDRAWAL
    return asked and bool(now - payout["created_at"] >= rules.withdrawal_seconds)


def _stopped(
    payout: Row, state: PayoutState, reason: str, now: int, *, why: str = "stopped"
) -> tuple[tuple[Transfer, ...], Change]:
    held = Msat(payout["amount_msat"] + payout["reserve_msat"])
    back = Transfer(hold(cause_of(payout["id"])), user(payout["pubkey"]), held, why)
    after = PAYOUT.after(state, PayoutStep.STOP).value
    values: Values = {"state": after, "updated_at": now, "reason": reason[:REASON_CHARACTERS_MAX], "next_at": None}
    return (back,), Update("payouts", payout["id"], values, expect={"version": payout["version"]})


def _waiting(payout: Row, reason: str, tries: int, rules: PayoutRules, now: int) -> Update:
    pause = min(rules.retry_seconds << min(tries - 1, 20), rules.retry_seconds_max)
    values: Values = {"attempts": tries, "reason": reason[:REASON_CHARACTERS_MAX], "next_at": now + pause}
    return _moved(payout, PayoutStep.WAIT, values, now)


def _moved(payout: Row, step: PayoutStep, values: Values, now: int) -> Update:
    state = PAYOUT.after(PayoutState(payout["state"]), step).value
    after: Values = {"state": state, "updated_at": now, **values}
    return Update("payouts", payout["id"], after, expect={"version": payout["version"]})
