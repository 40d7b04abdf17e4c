"""What the chain takes back, or the mempool forgets, is sent again: the same transaction, out of the same coins."""

from __future__ import annotations

from tests.batches.conftest import SEGWIT, Counter


async def sent(counter: Counter, sat: int = 20_000) -> str:
    """Let a withdrawal go out, and return its transaction's id."""
    await counter.grant(3 * sat)
    await counter.say(f"withdraw {sat} {SEGWIT}")
    await counter.go_on()
    return str((await counter.batch())["txid"])


def mempool(counter: Counter) -> list[str]:
    waiting: list[str] = counter.network.chain.describe()["mempool"]
    return waiting


async def test_what_the_mempool_has_forgotten_is_sent_again(counter: Counter) -> None:
    txid = await sent(counter)
    counter.network.chain.forget(txid)
    assert mempool(counter) == []
    await counter.later(600)
    assert mempool(counter) == [txid]
    await counter.finish()
    assert counter.received() == 20_000
    await counter.sound()


async def test_a_large_sum_is_paid_when_it_is_deep_enough(counter: Counter) -> None:
    await sent(counter, 1_000_000)
    for state in ("paying", "paying", "paid"):
        await counter.mined()
        assert (await counter.states())[0][0] == state
        await counter.sound()


async def test_what_the_chain_takes_back_before_it_counted_counts_from_its_new_block(counter: Counter) -> None:
    txid = await sent(counter, 1_000_000)
    await counter.mined(2)
    counter.network.chain.reorganise(2)
    counter.network.chain.forget(txid)
    await counter.later(600)
    assert ((await counter.batch())["height"], mempool(counter)) == (0, [txid])
    await counter.sound()
    await counter.mined(2)
    assert (await counter.states())[0][0] == "paying"
    await counter.mined()
    assert (await counter.states())[0][0] == "paid"
    await counter.sound()


async def test_what_the_chain_takes_back_after_it_counted_stays_booked_and_is_sent_again(counter: Counter) -> None:
    txid = await sent(counter)
    await counter.mined()
    balance = await counter.till.balance()
    assert (await counter.states())[0][0] == "paid"
    counter.network.chain.reorganise(1)
    counter.network.chain.forget(txid)
    await counter.later(600)
    assert mempool(counter) == [txid]
    await counter.sound()
    await counter.mined()
    assert (await counter.batch())["height"] == counter.network.chain.height()
    await counter.mined(100)
    assert (await counter.batch())["state"] == "buried"
    assert await counter.till.balance() == balance
    assert counter.received() == 20_000
    await counter.sound()


async def test_a_transaction_in_no_block_for_a_day_is_told_once(counter: Counter) -> None:
    await sent(counter)
    for _ in range(3):
        await counter.later(43_200)
    told = await counter.till.told()
    assert [text.partition(":")[0] for text in told] == ["Sent", "On its way and not confirmed yet"]
    await counter.finish()


async def test_a_node_that_lags_proves_nothing(counter: Counter) -> None:
    txid = await sent(counter)
    counter.network.set_synced("service", False)
    await counter.mined()
    assert (await counter.states())[0][0] == "paying"
    counter.network.set_synced("service", True)
    await counter.later()
    assert (await counter.states())[0][0] == "paid"
    assert (await counter.batch())["txid"] == txid


async def test_nothing_is_prepared_or_sent_while_the_node_lags(counter: Counter) -> None:
    await counter.grant(90_000)
    await counter.say(f"withdraw 20000 {SEGWIT}")
    await counter.batches.step()
    counter.network.set_synced("service", False)
    await counter.later()
    assert (await counter.batch())["state"] == "gathered"
    counter.network.set_synced("service", True)
    counter.clock.advance(60)
    await counter.batches.step()
    counter.network.set_synced("service", False)
    await counter.go_on()
    assert (await counter.batch())["state"] == "prepared"
    counter.network.set_synced("service", True)
    await counter.finish()
    assert counter.received() == 20_000
