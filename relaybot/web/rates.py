"""How often one address may ask for something that costs us: so many a minute, counted in memory.

IPv6 addresses are counted by their /64, which one subscriber has whole.
"""

from __future__ import annotations

from collections import OrderedDict

from relaybot.relay.proxies import origin

ADDRESSES_MAX = 10_000  # remembered; beyond, whoever asked longest ago is forgotten
MINUTE = 60


class Rate:
    """A bucket for each address: full at first, filled again evenly, emptied by one with each request."""

    def __init__(self, per_minute: int) -> None:
        """Allow `per_minute` at once, and as many in each further minute."""
        self._most = float(per_minute)
        self._left: OrderedDict[str, tuple[float, int]] = OrderedDict()  # address → (left, at which second)

    def allows(self, address: str, now: int) -> bool:
        """Count one request of `address` (or of a name that is none); tell whether it may be served."""
        address = origin(address) or address
        left, since = self._left.pop(address, (self._most, now))
        left = min(self._most, left + max(0, now - since) * self._most / MINUTE)
        allowed = left >= 1
        self._left[address] = (left - allowed, now)
        if len(self._left) > ADDRESSES_MAX:
            self._left.popitem(last=False)
        return allowed
