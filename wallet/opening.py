"""What is held when money is about to leave: a contributor's payout, or a withdrawal a user asked for. Pure.

The fee reserve is held beside the amount, so what a user is charged is never below what
was paid; what the way does not need goes back. Every opening raises the user's row by
its version, so limits over all of one user's payouts hold however many are asked for at
once. How a payout goes on stands in `payout_plans.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from relaybot.db.database import Row
from relaybot.errors import Rejected
from wallet.accounts import hold, user
from wallet.ledger import Change, Insert, Plan, Transfer, Update, Values
from wallet.money import Msat, floor_to_sat, format_sat, from_sat
from wallet.states import PayoutKind, PayoutState, Rail

PPM = 1_000_000
DAY_SECONDS = 86_400
USER_DAY_MSAT, DAY_MSAT = from_sat(1_000_000), from_sat(10_000_000)  # where nothing else is said


@dataclass(frozen=True, slots=True)
class PayoutRules:
    """The operator's rules (`payouts:`), in msat and seconds."""

    threshold_msat: Msat
    fee_ppm_max: int
    fee_minimum_msat: Msat
    retry_seconds: int
    retry_seconds_max: int
    poll_seconds: int  # between two looks at the node's records of a sent attempt
    confirm_seconds: int  # between the two looks that make a failure definite
    empty_seconds: int  # how long the records must be empty before the same invoice is tried again
    failed_after_expiry_seconds: int  # how long they must be empty after the invoice's expiry to mean failed
    attempts_max: int
    call_seconds: int = 180  # for so long after it was sent the node may still look for routes: our limit and its own
    withdrawal_seconds: int = 600  # for so long a withdrawal is tried; then the money is balance again
    stuck_seconds: int = 600  # sent for so long without an end: its owner and the operator are told
    cooldown_seconds: int = 86_400  # between a change of somebody's target and the next payout to them
    user_day_msat_max: Msat = USER_DAY_MSAT  # what one user is paid in 24 hours
    day_msat_max: Msat = DAY_MSAT  # what all together are paid in 24 hours
    open_per_user_max: int = 5  # payouts and withdrawals under way: hold invoices tie up no more channels than this


@dataclass(frozen=True, slots=True)
class Outflow:
    """What of one user's money is under way or went out in the last 24 hours."""

    open_count: int
    day_msat: Msat


def reserve_msat(rules: PayoutRules, total: Msat) -> Msat:
    """Return the most a route may cost for a payout out of `total`, rounded up."""
    return Msat(max(rules.fee_minimum_msat, -(-total * rules.fee_ppm_max // PPM)))


def whole_balance(rules: PayoutRules, balance: int) -> tuple[Msat, Msat]:
    """Return amount and reserve of a payout of all there is: whole sats, the reserve taken out of them (C3)."""
    reserve = reserve_msat(rules, floor_to_sat(Msat(balance)))
    return whole_less(balance, reserve), reserve


def whole_less(balance: int, reserve: Msat) -> Msat:
    """Return the whole sats of `balance` that are left beside a reserve."""
    return floor_to_sat(Msat(max(0, floor_to_sat(Msat(balance)) - reserve)))


def cause_of(payout_id: str) -> str:
    """Return the cause under which a payout's money is held."""
    return f"payout/{payout_id}"


def left_today(rules: PayoutRules, outflow: Outflow) -> Msat:
    """Return what one user may still send in these 24 hours; nothing while too much of theirs is under way."""
    full = outflow.open_count >= rules.open_per_user_max
    return Msat(0 if full else max(0, rules.user_day_msat_max - outflow.day_msat))


def check_limits(rules: PayoutRules, outflow: Outflow, amount: Msat) -> None:
    """Raise Rejected if a user may not send `amount` more now."""
    if outflow.open_count >= rules.open_per_user_max:
        raise Rejected("rate-limited", f"{outflow.open_count} of your payments are still under way: wait for them")
    left = left_today(rules, outflow)
    if amount > left:
        raise Rejected(
            "rate-limited", f"a day's limit is {format_sat(rules.user_day_msat_max)}: {format_sat(left)} left"
        )


def check_balance(balance: int, *, amount: Msat, reserve: Msat, most: Msat) -> None:
    """Raise Rejected if `balance` does not cover amount and reserve, saying what it does cover: `most`."""
    if balance < amount + reserve:
        said = f"{format_sat(balance)}, {format_sat(reserve)} kept ready for the way: at most {format_sat(most)}"
        raise Rejected("invalid", f"you have {said} can be sent (withdraw all)")


def opened(  # a payout has this many sides
    owner: Row,
    payout_id: str,
    target: str,
    *,
    kind: PayoutKind,
    rail: Rail,
    amount: Msat,
    reserve: Msat,
    now: int,
) -> tuple[Transfer, tuple[Change, ...]]:
    """Return the hold of amount and reserve, and the rows of a new payout of `owner`, a row of `users`."""
    values: Values = {
        "pubkey": owner["id"],
        "kind": kind.value,
        "rail": rail.value,
        "state": PayoutState.OPEN.value,
        "amount_msat": amount,
        "reserve_msat": reserve,
        "paid_msat": 0,
        "fee_msat": 0,
        "target": target,
        "attempts": 0,
        "attempt": "",
        "reason": "",
        "next_at": now,
        "created_at": now,
        "updated_at": now,
    }
    looked: Values = {} if kind is PayoutKind.WITHDRAWAL else {"payout_check_at": None}
    counted: Values = {"payouts": owner["payouts"] + 1}
    # withdrawals are closed by a row that may have moved since it was read: the version guards that, too
    changes = (
        Update("users", owner["id"], {**looked, **counted}, expect={"version": owner["version"]}),
        Insert("payouts", payout_id, values),
    )
    held = Transfer(user(owner["id"]), hold(cause_of(payout_id)), Msat(amount + reserve), "hold")
    return held, changes


def plan_opened(owner: Row, target: str, *, rail: Rail, amount: Msat, reserve: Msat, now: int) -> Plan:
    """Open a contributor's payout: hold amount and fee reserve out of the balance of `owner`, a row of `users`."""
    payout_id = f"{owner['id']}/{owner['payouts'] + 1}"
    held, changes = opened(
        owner, payout_id, target, kind=PayoutKind.PAYOUT, rail=rail, amount=amount, reserve=reserve, now=now
    )
    return Plan(f"{cause_of(payout_id)}/open", (held,), changes)


def plan_looked(owner: Row, *, again_at: int | None = None) -> Plan:
    """Note that the balance of `owner` was looked at and that nothing is due, or not before `again_at`."""
    looked = Update("users", owner["id"], {"payout_check_at": again_at}, expect={"version": owner["version"]})
    return Plan(f"users/{owner['id']}/looked/{owner['version']}", changes=(looked,))
