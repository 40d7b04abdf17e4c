"""Who gets what of one charge, to the msat. Pure: time, usage and who referred whom are arguments.

Order: fixed and metered shares and referrers; percents of the whole; percents of
what these left; the rest. Each is floored to the msat and computed from the charge
alone, so none depends on where it stands; what is floored away, and the part of
whoever is absent (no worker, no referrer, `until` passed), falls to the rest of the
split it stands in, and changes no other share.

A charge below the least price the split was proved for is split as that price would
be, in proportion: everything written as an amount is multiplied by charge / price.
So the parts fit whatever the charge is, and all bear the reduction alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from splits.model import PLATFORM, WHOLE, WORKER
from splits.resolved import Pot, ResolvedSplit, Rule, Share
from wallet.money import Msat

_REFERRER, _PAYER_REFERRER = ".referrer", ".payer_referrer"  # the ends of paths


@dataclass(frozen=True, slots=True)
class Part:
    """What one account gets of a charge. `to` is a hex pubkey, None the platform; `note` says what bent the amount."""

    path: str
    role: str
    to: str | None
    amount_msat: Msat
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of one finished job."""

    worker: str | None
    referrers: Mapping[str, str]
    payer_referrer: str | None
    usage: Mapping[str, int]
    now: int
    limits: Mapping[str, tuple[int, int]]  # of referrers who would get more than they may: what they may, of how much


@dataclass(frozen=True, slots=True)
class _Cut:
    """By how much written amounts are reduced: not at all from the least proved price on."""

    amount: int
    least: int

    def __call__(self, msat: int) -> int:
        """Return a written amount as this charge can bear it."""
        return msat if self.amount >= self.least else msat * self.amount // self.least

    @property
    def note(self) -> str:
        """Say whether written amounts are bent."""
        return "" if self.amount >= self.least else "reduced with the charge"


def compute(
    split: ResolvedSplit,
    *,
    charge_msat: int,
    worker: str | None,
    referrers: Mapping[str, str],
    payer_referrer: str | None,
    usage: Mapping[str, int] | None = None,
    referral_max: Mapping[str, int] | None = None,
    now: int,
) -> tuple[Part, ...]:
    """Return the parts of `charge_msat`, the rest last; they sum to it exactly.

    `referrers` maps contributors to who referred them. A referrer in `referral_max` gets no more
    than that for all referrals of this charge together, each of them in proportion; what is
    over falls to the rest. Parts of 0 are left out, the last one excepted. Rejected if the
    reported usage is negative.
    """
    assert charge_msat >= 0, f"charge {charge_msat} is negative"
    facts = _Facts(worker, referrers, payer_referrer, usage or {}, now, {})
    parts = _parts(split.pot, charge_msat, facts)
    referred, most = referrals_of(parts), referral_max or {}
    limits = {pubkey: (most[pubkey], msat) for pubkey, msat in referred.items() if msat > most.get(pubkey, msat)}
    if limits:
        parts = _parts(split.pot, charge_msat, replace(facts, limits=limits))
    total = sum(part.amount_msat for part in parts)
    assert total == charge_msat, f"parts sum to {total}, charge is {charge_msat}"
    return tuple(part for part in parts[:-1] if part.amount_msat) + parts[-1:]


def referrals_of(parts: Iterable[Part]) -> Counter[str]:
    """Return what each referrer gets of these parts for having referred somebody, by hex pubkey."""
    referred: Counter[str] = Counter()
    for part in parts:
        if part.to is not None and is_referral(part.path):
            referred[part.to] += part.amount_msat
    return referred


def is_referral(path: str) -> bool:
    """Tell whether a part of this path is for having referred somebody; a share can have that role, too."""
    return path.endswith((_REFERRER, _PAYER_REFERRER))


def _parts(pot: Pot, amount: int, facts: _Facts) -> tuple[Part, ...]:
    """Split `amount`: the parts of all shares in their order, then the rest."""
    cut = _Cut(amount, pot.least_msat)
    referrals = cut(pot.payer_referrer_msat) + sum(cut(share.referrer_msat) for share in pot.shares)
    first = {
        share.path: _size(share, amount, cut, facts) for share in pot.shares if share.rule is not Rule.PERCENT_OF_REST
    }
    left = amount - referrals - sum(size for size, _ in first.values())
    assert left >= 0, f"{pot.path}: the shares of {amount} exceed it by {-left}"
    parts: list[Part] = []
    for share in pot.shares:
        parts += _taken(share, *(first.get(share.path) or _size(share, left, cut, facts)), cut, facts)
    if facts.payer_referrer is not None and pot.payer_referrer_msat:
        parts.append(_referral(pot.path + _PAYER_REFERRER, facts.payer_referrer, pot.payer_referrer_msat, cut, facts))
    rest = amount - sum(part.amount_msat for part in parts)
    assert rest >= 0, f"{pot.path}: the parts of {amount} exceed it by {-rest}"
    return (*parts, Part(f"{pot.path}.rest", pot.role, _account(pot.rest), Msat(rest)))


def _size(share: Share, whole: int, cut: _Cut, facts: _Facts) -> tuple[int, str]:
    """Return how large a share is, whoever takes it, and what bent it; a percentage is one of `whole`."""
    wanted, note = _wanted(share, whole, cut, facts)
    if share.at_most_msat is not None and wanted > cut(share.at_most_msat):
        return cut(share.at_most_msat), "at most"
    return wanted, note


def _wanted(share: Share, whole: int, cut: _Cut, facts: _Facts) -> tuple[int, str]:
    """Return how large a share would be without its `at_most`."""
    match share.rule:
        case Rule.AMOUNT:
            return cut(share.value), cut.note
        case Rule.PER:
            assert share.meter is not None, f"{share.path} has no meter"
            return cut(share.meter.cost(share.value, facts.usage)), cut.note
        case Rule.PERCENT | Rule.PERCENT_OF_REST:  # pragma: no branch  (the type checker knows no other)
            msat, floored = divmod(whole * share.value, WHOLE)
            return msat, "rounded down" if floored else ""


def _taken(share: Share, size: int, note: str, cut: _Cut, facts: _Facts) -> tuple[Part, ...]:
    """Return the parts of one share of this size; none if nobody is there to take it."""
    if share.until is not None and facts.now >= share.until:
        return ()
    if share.pot is not None:
        return tuple(part for part in _parts(share.pot, size, facts) if part.amount_msat)
    to = facts.worker if share.to == WORKER else share.to
    if to is None:
        return ()
    part = Part(share.path, share.role, _account(to), Msat(size), note)
    referrer = facts.referrers.get(to)
    if referrer is None or not share.referrer_msat:
        return (part,)
    return (part, _referral(share.path + _REFERRER, referrer, share.referrer_msat, cut, facts))


def _referral(path: str, to: str, written: Msat, cut: _Cut, facts: _Facts) -> Part:
    msat, note = cut(written), cut.note
    if to in facts.limits:
        most, whole = facts.limits[to]
        msat, note = msat * most // whole, "at most"
    return Part(path, "referrer", to, Msat(msat), note)


def _account(to: str) -> str | None:
    return None if to == PLATFORM else to
