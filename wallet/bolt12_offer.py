"""Reading BOLT12 offers: the text that stands for "ask this node for an invoice". Pure.

An offer has no checksum and no signature; what proves it is the invoice that is fetched
for it, and the node checks that one. Read here is what decides whether it is worth
asking: the chain, the amount, the currency, the expiry, who issues it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bech32 import CHARSET, convertbits

from relaybot.errors import Rejected
from wallet.money import Msat, checked

PREFIX = "lno1"
_JOINED = re.compile(r"\+\s*")  # BOLT 12: `+` and white space may stand between any two characters
_GENESIS = {  # hashes of the first blocks, as they stand in offer_chains
    "bc": ("6fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000",),
    "tb": (
        "43497fd7f826957108f4a30fd9cec3aeba79972084e90ead01ea330900000000",  # testnet 3
        "43f08bdab050e35b567c864b91f47f50ae725ae2de53bcfbbaf284da00000000",  # testnet 4
    ),
    "tbs": ("f61eee3b63a380a477a063af32b2bbc97c9ff9f01f2c4225e973988108000000",),
    "bcrt": ("06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f",),
}
_CHAINS, _CURRENCY, _AMOUNT, _DESCRIPTION, _FEATURES = 2, 6, 8, 10, 12
_EXPIRY, _PATHS, _QUANTITY_MAX, _ISSUER_ID = 14, 16, 20, 22
_KNOWN_EVEN = frozenset(range(2, 23, 2))
_REQUIRED_BITS = int("01" * 256, 2)
_MAY_STAND_IN_OFFERS = (range(1, 80), range(1_000_000_000, 2_000_000_000))  # BOLT 12: an offer's own field numbers


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer on our chain; `text` is its one form."""

    text: str
    amount_msat: Msat | None  # None: the payer chooses
    expires_at: int | None
    issuer_id: str | None  # the node that signs the invoices, or None where blinded paths alone lead to it

    def __str__(self) -> str:
        return self.text


def parse_offer(text: str, *, currency: str, now: int) -> Offer:
    """Read an offer for the chain of `currency`; Rejected says why it cannot be paid."""
    bare = _JOINED.sub("", text.strip())
    lower = bare.lower()
    if bare not in (lower, bare.upper()):
        raise Rejected("invalid", "offer mixes upper and lower case")
    fields = _fields(_octets(lower))
    offer = Offer(
        text=lower,
        amount_msat=_amount(fields),
        expires_at=_number(fields, _EXPIRY),
        issuer_id=fields[_ISSUER_ID].hex() if _ISSUER_ID in fields else None,
    )
    _require_payable(fields, offer, currency=currency, now=now)
    return offer


def _require_payable(fields: Mapping[int, bytes], offer: Offer, *, currency: str, now: int) -> None:
    chains = fields.get(_CHAINS, bytes.fromhex(_GENESIS["bc"][0]))  # BOLT 12: without offer_chains it is bitcoin's
    named = {chains[start : start + 32].hex() for start in range(0, len(chains), 32)}
    if named.isdisjoint(_GENESIS[currency]):
        raise Rejected("invalid", "offer is for another network", allowed=currency)
    if _CURRENCY in fields:
        raise Rejected("invalid", "offer is priced in another currency than bitcoin")
    if _QUANTITY_MAX in fields:
        raise Rejected("invalid", "offer wants to know how many: it is for a shop's things")
    if int.from_bytes(fields.get(_FEATURES, b""), "big") & _REQUIRED_BITS:  # BOLT 9: even bits are required
        raise Rejected("invalid", "offer requires a feature we do not have")
    if _ISSUER_ID not in fields and not fields.get(_PATHS):
        raise Rejected("invalid", "offer leads to no node")
    if _AMOUNT in fields and _DESCRIPTION not in fields:  # BOLT 12: a reader must not answer such an offer
        raise Rejected("invalid", "offer has an amount and no description")
    if offer.expires_at is not None and offer.expires_at <= now:
        raise Rejected("invalid", "offer has expired", expired_at=offer.expires_at, now=now)


def _octets(lower: str) -> bytes:
    words = [CHARSET.find(character) for character in lower[len(PREFIX) :]]
    octets = None if not lower.startswith(PREFIX) or -1 in words else convertbits(words, 5, 8, False)
    if not octets:
        raise Rejected("invalid", "not a BOLT12 offer", found=lower[:20])
    return bytes(octets)


def _fields(octets: bytes) -> Mapping[int, bytes]:
    """Return the fields by their numbers. BOLT 1: rising numbers, shortest lengths, unknown even ones refused."""
    fields: dict[int, bytes] = {}
    at, last = 0, 0
    while at < len(octets):
        number, at = _big_size(octets, at)
        length, at = _big_size(octets, at)
        known = number in _KNOWN_EVEN or number % 2
        if number <= last or len(octets) - at < length or not any(number in span for span in _MAY_STAND_IN_OFFERS):
            raise Rejected("invalid", "offer is damaged: copy it again")
        if not known:
            raise Rejected("invalid", "offer requires a field we do not know", field=number)
        fields[number], last, at = octets[at : at + length], number, at + length
    if len(fields.get(_CHAINS, b"")) % 32 or len(fields.get(_ISSUER_ID, bytes(33))) != 33:  # noqa: PLR2004  a point
        raise Rejected("invalid", "offer is damaged: copy it again")
    return fields


def _big_size(octets: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at `at`, and where it ends. BOLT 1: in as few bytes as it can be."""
    first = octets[at] if at < len(octets) else -1
    size = {0xFD: 2, 0xFE: 4, 0xFF: 8}.get(first, 0)
    if not size and first >= 0:
        return first, at + 1
    digits = octets[at + 1 : at + 1 + size]
    value = int.from_bytes(digits, "big")
    least = {2: 0xFD, 4: 1 << 16, 8: 1 << 32}.get(size, 0)
    if first < 0 or len(digits) < size or value < least:
        raise Rejected("invalid", "offer is damaged: copy it again")
    return value, at + 1 + size


def _number(fields: Mapping[int, bytes], field: int) -> int | None:
    """Return a whole number without leading zeros (BOLT 1: tu64)."""
    digits = fields.get(field)
    if digits is None:
        return None
    if len(digits) > 8 or digits[:1] == b"\0":  # noqa: PLR2004  64 bits
        raise Rejected("invalid", "offer is damaged: copy it again")
    return int.from_bytes(digits, "big")


def _amount(fields: Mapping[int, bytes]) -> Msat | None:
    amount = _number(fields, _AMOUNT)
    if amount == 0:
        raise Rejected("invalid", "offer has an amount of zero")
    return None if amount is None else checked(amount)
