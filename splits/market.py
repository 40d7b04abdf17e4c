"""What authors register over Nostr (kind 37172): read, and put under names that are theirs alone. Pure.

An author's `translate` is `translate.<first 16 hex digits of the author's key>` to everybody
else, so nobody can take an id of another author, of config.yaml, or a person's name. Inside
an author's documents a skill is named `translate` (their own), `translate.0123456789abcdef`
(another author's) or `translate.operator` (of config.yaml); people by their keys only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import TypeVar

from pydantic import ValidationError

from relaybot.errors import BadConfig, Rejected
from relaybot.nostr.nip19 import parse_somebody
from relaybot.nostr.strict_json import parse_json
from splits.model import OWNER, PLATFORM, WORKER, AgentModel, ShareModel, SkillModel
from splits.problems import BadConfigs, problems_of, redacted

NAMESPACE_DIGITS = 16  # 64 bits: nobody finds a second key that begins so
DEPTH_MAX = 4  # splits inside splits; more than people follow
OPERATOR = "operator"  # the namespace of config.yaml's skills

_LISTED_ID = re.compile(rf"[a-z0-9][a-z0-9-]{{0,63}}\.[0-9a-f]{{{NAMESPACE_DIGITS}}}", re.ASCII)

Listed = SkillModel | AgentModel
Kind = TypeVar("Kind", SkillModel, AgentModel)

MODELS: Mapping[str, type[Listed]] = MappingProxyType({"skill": SkillModel, "agent": AgentModel})


def full_id(name: str, author: str) -> str:
    """Return the id that an author's `name` has for everybody else."""
    return f"{name}.{author[:NAMESPACE_DIGITS]}"


def is_listed_id(text: str) -> bool:
    """Tell whether a name has the form of an author's id: no person may have it."""
    return _LISTED_ID.fullmatch(text) is not None


def read_listing(what: str, content: str, author: str) -> Listed:
    """Read what the author with this hex key wrote of a `skill` or an `agent`.

    The author is its owner, people are hex keys, and skills have the names by which they are
    known to us. BadConfigs with every problem, by the author's own paths (`shares[2].to`).
    """
    try:
        parse_json(content)
        model = MODELS[what].model_validate_json(content)
    except Rejected as refusal:  # pydantic takes the last of two equal keys, other readers the first
        raise BadConfigs([BadConfig("the whole", refusal.reason, "strict JSON, each key once")]) from None
    except ValidationError as error:
        raise BadConfigs(problems_of(error, MODELS[what])) from None
    problems = [*_wrong_people(model, author), *_too_deep(model)]
    if problems:
        raise BadConfigs(problems)
    known = {"owner": author, "skills": tuple(known_name(skill, author) for skill in model.skills)}
    known_model = model.model_copy(update=known)
    if isinstance(known_model, AgentModel):
        return _renamed(known_model, _key)
    return _renamed(known_model, _key)


def known_name(skill: str, author: str) -> str:
    """Return the name under which we know the skill that `author` calls so: config.yaml's have theirs alone."""
    name, dot, namespace = skill.partition(".")
    if not dot:
        return full_id(name, author)
    return name if namespace == OPERATOR else skill


def people_of(model: Listed) -> frozenset[str]:
    """Return the hex keys of everybody who is named in it with a share."""
    named = {share.to for share in _every_share(model.shares)} | {name for _, name in _rests(model)}
    return frozenset(name for name in named if name is not None and not name.startswith("$"))


def without(model: Kind, declined: Collection[str]) -> Kind:
    """Return it as it is if these people take no share: theirs fall to the rest, and the rest to the platform."""
    if people_of(model).isdisjoint(declined):
        return model

    def kept(shares: tuple[ShareModel, ...]) -> tuple[ShareModel, ...]:
        return tuple(_deeper(share, kept) for share in shares if share.to not in declined)

    return _renamed(
        model.model_copy(update={"shares": kept(model.shares)}), lambda name: PLATFORM if name in declined else name
    )


def _deeper(share: ShareModel, change: Callable[[tuple[ShareModel, ...]], tuple[ShareModel, ...]]) -> ShareModel:
    if share.split is None:
        return share
    split = share.split.model_copy(update={"shares": change(share.split.shares)})
    return share.model_copy(update={"split": split})


def _renamed(model: Kind, name: Callable[[str], str]) -> Kind:
    """Return it with every name of somebody who gets something as `name` has it."""

    def one(share: ShareModel) -> ShareModel:
        if share.split is None:
            return share.model_copy(update={"to": name(share.to or "")})
        shares = tuple(map(one, share.split.shares))
        split = share.split.model_copy(update={"shares": shares, "rest": name(share.split.rest)})
        return share.model_copy(update={"split": split})

    changed: dict[str, object] = {"shares": tuple(map(one, model.shares))}
    if isinstance(model, AgentModel):
        changed["rest"] = name(model.rest)
    return model.model_copy(update=changed)


def _key(text: str) -> str:
    return text if text.startswith("$") else parse_somebody(text)


def _every_share(shares: tuple[ShareModel, ...]) -> Iterator[ShareModel]:
    for share in shares:
        yield share
        if share.split is not None:
            yield from _every_share(share.split.shares)


def _rests(model: Listed) -> Iterator[tuple[str, str]]:
    """Yield the place and the name of everybody who keeps a rest."""
    if isinstance(model, AgentModel):
        yield "rest", model.rest
    for place, share in _places("shares", model.shares):
        if share.split is not None:
            yield f"{place}.split.rest", share.split.rest


def _places(path: str, shares: tuple[ShareModel, ...]) -> Iterator[tuple[str, ShareModel]]:
    for position, share in enumerate(shares):
        place = f"{path}[{position}]"
        yield place, share
        if share.split is not None:
            yield from _places(f"{place}.split.shares", share.split.shares)


def _wrong_people(model: Listed, author: str) -> Iterator[BadConfig]:
    """Yield whoever is not named by a key of theirs: names of people are the operator's own."""
    if model.owner is not None and not _is_key(model.owner, author):
        yield BadConfig("owner", redacted("owner", model.owner), "your own key, or nothing: you own what you publish")
    takers = ((f"{place}.to", share.to) for place, share in _places("shares", model.shares) if share.to is not None)
    for words, named in (((WORKER, OWNER, PLATFORM), takers), ((OWNER, PLATFORM), _rests(model))):
        for place, name in named:
            if name not in words and not _is_key(name):
                yield BadConfig(place, redacted(place, name), f"{', '.join(words)}, an npub, 64 hex digits")


def _is_key(text: str, pubkey: str | None = None) -> bool:
    try:
        found = parse_somebody(text)
    except Rejected:
        return False
    return pubkey in {None, found}


def _too_deep(model: Listed) -> Iterator[BadConfig]:
    for place, _ in _places("shares", model.shares):
        if place.count(".split.") > DEPTH_MAX:
            yield BadConfig(place, "a split too deep", f"at most {DEPTH_MAX} splits inside each other")
            return
