"""The act of the story about skills and agents of others: Alice registers two, and the operator approves them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from handlers.market import Market, plan_approved
from handlers.pay_slips import tell_nodes
from relaybot.cli.market import lines
from relaybot.nostr.listings import LISTING_KIND
from relaybot.nostr.nip19 import encode_npub
from relaybot.operator.market import shown_version
from tests.documents.cast import key_of, listings

if TYPE_CHECKING:
    from tests.documents.play import _Story


async def play_market(story: _Story) -> None:
    """Alice publishes a skill and an agent; both wait, are shown and approved, and Alice withdraws the agent."""
    alice, bot, now = key_of("alice"), story._bot, story._clock.now()
    events = []
    for name, written in listings(lambda one: encode_npub(key_of(one).pubkey)).items():
        content = json.dumps(written, separators=(",", ":"))
        event = alice.sign(kind=LISTING_KIND, content=content, tags=[("d", name)], created_at=now)
        await story._hear(f"listing-{name.partition(':')[0]}", event)
        events.append(event)
    story.told.market = "\n".join(lines(await shown_version(bot, events[1].id))) + "\n"
    for event in events:
        await bot.book.apply(await plan_approved(bot, event.id))
    assert await Market(bot, story._keyring.key).refresh()
    assert len(bot.agents) == 3, "the approved agent is not in service"
    tags = [("a", f"{LISTING_KIND}:{alice.pubkey}:agent:summaries"), ("k", str(LISTING_KIND))]
    await story._hear("listing-withdrawn", alice.sign(kind=5, content="", tags=tags, created_at=now))


async def play_pay_slip(story: _Story) -> None:
    """Carol's node is told what its jobs have brought."""
    await story._said()
    await tell_nodes(story._bot)
    slip = story.told.events["payslip"] = (await story._said())["7000"]
    story._open("payslip", slip, key_of("carol"))
