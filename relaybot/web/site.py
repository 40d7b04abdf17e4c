"""What the pages say about the service itself; it is never read from the book while a page is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AgentCard:
    """One agent as strangers may see it: `price` is text such as `12,000 sat`."""

    id: str
    name: str
    about: str
    price: str
    kinds: tuple[int, ...]
    npub: str
    author: str = ""  # npub of who registered it; '': it is the service's own
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
    agents: Sequence[AgentCard] = ()
    account: bool = False  # there are pages for one's own account
