"""A split with every name looked up and every skill unfolded: what is stored with each job.

Plain frozen data, its canonical JSON and hash, and what a job costs by it. How it comes
about is `resolve.py`, what it pays is `compute.py`. No later change of the configuration
changes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

import msgspec

from relaybot.errors import Rejected
from splits.model import PLATFORM, WHOLE, WORKER
from wallet.money import Msat

NOTHING = Msat(0)


class Rule(Enum):
    """How the size of a share is found."""

    AMOUNT = "amount"  # value: msat
    PER = "per"  # value: msat for each `meter.count` of `meter.unit` used
    PERCENT = "percent"  # value: millionths of what is split
    PERCENT_OF_REST = "percent_of_rest"  # value: millionths of what all the above left


@dataclass(frozen=True, slots=True)
class Meter:
    """The unit by which something is counted."""

    count: int
    unit: str

    def cost(self, amount_msat: int, usage: Mapping[str, int]) -> int:
        """Return what the reported `usage` comes to, floored; a unit not reported was not used.

        Rejected if the report is negative.
        """
        used = usage.get(self.unit, 0)
        if used < 0:
            raise Rejected("invalid", "usage is negative", unit=self.unit, found=used)
        return used * amount_msat // self.count


@dataclass(frozen=True, slots=True)
class Share:
    """One share. Exactly one of `to` (hex pubkey, `$worker` or `$platform`) and `pot` is set."""

    path: str
    role: str
    rule: Rule
    value: int
    to: str | None = None
    pot: Pot | None = None
    meter: Meter | None = None
    at_most_msat: Msat | None = None
    until: int | None = None  # the first second at which it is no longer paid
    referrer_msat: Msat = NOTHING

    def most(self, *, whole: int, left: int) -> Msat:
        """Return what it can be at most out of `whole`, of which percents of the rest find `left`."""
        wanted = self._wanted(whole, left)
        return Msat(wanted if self.at_most_msat is None else min(wanted, self.at_most_msat))

    def _wanted(self, whole: int, left: int) -> int:
        match self.rule:
            case Rule.AMOUNT:
                return self.value
            case Rule.PER:
                return self.at_most_msat or NOTHING
            case Rule.PERCENT:
                return whole * self.value // WHOLE
            case Rule.PERCENT_OF_REST:  # pragma: no branch  (the type checker knows no other)
                return left * self.value // WHOLE


@dataclass(frozen=True, slots=True)
class Pot:
    """Something to be split: the whole charge, or a share of it that is split further.

    `least_msat` is the smallest amount for which the shares were proved to fit.
    """

    path: str
    role: str  # of the rest
    least_msat: Msat
    shares: tuple[Share, ...]
    rest: str
    payer_referrer_msat: Msat = NOTHING

    def takers(self) -> Iterator[str]:
        """Yield everybody named in it, as often as named."""
        for share in self.shares:
            if share.to is not None:
                yield share.to
            if share.pot is not None:
                yield from share.pot.takers()
        yield self.rest

    def most_to(self, taker: str, amount: int) -> int:
        """Return what the shares of `taker` come to at most, out of `amount`; an upper bound."""
        certain = (Rule.AMOUNT, Rule.PERCENT)
        left = amount - sum(share.most(whole=amount, left=0) for share in self.shares if share.rule in certain)
        total = 0
        for share in self.shares:
            most = share.most(whole=amount, left=left)
            total += most if share.to == taker else 0
            total += share.pot.most_to(taker, most) if share.pot is not None else 0
        return total

    def least_to(self, taker: str, amount: int) -> int:
        """Return what others can never have of `amount`, if so much is charged or less; a lower bound.

        Whatever is used and whoever is there, `taker` has so much, or the charge has left so much
        over. What is split further counts as others'.
        """
        certain = (Rule.AMOUNT, Rule.PERCENT)
        if self.rest != taker:
            own = (
                share for share in self.shares if share.to == taker and share.rule in certain and share.until is None
            )
            return sum(share.most(whole=amount, left=0) for share in own)
        left = amount - sum(share.most(whole=amount, left=0) for share in self.shares if share.rule in certain)
        others = self.payer_referrer_msat
        for share in self.shares:
            most = share.most(whole=amount, left=left) if share.to != taker else NOTHING
            others = Msat(others + most + share.referrer_msat)
        return max(0, amount - others)


@dataclass(frozen=True, slots=True)
class Price:
    """A fixed price (`base_msat` alone), or a base, so much per unit used, and a limit."""

    base_msat: Msat
    meter: Meter | None = None
    amount_msat: Msat = NOTHING
    at_most_msat: Msat | None = None


@dataclass(frozen=True, slots=True)
class ResolvedSplit:
    """What an agent costs, and who gets what of it."""

    price: Price
    pot: Pot

    @property
    def price_min(self) -> Msat:
        """What a finished job costs at least; a request that bids less is refused."""
        return self.price.base_msat

    @property
    def price_max(self) -> Msat:
        """What a job can cost: this much is held before it starts."""
        return self.price.base_msat if self.price.at_most_msat is None else self.price.at_most_msat

    def price_for(self, usage: Mapping[str, int], *, bid_msat: Msat | None) -> Msat:
        """Return the charge of a finished job: base and usage, but never above the agent's limit or the bid.

        Rejected if the reported usage is negative.
        """
        price = self.price
        used = 0 if price.meter is None else price.meter.cost(price.amount_msat, usage)
        charge = min(price.base_msat + used, self.price_max)
        return Msat(charge if bid_msat is None else min(charge, bid_msat))

    def people(self) -> frozenset[str]:
        """Return the hex pubkeys of everybody named in it."""
        return frozenset(self.pot.takers()) - {WORKER, PLATFORM}

    def worker_part_max(self) -> Msat:
        """Return what the node that does the job gets at most: what its assignment bids."""
        return Msat(self.pot.most_to(WORKER, self.price_max))

    def platform_part_min(self, charge_msat: int) -> Msat:
        """Return the platform's own part of a charge, at least: as much promo money may be held for it."""
        return Msat(self.pot.least_to(PLATFORM, charge_msat))

    def to_json(self) -> str:
        """Return the canonical JSON: sorted keys, no spaces, integers only."""
        return msgspec.json.encode(self, order="sorted").decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> ResolvedSplit:
        """Read what `to_json` wrote; Rejected for anything else."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise Rejected("invalid", "not a stored split") from error


def split_hash(split: ResolvedSplit) -> str:
    """Return the SHA-256 of the canonical JSON, in hex: the name under which a split is stored."""
    return hashlib.sha256(split.to_json().encode()).hexdigest()
