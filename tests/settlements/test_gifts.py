"""Gifts, from the name they are given to: whose they are, and word of them."""

from __future__ import annotations

from handlers.names import Kind, find_named
from handlers.notices import tell_due
from relaybot.nostr import nip19
from tests.settlements.conftest import ALICE, Till
from wallet.ledger import Insert, Plan

NOBODY = f"{5:064x}"  # no point of the curve


async def test_an_npub_leads_to_the_service_an_agent_or_a_user_and_to_nobody_if_it_is_no_key(till: Till) -> None:
    agent = next(iter(till.bot.agents))
    found = [
        None if named is None else (named.kind, named.agent)
        for pubkey in (till.bot.service.pubkey, agent, ALICE.pubkey, NOBODY)
        for named in [await find_named(till.bot, nip19.encode_npub(pubkey))]
    ]
    assert found == [(Kind.SERVICE, ""), (Kind.AGENT, till.bot.agents[agent].id), (Kind.USER, ""), None]


async def test_a_notice_that_cannot_be_written_is_closed_and_keeps_nobody_waiting(till: Till) -> None:
    now = till.bot.clock.now()
    notices = (
        Insert("notices", f"{pubkey}/{now}", {"pubkey": pubkey, "due_at": now, "created_at": now})
        for pubkey in (NOBODY, ALICE.pubkey)
    )
    reached = (
        Insert("dm_relays", pubkey, {"relays": "[]", "stated_at": now, "event": ""})
        for pubkey in (NOBODY, ALICE.pubkey)
    )
    await till.book.apply(Plan("test/notices", changes=(*notices, *reached)))
    await tell_due(till.bot)
    assert len(await till.told(ALICE)) == 1
    assert await till.book.database.fetch("SELECT id FROM notices WHERE due_at IS NOT NULL") == []
