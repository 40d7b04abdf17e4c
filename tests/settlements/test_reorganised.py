"""The chain takes a deposit back: so does the book, and what is spent is owed (E2)."""

from __future__ import annotations

import pytest

from handlers import jobs
from handlers.lots import follow_lots
from tests.settlements.conftest import ALICE, BOB, Street, Till
from tests.settlements.test_deposits import SMALL, deposited, sound
from wallet.accounts import NODE_ONCHAIN, user
from wallet.ledger import Plan, Transfer
from wallet.money import Msat, from_sat


async def spent(till: Till, msat: int) -> None:
    """Let Bob spend."""
    transfer = Transfer(user(BOB.pubkey), user(ALICE.pubkey), Msat(msat), "test")
    assert (await till.book.apply(Plan("test/spend", (transfer,)))).done


async def test_e2_a_reorganisation_takes_back_what_is_left(till: Till) -> None:
    await deposited(till)
    await till.mined()
    await till.reorganised(1, replaced=True)
    assert (await till.balance(), await till.debt(), await till.book.balance(NODE_ONCHAIN)) == (0, 0, 0)
    assert await till.deposit_states() == ["reversed"]
    assert (await till.told())[-1] == "The chain has taken back the 50,000 sat that had arrived on-chain."
    await sound(till)


async def test_e2_what_was_spent_is_owed_blocks_the_account_and_is_paid_by_the_next_top_up(till: Till) -> None:
    await deposited(till)
    await till.mined()
    await spent(till, from_sat(30_000))
    await till.reorganised(1, replaced=True)
    assert (await till.balance(), await till.debt()) == (0, -from_sat(30_000))
    assert "30,000 sat of them were spent: you owe them" in (await till.told())[-1]
    await till.funded(20_000)
    assert (await till.balance(), await till.debt()) == (0, -from_sat(10_000))
    await till.funded(25_000)
    assert (await till.balance(), await till.debt()) == (from_sat(15_000), 0)
    await sound(till)


async def test_e2_a_debt_is_paid_by_a_deposit_first(till: Till) -> None:
    await deposited(till)
    await till.mined()
    await spent(till, SMALL)
    await till.reorganised(1, replaced=True)
    await deposited(till, from_sat(80_000))
    await till.mined()
    assert (await till.balance(), await till.debt()) == (from_sat(30_000), 0)
    await sound(till)


@pytest.mark.parametrize("on_chain", [True, False])
async def test_e2_a_debt_is_paid_by_what_was_earned_since(till: Till, *, on_chain: bool) -> None:
    """Also where nothing is taken on the chain: a card payment that was disputed leaves debts, too."""
    await deposited(till)
    await till.mined()
    await spent(till, SMALL)
    await till.reorganised(1, replaced=True)
    await till.funded(60_000, ALICE)
    earned = Transfer(user(ALICE.pubkey), user(BOB.pubkey), from_sat(60_000), "test")
    assert (await till.book.apply(Plan("test/earned", (earned,)))).done
    for _ in range(2):
        await (till.deposits.look() if on_chain else follow_lots(till.bot))
        assert (await till.balance(), await till.debt()) == (from_sat(10_000), 0)


async def test_e2_a_job_s_invoice_pays_the_debt_first_and_the_job_waits(till: Till) -> None:
    job = await till.ask_for_job()
    await deposited(till)
    await till.mined()
    await spent(till, SMALL)
    await till.reorganised(1, replaced=True)
    await till.pay(await till.invoice_of(job))
    await till.follow()
    assert (await till.held(job), await till.debt()) == (0, from_sat(12_000) - SMALL)
    assert (await till.again(job))["state"] == "awaiting_payment"
    assert (await till.told())[-1] == "12,000 sat arrived. You owed 50,000 sat: too little is left for the job."


async def test_e2_whoever_owes_is_told_so_when_they_ask_for_a_job(till: Till) -> None:
    await deposited(till)
    await till.mined()
    await spent(till, SMALL)
    await till.reorganised(1, replaced=True)
    agent = next(iter(till.bot.agents))
    request = BOB.sign(kind=5050, content="", tags=[["i", "x", "text"], ["p", agent]], created_at=till.bot.clock.now())
    decision = await jobs.on_request(till.bot, request)
    assert isinstance(decision, Plan)
    assert "refuse" in decision.key


async def test_e2_what_comes_back_after_a_reorganisation_is_credited_again_once(till: Till) -> None:
    await deposited(till)
    await till.mined()
    await till.reorganised(1)
    assert await till.balance() == 0
    await till.mined(3)
    assert (await till.balance(), await till.deposit_states()) == (SMALL, ["credited"])
    assert await till.book.balance(NODE_ONCHAIN) == -SMALL
    await sound(till)


async def test_e2_while_a_reorganisation_is_under_way_blocks_are_only_missing(till: Till) -> None:
    await deposited(till)
    await till.mined(3)
    await till.reorganised(3, length=0)  # the new blocks have not come yet
    assert await till.balance() == SMALL
    till.network.chain.mine(2)  # the first of them holds the deposit again
    await till.deposits.look()
    assert (await till.balance(), await till.deposit_states(), len(await till.told())) == (SMALL, ["credited"], 1)


async def test_e2_a_deposit_is_watched_for_as_long_as_it_can_be_undone_and_then_no_more(
    till: Till, street: Street
) -> None:
    await deposited(till)
    await till.mined()
    till.network.chain.mine(street.config.onchain.watch_blocks - 1)
    await till.deposits.look()
    assert await till.deposit_states() == ["credited"]
    await till.mined()
    assert await till.deposit_states() == ["buried"]


async def test_e2_a_deposit_the_node_has_forgotten_is_no_reorganisation(till: Till) -> None:
    """A node that was set back lists it no more: the money stays, and the operator is told."""
    await deposited(till)
    await till.mined()
    till.network._store.run("UPDATE coins SET seen = 0")
    await till.mined(2)
    assert (await till.balance(), await till.deposit_states()) == (SMALL, ["credited"])
    assert "lists 1 deposits no more" in till.bot.alarms.standing["deposits"]
    till.network._store.run("UPDATE coins SET seen = 1")
    await till.deposits.look()
    assert till.bot.alarms.standing == {}
