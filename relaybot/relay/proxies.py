"""Whose connection it is: the peer's own address, or the one that a trusted proxy names.

An address is counted under its origin: itself, or for IPv6 the /64 that one subscriber
has whole. This machine's own addresses are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

_FORWARDED = b"x-forwarded-for:"
_SUBSCRIBER_BITS = 64


def is_trusted(peer: str, proxies: Sequence[Network]) -> bool:
    """Tell whether `peer` is one of the operator's proxies."""
    address = _parse(peer)
    return address is not None and any(address in network for network in proxies)


def forwarded_address(head: bytes, peer: str, proxies: Sequence[Network]) -> str:
    """Return the address for which the proxy `peer` speaks: the last one that is no proxy of ours."""
    lines = [line for line in head.split(b"\r\n") if line[: len(_FORWARDED)].lower() == _FORWARDED]
    return named_address(b",".join([line[len(_FORWARDED) :] for line in lines]).decode("latin-1"), peer, proxies)


def named_address(forwarded: str, peer: str, proxies: Sequence[Network]) -> str:
    """Return the same, read from the header's values with commas between; `peer` itself if that is no proxy of ours."""
    named = forwarded.split(",") if is_trusted(peer, proxies) else []
    address = peer
    # What stands left of the first untrusted address is that client's own claim.
    for name in reversed(named):
        parsed = _parse(name.strip())
        if parsed is None:
            break
        address = str(parsed)
        if not is_trusted(address, proxies):
            break
    return address


def origin(address: str) -> str:
    """Return what an address is counted under; empty for this machine's own, and for what is no address."""
    parsed = _parse(address)
    if parsed is None or parsed.is_loopback:
        return ""
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, _SUBSCRIBER_BITS), strict=False))
    return str(parsed)


def _parse(text: str) -> Address | None:
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed
