"""Whose agreement a new version needs: those who would have less of it than the version they know. Pure.

Nobody is asked for an improvement. What cannot be compared share by share (what is left by
others, what is split further) counts as less, unless nothing about the money has changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from splits.market import Listed, people_of
from splits.model import AgentModel, ShareModel
from splits.resolved import Rule


def worse_for(old: Listed, new: Listed, *, author: str) -> frozenset[str]:
    """Return the hex keys of those whom the author may give `new` only if they agree."""
    if _money(old) == _money(new):
        return frozenset()
    return frozenset(person for person in people_of(old) if person != author and not _is_as_good(old, new, person))


def _money(model: Listed) -> object:
    """Return everything that steers who gets what."""
    if isinstance(model, AgentModel):
        return model.price, model.payer_referrer, model.skills, model.shares, model.rest
    return model.skills, model.shares


def _is_as_good(old: Listed, new: Listed, person: str) -> bool:
    """Tell whether each share of somebody is there again, none smaller, shorter, or of less."""
    had = [share for share in old.shares if share.to == person]
    if any(share.percent_of_rest is not None for share in had) or person in _indirect(old):
        return False
    if any(share.percent is not None for share in had) and _is_cheaper(old, new):
        return False
    left = [share for share in new.shares if share.to == person]
    for share in sorted(had, key=_size, reverse=True):
        found = next((one for one in sorted(left, key=_size) if _covers(one, share)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _indirect(model: Listed) -> Iterator[str]:
    """Yield those who get what others leave, or a part of something that is split further."""
    if isinstance(model, AgentModel):
        yield model.rest
    nested = tuple(share for share in model.shares if share.split is not None)
    if nested:
        yield from people_of(model.model_copy(update={"shares": nested}))


def _is_cheaper(old: Listed, new: Listed) -> bool:
    if not isinstance(old, AgentModel) or not isinstance(new, AgentModel):
        return False
    before, after = old.price, new.price
    return after.base < before.base or (after.at_most or after.base) < (before.at_most or before.base)


def _covers(new: ShareModel, old: ShareModel) -> bool:
    """Tell whether `new` gives at least what `old` gave, whatever is charged, used, and when."""
    alike = (_rule(new), new.per) == (_rule(old), old.per)
    return (
        alike
        and _size(new) >= _size(old)
        and (new.at_most is None or (old.at_most is not None and new.at_most >= old.at_most))
        and (new.until is None or (old.until is not None and new.until >= old.until))
    )


def _rule(share: ShareModel) -> Rule:
    return Rule.PERCENT if share.percent is not None else Rule.AMOUNT


def _size(share: ShareModel) -> int:
    return share.percent or share.amount or 0
