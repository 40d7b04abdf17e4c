"""What the pages say about the service and its agents, taken from the bot: agents come and go while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from handlers.bot import Agent, Bot
from relaybot.nostr import nip19
from relaybot.web.site import AgentCard, Site
from splits.shown import parts_by_role
from wallet.money import format_sat

CARDS_KEPT_MAX = 1_000  # by the hash of what they show: more agents than a page is read for


class AgentCards(Sequence[AgentCard]):
    """The agents in service at this moment, as strangers may see them."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._made: dict[tuple[str, str, str], AgentCard] = {}

    @overload
    def __getitem__(self, place: int) -> AgentCard: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[AgentCard]: ...
    def __getitem__(self, place: int | slice) -> AgentCard | Sequence[AgentCard]:
        return tuple(self)[place]

    def __iter__(self) -> Iterator[AgentCard]:
        for pubkey, agent in self._bot.agents.items():
            yield self._card(pubkey, agent)

    def __len__(self) -> int:
        return len(self._bot.agents)

    def _card(self, pubkey: str, agent: Agent) -> AgentCard:
        """Return a card; what it costs to make is paid once for each version of an agent."""
        key = (pubkey, agent.split_hash, f"{agent.name}\n{agent.about}\n{sorted(agent.kinds)}")
        if key not in self._made:
            if len(self._made) >= CARDS_KEPT_MAX:
                self._made.clear()
            self._made[key] = AgentCard(
                id=agent.id,
                name=agent.name,
                about=agent.about,
                price=format_sat(agent.split.price_max),
                kinds=tuple(sorted(agent.kinds)),
                npub=nip19.encode_npub(pubkey),
                parts=tuple(parts_by_role(agent.split, now=self._bot.clock.now()).items()),
                author=nip19.encode_npub(agent.author) if agent.author else "",
            )
        return self._made[key]


def site_of(bot: Bot) -> Site:
    """Return what the pages say about the service."""
    config = bot.config
    simulated = config.lightning.backend == "simulated"
    return Site(
        name=config.service.name,
        about=config.service.about,
        npub=nip19.encode_npub(bot.service.pubkey),
        relay_url=config.relay.public_url,
        lightning="simulated: no real money moves" if simulated else "Core Lightning",
        simulated=simulated,
        agents=AgentCards(bot),
        account=config.web.account,
    )
