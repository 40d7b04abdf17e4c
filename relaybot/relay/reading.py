"""Who may read what: filters as they are answered for the keys a client has shown to be its own (NIP-42).

NIP-59 and NIP-17: gift wraps are served to their recipients only. Wallet-connect events
stay open: its clients do not authenticate, and each of its connections has a key of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from relaybot.errors import Rejected
from relaybot.nostr.filters import Filter
from relaybot.nostr.nip59 import WRAP_KINDS

NOBODY: frozenset[str] = frozenset()


def readable(filters: Sequence[Filter], keys: frozenset[str]) -> tuple[Filter, ...]:
    """Return the filters, narrowed to what the holder of `keys` may read; Rejected if that is not what was asked for.

    Whoever names the kinds of gift wraps is told what is missing. Whoever names no kinds
    gets everything else, as if there were no wraps of others.
    """
    return tuple(_readable(filter_, keys) for filter_ in filters)


def _readable(filter_: Filter, keys: frozenset[str]) -> Filter:
    kinds, recipients = filter_.kinds, filter_.tags.get("p")
    if kinds is not None and kinds.isdisjoint(WRAP_KINDS):
        return filter_
    if kinds is None:
        return replace(filter_, wraps_to=keys)
    if not keys:
        raise Rejected("auth-required", "gift wraps are for their recipients; answer the AUTH challenge with their key")
    if not kinds <= WRAP_KINDS:
        return replace(filter_, wraps_to=keys)
    asked = keys if recipients is None else recipients & keys
    if not asked:
        raise Rejected("restricted", "gift wraps are for their recipients; this connection did not AUTH as one of them")
    tags: Mapping[str, frozenset[str]] = {**filter_.tags, "p": asked}
    return replace(filter_, tags=tags)
