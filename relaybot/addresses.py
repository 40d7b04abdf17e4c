"""Which hosts a stranger may name, and which addresses they may lead us to. Pure: nothing is looked up here.

A host is a dotted DNS name in ASCII; everything an address parser somewhere might
take for a number is refused, so no two parsers can disagree about it. An address is
public, or it carries a public one inside (NAT64), or it is refused.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from relaybot.errors import Rejected

HOST_CHARACTERS_MAX = 253  # RFC 1035

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_ONION = re.compile(r"(?:[^.]+\.)*[a-z2-7]{56}\.onion", re.ASCII)  # a key of Tor's third version, which is 35 bytes
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)

_NOT_OURS_V4 = (
    IPv4Network("100.64.0.0/10"),  # shared by carriers (RFC 6598)
    IPv4Network("192.0.0.0/24"),  # protocol assignments (RFC 6890), the few global ones in it too
    IPv4Network("192.88.99.0/24"),  # the former 6to4 relays (RFC 7526)
)
_GLOBAL_V6 = IPv6Network("2000::/3")  # the only part of IPv6 that is given out for hosts
_NOT_OURS_V6 = (
    IPv6Network("2001::/23"),  # protocol assignments: Teredo, ORCHID, benchmarking (RFC 2928)
    IPv6Network("3fff::/20"),  # documentation (RFC 9637)
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address


def parse_host(text: str) -> str:
    """Return a host name in lower case; Rejected unless it is a DNS name of two labels or more.

    Refused are addresses in any notation (dotted, decimal, octal, hex, IPv6), names
    outside ASCII (an IDN comes as `xn--…`), and a closing dot.
    """
    host = text.lower()
    labels = host.split(".")
    well_formed = text.isascii() and len(host) <= HOST_CHARACTERS_MAX and all(map(_LABEL.fullmatch, labels))
    if not well_formed or len(labels) == 1:
        raise Rejected("invalid", "host is not a domain name", found=text[:40])
    if _NUMBER.fullmatch(labels[-1]):  # WHATWG URL: a host whose last label is a number is an IPv4 address
        raise Rejected("invalid", "host is an address, not a domain name", found=text[:40])
    return host


def is_onion(host: str) -> bool:
    """Tell whether a host that was read is one of Tor's (RFC 7686): such a name is never looked up."""
    return host.endswith(".onion")


def is_onion_key(host: str) -> bool:
    """Tell whether a host of Tor is named by a key, as those of its third version are."""
    return _ONION.fullmatch(host) is not None


def require_onion(host: str) -> None:
    """Raise Rejected unless a host of Tor names a key: a proxy is asked for nothing else."""
    if not is_onion_key(host):
        raise Rejected("invalid", "onion host is malformed", found=host[:40])


def is_public(text: str) -> bool:
    """Tell whether an address, as the resolver wrote it, belongs to the public internet."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return _is_public_v4(address) if isinstance(address, IPv4Address) else _is_public_v6(address)


def _is_public_v4(address: IPv4Address) -> bool:
    odd = address.is_multicast or address.is_reserved or any(address in network for network in _NOT_OURS_V4)
    return address.is_global and not odd


def _is_public_v6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    inside = _embedded(address)
    if inside is not None:
        return _is_public_v4(inside)
    odd = address.is_multicast or address.is_reserved or any(address in network for network in _NOT_OURS_V6)
    return address in _GLOBAL_V6 and address.is_global and not odd


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address a packet to `address` would really go to, if there is one."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
