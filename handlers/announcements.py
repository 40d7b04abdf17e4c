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

import structlog

from handlers.bot import Agent, Bot, events_owed
from handlers.names import SERVICE_NAMES
from handlers.pay_requests import address_of
from relaybot.nostr import nip89
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from splits.shown import format_percent, parts_by_role
from wallet.ledger import Change, Plan, Put

log = structlog.get_logger()

DELETION_KIND = 5
RETIRED = 0  # the fingerprint of an announcement that was taken back
PROFILE_KIND, DM_RELAYS_KIND, RELAY_LIST_KIND = 0, 10050, 10002


async def announce(bot: Bot, relay_url: str) -> None:
    """Publish profiles, relay lists and announcements that are not published as they are now."""
    if bot.config.web.domain is None:
        log.warning("no_domain", note="no Lightning Addresses, no zaps, no NIP-05 names; set web.domain to have them")
    service = bot.config.service
    relays = [relay_url, *bot.config.relays]
    events = (
        _profile(bot, bot.service, service.name, service.about, SERVICE_NAMES[0]),
        _relay_list(bot, bot.service, relays),
        _message_relays(bot, relays),
        *(event for agent in bot.agents.values() for event in _agent_events(bot, agent, relays)),
    )
    await asyncio.gather(*(bot.book.decide(partial(_decide, bot, event)) for event in events))


async def retire(bot: Bot, keypair: KeyPair, identifier: str) -> None:
    """Take back the announcement of an agent that is not offered any more (NIP-09), if it stands."""
    await bot.book.decide(partial(_decide_retired, bot, keypair, identifier))


async def _decide_retired(bot: Bot, keypair: KeyPair, identifier: str) -> Plan | None:
    cursor = f"announced/{keypair.pubkey}/{nip89.ANNOUNCEMENT_KIND}"
    row = await bot.book.row("cursors", cursor)
    if row is None or row["value"] == RETIRED:
        return None
    now = bot.clock.now()
    tags = [("a", f"{nip89.ANNOUNCEMENT_KIND}:{keypair.pubkey}:{identifier}"), ("k", str(nip89.ANNOUNCEMENT_KIND))]
    deletion = keypair.sign(kind=DELETION_KIND, content="not offered any more", tags=tags, created_at=now)
    changes: tuple[Change, ...] = (Put("cursors", cursor, {"value": RETIRED}), *events_owed(now, deletion))
    return Plan(f"{cursor}/{row['version']}", changes=changes)


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


def _agent_events(bot: Bot, agent: Agent, relays: Sequence[str]) -> Sequence[Event]:
    announcement = nip89.build_announcement(
        agent.keypair,
        identifier=agent.id,
        kinds=sorted(agent.kinds),
        name=agent.name,
        about=agent.about,
        price_msat=agent.split.price_max,
        params={
            name: {"required": param.required, "values": list(param.values), "about": param.about}
            for name, param in agent.params.items()
        },
        parts={role: format_percent(part) for role, part in parts_by_role(agent.split, now=bot.clock.now()).items()},
        now=bot.clock.now(),
    )
    profile = _profile(bot, agent.keypair, agent.name, agent.about, agent.id)
    return (profile, _relay_list(bot, agent.keypair, relays), announcement)


def _profile(bot: Bot, keypair: KeyPair, name: str, about: str, local_name: str) -> Event:
    """Return a kind 0; with a domain it says where to zap (lud16) and by which name one is found (NIP-05)."""
    profile: dict[str, object] = {"name": name, "about": about, "bot": True}  # NIP-24: bot
    address = address_of(bot, local_name)
    if address is not None:
        payable = SERVICE_NAMES[1] if local_name == SERVICE_NAMES[0] else local_name
        profile |= {"nip05": address, "lud16": address_of(bot, payable)}
    content = json.dumps(profile, ensure_ascii=False)
    return keypair.sign(kind=PROFILE_KIND, content=content, tags=[], created_at=bot.clock.now())


def _relay_list(bot: Bot, keypair: KeyPair, relays: Sequence[str]) -> Event:
    """Return where one reads and writes (NIP-65)."""
    tags = [("r", relay) for relay in relays]
    return keypair.sign(kind=RELAY_LIST_KIND, content="", tags=tags, created_at=bot.clock.now())


def _message_relays(bot: Bot, relays: Sequence[str]) -> Event:
    """Return where private messages to the service go (NIP-17); agents hold no conversation."""
    tags = [("relay", relay) for relay in relays]
    return bot.service.sign(kind=DM_RELAYS_KIND, content="", tags=tags, created_at=bot.clock.now())
