"""What strangers are told of an agent (31990, `/agents`) is what it charges, and whom it pays."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from handlers.announcements import announce
from relaybot.nostr.event import parse_event
from relaybot.nostr.nip89 import parse_announcement
from relaybot.web.agents import agents_page
from relaybot.web.offered import AgentCards, site_of
from splits.compute import compute
from tests.book.stores import SqliteStore
from tests.documents.cast import key_of
from tests.market.conftest import stall_on
from tests.web.conftest import Outline
from wallet.money import from_sat

SHARES = [
    {"to": "$worker", "role": "compute", "percent": "10%"},
    {"to": key_of("alice").pubkey, "role": "algorithm", "amount": "300 sat", "referrer": "20 sat"},
    {
        "to": key_of("grace").pubkey,
        "role": "model",
        "per": "1000 tokens",
        "amount": "3 sat",
        "at_most": "150 sat",
    },
]
AGENT = {
    "name": "Translator",
    "kinds": [5002, 5001],
    "price": "1000 sat",
    "params": {
        "language": {"about": "Into which", "required": True, "values": ["de", "fr"]},
        "tone": {"about": "How it shall sound"},
    },
    "shares": SHARES,
    "payer_referrer": "10 sat",
}
EARNED = {"platform": "42.00", "algorithm": "30.00", "model": "15.00", "compute": "10.00", "referrer": "3.00"}


async def test_price_parameters_and_split_are_told_as_they_are_charged(tmp_path: Path) -> None:
    async with stall_on(SqliteStore(tmp_path / "book.db"), tmp_path, agents={"translator": AGENT}) as stall:
        bot = stall.bot
        await announce(bot, "ws://127.0.0.1:1")
        rows = await bot.book.database.fetch("SELECT event FROM outbox WHERE event LIKE '%\"translator\"%'")
        (told,) = [event for row in rows if (event := parse_event(row["event"])).kind == 31990]
        [(pubkey, agent)] = bot.agents.items()
        cards, page = tuple(AgentCards(bot)), Outline(agents_page(site_of(bot))).words
    announced = parse_announcement(told)
    assert (announced.pubkey, announced.identifier, announced.kinds) == (pubkey, "translator", frozenset({5001, 5002}))
    assert announced.price_msat == from_sat(1_000)
    assert json.loads(told.content)["nip90Params"] == {
        "language": {"required": True, "values": ["de", "fr"], "about": "Into which"},
        "tone": {"required": False, "values": [], "about": "How it shall sound"},
    }
    # What a job over 1,000 sat really pays where everybody was referred and everything was used:
    carol, eve = key_of("carol").pubkey, key_of("eve").pubkey
    parts = compute(
        agent.split,
        charge_msat=from_sat(1_000),
        worker=carol,
        referrers={key_of("alice").pubkey: eve},
        payer_referrer=eve,
        usage={"tokens": 1_000_000},
        now=stall.clock.now(),
    )
    paid: Counter[str] = Counter()
    for part in parts:
        paid[part.role] += part.amount_msat
    assert {role: f"{msat / 10_000:.2f}" for role, msat in paid.items()} == dict(announced.parts) == EARNED
    # … and so does the page say it, of 1,000 sat, beside price and parameters.
    for words in (
        "Translator",
        "1,000 sat",
        "language (de, fr)",
        "tone, if you like",
        "Algorithms and skills30 %300 sat",
        "Compute nodes10 %100 sat",
    ):
        assert words in page, words
    assert dict(cards[0].parts) == paid  # a millionth of 1,000 sat is a msat
