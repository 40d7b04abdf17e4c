"""Addresses of relays, as strangers name them: what may be one at all. Whether it is safe to reach is asked later."""

from __future__ import annotations

import re

CHARACTERS_MAX = 512

_URL = re.compile(r"wss?://[!-~]+", re.ASCII)


def is_relay_url(text: str) -> bool:
    """Tell whether `text` may be kept as a relay's address: ws:// or wss://, short, of printable ASCII characters."""
    return len(text) <= CHARACTERS_MAX and _URL.fullmatch(text) is not None
