"""Bitcoin on the chain: credited when it lies deep enough, once, and taken back if the chain takes it back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import jobs
from handlers.credits import require_no_debt
from handlers.deposits import Deposits, arriving, deposit_address
from relaybot.config import parse_config
from relaybot.errors import Rejected
from relaybot.simulator.chain import Paid
from tests.settlements.conftest import AGENT, ALICE, BOB, Street, Till
from wallet.accounts import FEES, NODE_ONCHAIN, hold
from wallet.book import invariants
from wallet.chain import Chain, Output
from wallet.ledger import Plan, Verdict
from wallet.money import Msat, from_sat
from wallet.onchain import DepositRules, Received, confirmations

TWO_MILLION = from_sat(2_000_000)  # three confirmations
SMALL = from_sat(50_000)  # one


async def deposited(till: Till, amount: Msat = SMALL, address: str | None = None) -> str:
    """Let somebody send to Bob's address; return the transaction's id."""
    return till.network.chain.send(address or await till.address(), amount)


async def sound(till: Till) -> None:
    """Assert that the book is sound, and that the node's books say the same of every transaction."""
    assert await invariants(till.book.database) == []
    await till.agrees()


# ---- E1: not before it lies deep enough


async def test_e1_a_deposit_is_credited_after_as_many_confirmations_as_its_sum_needs(till: Till) -> None:
    await deposited(till, TWO_MILLION)
    await till.deposits.look()
    assert await till.book.database.fetch("SELECT id FROM deposits") == []  # in the mempool nobody sees it
    for balance, shown in ((0, "1 of 3"), (0, "2 of 3"), (TWO_MILLION, "")):
        await till.mined()
        await sound(till)
        assert await till.balance() == balance
        assert [line for line in await arriving(till.bot, BOB.pubkey) if shown] == (
            [f"2,000,000 sat ({shown} confirmations)"] if shown else []
        )
    assert await till.told() == [
        "2,000,000 sat are arriving on-chain: they are yours after 3 confirmations, 1 so far.",
        "2,000,000 sat arrived on-chain: your balance is topped up.",
    ]
    assert await till.book.balance(NODE_ONCHAIN) == -TWO_MILLION
    await sound(till)


async def test_e1_a_small_sum_needs_one_confirmation_and_is_told_of_once(till: Till) -> None:
    await deposited(till)
    await till.mined()
    assert await till.balance() == SMALL
    assert len(await till.told()) == 1


async def test_e1_a_large_sum_in_many_small_outputs_needs_as_much_as_the_sum(till: Till) -> None:
    addresses = [await till.address(), await till.address(ALICE)]
    till.network.chain.broadcast([Paid(address, from_sat(600_000)) for address in addresses])
    await till.mined(2)
    assert (await till.balance(BOB), await till.balance(ALICE)) == (0, 0)
    await till.mined()
    assert (await till.balance(BOB), await till.balance(ALICE)) == (from_sat(600_000), from_sat(600_000))


async def test_e1_a_large_sum_in_many_transactions_of_one_block_needs_as_much_as_the_sum(till: Till) -> None:
    for customer in (BOB, ALICE):
        till.network.chain.broadcast([Paid(await till.address(customer), from_sat(600_000))])
    await till.mined(2)
    assert (await till.balance(BOB), await till.balance(ALICE)) == (0, 0)
    await till.mined()
    assert (await till.balance(BOB), await till.balance(ALICE)) == (from_sat(600_000), from_sat(600_000))


async def test_e1_what_one_reorganisation_could_take_back_needs_as_much_as_its_sum(till: Till) -> None:
    most = from_sat(600_000)  # alone it needs one confirmation, two of them three
    for customer in (BOB, ALICE):
        await deposited(till, most, await till.address(customer))
        await till.mined()
    assert (await till.balance(BOB), await till.balance(ALICE)) == (most, 0)
    assert await arriving(till.bot, ALICE.pubkey) == ["600,000 sat (1 of 3 confirmations)"]
    await till.mined(2)
    assert await till.balance(ALICE) == most
    await till.reorganised(2, replaced=True)
    assert await till.deposit_states() == ["credited", "credited"]
    await sound(till)


async def test_e1_a_large_sum_that_waits_makes_no_other_wait(till: Till) -> None:
    await deposited(till, TWO_MILLION)
    await till.mined()
    await deposited(till, SMALL, await till.address(ALICE))
    await till.mined()
    assert (await till.balance(BOB), await till.balance(ALICE)) == (0, SMALL)
    await till.mined()
    assert await till.balance(BOB) == TWO_MILLION


LADDER = DepositRules(
    ((Msat(0), 1), (Msat(10), 3), (Msat(100), 6)), minimum_msat=Msat(1), fee_msat=Msat(0), watch_blocks=100
)
STEPS = {msat: count for msat, count in LADDER.confirmations if msat}


@given(
    st.lists(st.integers(0, 12) | st.integers(0, 120), min_size=1, max_size=30),
    st.lists(st.booleans(), min_size=30, max_size=30),
)
def test_e1_no_reorganisation_can_take_back_a_sum_that_needs_more_blocks_than_it_has(
    paid: list[int], looks: list[bool]
) -> None:
    """Block by block, with looks left out: whatever is credited less deep than a step's count stays below its sum."""
    credited: dict[int, int] = {}
    for tip in range(len(paid)):
        if not looks[tip] and tip != len(paid) - 1:
            continue
        blocks = {at: Received(paid[at], credited.get(at, 0)) for at in range(tip + 1) if paid[at]}
        counts = confirmations(blocks, tip=tip, rules=LADDER)
        credited |= {at: paid[at] for at, count in counts.items() if tip - at + 1 >= count}
        for least, count in STEPS.items():
            assert sum(msat for at, msat in credited.items() if tip - at + 1 < count) < least
        assert all(credited.get(at) for at in blocks if tip - at + 1 >= LADDER.deepest)  # nobody waits longer


async def test_e1_a_deposit_that_was_replaced_is_never_credited(till: Till) -> None:
    await deposited(till, TWO_MILLION)
    await till.mined(2)
    await till.reorganised(2, replaced=True)
    await till.mined(10)
    assert (await till.balance(), await till.deposit_states()) == (0, ["lost"])
    assert "count no more" in (await till.told())[-1]
    await sound(till)


async def test_e1_a_deposit_that_comes_back_in_another_block_counts_from_there(till: Till) -> None:
    await deposited(till, TWO_MILLION)
    await till.mined(2)
    await till.reorganised(2)
    assert await till.deposit_states() == ["lost"]
    await till.mined()
    assert await arriving(till.bot, BOB.pubkey) == ["2,000,000 sat (1 of 3 confirmations)"]
    await till.mined()
    assert await till.balance() == 0
    await till.mined()
    assert await till.balance() == TWO_MILLION


async def test_e1_a_node_that_lags_behind_the_chain_is_not_believed(till: Till) -> None:
    await deposited(till)
    await till.mined()
    till.network.set_synced("service", False)
    await till.reorganised(1, replaced=True)
    assert (await till.balance(), await till.deposit_states()) == (SMALL, ["credited"])
    till.network.set_synced("service", True)
    owes_nothing = await require_no_debt(till.bot, BOB.pubkey)
    await till.deposits.look()
    assert (await till.balance(), await till.deposit_states()) == (0, ["reversed"])
    late = Plan("test/leaves", changes=(owes_nothing,))
    assert (await till.book.apply(late)).verdict is Verdict.CONFLICT, "what was about to leave is decided again"


async def test_e1_a_block_that_comes_between_two_looks_makes_it_look_again(till: Till) -> None:
    await deposited(till)
    mining = Between(till.bot.chain, till.network.chain.mine)
    await Deposits(replace(till.bot, chain=mining.port)).look()
    assert await till.deposit_states() == []
    await till.deposits.look()
    assert await till.balance() == SMALL


class Between:
    """A wallet with a neighbour who does something while it lists its outputs."""

    def __init__(self, chain: Chain, act: Callable[[], object]) -> None:
        self._chain = chain
        self._act = act

    async def outputs(self) -> list[Output]:
        found = await self._chain.outputs()
        self._act()
        return found

    @property
    def port(self) -> Chain:
        found: Chain = self  # type: ignore[assignment]  # the methods that are called
        return found


# ---- E3: once


async def test_e3_an_output_that_is_seen_again_and_again_is_credited_once(till: Till, street: Street) -> None:
    await deposited(till)
    till.network.chain.mine()
    async with street.till() as other:
        await asyncio.gather(*(one.deposits.look() for one in (till, other, till, other)))
    async with street.till() as restarted:
        await restarted.deposits.look()
        await restarted.mined()
        assert await restarted.balance() == SMALL
        rows = await restarted.book.database.fetch("SELECT id FROM transfers")
        assert len(rows) == 1
        assert len(await restarted.told()) == 1


async def test_e3_an_output_that_the_node_has_spent_meanwhile_is_credited_once(till: Till) -> None:
    txid = await deposited(till, TWO_MILLION)
    await till.mined()
    till.network.chain.broadcast([Paid("bcrt1qggua3q2v7r72f6lngvc3p4e0jc5r2fux0htvtt", SMALL)], spends=[(txid, 0)])
    await till.mined(5)
    assert (await till.balance(), await till.deposit_states()) == (TWO_MILLION, ["credited"])


async def test_e3_an_output_that_was_spent_before_we_looked_counts_from_when_it_is_seen(till: Till) -> None:
    txid = await deposited(till, TWO_MILLION)
    till.network.chain.mine()
    till.network.chain.broadcast([Paid("bcrt1qggua3q2v7r72f6lngvc3p4e0jc5r2fux0htvtt", SMALL)], spends=[(txid, 0)])
    till.network.chain.mine()
    await till.deposits.look()
    assert await till.balance() == 0
    await till.mined(2)
    assert await till.balance() == TWO_MILLION


async def test_e3_deposits_that_were_missed_while_we_were_away_are_credited_at_the_start(street: Street) -> None:
    async with street.till() as till:
        await deposited(till, TWO_MILLION)
    street.network.chain.mine(10)
    async with street.till() as till:
        await till.deposits.look()
        assert await till.balance() == TWO_MILLION


# ---- E4: old addresses, dust, several outputs


async def test_e4_a_used_address_is_followed_by_a_new_one_and_stays_watched(till: Till) -> None:
    first = await till.address()
    assert await till.address() == first
    assert await till.address(ALICE) != first
    await deposited(till, SMALL, first)
    await till.mined()
    second = await till.address()
    assert second != first
    await deposited(till, SMALL, first)
    await deposited(till, SMALL, second)
    await till.mined()
    assert await till.balance() == 3 * SMALL


async def test_e4_several_outputs_of_one_transaction_are_credited_each_once(till: Till) -> None:
    bob, alice = await till.address(), await till.address(ALICE)
    till.network.chain.broadcast([Paid(bob, from_sat(1_000)), Paid(alice, from_sat(2_000)), Paid(bob, from_sat(4_000))])
    await till.mined(2)
    assert (await till.balance(BOB), await till.balance(ALICE)) == (from_sat(5_000), from_sat(2_000))
    await sound(till)


async def test_e4_less_than_the_minimum_is_nobody_s_balance_and_its_sender_is_told(till: Till) -> None:
    await deposited(till, from_sat(999))
    await till.mined(2)
    assert (await till.balance(), await till.book.balance(FEES)) == (0, from_sat(999))
    assert await till.told() == [
        "999 sat arrived on-chain, less than the minimum of 1,000 sat: they cannot be credited."
    ]
    await till.reorganised(2, replaced=True)
    assert (await till.book.balance(FEES), await till.book.balance(NODE_ONCHAIN)) == (0, 0)
    assert await till.debt() == 0


async def test_e4_dust_is_booked_and_nobody_is_told_of_it(till: Till) -> None:
    address = await till.address()
    till.network.chain.broadcast([Paid(address, from_sat(545)), Paid(address, from_sat(546))])
    await till.mined(2)
    assert (await till.balance(), await till.book.balance(FEES)) == (0, from_sat(1_091))
    assert await till.told() == [
        "546 sat arrived on-chain, less than the minimum of 1,000 sat: they cannot be credited."
    ]
    await till.reorganised(2, replaced=True)
    assert (await till.book.balance(FEES), await till.book.balance(NODE_ONCHAIN)) == (0, 0)


async def test_e4_what_pays_no_address_of_ours_is_none_of_our_business(till: Till) -> None:
    txid = till.network.chain.send(await till.bot.chain.new_address(), SMALL)  # the operator's own
    await till.mined(2)
    assert await till.book.database.fetch("SELECT id FROM deposits") == []
    assert txid


async def test_a_fee_is_taken_off_each_deposit_and_comes_back_with_its_reversal(till: Till, street: Street) -> None:
    config = parse_config(
        {"agents": {"autodev": AGENT}, "onchain": {"deposit_fee": "500 sat"}}, config_dir=street.config.service.data_dir
    )
    following = Deposits(replace(till.bot, config=config))
    await deposited(till)
    till.network.chain.mine()
    await following.look()
    assert (await till.balance(), await till.book.balance(FEES)) == (from_sat(49_500), from_sat(500))
    assert (await till.told())[
        -1
    ] == "49,500 sat arrived on-chain, 500 sat of fee taken off: your balance is topped up."
    till.network.chain.reorganise(1, replaced=True)
    await following.look()
    assert (await till.balance(), await till.book.balance(FEES), await till.debt()) == (0, 0, 0)
    await sound(till)


# ---- beside them


async def test_a_deposit_pays_for_a_job(till: Till) -> None:
    await deposited(till)
    await till.mined()
    agent = next(iter(till.bot.agents))
    request = BOB.sign(kind=5050, content="", tags=[["i", "x", "text"], ["p", agent]], created_at=till.bot.clock.now())
    decision = await jobs.on_request(till.bot, request)
    assert isinstance(decision, Plan)
    assert (await till.book.apply(decision)).done
    assert await till.book.balance(hold(f"job/{request.id}")) == from_sat(12_000)


async def test_where_the_chain_is_switched_off_there_is_no_address(till: Till, tmp_path: Path) -> None:
    config = parse_config({"onchain": {"enabled": False}}, config_dir=tmp_path)
    with pytest.raises(Rejected, match="no bitcoin on-chain"):
        await deposit_address(replace(till.bot, config=config), BOB.pubkey)


async def test_the_watch_takes_a_block_in_and_waits_for_the_next(till: Till) -> None:
    await deposited(till)
    till.network.chain.mine()
    waited: list[Any] = []

    class Waiting(Between):
        async def wait_for_block(self, height: int, *, timeout_seconds: int) -> None:
            waited.append((height, timeout_seconds))

    following = Deposits(replace(till.bot, chain=Waiting(till.bot.chain, lambda: None).port))
    assert await following.follow() is True
    assert await till.balance() == SMALL
    assert waited == [(till.network.chain.height() + 1, 60)]
