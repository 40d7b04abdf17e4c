"""The real doors of the bot: the clients by which it reaches hosts and relays, guarded where strangers name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from handlers.bot import Bot
from relaybot.config import Config
from relaybot.connection import RelayConnection
from relaybot.nostr.keys import KeyPair
from relaybot.outbox import Publish
from relaybot.outgoing import Outgoing, OutgoingLimits
from relaybot.probe import Probe, no_probe, probed
from relaybot.reader import Reader, Stored
from relaybot.socks import Proxy
from relaybot.sources import WorldSources
from relaybot.visitor import Visitor
from relaybot.workings import Doors


def open_doors(
    bot: Bot,
    relays: Mapping[str, Publish],
    reader: Reader,
    store: Stored | None,
    others: Sequence[RelayConnection],
    *,
    probe: Probe,
) -> Doors:
    """Return the doors; `store` is the embedded relay's, if this process has it, `others` are the relays we read."""
    outgoing, visitor = _outgoing(bot.config), _visitor(bot)
    # What customers name hangs as long as they like: it has clients, and name look-ups, that nothing else waits for.
    fetching, looking = _outgoing(bot.config), _visitor(bot)
    if probe is not no_probe:
        outgoing, visitor = probed(outgoing, probe), probed(visitor, probe)
        fetching, looking = probed(fetching, probe), probed(looking, probe)

    async def look_up(pubkey: str) -> None:
        await reader.look_up_target(others, pubkey)

    sources = WorldSources(store, others, visitor=looking, outgoing=fetching)
    return Doors(relays, look_up, outgoing, visitor.publish, sources)


def connections(bot: Bot, *, jitter: Callable[[], float]) -> dict[str, RelayConnection]:
    """Return the connections to the relays in `relays:`, by address; nothing is sent before they run."""
    proxy = _onion_proxy(bot.config)
    return {
        url: RelayConnection(url, jitter=jitter, keypair=bot.service, onion_proxy=proxy) for url in bot.config.relays
    }


def _outgoing(config: Config) -> Outgoing:
    limits = OutgoingLimits(
        seconds_max=config.outgoing.timeout_seconds,
        bytes_max=config.outgoing.bytes_max,
        requests_max=config.outgoing.requests_max,
    )
    return Outgoing(hosts=config.pinned_hosts, limits=limits, onion_proxy=_onion_proxy(config))


def _visitor(bot: Bot) -> Visitor:
    return Visitor(
        hosts=bot.config.pinned_hosts,
        keypair=bot.service,
        make_key=lambda: KeyPair(bot.chance(32)),
        clock=bot.clock,
        onion_proxy=_onion_proxy(bot.config),
    )


def _onion_proxy(config: Config) -> Proxy | None:
    return None if config.outgoing.onion_proxy is None else Proxy(*config.outgoing.onion_proxy)
