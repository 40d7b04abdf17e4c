"""How often something may be done: a bucket for each name, which time fills again.

Times are arguments, in seconds of any clock; one that goes back fills nothing. What is counted, and
what is said to those who are too fast, is not decided here.
"""

from __future__ import annotations

NAMES_MAX = 20_000  # buckets kept, about 4 MB; the longest unused go first: they are full again by then, or nearly

_MINUTE = 60.0


class Rate:
    """So many a minute for each name, and no more than that at once; 0 is without a bound."""

    __slots__ = ("_buckets", "_per_minute")

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: dict[str, tuple[float, float]] = {}  # name → what is left, and as of when

    def take(self, name: str, now: float) -> bool:
        """Take one of what `name` may do, or tell that there is none left."""
        if not self._per_minute:
            return True
        left, then = self._buckets.pop(name, (float(self._per_minute), now))
        left = min(self._per_minute, left + max(0.0, now - then) * self._per_minute / _MINUTE)
        allowed = left >= 1
        self._buckets[name] = (left - 1 if allowed else left, now)
        if len(self._buckets) > NAMES_MAX:
            del self._buckets[next(iter(self._buckets))]
        return allowed
