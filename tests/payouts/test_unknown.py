"""Unknown is sent, and stays sent until the node's own records end it: nothing is refunded on doubt."""

from __future__ import annotations

import pytest

from relaybot.errors import Unavailable
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.scripts import Ending, Outcome
from tests.payouts.desk import EMPTY, FAILED, LOST, NOW, PENDING, RULES, Desk, Life, said
from wallet import cln_answers
from wallet.lightning import PaymentReport, PaymentState
from wallet.payout_plans import NO_RECORD
from wallet.payouts import ORPHAN

PAID = said(PaymentState.SETTLED, sent=1_981_198)
CALL = RULES.call_seconds


async def sent_and_silent(life: Life) -> None:
    """Bring alice's payout as far as a call that never reached the node, and was not heard of again."""
    life.node.answers.append(LOST)
    await life.sent()
    assert (await life.attempt())["state"] == "sent"
    assert await life.held() == 2_000_000


async def hears(life: Life, *reports: PaymentReport) -> list[str]:
    """Let the look-ups answer so, each when it is due; return the attempt's state after each."""
    states = []
    for report in reports:
        life.node.reports.append(report)
        await life.look()
        states.append((await life.attempt())["state"])
    return states


def test_the_port_and_the_payouts_mean_the_same_by_no_record() -> None:
    assert cln_answers.report("00" * 32, []).reason == NO_RECORD


async def test_c4_pending_failed_pending_complete_is_paid_and_never_refunded(life: Life, desk: Desk) -> None:
    await sent_and_silent(life)
    desk.clock.advance(CALL)
    assert await hears(life, PENDING, FAILED, PENDING) == ["sent"] * 3
    assert await life.held() == 2_000_000
    assert await hears(life, PAID) == ["paid"]
    assert (await life.payout())["fee_msat"] == 1_198
    assert len(desk.wallets.asked) == 1


async def test_c4_failed_seen_once_is_not_failed_and_a_pending_in_between_starts_anew(life: Life, desk: Desk) -> None:
    await sent_and_silent(life)
    desk.clock.advance(CALL)
    assert await hears(life, FAILED, PENDING, FAILED) == ["sent"] * 3
    assert await hears(life, FAILED) == ["failed"]
    payout = await life.payout()
    assert (payout["state"], payout["reason"]) == ("waiting", "connection lost")
    assert await life.held() == 2_000_000  # a failed attempt is not the end of the payout


async def test_c4_the_two_looks_that_make_a_failure_lie_a_pause_apart(life: Life, desk: Desk) -> None:
    await sent_and_silent(life)
    desk.clock.advance(CALL)
    life.node.reports.extend([FAILED, FAILED, FAILED])
    await life.look()
    await life.step()  # at once: no pause
    desk.clock.advance(RULES.confirm_seconds - 1)
    await life.step()
    assert (await life.attempt())["state"] == "sent"
    assert await hears(life, FAILED) == ["failed"]


async def test_c4_a_call_that_may_still_be_between_two_routes_has_not_failed(life: Life, desk: Desk) -> None:
    """A payee lets each route fail at once; another process looks, always in between; then it takes the payment."""
    await sent_and_silent(life)
    while desk.clock.now() + RULES.poll_seconds < NOW + CALL:
        assert await hears(life, FAILED) == ["sent"]
    assert await hears(life, PAID) == ["paid"]
    assert len(desk.wallets.asked) == 1


async def test_c4_failed_with_an_htlc_in_flight_is_not_failed(life: Life, desk: Desk) -> None:
    """The list says failed, the channel says otherwise: the channel is right."""
    desk.script(Outcome.ERROR_WHILE_PENDING)
    attempt = await life.sent()
    desk.clock.advance(CALL)
    assert await hears(life, FAILED, FAILED, FAILED) == ["sent"] * 3
    desk.network.payments.release(payment_hash=attempt["id"], ending=Ending.FAIL)
    assert await hears(life, FAILED, FAILED) == ["sent", "failed"]


async def test_a_node_that_lags_behind_the_chain_proves_no_failure(life: Life, desk: Desk) -> None:
    await sent_and_silent(life)
    desk.clock.advance(CALL)
    life.node.lags = True
    assert await hears(life, FAILED, FAILED, FAILED) == ["sent"] * 3
    life.node.lags = False
    assert await hears(life, FAILED, FAILED) == ["sent", "failed"]


async def test_c9_an_empty_look_up_is_not_a_failure_and_after_a_minute_the_same_invoice_is_called_again(
    life: Life, desk: Desk
) -> None:
    await sent_and_silent(life)
    seen_empty = desk.clock.now()
    while desk.clock.now() < seen_empty + RULES.empty_seconds - RULES.poll_seconds:
        await life.look()
        assert len(life.node.calls) == 1
        assert await life.held() == 2_000_000
    await life.look()
    first, second = life.node.calls
    assert first == second
    assert (await life.payout())["state"] == "paid"
    assert desk.received("alice") == [1_980_000]
    assert len(desk.wallets.asked) == 1
    assert await life.differences() == []


async def test_c9_a_node_that_lags_is_not_called_again(life: Life, desk: Desk) -> None:
    await sent_and_silent(life)
    life.node.lags = True
    for _ in range(20):
        await life.look()
    assert len(life.node.calls) == 1
    life.node.lags = False
    await life.looks_until("paid")
    assert len(life.node.calls) == 2
    assert desk.received("alice") == [1_980_000]


async def test_c9_after_the_expiry_it_is_failed_when_the_list_was_empty_for_ten_minutes_and_then_tried_anew(
    patient: Life, desk: Desk
) -> None:
    patient.node.answers.extend([LOST] * 100)
    await patient.sent()
    expires_at = (await patient.attempt())["expires_at"]
    states = []
    while (await patient.payout())["state"] == "paying":
        await patient.look()
        states.append((desk.clock.now(), (await patient.attempt())["state"]))
    ended_at = next(now for now, state in states if state == "failed")
    assert ended_at >= expires_at + RULES.failed_after_expiry_seconds
    assert all(call.bolt11 == patient.node.calls[0].bolt11 for call in patient.node.calls)
    assert len(desk.wallets.asked) == 1
    patient.node.answers.clear()
    await patient.looks_until("paid")
    attempts = await patient.attempts()
    assert [(one["number"], one["state"]) for one in attempts] == [(1, "failed"), (2, "paid")]
    assert len(desk.wallets.asked) == 2
    assert desk.received("alice") == [1_980_000]
    assert await patient.differences() == []


async def test_c9_ten_minutes_without_a_look_are_not_ten_minutes_of_empty_looks(life: Life, desk: Desk) -> None:
    """The service was down, or the clock jumped: what was not watched is no evidence."""
    await sent_and_silent(life)
    life.node.answers.extend([LOST] * 100)
    for _ in range(3):
        await life.look()
    await life.look(after=7_200)
    assert (await life.attempt())["state"] == "sent"
    began = desk.clock.now()
    while (await life.attempt())["state"] == "sent":
        await life.look()
    assert desk.clock.now() >= began + RULES.failed_after_expiry_seconds


async def test_c9_an_answer_in_between_starts_the_ten_minutes_anew(patient: Life, desk: Desk) -> None:
    await sent_and_silent(patient)
    patient.node.answers.extend([LOST] * 100)
    expires_at = (await patient.attempt())["expires_at"]
    while desk.clock.now() < expires_at + RULES.failed_after_expiry_seconds - 100:
        await patient.look()
    await hears(patient, PENDING)
    began = desk.clock.now()
    while (await patient.attempt())["state"] == "sent":
        await patient.look()
    assert desk.clock.now() >= began + RULES.failed_after_expiry_seconds


async def test_c10_of_several_attempts_for_one_hash_any_complete_means_paid(life: Life, desk: Desk) -> None:
    desk.script(Outcome.FAIL, code=209, times=2)
    attempt = await life.sent()
    await life.node.pay(attempt["bolt11"], maxfee_msat=life.node.calls[0].maxfee_msat, label="by hand")
    report = await life.node.payment(attempt["id"])
    assert report.state is PaymentState.FAILED  # two on record
    await life.node.pay(attempt["bolt11"], maxfee_msat=life.node.calls[0].maxfee_msat, label="by hand")
    await life.look()
    assert (await life.payout())["state"] == "paid"
    assert await life.differences() == []


async def test_c10_a_destination_that_refuses_gets_a_new_invoice_only_after_the_definite_end(
    life: Life, desk: Desk
) -> None:
    desk.script(Outcome.FAIL, code=203)
    await life.open("alice")
    payout = await life.looks_until("waiting")
    assert payout["reason"] == "destination refused"
    assert desk.clock.now() >= NOW + CALL + RULES.confirm_seconds
    assert len(desk.wallets.asked) == 1
    assert payout["next_at"] == desk.clock.now() + RULES.retry_seconds
    await life.looks_until("paid")
    assert [one["state"] for one in await life.attempts()] == ["failed", "paid"]
    assert desk.received("alice") == [1_980_000]
    assert await life.differences() == []


async def test_c13_a_payment_held_past_its_invoice_s_expiry_may_still_settle(life: Life, desk: Desk) -> None:
    life.node.answers.append(LOST)
    attempt = await life.sent()
    desk.clock.advance(attempt["expires_at"] - NOW + RULES.failed_after_expiry_seconds)
    assert await hears(life, PENDING, PENDING) == ["sent"] * 2
    assert len(life.node.calls) == 1  # an expired invoice is not called again
    assert await hears(life, PAID) == ["paid"]
    assert await life.held() == 0


async def test_c13_a_list_that_is_empty_after_the_expiry_is_no_failure_yet(life: Life, desk: Desk) -> None:
    life.node.answers.append(LOST)
    attempt = await life.sent()
    desk.clock.advance(attempt["expires_at"] - NOW)
    assert await hears(life, EMPTY, EMPTY, PAID) == ["sent", "sent", "paid"]


async def test_c13_what_settles_after_it_was_given_up_moves_nothing_and_shows_in_the_reconciliation(
    life: Life, desk: Desk
) -> None:
    """It cannot happen as far as anybody knows; if it does, the books say so instead of guessing."""
    await sent_and_silent(life)
    desk.clock.advance(CALL)
    await hears(life, FAILED, FAILED)
    attempt = await life.attempt()
    assert attempt["state"] == "failed"
    paid = await life.node.pay(attempt["bolt11"], maxfee_msat=life.node.calls[0].maxfee_msat, label="late")
    await life.payouts.settle(attempt["id"], paid)
    assert (await life.payout())["state"] == "waiting"
    assert await life.held() == 2_000_000
    [difference] = await life.differences()
    assert attempt["id"] in difference


async def test_c17_a_lost_connection_is_asked_about_and_not_repeated(life: Life, desk: Desk) -> None:
    desk.script(Outcome.LOST_CONNECTION, ending=Ending.FAIL)
    await life.open("alice")
    await life.looks_until("waiting")
    assert len(life.node.calls) == 1
    assert desk.received("alice") == []


async def test_c17_an_orphan_that_is_pending_for_ever_stays_held_and_is_shown_to_the_operator(
    patient: Life, desk: Desk
) -> None:
    desk.script(Outcome.ORPHAN)
    await patient.sent()
    for _ in range(25):
        await patient.look()
    assert desk.clock.now() > (await patient.attempt())["expires_at"] + RULES.failed_after_expiry_seconds
    payout = await patient.payout()
    assert (payout["state"], payout["reason"]) == ("paying", ORPHAN)
    assert await patient.held() == 2_000_000
    assert len(patient.node.calls) == len(desk.wallets.asked) == 1


async def test_c17_a_pending_payment_that_is_in_a_channel_is_no_orphan(life: Life, desk: Desk) -> None:
    desk.script(Outcome.LOST_CONNECTION, seconds=86_400)
    await life.sent()
    await life.look(after=3_600)
    assert (await life.payout())["reason"] != ORPHAN


async def test_c17_the_node_restarts_in_the_middle(desk: Desk, network: SimulatedNetwork) -> None:
    desk.script(Outcome.LOST_CONNECTION, seconds=86_400)
    async with desk.life() as life:
        attempt = await life.sent()
        await network.close()
        with pytest.raises(Unavailable):
            await life.look()
        assert (await life.attempt())["state"] == "sent"
        assert await life.held() == 2_000_000
        await network.start()
        network.set_connected("service", False)  # the peer is not there yet: the same call would answer 205
        for _ in range(3):
            await life.look()
        assert await life.held() == 2_000_000
        network.set_connected("service", True)
        for group in network._store.rows("SELECT groupid FROM attempts WHERE payment_hash = ?", (attempt["id"],)):
            network.payments.resolve(group["groupid"])
        await life.looks_until("paid")
        assert len(life.node.calls) == 1
        assert desk.received("alice") == [1_980_000]
        assert await life.differences() == []


async def test_a_node_out_of_reach_leaves_everything_as_it_is(life: Life, network: SimulatedNetwork) -> None:
    await life.open("alice")
    await life.step()
    await network.close()
    with pytest.raises(Unavailable):
        await life.step()
    assert (await life.attempt())["state"] == "sent"
    assert await life.held() == 2_000_000
    await network.start()


async def test_h2_a_clock_that_was_set_back_does_not_stop_a_payout(life: Life, desk: Desk) -> None:
    desk.clock.advance(90_000)  # it was wrong by a day
    life.node.answers.append(LOST)
    await life.sent()
    await life.look()
    desk.clock.advance(-90_000)
    assert await life.payouts.queue.due() == [((await life.payout())["id"], "wallets.test")]
    await life.step()
    await life.looks_until("paid", looks=20)
    assert desk.received("alice") == [1_980_000]
