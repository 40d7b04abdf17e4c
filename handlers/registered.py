"""What authors have registered (kind 37172), as the book has it: versions read again, with the skills they use.

An approved agent works with the versions of others' listings that were approved when it was:
they are pinned in `uses`. So nobody's share of an agent moves by what somebody else publishes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from handlers.bot import Bot
from relaybot.db.database import Row
from relaybot.errors import BadConfig
from splits.market import Listed, read_listing, without
from splits.model import AgentModel, SkillModel
from splits.problems import BadConfigs
from splits.resolve import resolve_agent, resolve_skill
from splits.resolved import Pot, ResolvedSplit
from wallet.book import Book
from wallet.ledger import Change, Expect, Insert, Update, Values

SKILLS_MAX = 64  # versions that one listing may rest on, however they use each other

DECLINED = "declined"
GENERATION = "market"  # the cursor that counts what has changed in service

Declined = Mapping[str, Collection[str]]  # listing → hex pubkeys


@dataclass(slots=True)
class Used:
    """The skills of others' listings that one listing rests on: by full id, with the version of each."""

    skills: dict[str, SkillModel] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)  # not registered, not approved, or withdrawn


def read_version(version: Row) -> Listed:
    """Read a stored version; what was read once can be read again, but by an older relaybot."""
    return read_listing(version["listing"].partition(":")[0], version["body"], version["author"])


async def skills_used(
    book: Book, model: Listed, *, pinned: Mapping[str, str] | None = None, waiting: bool = False
) -> Used:
    """Return the skills that a listing rests on: of the `pinned` versions, else the approved ones.

    `waiting`: where none is approved, the one that waits for approval.
    """
    used = Used()
    wanted = list(_foreign(model))
    while wanted:
        name = wanted.pop()
        if name in used.skills or name in used.missing:
            continue
        if len(used.skills) == SKILLS_MAX:
            raise BadConfigs([BadConfig("skills", "too many", f"{SKILLS_MAX} skills at most, with all that they use")])
        version = await _version_of(book, f"skill:{name}", pinned, waiting=waiting)
        skill = read_version(version) if version is not None else None
        if version is None or not isinstance(skill, SkillModel):
            used.missing.append(name)
            continue
        used.skills[name], used.versions[name] = skill, version["id"]
        wanted += _foreign(skill)
    return used


def _foreign(model: Listed) -> Sequence[str]:
    """Return the skills of listings that it names; one without a namespace is config.yaml's."""
    return [skill for skill in model.skills if "." in skill]


async def _version_of(book: Book, listing: str, pinned: Mapping[str, str] | None, *, waiting: bool) -> Row | None:
    row = await book.row("listings", listing)
    if row is None:
        return None
    approved = row["approved"] or (row["waiting"] if waiting else "")
    if not approved:  # a skill without any version in service was withdrawn, also from who has pinned one
        return None
    event = approved if pinned is None else pinned.get(listing.removeprefix("skill:"), "")
    return await book.row("listing_versions", event) if event else None


def split_of(bot: Bot, full: str, model: AgentModel, used: Used, declined: Declined) -> ResolvedSplit:
    """Return the split of a registered agent; BadConfigs with every problem."""
    agent = without(model, declined.get(f"agent:{full}", ()))
    return resolve_agent(full, agent, _known(bot, used, declined), bot.config.people)


def shares_of(bot: Bot, full: str, model: SkillModel, used: Used, declined: Declined) -> Pot:
    """Return the shares of a registered skill, by no price; BadConfigs with every problem."""
    known = _known(bot, used, declined) | {full: without(model, declined.get(f"skill:{full}", ()))}
    return resolve_skill(full, known, bot.config.people)


def _known(bot: Bot, used: Used, declined: Declined) -> dict[str, SkillModel]:
    return dict(bot.config.skills) | {
        name: without(skill, declined.get(f"skill:{name}", ())) for name, skill in used.skills.items()
    }


async def declined_shares(book: Book) -> Declined:
    """Return who takes no share of which listing."""
    rows = await book.database.fetch("SELECT listing, pubkey FROM namings WHERE state = :state", state=DECLINED)
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["listing"], set()).add(row["pubkey"])
    return found


def own_paths(full: str, problems: BadConfigs) -> str:
    """Return problems as their author reads them: by the paths of their own document, one a line."""
    prefixes = (f"agents.{full}", f"skills.{full}")
    told = []
    for problem in problems.problems:
        path = problem.path
        for prefix in prefixes:
            path = path.removeprefix(prefix)
        told.append(BadConfig(path.removeprefix(".") or "the whole", problem.found, problem.allowed))
    return "\n".join(map(str, told))


async def generation(book: Book) -> int:
    """Return the number of changes to what is in service."""
    row = await book.row("cursors", GENERATION)
    return int(row["value"]) if row is not None else 0


async def counted_up(book: Book) -> Change:
    """Return the change that tells every process to look again at what is in service."""
    row = await book.row("cursors", GENERATION)
    if row is None:
        return Insert("cursors", GENERATION, {"value": 1})
    return Update("cursors", GENERATION, {"value": row["value"] + 1}, expect={"version": row["version"]})


def unchanged(table: str, row: Row) -> Expect:
    """Return the guard that a row is as it was read."""
    columns: Values = {"version": row["version"]}
    return Expect(table, row["id"], columns)


def pins_of(version: Row) -> Mapping[str, str]:
    """Return the versions of others' skills that an approved agent works with."""
    pins: Mapping[str, str] = json.loads(version["uses"])
    return pins
