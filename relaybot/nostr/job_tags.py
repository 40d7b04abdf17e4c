"""The tags of job requests, feedback and results (NIP-90), read one by one within limits.

Each function names the tag in what it raises. What the tags mean together is in `nip90`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from relaybot.errors import Rejected
from relaybot.nostr.event import HEX32_LENGTH, Tags, first_value, is_hex
from wallet.money import Msat, parse_msat

INPUTS_MAX = 64  # each may be a fetch or a look-up for the node
PARAMS_MAX = 64  # a model takes a dozen; every one is copied into the assignment
INPUT_BYTES_MAX = 262_144  # inputs and parameters together are copied into every assignment of the job
RELAYS_MAX = 10  # each is a connection to publish the answers on
PROVIDERS_MAX = 50  # whoever asks more providers than that is not asking anybody
USAGE_MAX = 16  # units a result reports; a price is metered by one or two
USAGE_DIGITS_MAX = 15  # of one report: more than any machine uses, and exact in every JSON reader


def at(tag: Sequence[str], index: int) -> str:
    """Return the element of `tag` at `index`, empty if the tag is shorter."""
    return tag[index] if len(tag) > index else ""


def single(tags: Tags, name: str) -> str | None:
    """Return the value of the only tag `name`; None if there is none, Rejected if there are several."""
    found = [tag for tag in tags if tag[0] == name]
    if len(found) > 1:
        raise Rejected("invalid", f"{name}: given more than once")
    return at(found[0], 1) if found else None


def required_hex(tags: Tags, name: str) -> str:
    """Return the id or key in the first tag `name`; Rejected if there is none."""
    value = first_value(tags, name) or ""
    if not is_hex(value, HEX32_LENGTH):
        raise Rejected("invalid", f"{name}: not 64 lowercase hex digits")
    return value


def msat(name: str, text: str) -> Msat:
    """Return an amount; Rejected, naming the tag, if `text` is not whole msat."""
    try:
        return parse_msat(text)
    except Rejected as error:
        raise Rejected(error.prefix, f"{name}: {error.reason}", **error.fields) from None


def params(tags: Tags) -> tuple[tuple[str, ...], ...]:
    """Return the parameters, each a name and its values."""
    found = [tag for tag in tags if tag[0] == "param"]
    check_count("param", found, PARAMS_MAX)
    if not all(at(tag, 1) for tag in found):
        raise Rejected("invalid", "param: without a name")
    return tuple(tag[1:] for tag in found)


def relays(tags: Tags) -> tuple[str, ...]:
    """Return the relays on which the customer looks for answers."""
    found = [relay for tag in tags if tag[0] == "relays" for relay in tag[1:]]
    check_count("relays", found, RELAYS_MAX)
    if not all(relay.startswith(("ws://", "wss://")) for relay in found):
        raise Rejected("invalid", "relays: not the address of a relay")
    return tuple(found)


def providers(tags: Tags) -> tuple[str, ...]:
    """Return the pubkeys that a request names."""
    found = [at(tag, 1) for tag in tags if tag[0] == "p"]
    check_count("p", found, PROVIDERS_MAX)
    if not all(is_hex(pubkey, HEX32_LENGTH) for pubkey in found):
        raise Rejected("invalid", "p: not a public key")
    return tuple(found)


def usage(tags: Tags) -> dict[str, int]:
    """Return how much of each unit a result reports as used."""
    found = [tag for tag in tags if tag[0] == "usage"]
    check_count("usage", found, USAGE_MAX)
    counts: dict[str, int] = {}
    for tag in found:
        unit, count = at(tag, 1), at(tag, 2)
        if not (unit and count.isascii() and count.isdigit() and len(count) <= USAGE_DIGITS_MAX) or unit in counts:
            raise Rejected("invalid", "usage: not a unit and a count, each unit once")
        counts[unit] = int(count)
    return counts


def check_count(name: str, found: Sequence[object], allowed: int) -> None:
    """Raise Rejected if there are more than `allowed`."""
    if len(found) > allowed:
        raise Rejected("invalid", f"{name}: too many", found=len(found), allowed=allowed)


def check_bytes(tags: Iterable[Sequence[str]]) -> None:
    """Raise Rejected if the tags together are larger than inputs may be."""
    size = sum(len(text.encode()) for tag in tags for text in tag)
    if size > INPUT_BYTES_MAX:
        raise Rejected("invalid", "i: inputs and parameters are too large", found=size, allowed=INPUT_BYTES_MAX)
