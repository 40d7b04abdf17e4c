"""How often one address may ask for what costs us: so many a minute; IPv6 by the /64 that a subscriber has."""

from __future__ import annotations

from relaybot.relay import rates
from relaybot.relay.proxies import origin


class Rate(rates.Rate):
    """So many requests a minute for each address."""

    __slots__ = ()

    def allows(self, address: str, now: int) -> bool:
        """Count one request of `address` (or of a name that is none); tell whether it may be served."""
        return self.take(origin(address) or address, now)
