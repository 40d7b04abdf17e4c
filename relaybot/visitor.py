"""Short visits to relays that strangers name: one connection, one event and its OK, or some that are asked for.

A zap's sender says where the receipt shall go, a message's recipient where they read. Such
an address is guarded like every outgoing request (`outgoing.py`): a public name, looked up
once and connected to as it was checked; no redirect, an end to size and time, and no proxy
but the operator's for relays of Tor.

A relay that takes an event only from somebody it knows (NIP-42) is shown the service's key.
Not so for gift wraps, whose relay must not learn who writes (NIP-59): it sees a key made for
this visit.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from relaybot.addresses import parse_host
from relaybot.clock import Clock
from relaybot.connection import AUTH_REQUIRED, Straight
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter, matches
from relaybot.nostr.keys import KeyPair, verify
from relaybot.nostr.messages import (
    Challenge,
    Closed,
    Eose,
    Ok,
    RelayEvent,
    RelayMessage,
    build_auth,
    build_event_frame,
    build_req,
    parse_relay_message,
)
from relaybot.nostr.nip42 import build_auth_event
from relaybot.nostr.nip59 import WRAP_KINDS
from relaybot.nostr.relay_url import is_relay_url
from relaybot.outgoing import Lookup, SystemLookup, parse_hosts, public_addresses
from relaybot.socks import Proxy, through

_URL = re.compile(r"(?P<scheme>wss?)://(?P<host>[^:/?#@\[\]]+)(?::(?P<port>\d{1,5}))?(?P<path>/[!-~]*)?", re.ASCII)
_PORTS = {"ws": 80, "wss": 443}
_LOW_PORT_MAX = 1_023  # below, something else than a relay listens
_PORT_MAX = 65_535

LOOK = "look"  # our one subscription

Said = TypeVar("Said")

Dial = Callable[[str, int], Awaitable[socket.socket]]  # a socket that is connected to (address, port)


@dataclass(frozen=True, slots=True)
class VisitLimits:
    """What one visit may cost us, each with its reason."""

    seconds_max: float = 10.0  # for everything: look-up, TLS, handshake, OK
    frame_bytes_max: int = 65_536  # an OK or a NOTICE is short
    frames_max: int = 32  # challenges, notices and OKs, until the last OK; of events, those that are asked for
    visits_max: int = 16  # at once; further ones wait


@dataclass(frozen=True, slots=True)
class _Address:
    """A relay's address that passed: what is asked for, and of whom."""

    scheme: str
    host: str
    port: int
    path: str


class Visitor:
    """Hand events to relays that strangers name."""

    def __init__(
        self,
        *,
        hosts: Mapping[str, str],
        keypair: KeyPair,
        make_key: Callable[[], KeyPair],
        clock: Clock,
        limits: VisitLimits | None = None,
        lookup: Lookup | None = None,
        tls: ssl.SSLContext | None = None,
        dial: Dial | None = None,
        onion_proxy: Proxy | None = None,
    ) -> None:
        """Take the operator's pinned names and proxy, as `Outgoing` does; `lookup`, `tls`, `dial` are the world.

        `keypair` is shown to relays that ask whose we are, a key of `make_key` where that
        would tell too much.
        """
        self._hosts = parse_hosts(hosts)
        self._keypair = keypair
        self._make_key = make_key
        self._clock = clock
        self._limits = limits or VisitLimits()
        self._lookup = lookup or SystemLookup()
        self._tls = tls
        self._dial = dial or _dial
        self._onion_proxy = onion_proxy
        self._slots = asyncio.Semaphore(self._limits.visits_max)

    @cached_property
    def _certificates(self) -> ssl.SSLContext:
        return self._tls or ssl.create_default_context()

    async def publish(self, url: str, event: Event) -> Ok:
        """Return the OK of the relay at `url` for `event`.

        Rejected if the address is refused; Unavailable if the relay does not answer well in time.
        """
        host = parse_relay_url(url).host
        ok = await self._in_time(url, partial(self._offer, url=url, event=event))
        if ok is None:
            raise Unavailable(f"{host} says much, and no OK")
        return ok

    async def find_all(self, url: str, wanted: Filter) -> list[Event]:
        """Return what the relay at `url` has of `wanted`, up to its limit, each event checked.

        Rejected if the address is refused; Unavailable if the relay does not answer well in time.
        """
        return await self._in_time(url, partial(self._look, wanted=wanted))

    async def _look(self, relay: ClientConnection, *, wanted: Filter) -> list[Event]:
        """Ask for events, until there are enough, EOSE, or the relay refuses or talks too much of other things."""
        found: list[Event] = []
        await relay.send(build_req(LOOK, [wanted]))
        for _ in range(self._limits.frames_max):
            match _read(await relay.recv(decode=False)):
                case RelayEvent(event=event) if matches(wanted, event) and verify(event):
                    found.append(event)
                    if len(found) == wanted.limit:
                        break
                case Eose() | Closed():
                    break
                case _:
                    continue
        return found

    async def _in_time(self, url: str, talk: Callable[[ClientConnection], Awaitable[Said]]) -> Said:
        """Return what a conversation with the relay at `url` comes to."""
        address = parse_relay_url(url)
        try:
            async with self._slots, asyncio.timeout(self._limits.seconds_max):
                return await self._visit(address, talk)
        except TimeoutError:
            raise Unavailable(f"{address.host} did not answer in time") from None
        except (OSError, WebSocketException) as error:
            raise Unavailable(f"{address.host} cannot be reached: {type(error).__name__}") from None

    async def _visit(self, address: _Address, talk: Callable[[ClientConnection], Awaitable[Said]]) -> Said:
        pinned = self._hosts.get(address.host)
        if pinned is not None:
            assert pinned.host is not None, f"{pinned} names no host"
            link, secure = await self._dial(pinned.host, pinned.port or address.port), pinned.scheme == "https"
        elif (proxy := through(self._onion_proxy, address.host)) is not None:
            link, secure = await proxy.connect(address.host, address.port), address.scheme == "wss"
        else:
            checked = await public_addresses(self._lookup, address.host)
            link, secure = await self._dial(checked[0], address.port), address.scheme == "wss"
        async with Straight(
            f"{'wss' if secure else 'ws'}://{address.host}:{address.port}{address.path}",
            sock=link,
            ssl=self._certificates if secure else None,
            server_hostname=address.host if secure else None,
            proxy=None,
            compression=None,
            user_agent_header="relaybot",
            max_size=self._limits.frame_bytes_max,
            ping_interval=None,
        ) as relay:
            return await talk(relay)

    async def _offer(self, relay: ClientConnection, *, url: str, event: Event) -> Ok | None:
        """Send the event, and again after AUTH if that is asked for; return the last OK, None if none comes."""
        challenge, shown = None, None
        await relay.send(build_event_frame(event))
        for _ in range(self._limits.frames_max):
            match _read(await relay.recv(decode=False)):
                case Challenge(text):
                    challenge = text
                case Ok(event_id=event.id, accepted=False, message=message) if (
                    message.startswith(AUTH_REQUIRED) and challenge is not None and shown is None
                ):
                    keypair = self._make_key() if event.kind in WRAP_KINDS else self._keypair
                    now = self._clock.now()
                    shown = build_auth_event(keypair, relay_url=url, challenge=challenge, now=now)
                    await relay.send(build_auth(shown))
                case Ok(event_id=event.id) as ok:
                    return ok
                case Ok(event_id=answered, accepted=accepted, message=message) if (
                    shown is not None and answered == shown.id
                ):
                    if not accepted:
                        return Ok(event.id, False, message)
                    await relay.send(build_event_frame(event))
                case _:
                    continue
        return None


def parse_relay_url(url: str) -> _Address:
    """Read a relay's address; Rejected unless it is ws:// or wss:// and a domain name on a port for relays."""
    found = _URL.fullmatch(url) if is_relay_url(url) else None
    if found is None:
        raise Rejected("invalid", "relay is not a ws:// or wss:// URL", found=url[:80])
    port = int(found["port"] or _PORTS[found["scheme"]])
    if port not in _PORTS.values() and not _LOW_PORT_MAX < port <= _PORT_MAX:
        raise Rejected("invalid", "relay is on a port that is not for relays", found=port)
    return _Address(found["scheme"], parse_host(found["host"]), port, found["path"] or "/")


def _read(frame: bytes) -> RelayMessage | None:
    """Return what the relay says, or None if nobody can tell."""
    try:
        return parse_relay_message(frame)
    except Rejected:
        return None


async def _dial(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    link = socket.socket(family, socket.SOCK_STREAM)
    try:
        link.setblocking(False)
        await asyncio.get_running_loop().sock_connect(link, (address, port))
    except BaseException:
        link.close()
        raise
    return link
