"""Splits as people write them: the story's agent, and any number of random ones that fit their price."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from random import Random
from typing import Any

from splits.model import WHOLE, AgentModel, SkillModel
from splits.resolve import resolve_agent
from splits.resolved import ResolvedSplit
from wallet.money import MAX_MSAT, MSAT_PER_SAT

NAMES = ("alice", "bob", "carol", "dave", "eve", "frank", "grace", "heidi")


def pubkey(name: str) -> str:
    """Return 64 hex digits that stand for somebody: the split language asks no more of a key."""
    return sha256(name.encode()).hexdigest()


PEOPLE = {name: pubkey(name) for name in NAMES}

SKILL: dict[str, Any] = {
    "name": "Resolve GitHub Pull Request",
    "shares": [
        {"to": "alice", "role": "algorithm", "amount": "2000 sat", "referrer": "120 sat"},
        {"to": "$worker", "role": "compute", "amount": "1000 sat"},
        {"to": "dave", "role": "api", "amount": "500 sat"},
        {"to": "grace", "role": "model", "amount": "300 sat"},
        {"to": "heidi", "role": "data", "amount": "300 sat"},
    ],
}
AUTODEV: dict[str, Any] = {
    "name": "AutoDev",
    "about": "Resolves a GitHub issue and opens the pull request",
    "kinds": [5050],
    "price": "12000 sat",
    "skills": ["resolve-github-pr"],
    "payer_referrer": "120 sat",
    "rest": "$platform",
}


def read_agent(written: Mapping[str, Any]) -> AgentModel:
    """Read an agent as the configuration does: as JSON, strictly."""
    return AgentModel.model_validate_json(json.dumps(written))


def read_skill(written: Mapping[str, Any]) -> SkillModel:
    """Read a skill as the configuration does."""
    return SkillModel.model_validate_json(json.dumps(written))


def resolved(agent: Mapping[str, Any], **skills: Mapping[str, Any]) -> ResolvedSplit:
    """Resolve an agent called `a`; a skill's underscores stand for hyphens."""
    known = {name.replace("_", "-"): read_skill(skill) for name, skill in skills.items()}
    return resolve_agent("a", read_agent(agent), known, PEOPLE)


def agent(*shares: Mapping[str, Any], price: object = "1000 msat", **more: object) -> dict[str, Any]:
    """Return an agent with these shares of its own."""
    return {"name": "A", "kinds": [5050], "price": price, "shares": list(shares), **more}


def story() -> ResolvedSplit:
    """Return AutoDev's split."""
    return resolved(AUTODEV, resolve_github_pr=SKILL)


def random_agent(chance: Random) -> dict[str, Any]:
    """Return a random agent whose parts fit its price."""
    price = chance.choice((1, 7, 999, 1_000, 12_000_000, chance.randint(1, MAX_MSAT // MSAT_PER_SAT)))
    payer = chance.randint(0, price // 4)
    shares = _random_shares(chance, price, (price - payer) * WHOLE, depth=0)
    priced: object = f"{price} msat"
    if chance.random() < 0.3:
        more = chance.randint(0, price)
        priced = {"base": f"{price} msat", "per": "1000 tokens", "amount": "3 sat", "at_most": f"{price + more} msat"}
    return agent(*shares, price=priced, rest="bob") | ({"payer_referrer": f"{payer} msat"} if payer else {})


def _random_shares(chance: Random, least: int, budget: int, *, depth: int) -> list[dict[str, Any]]:
    """Return shares that take at most `budget` (millionths of an msat) of `least` msat."""
    shares: list[dict[str, Any]] = []
    percents: int = WHOLE
    of_rest: int = WHOLE
    for _ in range(chance.randint(0 if depth == 0 else 1, 5)):
        share: dict[str, Any] = {}
        inner = 0  # the least a split inside this share can count on
        room = budget // WHOLE
        rule = chance.choice(("amount", "per", "percent", "percent_of_rest"))
        if rule in {"amount", "per"} and room:
            inner = chance.randint(1, max(1, room // 2))
            budget -= inner * WHOLE
            share = {"amount": f"{inner} msat"}
            if rule == "per":
                share = {"per": f"{chance.randint(1, 2000)} tokens", "amount": "7 sat", "at_most": f"{inner} msat"}
                inner = 0
        elif rule == "percent" and (most := min(percents, budget // max(1, least))):
            percent = chance.randint(1, most)
            percents -= percent
            budget -= percent * least
            inner = percent * least // WHOLE
            share = {"percent": _percent(percent)}
        elif of_rest > 1:
            percent = chance.randint(1, of_rest // 2)
            of_rest -= percent
            share = {"percent_of_rest": _percent(percent)}
        else:
            continue
        if depth < 3 and chance.random() < 0.2:
            share["split"] = {"shares": _random_shares(chance, inner, inner * WHOLE, depth=depth + 1), "rest": "bob"}
            if not share["split"]["shares"]:
                share["split"]["shares"] = [{"to": "alice", "percent": "50%"}]
        else:
            _name_taker(chance, share, room=budget // WHOLE)
            budget -= int(share.get("referrer", "0 msat").split()[0]) * WHOLE
        if chance.random() < 0.1:
            share["until"] = "2026-11-22"
        shares.append(share)
    return shares


def _name_taker(chance: Random, share: dict[str, Any], *, room: int) -> None:
    share["to"] = chance.choice(("$worker", "$platform", pubkey(f"{chance.getrandbits(64)}")))
    if room and share["to"] != "$platform" and chance.random() < 0.5:
        share["referrer"] = f"{chance.randint(1, max(1, room // 3))} msat"


def _percent(millionths: int) -> str:
    return f"{millionths // 10_000}.{millionths % 10_000:04d}%"
