"""NIP-62: a key asks relays to forget everything it wrote."""

from __future__ import annotations

VANISH_KIND = 62
ALL_RELAYS = "ALL_RELAYS"  # the `relay` tag of a request to all
