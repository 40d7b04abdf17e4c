"""`withdraw`: what is held, what arrives, what comes back, and what is said."""

from __future__ import annotations

import pytest

from relaybot.simulator.scripts import Outcome
from tests.lightning.wire import ask
from tests.payouts.desk import Desk, Life, person
from tests.withdrawals.window import Window
from wallet.accounts import CAPITAL, owed
from wallet.bolt11_invoice import parse_bolt11
from wallet.ledger import Plan, Put, Transfer
from wallet.money import from_sat

FEE = 1_100  # the hub's, for 1,000 sat: 1 sat and 100 ppm


async def payouts(life: Life) -> list[tuple[str, str, int]]:
    rows = await life.book.database.fetch("SELECT kind, state, amount_msat FROM payouts ORDER BY created_at, id")
    return [(row["kind"], row["state"], row["amount_msat"]) for row in rows]


async def test_an_invoice_is_paid_and_the_rest_of_the_reserve_comes_back(window: Window, life: Life) -> None:
    await window.grant("alice", 2_000)
    invoice = window.invoice("bob", 1_000_000)
    answer = await window.say("alice", f"withdraw 1000 {invoice}")
    assert answer.startswith(f"1,000 sat go to {invoice[:16]}…{invoice[-8:]}. 10 sat are kept ready")
    assert await life.balance("alice") == 990_000
    await window.finish()
    assert window.desk.received("bob") == [1_000_000]
    assert await payouts(life) == [("withdrawal", "paid", 1_000_000)]
    assert await life.balance("alice") == 2_000_000 - 1_000_000 - FEE
    assert [notice.text.partition(":")[0] for notice in life.told] == ["Paid"]
    assert "The way there cost 1.1 sat." in life.told[0].text
    assert life.told[0].asked
    assert await life.differences() == []


async def test_an_invoice_that_names_its_amount_may_stand_alone(window: Window, life: Life) -> None:
    await window.grant("alice", 2_000)
    await window.say("alice", f"withdraw {window.invoice('bob', 1_500_000)}")
    await window.finish()
    assert window.desk.received("bob") == [1_500_000]


async def test_c3_withdraw_all_to_an_invoice_without_an_amount(window: Window, life: Life) -> None:
    await window.grant("alice", 2_000)
    await window.say("alice", f"withdraw all {window.invoice('bob', None)}")
    assert await life.balance("alice") == 0
    await window.finish()
    assert window.desk.received("bob") == [1_980_000]
    assert await life.balance("alice") == 20_000 - 1_198
    assert await life.differences() == []


async def test_an_offer_is_asked_for_an_invoice_which_is_stored_and_then_paid(window: Window, life: Life) -> None:
    await window.grant("alice", 2_000)
    wallets = window.desk.network.sockets["wallets"]
    offer = (await ask(wallets, "offer", {"amount": "any", "description": "coffee"}))["result"]["bolt12"]
    await window.say("alice", f"withdraw 1000 {offer}")
    payout = (await life.book.database.fetch("SELECT id FROM payouts"))[0]["id"]
    await life.payouts.step(payout)
    stored = (await life.book.database.fetch("SELECT bolt11, state FROM attempts"))[0]
    assert (stored["bolt11"][:4], stored["state"], life.node.calls) == ("lni1", "prepared", [])
    await window.finish()
    assert await payouts(life) == [("withdrawal", "paid", 1_000_000)]
    paid = (await ask(wallets, "listinvoices", {}))["result"]["invoices"]
    assert [one["amount_received_msat"] for one in paid] == [1_000_000]
    assert await life.balance("alice") == 2_000_000 - 1_000_000 - FEE
    assert await life.differences() == []


async def test_the_same_message_again_is_the_same_withdrawal(window: Window, life: Life) -> None:
    await window.grant("alice", 5_000)
    invoice, rumor = window.invoice("bob", 1_000_000), "ab" * 32
    for _ in range(2):
        await window.say("alice", f"withdraw 1000 {invoice}", rumor=rumor)
    await window.finish()
    assert await payouts(life) == [("withdrawal", "paid", 1_000_000)]
    assert window.desk.received("bob") == [1_000_000]


REFUSALS = {
    "withdraw": "say how much, and where to",
    "withdraw all": "say how much, and where to",
    "withdraw 1000": "say how much, and where to",
    "withdraw 1000 somewhere": "not an invoice",
    "withdraw 1000 bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq": "another network",
    "withdraw 1000 02" + "ab" * 32: "keysend",
    "withdraw 0 bob@wallets.test": "nothing to send",
    "withdraw -5 bob@wallets.test": "whole number",
    "withdraw 1e3 bob@wallets.test": "whole number",
    "withdraw 1.5 bob@wallets.test": "whole number",
    "withdraw 9223372036854775808 bob@wallets.test": "out of range",
    "withdraw 2000 bob@wallets.test": "at most 1,980 sat can be sent (withdraw all)",
    "withdraw 1 2 3": "say how much, and where to",
}


@pytest.mark.parametrize("said", REFUSALS)
async def test_b5_what_cannot_be_sent_is_refused_with_what_to_do(window: Window, life: Life, said: str) -> None:
    await window.grant("alice", 2_000)
    answer = await window.say("alice", said)
    assert REFUSALS[said] in answer
    assert "Usage: withdraw" in answer
    assert await life.balance("alice") == 2_000_000
    assert await payouts(life) == []


async def test_c14_an_invoice_that_contradicts_the_words_or_is_our_own_is_refused(window: Window, life: Life) -> None:
    await window.grant("alice", 2_000)
    fixed, anything = window.invoice("bob", 1_000_000), window.invoice("bob", None)
    own = await life.node.create_invoice(label="own", amount_msat=None, description="x", expiry_seconds=600)
    assert "exactly 1,000 sat" in await window.say("alice", f"withdraw 999 {fixed}")
    assert "exactly 1,000 sat" in await window.say("alice", f"withdraw all {fixed}")
    assert "say how much" in await window.say("alice", f"withdraw {anything}")
    assert "this service's own node" in await window.say("alice", f"withdraw 10 {own.bolt11}")
    window.desk.clock.advance(601)
    assert "expired" in await window.say("alice", f"withdraw 1000 {fixed}")
    assert "no balance yet" in await window.say("bob", "withdraw 1 bob@wallets.test")
    assert await payouts(life) == []


async def test_a_refused_payment_gives_the_money_back_and_says_why(window: Window, life: Life, desk: Desk) -> None:
    desk.script(Outcome.FAIL, code=203)
    await window.grant("alice", 2_000)
    invoice = window.invoice("bob", 1_000_000)
    await window.say("alice", f"withdraw 1000 {invoice}")
    await window.finish()
    assert await payouts(life) == [("withdrawal", "stopped", 1_000_000)]
    assert await life.balance("alice") == 2_000_000
    assert "Not paid: your withdrawal of 1,000 sat" in life.told[-1].text
    assert "destination refused" in life.told[-1].text
    assert "used before" in await window.say("alice", f"withdraw 1000 {invoice}")


async def test_two_withdrawals_to_one_invoice_pay_it_once(window: Window, life: Life) -> None:
    await window.grant("alice", 5_000)
    invoice = window.invoice("bob", 1_000_000)
    for _ in range(2):
        await window.say("alice", f"withdraw 1000 {invoice}")
    await window.finish()
    assert sorted(await payouts(life)) == [("withdrawal", "paid", 1_000_000), ("withdrawal", "stopped", 1_000_000)]
    assert window.desk.received("bob") == [1_000_000]
    assert await life.balance("alice") == 4_000_000 - FEE
    assert "this invoice was used before: ask for a new one" in await window.say("alice", f"withdraw {invoice}")


async def test_a_withdrawal_that_finds_no_way_is_told_and_given_back_in_time(window: Window, life: Life) -> None:
    window.desk.network.set_connected("service", False)
    await window.grant("alice", 2_000)
    await window.say("alice", f"withdraw 1000 {window.invoice('bob', 1_000_000)}")
    await window.finish()
    assert await life.balance("alice") == 2_000_000
    first, last = life.told
    assert "Not paid yet" in first.text
    assert "no outbound liquidity" in first.text
    assert "The money is your balance again" in last.text
    assert life.node.calls == []


async def test_c12_a_held_payment_is_shown_with_its_age_and_told_once_and_never_given_back_by_the_clock(
    window: Window, life: Life, desk: Desk
) -> None:
    desk.script(Outcome.LOST_CONNECTION, seconds=86_400)
    await window.grant("alice", 2_000)
    invoice = window.invoice("bob", 1_000_000)
    await window.say("alice", f"withdraw 1000 {invoice}")
    for _ in range(40):
        desk.clock.advance(60)
        for payout, _ in await life.payouts.queue.due():
            await life.payouts.step(payout)
    assert await payouts(life) == [("withdrawal", "paying", 1_000_000)]
    assert await life.balance("alice") == 990_000
    assert ": paying, for 40 min" in await window.say("alice", "payout")
    assert [notice.text.partition(":")[0] for notice in life.told] == ["On its way and not confirmed yet"]


async def test_c12_hold_invoices_tie_up_no_more_than_the_limit_of_one_user(window: Window, life: Life) -> None:
    await window.grant("alice", 100_000)
    answers = [await window.say("alice", f"withdraw {window.invoice('bob', 1_000_000)}") for _ in range(6)]
    assert "5 of your payments are still under way" in answers[5]
    assert len(await payouts(life)) == 5


async def test_a_day_has_a_limit(window: Window, life: Life) -> None:
    await window.grant("alice", 2_000_000)
    await window.say("alice", f"withdraw {window.invoice('bob', 600_000_000)} confirm")
    await window.finish()
    refused = await window.say("alice", f"withdraw {window.invoice('bob', 600_000_000)} confirm")
    assert "a day's limit is 1,000,000 sat: 400,000 sat left" in refused
    window.desk.clock.advance(86_400)
    assert "600,000 sat go to" in await window.say("alice", f"withdraw {window.invoice('bob', 600_000_000)} confirm")


async def test_a_large_withdrawal_needs_a_second_word_and_a_wrong_one_is_refused_before(
    window: Window, life: Life
) -> None:
    await window.grant("alice", 150_000)
    invoice = window.invoice("bob", 120_000_000)
    asked = await window.say("alice", f"withdraw 120000 {invoice}")
    assert asked.startswith("Nothing is sent yet: with what the way may cost, this takes 121,200 sat of your balance")
    assert asked.endswith(f"\nwithdraw 120000 {invoice} confirm")
    assert "exactly 120,000 sat" in await window.say("alice", f"withdraw 110000 {invoice}")
    assert await payouts(life) == []
    assert await life.balance("alice") == 150_000_000
    assert "120,000 sat go to" in await window.say("alice", asked.splitlines()[-1])
    await window.finish()
    assert window.desk.received("bob") == [120_000_000]


async def test_closed_withdrawals_are_refused_with_the_reason_and_what_is_under_way_is_settled(
    window: Window, life: Life
) -> None:
    await window.grant("alice", 5_000)
    first, second = window.invoice("bob", 1_000_000), window.invoice("bob", 1_000_000)
    await window.say("alice", f"withdraw {first}")
    await window.say("alice", f"withdraw {second}")
    payout = next(
        row["id"] for row in await life.book.database.fetch("SELECT id FROM payouts WHERE target = :one", one=first)
    )
    await life.payouts.step(payout)
    await life.payouts.step(payout)  # this one is sent
    closed = Put("users", person("alice"), {"withdrawals": "closed", "withdrawals_reason": "we are asking a question"})
    await life.apply((), (closed,))
    assert "withdrawals are closed for you: we are asking a question" in await window.say(
        "alice", f"withdraw {window.invoice('bob', 1_000_000)}"
    )
    await window.finish()
    assert sorted(await payouts(life)) == [("withdrawal", "paid", 1_000_000), ("withdrawal", "stopped", 1_000_000)]
    assert window.desk.received("bob") == [1_000_000]
    assert await life.balance("alice") == 4_000_000 - FEE


@pytest.mark.parametrize("scope", ["withdrawals", "lightning"])
async def test_a_paused_rail_refuses_and_lets_what_is_open_wait(window: Window, life: Life, scope: str) -> None:
    await window.grant("alice", 5_000)
    await window.say("alice", f"withdraw {window.invoice('bob', 1_000_000)}")
    await life.apply((), (Put("pauses", scope, {"state": "paused", "reason": "the node is moved"}),))
    refused = await window.say("alice", f"withdraw {window.invoice('bob', 1_000_000)}")
    assert f"paused by the operator ({scope}): the node is moved" in refused
    rows = await life.book.database.fetch("SELECT id FROM payouts")
    await life.payouts.step(rows[0]["id"])
    assert await payouts(life) == [("withdrawal", "waiting", 1_000_000)]
    await life.apply((), (Put("pauses", scope, {"state": "open"}),))
    await window.finish()
    assert window.desk.received("bob") == [1_000_000]


async def test_a_rail_that_is_paused_between_preparing_and_sending_sends_nothing(window: Window, life: Life) -> None:
    await window.grant("alice", 5_000)
    await window.say("alice", f"withdraw {window.invoice('bob', 1_000_000)}")
    payout = (await life.book.database.fetch("SELECT id FROM payouts"))[0]["id"]
    await life.payouts.step(payout)
    await life.apply((), (Put("pauses", "lightning", {"state": "paused"}),))
    await life.payouts.step(payout)
    attempt = (await life.book.database.fetch("SELECT state FROM attempts"))[0]
    assert (attempt["state"], life.node.calls) == ("prepared", [])
    await life.apply((), (Put("pauses", "lightning", {"state": "open"}),))
    await window.finish()
    assert window.desk.received("bob") == [1_000_000]


async def test_c14_an_amount_that_the_invoice_leaves_open_is_said_to_the_node(window: Window, life: Life) -> None:
    await window.grant("alice", 5_000)
    invoice = window.invoice("bob", None)
    await window.say("alice", f"withdraw 1234 {invoice}")
    await window.finish()
    assert window.desk.received("bob") == [1_234_000]
    row = await life.book.row("attempts", parse_bolt11(invoice).payment_hash)
    assert row is not None
    assert row["amount_msat"] == 1_234_000


async def test_whoever_owes_for_money_that_was_taken_back_withdraws_nothing(window: Window, life: Life) -> None:
    await window.grant("alice", 2_000)
    debt = Transfer(owed(person("alice")), CAPITAL, from_sat(1), "test")
    await life.book.apply(Plan("test/debt", (debt,)))
    refused = await window.say("alice", f"withdraw {window.invoice('bob', 1_000_000)}")
    assert "owes for a payment that was taken back" in refused
    assert await payouts(life) == []
