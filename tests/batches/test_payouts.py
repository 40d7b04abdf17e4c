"""Contributors who are paid to a bitcoin address by themselves: when it is worth it, and where they want it."""

from __future__ import annotations

import json

from handlers.message_relays import on_dm_relays
from handlers.targets import on_profile
from tests.batches.conftest import ADDRESSES, SEGWIT, Counter
from tests.settlements.conftest import BOB
from wallet.ledger import Plan, Put
from wallet.targets import KEEP


async def earning(counter: Counter, sat: int, target: str = SEGWIT) -> None:
    """Let somebody say where they want to be paid, and earn."""
    await counter.say(f"payout {target}")
    await counter.grant(sat, payout_check_at=counter.clock.now())


async def checked(counter: Counter) -> None:
    await counter.checks.open_due()
    await counter.go_on()


async def test_what_somebody_earns_goes_to_their_address(counter: Counter) -> None:
    await earning(counter, 200_000)
    await checked(counter)
    [row] = await counter.book.database.fetch("SELECT kind, rail, amount_msat, reserve_msat FROM payouts")
    assert (row["kind"], row["rail"]) == ("payout", "onchain")
    assert row["amount_msat"] + row["reserve_msat"] == 200_000_000
    await counter.finish()
    assert counter.received() * 1_000 == row["amount_msat"]
    await counter.sound()


async def test_a_small_balance_waits_until_it_is_worth_a_transaction(counter: Counter) -> None:
    await earning(counter, 9_000)
    await checked(counter)
    assert await counter.states() == []
    await counter.grant(9_000, payout_check_at=counter.clock.now())
    await checked(counter)
    await counter.finish()
    assert counter.received() > 17_000


async def test_a_payout_waits_for_lower_fees_and_a_withdrawal_says_what_it_costs(counter: Counter) -> None:
    counter.network.chain.set_feerate(3_000)
    await earning(counter, 60_000)
    await checked(counter)
    assert await counter.states() == []
    assert (await counter.till.row("users", BOB.pubkey))["payout_check_at"] == counter.clock.now() + 3_600
    counter.network.chain.set_feerate(300)
    counter.clock.advance(3_600)
    await checked(counter)
    await counter.finish()
    assert counter.received() > 50_000


async def test_nobody_is_paid_on_the_chain_while_fees_are_unknown_and_the_others_are_looked_at(
    counter: Counter,
) -> None:
    counter.network.chain.set_feerate(0)
    await earning(counter, 60_000)
    assert await counter.checks.open_due() is False
    assert await counter.states() == []


async def test_whoever_changes_their_target_meanwhile_is_paid_there(counter: Counter) -> None:
    await earning(counter, 60_000)
    await counter.checks.open_due()
    await counter.say(f"payout {ADDRESSES['p2tr']}", number=1)
    await counter.go_on()
    assert counter.received() == 0
    assert (await counter.states())[0] == (
        "waiting",
        "the target was changed a short while ago: it goes there after a pause",
    )
    await counter.later(86_400)
    assert (counter.received(), counter.received(ADDRESSES["p2tr"]) > 50_000) == (0, True)


async def test_whoever_wants_lightning_meanwhile_gets_their_balance_back_and_another_look(counter: Counter) -> None:
    await earning(counter, 60_000)
    await counter.checks.open_due()
    await counter.say("payout bob@wallets.test", number=1)
    await counter.go_on()
    assert await counter.states() == [("stopped", "there is no payout target")]
    assert await counter.till.balance() == 60_000_000
    assert (await counter.till.row("users", BOB.pubkey))["payout_check_at"] is not None


async def test_an_address_of_our_own_means_that_it_stays_balance(counter: Counter) -> None:
    own = await counter.bot.chain.new_address()
    assert await counter.say(f"payout {own}") == "What you earn stays your balance."
    assert (await counter.till.row("targets", f"{BOB.pubkey}/registered"))["target"] == KEEP


async def test_the_day_s_limit_of_all_holds_for_what_is_on_its_way_too(counter: Counter) -> None:
    await counter.grant(30_000_000)
    counter.network._store.run("UPDATE coins SET amount_msat = 30 * amount_msat")
    for number in range(3):
        await counter.grant(900_000)
        await counter.say(f"withdraw 300000 {SEGWIT}", number=number)
    counter.batches._obstacles._rules = type(counter.rules)(
        **{name: getattr(counter.rules, name) for name in counter.rules.__slots__} | {"day_msat_max": 700_000_000}
    )
    await counter.go_on()
    assert counter.received() == 600_000
    assert sorted(state for state, _ in await counter.states()) == ["paying", "paying", "waiting"]
    assert any("day's limit" in reason for _, reason in await counter.states())


async def test_a_lightning_address_that_begins_like_a_bitcoin_address_is_one_and_harms_nobody(counter: Counter) -> None:
    await earning(counter, 200_000, "bc1q@wallets.test")
    await checked(counter)
    [row] = await counter.book.database.fetch("SELECT rail, target FROM payouts")
    assert (row["rail"], row["target"]) == ("lightning", "bc1q@wallets.test")


async def test_an_address_that_cannot_be_paid_to_any_more_leaves_the_balance_where_it_is(counter: Counter) -> None:
    await earning(counter, 200_000)
    elsewhere = Put("targets", f"{BOB.pubkey}/registered", {"target": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"})
    await counter.book.apply(Plan("test/elsewhere", changes=(elsewhere,)))
    await checked(counter)
    assert await counter.states() == []


async def test_whoever_changes_their_target_after_it_was_prepared_is_not_paid_at_the_old_one(counter: Counter) -> None:
    await earning(counter, 60_000)
    await counter.checks.open_due()
    await counter.batches.step()
    await counter.batches.step()
    assert (await counter.batch())["state"] == "prepared"
    await counter.say(f"payout {ADDRESSES['p2tr']}", number=1)
    await counter.go_on()
    assert (counter.received(), (await counter.batch())["state"]) == (0, "discarded")
    await counter.later(86_400)
    assert counter.received(ADDRESSES["p2tr"]) > 50_000


async def test_f3_whoever_is_paid_elsewhere_from_now_on_is_told_and_waits_a_day(counter: Counter) -> None:
    await counter.say(f"payout {SEGWIT}")
    assert "somebody else has your key" in await counter.say("payout thief@wallets.test")
    await counter.grant(200_000, payout_check_at=counter.clock.now())
    await counter.checks.open_due()
    assert await payouts_of(counter) == []
    assert (await counter.till.row("users", BOB.pubkey))["payout_check_at"] == counter.clock.now() + 86_400
    assert "somebody else has your key" in await counter.say(
        f"payout {SEGWIT}", number=9
    )  # back, after the pause as well
    counter.clock.advance(86_400)
    await counter.checks.open_due()
    assert await payouts_of(counter) == [SEGWIT]


async def test_f3_whoever_gets_a_second_place_to_be_paid_is_told(counter: Counter) -> None:
    bot, now = counter.till.bot, counter.clock.now()
    await counter.say(f"payout {SEGWIT}")
    reached = BOB.sign(kind=10050, content="", tags=[["relay", "wss://relay.test"]], created_at=now)
    reachable = await on_dm_relays(bot, reached)
    assert isinstance(reachable, Plan)
    assert (await counter.book.apply(reachable)).done
    for address, told in (("a@wallets.test", 1), ("a@wallets.test", 0), ("b@wallets.test", 1)):
        now += 1
        profile = BOB.sign(kind=0, content=json.dumps({"lud16": address}), tags=[], created_at=now)
        plan = await on_profile(bot, profile)
        assert isinstance(plan, Plan)
        assert [change.table for change in plan.changes].count("outbox") == told
        assert (await counter.book.apply(plan)).done
    assert (await counter.till.row("users", BOB.pubkey))["target_since"] == 0


async def payouts_of(counter: Counter) -> list[str]:
    return [row["target"] for row in await counter.book.database.fetch("SELECT target FROM payouts")]
