"""Strict reading of JSON that came over the wire.

Refused are malformed text, invalid UTF-8, lone surrogates, NaN, nesting deeper than
the interpreter goes, and repeated keys. No Nostr words stand here.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from relaybot.errors import Rejected

_DECODER = msgspec.json.Decoder()

# What a decoder may raise on hostile bytes: syntax, UTF-8 and digit limits, depth.
UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


def parse_json(raw: bytes | str) -> Any:
    """Return the decoded value of one JSON text; Rejected unless it is strict JSON with unique keys."""
    try:
        data = raw.encode() if isinstance(raw, str) else raw
        value = _DECODER.decode(data)
    except UNREADABLE:
        raise Rejected("invalid", "not strict JSON") from None
    refuse_repeated_keys(data)
    return value


def refuse_repeated_keys(data: bytes) -> None:
    """Raise Rejected if any object in `data` names a key twice: readers disagree on which value counts."""
    if b"{" not in data:
        return
    try:
        _KEY_BY_KEY.decode(data.decode())
    except UNREADABLE:
        raise Rejected("invalid", "not strict JSON") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Rejected("invalid", "repeated key in JSON")
    return found


_KEY_BY_KEY = json.JSONDecoder(object_pairs_hook=_unique)
