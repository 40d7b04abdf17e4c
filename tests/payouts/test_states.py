"""The two tables: what may follow what, and nothing else."""

from __future__ import annotations

from itertools import product

import pytest

from relaybot.errors import IllegalStep
from wallet.states import ATTEMPT, PAYOUT, AttemptState, AttemptStep, PayoutState, PayoutStep

PAYOUT_STEPS = {
    ("open", "prepare"): "paying",
    ("open", "wait"): "waiting",
    ("open", "stop"): "stopped",
    ("paying", "pay"): "paid",
    ("paying", "wait"): "waiting",
    ("waiting", "prepare"): "paying",
    ("waiting", "wait"): "waiting",
    ("waiting", "stop"): "stopped",
}
ATTEMPT_STEPS = {
    ("prepared", "send"): "sent",
    ("prepared", "fail"): "failed",
    ("sent", "pay"): "paid",
    ("sent", "fail"): "failed",
}


@pytest.mark.parametrize(("state", "step"), list(product(PayoutState, PayoutStep)))
def test_a_payout_takes_the_steps_of_its_table_only(state: PayoutState, step: PayoutStep) -> None:
    following = PAYOUT_STEPS.get((state.value, step.value))
    if following is None:
        with pytest.raises(IllegalStep):
            PAYOUT.after(state, step)
    else:
        assert PAYOUT.after(state, step) is PayoutState(following)


@pytest.mark.parametrize(("state", "step"), list(product(AttemptState, AttemptStep)))
def test_an_attempt_takes_the_steps_of_its_table_only(state: AttemptState, step: AttemptStep) -> None:
    following = ATTEMPT_STEPS.get((state.value, step.value))
    if following is None:
        with pytest.raises(IllegalStep):
            ATTEMPT.after(state, step)
    else:
        assert ATTEMPT.after(state, step) is AttemptState(following)


def test_what_is_over_stays_over() -> None:
    for state in (PayoutState.PAID, PayoutState.STOPPED):
        assert not any(PAYOUT.allows(state, step) for step in PayoutStep)
    for ended in (AttemptState.PAID, AttemptState.FAILED):
        assert not any(ATTEMPT.allows(ended, step) for step in AttemptStep)


def test_a_payout_whose_attempt_was_sent_cannot_be_stopped() -> None:
    assert not PAYOUT.allows(PayoutState.PAYING, PayoutStep.STOP)
