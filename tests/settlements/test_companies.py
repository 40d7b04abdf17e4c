"""Money that comes in for a company, by the node's word: its bonus comes along, and goes with a deposit undone."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from handlers.bot import Bot
from handlers.commands import _run
from handlers.conversation import Asked
from handlers.settlements import pay_internally
from relaybot.config import parse_config
from tests.settlements.conftest import ALICE, BOB, Street, Till
from wallet.accounts import CAPITAL, PROMOTIONS, Class, company, of, user
from wallet.bolt11_invoice import parse_bolt11
from wallet.ledger import Plan, Transfer
from wallet.money import from_sat

BULK = {"bulk": [{"from": "100000 sat", "bonus": "5%"}]}
SATS, PROMO = of(company("acme")), of(company("acme"), Class.PROMO)


@pytest.fixture
async def acme(street: Street) -> AsyncIterator[Till]:
    """Return a till whose Bob has founded acme."""
    street.config = parse_config(
        {"companies": BULK, "service": {"name": "Bees"}}, config_dir=street.config.service.data_dir
    )
    async with street.till() as till:
        await till.funded(1)
        await said(till, "org create acme Acme Ltd.")
        yield till


async def said(till: Till, text: str, sender: str = BOB.pubkey) -> str:
    """Let somebody write a private message, and return the answer."""
    command, *words = text.split()
    rumor = secrets.token_hex(32)
    reply = await _run(till.bot, command, Asked(sender, rumor, till.bot.clock.now(), words, ""))
    assert (await till.book.apply(Plan(f"dm/{rumor}", reply.transfers, reply.changes))).done
    return reply.text


async def test_an_invoice_names_the_company_and_brings_the_bonus_in_the_plan_that_credits(acme: Till) -> None:
    answer = await said(acme, "org topup 200000")
    assert "It brings 10,000 sat more" in answer
    bolt11 = answer.splitlines()[1]
    read = parse_bolt11(bolt11)
    assert read.amount_msat == from_sat(200_000)
    await acme.pay(bolt11)
    await acme.follow()
    assert [await acme.book.balance(account) for account in (SATS, PROMO)] == [from_sat(200_000), from_sat(10_000)]
    moved = await acme.book.database.fetch("SELECT reason FROM transfers WHERE plan LIKE 'invoice/%' ORDER BY seq DESC")
    assert [row["reason"] for row in moved][:2] == ["bulk bonus", "topup"]
    assert any("acme is topped up" in text for text in await acme.told())
    assert await acme.balance() == from_sat(1)
    lines = (await said(acme, "org statement")).splitlines()
    assert [line.split(",")[4] for line in lines[2:]] == ["top-up", "bonus for a large top-up"]
    await acme.agrees()


async def test_b2_what_a_user_here_pays_inside_brings_no_bonus_and_a_second_payment_is_credited_too(acme: Till) -> None:
    await acme.funded(150_000, ALICE)
    bolt11 = (await said(acme, "org topup 100000")).splitlines()[1]
    inside = await pay_internally(acme.bot, ALICE.pubkey, bolt11)
    assert inside is not None
    assert (await acme.book.apply(inside.journal.plan("test/inside"))).done
    assert [await acme.book.balance(account) for account in (SATS, PROMO)] == [from_sat(100_000), 0]
    assert await acme.balance(ALICE) == from_sat(50_000)
    await acme.pay(bolt11)
    await acme.follow()
    assert [await acme.book.balance(account) for account in (SATS, PROMO)] == [from_sat(200_000), from_sat(5_000)]
    topups = await acme.book.database.fetch("SELECT amount_msat, bonus_msat FROM company_topups ORDER BY bonus_msat")
    assert [row["bonus_msat"] for row in topups] == [0, from_sat(5_000)]
    await acme.agrees()


async def test_a_deposit_on_the_chain_counts_when_it_is_deep_enough_and_goes_with_its_bonus(acme: Till) -> None:
    own, theirs = await acme.address(), (await said(acme, "org topup 200000 onchain")).splitlines()[1]
    assert own != theirs
    assert "for acme alone" in await said(acme, "org topup 200000 onchain")
    acme.network.chain.send(theirs, from_sat(200_000))
    await acme.mined()
    assert [await acme.book.balance(account) for account in (SATS, PROMO)] == [from_sat(200_000), from_sat(10_000)]
    await acme.reorganised(1)
    assert [await acme.book.balance(account) for account in (SATS, PROMO, PROMOTIONS)] == [0, 0, 0]
    await acme.mined()  # it is in a block again
    assert [await acme.book.balance(account) for account in (SATS, PROMO)] == [from_sat(200_000), from_sat(10_000)]
    spent = Transfer(SATS, CAPITAL, from_sat(50_000), "test"), Transfer(PROMO, CAPITAL, from_sat(4_000), "test")
    assert (await acme.book.apply(Plan("test/spent", spent))).done
    await acme.reorganised(1, replaced=True)
    assert [await acme.book.balance(account) for account in (SATS, PROMO, PROMOTIONS)] == [0, 0, 0]
    assert await acme.debt() == -from_sat(53_999)  # a sat was there; the owner had asked for the address
    assert "54,000 sat of them were spent: you owe them" in (await acme.told())[-1]


async def test_e5_a_user_here_who_pays_to_the_companys_address_pays_inside(acme: Till) -> None:
    await acme.funded(150_000, ALICE)
    address = (await said(acme, "org topup 200000 onchain")).splitlines()[1]
    assert "nothing had to leave" in await said(acme, f"withdraw 120000 {address} confirm", ALICE.pubkey)
    assert [await acme.book.balance(account) for account in (SATS, PROMO)] == [from_sat(120_000), 0]
    assert await acme.book.balance(user(BOB.pubkey)) == from_sat(1)
    await acme.agrees()


async def test_a_top_up_has_its_limits(acme: Till) -> None:
    settings = acme.bot.config.companies.model_copy(update={"balance_max": from_sat(300_000)})
    bot: Bot = replace(acme.bot, config=acme.bot.config.model_copy(update={"companies": settings}))
    till = Till(bot, acme.network, acme.committing)
    await till.pay((await said(till, "org topup 200000")).splitlines()[1])
    await till.follow()
    assert "a balance is at most 300,000 sat" in await said(till, "org topup 100001")
