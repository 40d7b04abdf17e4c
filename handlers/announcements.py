"""What the service says about itself: its profile, and each agent's profile and announcement.

They are published when they change, and not otherwise: a fingerprint of what was said
last is kept in `cursors`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from functools import partial

from handlers.bot import Agent, Bot, events_owed
from relaybot.nostr import nip89
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from wallet.ledger import Change, Plan, Put

PROFILE_KIND, DM_RELAYS_KIND, RELAY_LIST_KIND = 0, 10050, 10002


async def announce(bot: Bot, relay_url: str) -> None:
    """Publish profiles, relay lists and announcements that are not published as they are now."""
    service = bot.config.service
    relays = [relay_url, *bot.config.relays]
    events = (
        _profile(bot, bot.service, service.name, service.about),
        *_relay_lists(bot, bot.service, relays),
        *(event for agent in bot.agents.values() for event in _agent_events(bot, agent)),
    )
    await asyncio.gather(*(bot.book.decide(partial(_decide, bot, event)) for event in events))


async def _decide(bot: Bot, event: Event) -> Plan | None:
    said = json.dumps([event.tags, event.content], sort_keys=True).encode()
    fingerprint = int.from_bytes(hashlib.sha256(said).digest()[:7])
    cursor = f"announced/{event.pubkey}/{event.kind}"
    row = await bot.book.row("cursors", cursor)
    if row is not None and row["value"] == fingerprint:
        return None
    number = row["version"] if row is not None else 0
    changes: tuple[Change, ...] = (Put("cursors", cursor, {"value": fingerprint}), *events_owed(bot.clock.now(), event))
    return Plan(f"{cursor}/{number}", changes=changes)


def _agent_events(bot: Bot, agent: Agent) -> Sequence[Event]:
    announcement = nip89.build_announcement(
        agent.keypair,
        identifier=agent.id,
        kinds=sorted(agent.kinds),
        name=agent.name,
        about=agent.about,
        price_msat=agent.split.price_max,
        now=bot.clock.now(),
    )
    return (_profile(bot, agent.keypair, agent.name, agent.about), announcement)


def _profile(bot: Bot, keypair: KeyPair, name: str, about: str) -> Event:
    content = json.dumps({"name": name, "about": about, "bot": True}, ensure_ascii=False)  # NIP-24: bot
    return keypair.sign(kind=PROFILE_KIND, content=content, tags=[], created_at=bot.clock.now())


def _relay_lists(bot: Bot, keypair: KeyPair, relays: Sequence[str]) -> Sequence[Event]:
    now = bot.clock.now()
    return (
        # NIP-65: where we read and write. NIP-17: where private messages for us go.
        keypair.sign(kind=RELAY_LIST_KIND, content="", tags=[("r", relay) for relay in relays], created_at=now),
        keypair.sign(kind=DM_RELAYS_KIND, content="", tags=[("relay", relay) for relay in relays], created_at=now),
    )
