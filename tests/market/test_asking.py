"""What is refused before any work, whichever way a job is asked for: bids below the price, and money's way out."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from handlers import jobs
from handlers.bot import Agent, new_user
from handlers.credits import plan_fed
from relaybot.inbox import Decision
from relaybot.keyring import Keyring
from relaybot.nostr import nip90
from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import parse_event
from relaybot.nostr.nip90 import Input
from relaybot.operator.opening import opened_bot
from splits.market import full_id
from tests.documents.cast import MASTER, key_of
from tests.market.conftest import AGENT, SKILL, Stall, stall_on, store_of
from wallet.ledger import Plan, Put
from wallet.money import from_sat

BOB, HEIDI = key_of("bob"), key_of("heidi")
FIXED: dict[str, Any] = {"name": "Fixed", "kinds": [5050], "price": "1000 sat"}
METER = {"base": "1000 sat", "per": "1000 tokens", "amount": "3 sat", "at_most": "5000 sat"}
AGENTS = {"fixed": FIXED, "metered": {**FIXED, "name": "Metered", "price": METER}}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Stall]:
    """A service with an agent of a fixed price, one of a metered, and one that Heidi has registered at 1,000 sat."""
    directory = tmp_path / "data"
    directory.mkdir()
    place = {"database": str(directory / "book.db"), "agents": AGENTS}
    async with stall_on(store_of("sqlite", directory), directory, **place) as stall:
        skill, listed = stall.listing("skill:read", SKILL), stall.listing("agent:translate", AGENT)
        await stall.hear(skill)
        await stall.hear(listed)
        await stall.approve(skill, listed)
        for key in (BOB, HEIDI):
            fed = await plan_fed(stall.bot, key.pubkey, from_sat(10_000), "topup")
            await stall.apply(fed.plan(f"test/fed/{key.pubkey}"))
        yield stall


def agent_of(shop: Stall, name: str) -> Agent:
    wanted = full_id("translate", HEIDI.pubkey) if name == "listed" else name
    return next(agent for agent in shop.bot.agents.values() if agent.id == wanted)


async def asked(
    shop: Stall, name: str, *, bid: int | None, private: bool = False, who: str = "bob", tags: Sequence[list[str]] = ()
) -> Decision:
    """Return what is decided about a request with this bid (msat)."""
    agent, now = agent_of(shop, name), shop.clock.now()
    request = nip90.build_job_request(
        key_of(who),
        kind=min(agent.kinds),
        provider=agent.keypair.pubkey,
        inputs=[Input("Guten Morgen", "text")],
        params=tags,
        bid_msat=from_sat(bid) if bid is not None else None,
        encrypt=Encryption(NIP44, secrets.token_bytes(32)) if private else None,
        now=now,
    )
    return await jobs.on_request(shop.bot, request)


def held_of(decision: Decision) -> int:
    assert isinstance(decision, Plan)
    return sum(transfer.amount_msat for transfer in decision.transfers)


def told_of(decision: Decision) -> str:
    """Return what the public is told, if nothing is held and no job is made."""
    assert isinstance(decision, Plan)
    assert decision.transfers == ()
    assert [change.table for change in decision.changes] == ["outbox"] * len(decision.changes)
    event = parse_event(str(decision.changes[0].values["event"]))  # type: ignore[union-attr]  # rows of the outbox
    assert event.tag("status") == "error"
    return event.tags_named("status")[0][2]


async def test_a_public_request_that_bids_less_than_the_price_is_refused_before_work(shop: Stall) -> None:
    assert told_of(await asked(shop, "fixed", bid=999)) == "invalid: bid: below the price of 1,000 sat (found=999 sat)"
    assert held_of(await asked(shop, "fixed", bid=1_000)) == from_sat(1_000)
    assert held_of(await asked(shop, "fixed", bid=1_001)) == from_sat(1_000)


async def test_a_request_to_a_listed_agent_that_bids_less_than_its_price_is_refused_before_work(shop: Stall) -> None:
    assert "bid: below the price of 1,000 sat" in told_of(await asked(shop, "listed", bid=999))
    assert held_of(await asked(shop, "listed", bid=1_000)) == from_sat(1_000)


async def test_a_metered_price_is_refused_below_its_base_and_never_above_the_bid(shop: Stall) -> None:
    assert "bid: below the price of 1,000 sat" in told_of(await asked(shop, "metered", bid=999))
    assert held_of(await asked(shop, "metered", bid=1_000)) == from_sat(1_000)  # all that it can cost
    assert held_of(await asked(shop, "metered", bid=3_000)) == from_sat(3_000)
    assert held_of(await asked(shop, "metered", bid=9_000)) == held_of(await asked(shop, "metered", bid=None))


async def test_an_encrypted_request_that_bids_less_is_refused_before_work_and_not_in_the_open(shop: Stall) -> None:
    decision = await asked(shop, "fixed", bid=999, private=True)
    assert isinstance(decision, Plan)
    assert decision.transfers == ()
    assert "1,000 sat" not in str(decision.changes[0].values["event"])  # type: ignore[union-attr]


async def test_g5_who_cannot_withdraw_does_not_pay_others_by_the_split_of_an_own_agent(shop: Stall) -> None:
    assert held_of(await asked(shop, "listed", bid=None, who="heidi")) == from_sat(1_000)
    row = Put("users", HEIDI.pubkey, {"withdrawals": "closed"}, fresh=new_user(shop.clock.now()))
    await shop.apply(Plan("test/closed", changes=(row,)))
    refused = await asked(shop, "listed", bid=None, who="heidi")
    assert told_of(refused) == jobs._NO_WAY_OUT
    assert isinstance(refused, Plan)
    await shop.told()  # what was said before
    await shop.apply(refused)
    assert "Withdrawals are closed" in (await shop.told())[HEIDI.pubkey]
    assert held_of(await asked(shop, "fixed", bid=None, who="heidi")) == from_sat(1_000)  # jobs stay open
    assert held_of(await asked(shop, "listed", bid=None)) == from_sat(1_000)  # and so does the agent, for others


async def test_what_the_operator_decides_about_a_registered_agents_job_is_said_by_its_own_key(shop: Stall) -> None:
    taken = await asked(shop, "listed", bid=None)
    assert isinstance(taken, Plan)
    await shop.apply(taken)
    agent, config = agent_of(shop, "listed"), shop.bot.config
    async with opened_bot(config, Keyring(MASTER)) as bot:
        [job] = await bot.book.database.fetch("SELECT * FROM jobs")
        assert jobs.voice(bot, job).pubkey == agent.keypair.pubkey
