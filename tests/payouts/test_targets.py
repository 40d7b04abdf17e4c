"""Targets that refuse, disappear, repeat themselves, are our own node, or are closed or changed meanwhile."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.scripts import Ending, Outcome
from tests.payouts.desk import LOST, NOW, RULES, Desk, Life, person
from wallet.accounts import CAPITAL, owed
from wallet.bolt11_invoice import parse_bolt11
from wallet.ledger import Plan, Put, Transfer
from wallet.lnurl import OWN_NODE
from wallet.money import from_sat
from wallet.obstacles import OWING
from wallet.targets import KEEP

REFUSED = Rejected("invalid", "wallet refuses", says="closed for today")
SILENT = Unavailable("wallets.test does not answer")
HELD = 2_000_000


async def test_c8_invoice_and_hash_are_stored_before_anything_is_paid(life: Life, desk: Desk) -> None:
    await life.open("alice")
    await life.step()
    attempt = await life.attempt()
    assert life.node.calls == []
    assert parse_bolt11(attempt["bolt11"]).payment_hash == attempt["id"]
    assert (attempt["state"], attempt["sent_at"], attempt["number"]) == ("prepared", 0, 1)
    assert attempt["expires_at"] == NOW + 600


async def test_c8_no_second_invoice_is_fetched_while_the_first_is_unknown(life: Life, desk: Desk) -> None:
    desk.script(Outcome.LOST_CONNECTION, seconds=86_400)
    await life.sent()
    for _ in range(100):
        await life.look()
    assert (await life.payout())["state"] == "paying"
    assert len(desk.wallets.asked) == 1


async def test_c8_after_a_restart_the_first_invoice_is_the_one_that_is_called(desk: Desk) -> None:
    async with desk.life() as life:
        await life.open("alice")
        await life.step()
        first = await life.attempt()
    async with desk.life() as life:
        await life.go_on()
        assert [call.bolt11 for call in life.node.calls] == [first["bolt11"]]
    assert len(desk.wallets.asked) == 1


async def test_one_payment_hash_settles_one_payout_of_one_user(life: Life, desk: Desk) -> None:
    """A target that gives the invoice again which it gave for somebody else's payout: one of them is paid by it."""
    await life.open("alice")
    await life.looks_until("paid")
    used = parse_bolt11((await life.attempt())["bolt11"])
    await life.open("bob")
    desk.wallets.answers.append(used)
    payout = await life.step("bob")
    assert (payout["state"], payout["reason"]) == ("waiting", "the target gave an invoice that was used before")
    assert len(life.node.calls) == 1
    await life.looks_until("paid", "bob")
    assert desk.received("bob") == [1_980_000]
    assert await life.differences() == []


async def test_one_payment_hash_settles_one_payout_of_the_same_user_too(life: Life, desk: Desk) -> None:
    await life.open("alice", 2_000)
    await life.looks_until("paid")
    used = parse_bolt11((await life.attempt())["bolt11"])
    left = await life.balance()
    await life.earn("alice", 2_000 - left // 1_000, msat=1_000 - left % 1_000 - 1_000)
    desk.wallets.answers.extend([used] * RULES.attempts_max)
    await life.go_on()
    payout = await life.payout()
    assert (payout["state"], payout["attempts"]) == ("stopped", RULES.attempts_max - 1)
    assert await life.balance() == HELD
    assert desk.received("alice") == [1_980_000]
    assert len(life.node.calls) == 1


async def test_a_failed_attempt_s_invoice_is_not_taken_again(life: Life, desk: Desk) -> None:
    desk.script(Outcome.FAIL, code=203)
    await life.open("alice")
    await life.looks_until("waiting")
    desk.wallets.answers.append(parse_bolt11((await life.attempt())["bolt11"]))
    assert (await life.look())["reason"] == "the target gave an invoice that was used before"
    await life.looks_until("paid")
    assert desk.received("alice") == [1_980_000]


async def test_a_target_that_refuses_is_asked_again_later_and_later_and_then_given_up(life: Life, desk: Desk) -> None:
    desk.wallets.answers.extend([REFUSED] * RULES.attempts_max)
    await life.open("alice")
    pauses = []
    while (await life.step())["state"] == "waiting":
        payout = await life.payout()
        assert "closed for today" in payout["reason"]
        assert await life.held() == HELD
        pauses.append(payout["next_at"] - desk.clock.now())
        desk.clock.advance(pauses[-1])
    assert pauses == [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]
    payout = await life.payout()
    assert (payout["state"], payout["next_at"]) == ("stopped", None)
    assert "closed for today" in payout["reason"]
    assert (await life.balance(), await life.held()) == (HELD, 0)


async def test_a_target_that_takes_it_after_all_is_paid(life: Life, desk: Desk) -> None:
    desk.wallets.answers.extend([REFUSED, SILENT, REFUSED])
    await life.open("alice")
    payout = await life.looks_until("paid")
    assert payout["attempts"] == 4
    assert desk.received("alice") == [1_980_000]


async def test_a_target_that_does_not_answer_is_waited_for_without_end(life: Life, desk: Desk) -> None:
    desk.wallets.answers.extend([SILENT] * 50)
    await life.open("alice")
    for _ in range(50):
        payout = await life.look()
        assert (payout["state"], await life.held()) == ("waiting", HELD)
    payout = await life.payout()
    assert payout["reason"] == "the target does not answer: wallets.test does not answer"
    assert payout["next_at"] - desk.clock.now() == RULES.retry_seconds_max
    await life.looks_until("paid")


async def test_a_target_that_disappears_gives_the_money_back(life: Life, desk: Desk) -> None:
    desk.wallets.answers.append(SILENT)
    await life.open("alice")
    await life.step()
    await life.target("alice", "")
    payout = await life.look()
    assert (payout["state"], payout["reason"]) == ("stopped", "there is no payout target")
    assert (await life.balance(), await life.held()) == (HELD, 0)


async def test_keep_stops_a_payout_that_waits(life: Life, desk: Desk) -> None:
    desk.wallets.answers.append(SILENT)
    await life.open("alice")
    await life.step()
    await life.target("alice", KEEP)
    assert (await life.look())["state"] == "stopped"
    assert await life.balance() == HELD


async def test_a_target_that_was_changed_is_the_one_that_is_paid(life: Life, desk: Desk) -> None:
    desk.wallets.answers.append(SILENT)
    await life.open("alice")
    await life.step()
    await life.target("alice", "elsewhere@wallets.test")
    payout = await life.looks_until("paid")
    assert payout["target"] == "elsewhere@wallets.test"
    assert (desk.received("alice"), desk.received("elsewhere")) == ([], [1_980_000])


async def test_a_target_changed_between_preparing_and_sending_gets_nothing_under_its_old_name(
    life: Life, desk: Desk
) -> None:
    await life.open("alice")
    await life.step()
    await life.target("alice", "elsewhere@wallets.test")
    payout = await life.step()
    assert (payout["state"], payout["reason"]) == ("waiting", "the target was changed before it was sent")
    await life.looks_until("paid")
    assert (desk.received("alice"), desk.received("elsewhere")) == ([], [1_980_000])


async def test_c14_our_own_node_as_a_target_means_that_it_stays_balance(life: Life, desk: Desk) -> None:
    desk.wallets.answers.append(Rejected("invalid", OWN_NODE))
    await life.open("alice")
    payout = await life.step()
    assert payout["state"] == "stopped"
    assert (await life.balance(), await life.held()) == (HELD, 0)
    assert life.node.calls == []


async def test_c14_an_invoice_over_another_amount_than_was_held_is_a_fault_of_ours_and_is_not_stored(
    life: Life, desk: Desk
) -> None:
    await life.open("alice")
    desk.wallets.answers.append(desk.wallets.invoice("alice", 1_980_001_000))
    with pytest.raises(AssertionError):
        await life.step()
    assert await life.attempts() == []
    assert await life.held() == HELD


async def test_an_invoice_that_expired_before_it_was_sent_is_put_aside(life: Life, desk: Desk) -> None:
    await life.open("alice")
    await life.step()
    payout = await life.look(after=600)
    assert (payout["state"], payout["reason"]) == ("waiting", "the invoice expired before it was sent")
    assert (await life.attempt())["state"] == "failed"
    assert life.node.calls == []
    await life.looks_until("paid")


async def test_withdrawals_closed_before_an_invoice_is_fetched_stop_it(life: Life, desk: Desk) -> None:
    await life.open("alice")
    await life.set_user("alice", withdrawals="closed")
    payout = await life.step()
    assert (payout["state"], payout["reason"]) == ("stopped", "withdrawals are closed for you: ask the operator")
    assert (await life.balance(), await life.held()) == (HELD, 0)
    assert desk.wallets.asked == []


async def test_withdrawals_closed_before_it_was_sent_keep_it_in(life: Life, desk: Desk) -> None:
    """The service was down between the two: what is prepared has not left."""
    await life.open("alice")
    await life.step()
    await life.set_user("alice", withdrawals="closed")
    await life.step()
    assert (await life.look())["state"] == "stopped"
    assert life.node.calls == []
    assert await life.balance() == HELD


@pytest.mark.parametrize("steps", [0, 1], ids=["open", "prepared"])
async def test_e2_a_debt_that_comes_before_it_was_sent_has_it_back(life: Life, desk: Desk, steps: int) -> None:
    """Money that waits for a wallet which does not answer is no place where a debt cannot reach it."""
    await life.open("alice")
    for _ in range(steps):
        await life.step()
    debt = Transfer(owed(person("alice")), CAPITAL, from_sat(1), "test")
    await life.book.apply(Plan("test/debt", (debt,)))
    payout = await life.looks_until("stopped")
    assert payout["reason"] == OWING
    assert (await life.balance(), life.node.calls, desk.received("alice")) == (HELD, [], [])


@pytest.mark.parametrize(
    "switch",
    [
        Put("users", person("alice"), {"withdrawals": "closed"}),
        *(Put("pauses", scope, {"state": "paused"}) for scope in ("payouts", "lightning", "restored")),
    ],
    ids=lambda switch: switch.id[:9],
)
async def test_a_switch_that_is_thrown_in_the_very_moment_of_sending_keeps_it_in(life: Life, switch: Put) -> None:
    """It is open when it is looked at, and closed when the Plan is applied."""
    await life.open("alice")
    await life.step()
    real = life.payouts._targets

    async def close_first(payout: Row) -> list[str]:
        await life.apply((), (switch,))
        return await real(payout)

    life.payouts._targets = close_first  # type: ignore[method-assign]
    await life.step()
    assert (await life.attempt())["state"] == "prepared"
    assert life.node.calls == []


async def test_withdrawals_closed_after_it_was_sent_let_it_settle(life: Life, desk: Desk) -> None:
    desk.script(Outcome.ERROR_WHILE_PENDING)
    await life.sent()
    await life.set_user("alice", withdrawals="closed")
    assert (await life.look())["state"] == "paying"
    desk.network.payments.release(payment_hash=None, ending=Ending.SETTLE)
    assert (await life.look())["state"] == "paid"
    assert await life.differences() == []


async def test_withdrawals_closed_after_a_call_that_never_arrived_are_not_called_again(
    patient: Life, desk: Desk
) -> None:
    patient.node.answers.append(LOST)
    await patient.sent()
    await patient.set_user("alice", withdrawals="closed")
    payout = await patient.looks_until("stopped")
    assert payout["reason"] == "withdrawals are closed for you: ask the operator"
    assert len(patient.node.calls) == 1
    assert (await patient.balance(), desk.received("alice")) == (HELD, [])


async def test_c18_without_liquidity_a_payout_waits_and_says_so_and_never_fails_for_good(
    patient: Life, desk: Desk, network: SimulatedNetwork
) -> None:
    network.set_connected("service", False)
    began = desk.clock.now()
    await patient.open("alice")
    payout = await patient.payout()
    for _ in range(130):
        payout = await patient.look()
        assert payout["state"] == "waiting"
        assert await patient.held() == HELD
    assert payout["reason"] == "no outbound liquidity: it goes on when there is some"
    assert payout["attempts"] == 0  # it is no fault of the target: nothing was asked, nothing was tried
    assert (desk.wallets.asked, patient.node.calls) == ([], [])
    assert desk.clock.now() - began > 3_600
    network.set_connected("service", True)
    await patient.looks_until("paid")
    assert desk.received("alice") == [1_980_000]
    assert await patient.differences() == []


async def test_c18_without_a_route_a_payout_waits_longer_each_time_and_never_fails_for_good(
    patient: Life, desk: Desk
) -> None:
    desk.script(Outcome.FAIL, code=205, times=40)
    began, invoices = desk.clock.now(), list[int]()
    await patient.open("alice")
    while (await patient.payout())["state"] != "paid":
        payout = await patient.look()
        assert payout["state"] == "paid" or await patient.held() == HELD
        if len(invoices) < len(desk.wallets.asked):
            invoices.append(desk.clock.now())
    gaps = [after - before for before, after in pairwise(invoices)]
    assert desk.clock.now() - began > 3_600
    assert len(gaps) >= 2
    assert gaps == sorted(gaps)  # each pause is longer than the last
    assert desk.received("alice") == [1_980_000]


async def test_c18_between_two_calls_without_a_route_lies_a_pause(life: Life, desk: Desk) -> None:
    desk.script(Outcome.FAIL, code=205, times=100)
    await life.open("alice")
    called: list[int] = []
    for _ in range(30):
        await life.look()
        if len(life.node.calls) > len(called):
            called.append(desk.clock.now())
    assert len(called) > 2
    assert min(after - before for before, after in pairwise(called)) >= RULES.empty_seconds


async def test_a_route_that_is_too_dear_is_not_taken_and_waits(life: Life, desk: Desk) -> None:
    desk.script(Outcome.FAIL, code=206)
    await life.open("alice")
    await life.step()
    payout = await life.step()
    assert (payout["state"], payout["reason"]) == ("paying", "routing fee above the limit")
    await life.looks_until("paid")


async def test_f3_where_a_target_was_just_changed_nothing_goes_before_the_pause_is_over(desk: Desk) -> None:
    async with desk.life(rules=replace(RULES, cooldown_seconds=86_400)) as life:
        await life.open("alice")
        await life.target("alice", "thief@wallets.test")
        await life.set_user("alice", target_since=desk.clock.now())
        payout = await life.step()
        assert payout["state"] == "waiting"
        assert payout["reason"] == "the target was changed a short while ago: it goes there after a pause"
        assert desk.wallets.asked == []
        await life.target("alice", "alice@wallets.test")  # its owner was told, and took it back
        desk.clock.advance(86_400)
        await life.looks_until("paid")
    assert (desk.received("thief"), desk.received("alice")) == ([], [1_980_000])


async def test_after_a_definite_failure_the_next_target_has_its_turn(life: Life, desk: Desk) -> None:
    await life.target("alice", "second@wallets.test", "profile")
    desk.clock.advance(RULES.cooldown_seconds)
    desk.script(Outcome.FAIL, code=203, wallet="alice")
    await life.open("alice")
    await life.looks_until("paid")
    assert [asked for asked, _ in desk.wallets.asked] == ["alice@wallets.test", "second@wallets.test"]
    assert desk.received("second") == [1_980_000]


async def test_f3_a_second_target_that_was_just_named_has_no_turn_before_the_pause_is_over(
    life: Life, desk: Desk
) -> None:
    desk.script(Outcome.FAIL, code=203, wallet="alice", times=100)
    await life.open("alice")
    await life.target("alice", "thief@wallets.test", "profile")
    while len(desk.wallets.asked) < 2:
        await life.look()
    assert {asked for asked, _ in desk.wallets.asked} == {"alice@wallets.test"}
    desk.clock.advance(RULES.cooldown_seconds)  # whose owner was told, and said nothing
    await life.looks_until("paid")
    assert desk.received("thief") == [1_980_000]


async def test_c6_paid_and_then_the_look_up_fails_is_paid(life: Life, desk: Desk) -> None:
    desk.script(Outcome.LOST_CONNECTION)
    await life.open("alice")
    await life.step()
    life.node.fails_look_ups = 1
    with pytest.raises(Unavailable):
        await life.step()
    assert await life.held() == 2_000_000
    await life.looks_until("paid")
    assert desk.received("alice") == [1_980_000]
