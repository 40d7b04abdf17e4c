"""Why a part of a charge is as large as it is, in words: the rule behind its path. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from splits.resolved import Pot, ResolvedSplit, Rule, Share
from wallet.money import format_sat

REST = "the rest, which all other parts left"

_MILLIONTHS_PER_PERCENT = 10_000


def rule_in_words(split: ResolvedSplit, path: str) -> str:
    """Say by what rule the part at `path` is paid; the path alone if the split has none there."""
    for pot in _pots(split.pot):
        if path == f"{pot.path}.rest":
            return REST
        if path == f"{pot.path}.payer_referrer":
            return f"{format_sat(pot.payer_referrer_msat)} for whoever referred the customer"
        for share in pot.shares:
            if path == f"{share.path}.referrer":
                return f"{format_sat(share.referrer_msat)} for whoever referred that contributor"
            if path == share.path:
                return share_in_words(share)
    return path


def share_in_words(share: Share) -> str:
    """Say by what rule one share is paid."""
    most = f", at most {format_sat(share.at_most_msat)}" if share.at_most_msat is not None else ""
    return _size(share) + most


def _size(share: Share) -> str:
    match share.rule:
        case Rule.AMOUNT:
            return f"a fixed {format_sat(share.value)}"
        case Rule.PER:
            assert share.meter is not None, f"{share.path} has no meter"
            return f"{format_sat(share.value)} for each {share.meter.count} {share.meter.unit}, rounded down"
        case Rule.PERCENT:
            return f"{_percent(share.value)} of the charge, rounded down to the msat"
        case Rule.PERCENT_OF_REST:  # pragma: no branch  (the type checker knows no other)
            return f"{_percent(share.value)} of what fixed, metered and percent shares left, rounded down to the msat"


def _percent(millionths: int) -> str:
    whole, fraction = divmod(millionths, _MILLIONTHS_PER_PERCENT)
    return f"{whole}" + (f".{fraction:04d}".rstrip("0") if fraction else "") + " %"


def _pots(pot: Pot) -> Iterator[Pot]:
    yield pot
    for share in pot.shares:
        if share.pot is not None:
            yield from _pots(share.pot)
