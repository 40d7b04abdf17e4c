"""The command `proof`: what is answered, and that it holds against what was published."""

from __future__ import annotations

import secrets

import pytest

from handlers.bot import Bot
from handlers.conversation import Asked
from handlers.proofs import proof
from relaybot.accounting.closing import Rules
from relaybot.accounting.owing import publish_liabilities
from relaybot.errors import Rejected
from relaybot.nostr import nip59
from relaybot.nostr.event import parse_event
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.liabilities import PROOF_KIND, check_proof, parse_liabilities, parse_proof
from tests.payouts.desk import NOW
from tests.settlements.conftest import ALICE, BOB, Till
from wallet.ledger import Insert

BOOKS, RULES = KeyPair(b"\x09" * 32), Rules(k=1, dominance_percent=100, round_msat=1_000)


def asked(by: KeyPair, *words: str) -> Asked:
    return Asked(by.pubkey, "0" * 64, NOW, words)


async def test_a_proof_leads_from_ones_balance_to_what_was_published(till: Till) -> None:
    bot: Bot = till.bot
    assert "about once a week" in (await proof(bot, asked(BOB))).text
    await till.funded(5_000, BOB)
    assert await publish_liabilities(till.book, BOOKS, RULES, secrets.token_bytes, now=NOW)
    reply = await proof(bot, asked(BOB))
    assert reply.text.startswith("5,000 sat of yours are in what we published at 20")
    read = parse_proof(reply.text.splitlines()[-1])
    published = parse_liabilities(parse_event((await till.row("outbox", read.event_id))["event"]))
    check_proof(read, published)
    (wrapped,) = reply.changes
    assert isinstance(wrapped, Insert)
    rumor = nip59.unwrap(parse_event(str(wrapped.values["event"])), BOB)
    assert (rumor.kind, parse_proof(rumor.content)) == (PROOF_KIND, read)
    assert "there is nothing to prove" in (await proof(bot, asked(ALICE))).text
    with pytest.raises(Rejected, match="you own no company of this name"):
        await proof(bot, asked(BOB, "acme"))
    with pytest.raises(Rejected, match="too many words"):
        await proof(bot, asked(BOB, "a", "b"))
