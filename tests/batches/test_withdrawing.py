"""Withdrawals to bitcoin addresses: quoted, gathered, paid by one transaction, confirmed by depth."""

from __future__ import annotations

import pytest

from handlers.conversation import Asked
from handlers.withdrawals import withdraw
from relaybot.db.database import Row
from tests.batches.conftest import ADDRESSES, SEGWIT, Counter
from tests.settlements.conftest import ALICE, BOB
from wallet.accounts import FEES, NODE_ONCHAIN, user
from wallet.ledger import Plan


async def test_a_withdrawal_goes_out_and_is_paid_when_it_is_confirmed(counter: Counter) -> None:
    await counter.grant(100_000)
    before = await counter.book.balance(NODE_ONCHAIN)
    answer = await counter.say(f"withdraw 60000 {SEGWIT}")
    assert answer.startswith(f"60,000 sat go to {SEGWIT}. ")
    assert "are kept ready for its part of the transaction's fee" in answer
    await counter.go_on()
    assert (counter.received(), await counter.states()) == (60_000, [("paying", "")])
    txid = (await counter.batch())["txid"]
    assert await counter.book.balance(NODE_ONCHAIN) == before
    await counter.sound()
    await counter.mined()
    assert await counter.states() == [("paid", "")]
    batch = await counter.batch()
    assert await counter.till.balance() == 40_000_000 - batch["fee_msat"]
    assert await counter.book.balance(NODE_ONCHAIN) == before + 60_000_000 + batch["fee_msat"]
    part = f"Its part of the fee was {batch['fee_msat'] // 1_000} sat."
    assert await counter.till.told() == [
        f"Sent: your withdrawal of 60,000 sat to {SEGWIT}, in transaction {txid}. You are told when it is confirmed.",
        f"Paid: your withdrawal of 60,000 sat to {SEGWIT}, confirmed in transaction {txid}. {part}",
    ]
    await counter.sound()


async def test_c3_e6_withdraw_all_leaves_what_the_reserve_did_not_need(counter: Counter) -> None:
    await counter.grant(50_000)
    await counter.say(f"withdraw all {SEGWIT}")
    await counter.finish()
    [(row)] = await counter.book.database.fetch("SELECT amount_msat, reserve_msat, fee_msat FROM payouts")
    assert row["amount_msat"] + row["reserve_msat"] == 50_000_000
    assert await counter.till.balance() == row["reserve_msat"] - row["fee_msat"]
    await counter.sound()


async def test_c2_one_transaction_pays_all_and_each_bears_its_part_rounded_up(counter: Counter) -> None:
    for who in (ALICE, BOB):
        await counter.grant(200_000, who)
    for form, address in ADDRESSES.items():
        await counter.say(f"withdraw 20000 {address}", ALICE if form > "p2t" else BOB)
    await counter.finish()
    assert [counter.received(address) for address in ADDRESSES.values()] == [20_000] * 4
    rows = await counter.book.database.fetch("SELECT fee_msat FROM payouts")
    batch = await counter.batch()
    assert batch["outputs"] == 4
    over = sum(row["fee_msat"] for row in rows) - batch["fee_msat"]
    assert over == await counter.book.balance(FEES)
    assert 0 <= over < 4
    await counter.sound()


async def test_c2_a_siphon_of_many_withdrawals_never_costs_the_platform(counter: Counter) -> None:
    await counter.grant(900_000)
    for number in range(8):
        await counter.say(f"withdraw 10000 {SEGWIT}", number=number)
        await counter.finish()
        await counter.sound()
    assert await counter.book.balance(FEES) >= 0
    costs = await counter.book.database.fetch("SELECT 1 FROM accounts WHERE id LIKE 'platform/expense/%'")
    assert costs == []


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (f"withdraw 9999 {SEGWIT}", "on-chain, at least 10,000 sat can be sent"),
        (f"withdraw 99999 {SEGWIT}", "at most 99,"),
        ("withdraw 20000 bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "address is for another network"),
        (f"withdraw 20000 {SEGWIT[:-1]}q", "wrong checksum"),
        (f"withdraw {SEGWIT}", "say how much, and where to"),
    ],
)
async def test_what_cannot_be_sent_is_refused_and_nothing_is_held(counter: Counter, words: str, answer: str) -> None:
    await counter.grant(100_000)
    assert answer in await counter.say(words)
    assert await counter.till.balance() == 100_000_000


async def test_e5_a_deposit_address_of_another_user_is_paid_inside_the_book(counter: Counter) -> None:
    await counter.grant(50_000)
    address = await counter.till.address(ALICE)
    assert "the address is of a user of this service" in await counter.say(f"withdraw 20000 {address}")
    assert (await counter.till.balance(), await counter.till.balance(ALICE)) == (30_000_000, 20_000_000)
    assert "all" not in await counter.say(f"withdraw all {address}")
    assert (await counter.till.balance(), await counter.till.balance(ALICE)) == (0, 50_000_000)
    assert "your balance is 0 sat" in await counter.say(f"withdraw 5 {address}")
    assert counter.received(address) == 0
    await counter.sound()


async def test_e5_an_address_of_our_own_is_no_destination(counter: Counter) -> None:
    await counter.grant(50_000)
    assert "that is your own address here" in await counter.say(f"withdraw 20000 {await counter.till.address()}")
    own = await counter.bot.chain.new_address()
    assert "of this service's own wallet" in await counter.say(f"withdraw 20000 {own}")
    assert await counter.till.balance() == 50_000_000


async def test_money_that_is_owed_goes_to_no_other_user(counter: Counter) -> None:
    address = await counter.till.address(ALICE)
    assert "you have no balance yet" in await counter.say(f"withdraw 20 {address}")


async def test_e6_what_the_node_cannot_pay_waits_and_the_others_go(counter: Counter) -> None:
    await counter.grant(900_000)
    await counter.grant(60_000, ALICE)
    coins = await counter.bot.chain.outputs()
    for coin in coins[1:]:  # the operator uses them elsewhere
        counter.network._store.run("UPDATE coins SET reserved_to = 9999 WHERE txid = ?", (coin.txid,))
    await counter.say(f"withdraw 800000 {SEGWIT}")
    await counter.say(f"withdraw 50000 {ADDRESSES['p2tr']}", ALICE)
    await counter.say(f"withdraw 90000 {ADDRESSES['p2wsh']}")
    counter.network._store.run("UPDATE coins SET amount_msat = 160000000 WHERE txid = ?", (coins[0].txid,))
    await counter.go_on()
    paid = [counter.received(ADDRESSES[form]) for form in ("p2wpkh", "p2tr", "p2wsh")]
    assert paid == [0, 50_000, 0]  # 25,000 sat stay at the node for emergencies
    assert [state for state, _ in await counter.states()] == ["waiting", "paying", "waiting"]
    counter.network._store.run("UPDATE coins SET reserved_to = NULL WHERE reserved_to = 9999")
    await counter.later(3_600)
    assert [counter.received(ADDRESSES[form]) for form in ("p2wpkh", "p2wsh")] == [800_000, 90_000]


async def test_a_withdrawal_that_waits_a_day_for_coins_is_balance_again(counter: Counter) -> None:
    await counter.grant(900_000)
    counter.network._store.run("UPDATE coins SET reserved_to = 9999")
    await counter.say(f"withdraw 800000 {SEGWIT}")
    await counter.go_on()
    assert (await counter.states())[0][0] == "waiting"
    counter.network.chain.set_feerate(100_000)  # and fees are high
    await counter.later(3_600)
    await counter.later(86_400)
    assert [state for state, _ in await counter.states()] == ["stopped"]
    assert await counter.till.balance() == 900_000_000
    assert "The money is your balance again" in (await counter.till.told())[-1]


async def test_a_fee_spike_before_it_is_sent_waits_and_one_after_it_changes_nothing(counter: Counter) -> None:
    await counter.grant(100_000)
    await counter.say(f"withdraw 50000 {SEGWIT}")
    counter.network.chain.set_feerate(5_000)
    await counter.go_on()
    assert counter.received() == 0
    [(state, reason)] = await counter.states()
    assert (state, reason[:15]) == ("waiting", "fees are higher")
    counter.network.chain.set_feerate(300)
    await counter.later(60)
    assert counter.received() == 50_000
    counter.network.chain.set_feerate(50_000)
    await counter.mined()
    assert [state for state, _ in await counter.states()] == ["paid"]
    await counter.sound()


async def test_while_fees_are_above_what_the_operator_pays_nothing_is_sent_and_nothing_new_is_taken(
    counter: Counter,
) -> None:
    await counter.grant(300_000)
    counter.network.chain.set_feerate(45_000)  # 180 sat/vB
    await counter.say(f"withdraw 50000 {SEGWIT}")
    await counter.batches.step()  # it is gathered
    counter.network.chain.set_feerate(50_001)  # `onchain.feerate_max` is 200 sat/vB
    await counter.go_on()
    assert await counter.states() == [("waiting", "fees are higher than this service pays: it goes on when they fall")]
    assert (await counter.batch())["state"] == "discarded"
    await counter.later(3_600)
    assert await counter.states() == [("waiting", "fees are higher than this service pays: it goes on when they fall")]
    answer = await counter.say(f"withdraw 50000 {SEGWIT}", number=1)
    assert answer.startswith("on-chain, fees are 201 sat/vB now, and this service pays at most 200 sat/vB: try later")
    counter.network.chain.set_feerate(50_000)
    await counter.later(3_600)
    await counter.finish()
    assert counter.received() == 50_000
    await counter.sound()


async def test_no_estimate_of_fees_is_no_reason_to_guess_one(counter: Counter) -> None:
    await counter.grant(100_000)
    await counter.say(f"withdraw 50000 {SEGWIT}")
    counter.network.chain.set_feerate(0)
    with pytest.raises(Exception, match="no estimate of fees"):
        await counter.batches.step()
    assert counter.received() == 0


@pytest.mark.parametrize("scope", ["withdrawals", "onchain"])
async def test_a_paused_rail_lets_it_wait(counter: Counter, scope: str) -> None:
    await counter.grant(100_000)
    await counter.say(f"withdraw 50000 {SEGWIT}")
    await counter.till.set_row("pauses", scope, state="paused")
    await counter.go_on()
    assert (await counter.states())[0][0] == "waiting"
    assert f"paused by the operator ({scope})" in await counter.say(f"withdraw 20000 {SEGWIT}")
    await counter.till.set_row("pauses", scope, state="open")
    await counter.later(60)
    assert counter.received() == 50_000


async def test_what_was_prepared_is_not_sent_for_somebody_whose_withdrawals_were_closed(counter: Counter) -> None:
    for who in (ALICE, BOB):
        await counter.grant(100_000, who)
    await counter.say(f"withdraw 50000 {SEGWIT}")
    await counter.say(f"withdraw 50000 {ADDRESSES['p2tr']}", ALICE)
    await counter.batches.step()
    await counter.batches.step()
    assert (await counter.batch())["state"] == "prepared"
    await counter.till.set_row("users", BOB.pubkey, withdrawals="closed")
    await counter.go_on()
    assert (counter.received(), counter.received(ADDRESSES["p2tr"])) == (0, 50_000)
    assert sorted(state for state, _ in await counter.states()) == ["paying", "stopped"]
    rows = await counter.book.database.fetch("SELECT state FROM batches ORDER BY id")
    assert [row["state"] for row in rows] == ["discarded", "sent"]
    await counter.sound()


@pytest.mark.parametrize(
    "switch",
    [("users", BOB.pubkey, {"withdrawals": "closed"}), ("pauses", "onchain", {"state": "paused"})],
    ids=lambda switch: switch[0],
)
async def test_a_switch_that_is_thrown_in_the_very_moment_of_sending_keeps_it_in(
    counter: Counter, switch: tuple[str, str, dict[str, str]]
) -> None:
    """It is open when it is looked at, and closed when the Plan is applied."""
    await counter.grant(100_000)
    await counter.say(f"withdraw 50000 {SEGWIT}")
    await counter.batches.step()
    await counter.batches.step()
    real, (table, row_id, closed) = counter.batches._obstacle, switch

    async def close_after_looking(payout: Row) -> str | None:
        obstacle = await real(payout)
        await counter.till.set_row(table, row_id, **closed)
        return obstacle

    counter.batches._obstacle = close_after_looking  # type: ignore[method-assign]
    await counter.batches.step()
    assert (counter.received(), (await counter.batch())["state"]) == (0, "prepared")


async def test_closed_withdrawals_and_paused_ones_close_every_way_out_also_in_the_moment_of_paying(
    counter: Counter,
) -> None:
    await counter.grant(100_000)
    ways = {
        f"20000 {SEGWIT}": "onchain",
        f"20000 {await counter.till.address(ALICE)}": "onchain",
        f"20000 {await counter.till.any_sum(ALICE)}": "lightning",
    }
    for number, (way, rail) in enumerate(ways.items()):
        asked = Asked(BOB.pubkey, f"{number:064x}", counter.clock.now(), way.split())
        decided = await withdraw(counter.bot, asked)
        await counter.till.set_row("users", BOB.pubkey, withdrawals="closed", withdrawals_reason="a question")
        late = await counter.book.apply(Plan(f"test/late/{number}", decided.transfers, decided.changes))
        assert not late.done
        assert "withdrawals are closed for you: a question" in await counter.say(f"withdraw {way}")
        await counter.till.set_row("users", BOB.pubkey, withdrawals="open")
        for scope in ("withdrawals", rail, "restored"):
            await counter.till.set_row("pauses", scope, state="paused")
            assert "paused by the operator" in await counter.say(f"withdraw {way}")
            await counter.till.set_row("pauses", scope, state="open")
    assert await counter.till.balance() == 100_000_000
    assert (await counter.book.balance(user(ALICE.pubkey)), await counter.states()) == (0, [])


async def test_what_was_prepared_long_ago_is_discarded_and_prepared_anew(counter: Counter) -> None:
    await counter.grant(100_000)
    await counter.say(f"withdraw 50000 {SEGWIT}")
    await counter.batches.step()
    await counter.batches.step()
    stale = (await counter.batch())["txid"]
    await counter.later(3_600)
    assert (await counter.batch())["txid"] != stale
    assert counter.received() == 50_000
    assert await counter.bot.chain.heights([stale]) == {}


async def test_payments_are_gathered_for_as_long_as_the_operator_says(counter: Counter) -> None:
    counter.batches._batch = type(counter.batches._batch)(
        **{name: getattr(counter.batches._batch, name) for name in counter.batches._batch.__slots__}
        | {"batch_seconds": 3_600, "outputs_max": 3}
    )
    await counter.grant(900_000)
    await counter.say(f"withdraw 50000 {SEGWIT}", number=1)
    await counter.later(3_000)
    assert counter.received() == 0
    for number in (2, 3):
        await counter.say(f"withdraw 50000 {SEGWIT}", number=number)
    await counter.go_on()
    assert counter.received() == 150_000  # as many as fit go at once
    await counter.say(f"withdraw 50000 {SEGWIT}", number=4)
    await counter.later(3_600)
    assert counter.received() == 200_000
