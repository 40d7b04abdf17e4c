"""A connection through a SOCKS5 proxy (RFC 1928) to a host that is named to it and never looked up here.

Only what Tor needs of the protocol: no authentication, CONNECT, a domain name. Hosts of
Tor go this way, and no others (`through`). The caller holds the clock.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from relaybot.addresses import is_onion, require_onion
from relaybot.errors import Rejected

_VERSION, _NO_AUTHENTICATION, _CONNECT, _DOMAIN = 5, 0, 1, 3
_ADDRESS_BYTES = {1: 4, 4: 16}  # of what the proxy says it is bound to: IPv4, IPv6


class ProxyRefusedError(OSError):
    """The proxy does not lead there, or is none."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a SOCKS5 proxy listens."""

    host: str
    port: int

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a socket on which the server at `host` speaks next; OSError if there is none."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        link = socket.socket(found[0][0], socket.SOCK_STREAM)
        try:
            link.setblocking(False)
            await loop.sock_connect(link, found[0][4])
            await _ask(link, host.encode("ascii"), port)
        except BaseException:
            link.close()
            raise
        return link


def through(proxy: Proxy | None, host: str) -> Proxy | None:
    """Return the proxy that leads to `host`, None for one that is reached without; Rejected where there is no way."""
    if not is_onion(host):
        return None
    if proxy is None:
        raise Rejected("invalid", "onion hosts are not reached from here: there is no proxy for them", host=host)
    require_onion(host)
    return proxy


async def _ask(link: socket.socket, host: bytes, port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(link, bytes((_VERSION, 1, _NO_AUTHENTICATION)))
    if await _read(link, 2) != bytes((_VERSION, _NO_AUTHENTICATION)):
        raise ProxyRefusedError("no SOCKS5 proxy, or one that wants to know who we are")
    asked = bytes((_VERSION, _CONNECT, 0, _DOMAIN, len(host))) + host + port.to_bytes(2, "big")
    await loop.sock_sendall(link, asked)
    version, code, _, form = await _read(link, 4)
    if version != _VERSION or code != 0:
        raise ProxyRefusedError(f"the proxy answered {code}")
    length = (await _read(link, 1))[0] if form == _DOMAIN else _ADDRESS_BYTES.get(form)
    if length is None:
        raise ProxyRefusedError(f"the proxy names an address of the unknown form {form}")
    await _read(link, length + 2)  # its own address and port: nobody needs them


async def _read(link: socket.socket, count: int) -> bytes:
    """Return exactly so many bytes: what follows them is the server's."""
    loop, found = asyncio.get_running_loop(), b""
    while len(found) < count:
        more = await loop.sock_recv(link, count - len(found))
        if not more:
            raise ProxyRefusedError("the proxy hung up")
        found += more
    return found
