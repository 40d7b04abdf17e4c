"""What the pages say about the service itself: set at start, never read from the book."""

from __future__ import annotations

from dataclasses import dataclass

from handlers.bot import Bot
from relaybot.config import Config
from relaybot.nostr import nip19
from splits.shown import parts_by_role
from wallet.money import format_sat


@dataclass(frozen=True, slots=True)
class AgentCard:
    """One agent as strangers may see it: `price` is text such as `12,000 sat`."""

    id: str
    name: str
    about: str
    price: str
    kinds: tuple[int, ...]
    npub: str
    parts: tuple[tuple[str, int], ...] = ()  # role and its part of the price, in millionths, the largest first


@dataclass(frozen=True, slots=True)
class Site:
    """The service: `npub` takes private messages, `lightning` names the backend in words.

    `simulated` puts it on every page that no real money moves.
    """

    name: str
    about: str
    npub: str
    relay_url: str
    lightning: str
    simulated: bool
    agents: tuple[AgentCard, ...] = ()
    account: bool = False  # there are pages for one's own account


def site_of(config: Config, bot: Bot) -> Site:
    """Return what the pages say of this service."""
    simulated = config.lightning.backend == "simulated"
    cards = tuple(
        AgentCard(
            id=agent.id,
            name=agent.name,
            about=agent.about,
            price=format_sat(agent.split.price_max),
            kinds=tuple(sorted(agent.kinds)),
            npub=nip19.encode_npub(pubkey),
            parts=tuple(parts_by_role(agent.split, now=bot.clock.now()).items()),
        )
        for pubkey, agent in bot.agents.items()
    )
    return Site(
        name=config.service.name,
        about=config.service.about,
        npub=nip19.encode_npub(bot.service.pubkey),
        relay_url=config.relay.public_url,
        lightning="simulated: no real money moves" if simulated else "Core Lightning",
        simulated=simulated,
        agents=cards,
        account=config.web.account,
    )
