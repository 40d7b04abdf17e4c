"""From what is written to what is paid: names looked up, skills unfolded, and every sum proved to fit the price.

A problem is named where it is written (`skills.fix.shares[2].to`), but a share too
many where it is used (`agents.autodev.skills[0].shares[2]`), for it depends on the
price. All problems are found before any is raised. What a job then pays is `compute.py`.

Why the proof at the least price covers every charge: above it only shares that are
not at their `at_most` grow, and their percents sum to at most 100 %; below it
`compute.py` reduces all in proportion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from relaybot.errors import BadConfig, Rejected
from relaybot.nostr.nip19 import parse_pubkey
from splits.model import OWNER, PLATFORM, WHOLE, WORKER, AgentModel, PriceModel, ShareModel, SkillModel
from splits.problems import BadConfigs, redacted
from splits.resolved import NOTHING, Meter, Pot, Price, ResolvedSplit, Rule, Share
from wallet.money import MAX_MSAT, Msat, format_sat

PARTS_MAX = 256  # shares, splits and uses of skills in one agent: each share is a transfer of every job's capture

_ROLE_OF = {WORKER: "compute", PLATFORM: "platform"}
_ROLE_OF_OTHERS = "app"
_SECONDS_PER_DAY = 86_400


def resolve_agent(
    agent_id: str, agent: AgentModel, skills: Mapping[str, SkillModel], people: Mapping[str, str]
) -> ResolvedSplit:
    """Return the split of one agent; BadConfigs with every problem in it and in the skills it uses.

    `people` maps names to hex pubkeys; an npub or a hex pubkey needs no name.
    """
    resolution = _Resolution(skills, people)
    split = resolution.agent(f"agents.{agent_id}", agent)
    if resolution.problems:
        raise BadConfigs(resolution.problems)
    return split


def resolve_skill(skill_id: str, skills: Mapping[str, SkillModel], people: Mapping[str, str]) -> Pot:
    """Return the shares of one of `skills` and of all that it uses, by no price; BadConfigs with every problem."""
    resolution = _Resolution(skills, people)
    pot = resolution.skill(skill_id)
    if resolution.problems:
        raise BadConfigs(resolution.problems)
    return pot


def resolve_all(
    agents: Mapping[str, AgentModel], skills: Mapping[str, SkillModel], people: Mapping[str, str]
) -> dict[str, ResolvedSplit]:
    """Return the split of each agent; BadConfigs with every problem, also of skills that nobody uses."""
    resolution = _Resolution(skills, people)
    splits = {agent_id: resolution.agent(f"agents.{agent_id}", agent) for agent_id, agent in agents.items()}
    for skill_id in skills:
        if skill_id not in resolution.used:
            resolution.skill(skill_id)
    if resolution.problems:
        raise BadConfigs(resolution.problems)
    return splits


@dataclass(frozen=True, slots=True)
class _Entry:
    """A share as written: the path of its use, the path where it stands, its skill's owner, the role around it."""

    path: str
    written: str
    share: ShareModel
    owner: str | None
    role: str | None = None


@dataclass(frozen=True, slots=True)
class _Resolution:
    """One pass over a configuration. After a problem it goes on, with anything in the place of what is wrong."""

    skills: Mapping[str, SkillModel]
    people: Mapping[str, str]
    problems: list[BadConfig] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def agent(self, path: str, agent: AgentModel) -> ResolvedSplit:
        """Unfold one agent."""
        entries = self._limited(path, self._entries(path, path, agent, ()))
        rest = self._who(f"{path}.rest", agent.rest, self._owner(path, agent), OWNER, PLATFORM)
        price = _price(agent.price)
        pot = self._pot(path, entries, price.base_msat, agent.payer_referrer or NOTHING, rest=rest, role=_role(rest))
        return ResolvedSplit(price, pot)

    def skill(self, skill_id: str) -> Pot:
        """Unfold a skill without an agent; whether its amounts fit a price shows when it has one."""
        path = f"skills.{skill_id}"
        self.used.add(skill_id)
        entries = self._limited(path, self._entries(path, path, self.skills[skill_id], (skill_id,)))
        return self._pot(path, entries, MAX_MSAT, NOTHING, rest=PLATFORM, role="platform")

    def _entries(
        self, path: str, written: str, source: AgentModel | SkillModel, trail: tuple[str, ...]
    ) -> Iterator[_Entry | None]:
        """Yield the shares of the skills that `source` uses, then its own; None stands for each use of a skill."""
        for position, skill_id in enumerate(source.skills):
            yield None
            place = f"{written}.skills[{position}]"
            if skill_id not in self.skills:
                self._problem(place, skill_id, f"one of skills: {', '.join(sorted(self.skills)) or '(there are none)'}")
            elif skill_id in source.skills[:position]:
                self._problem(place, skill_id, "each skill once in a list")
            elif skill_id in trail:
                circle = " → ".join((*trail[trail.index(skill_id) :], skill_id))
                self._problem(place, skill_id, f"skills that do not use each other in a circle ({circle})")
            else:
                self.used.add(skill_id)
                inner = (f"{path}.skills[{position}]", f"skills.{skill_id}", self.skills[skill_id])
                yield from self._entries(*inner, (*trail, skill_id))
        owner = self._owner(written, source)
        for position, share in enumerate(source.shares):
            yield _Entry(f"{path}.shares[{position}]", f"{written}.shares[{position}]", share, owner)

    def _limited(self, path: str, entries: Iterator[_Entry | None]) -> list[_Entry]:
        """Return the entries; stop where they become too many, however skills multiply them."""
        kept: list[_Entry] = []
        size = 0
        for entry in entries:
            size += 1 if entry is None else _size(entry.share)
            if size > PARTS_MAX:
                self._problem(path, f"more than {PARTS_MAX}", f"at most {PARTS_MAX} shares and uses of skills together")
                break
            kept += [] if entry is None else [entry]
        return kept

    def _pot(
        self, path: str, entries: Sequence[_Entry], least: Msat, payer_referrer: Msat, *, rest: str, role: str
    ) -> Pot:
        """Resolve `entries`, check that they fit into `least`, and resolve the splits inside them."""
        shares = [self._share(entry) for entry in entries]
        left = self._left(path, shares, least, payer_referrer)
        whole = tuple(
            replace(share, pot=self._inner(entry, share.most(whole=least, left=left))) if entry.share.split else share
            for entry, share in zip(entries, shares, strict=True)
        )
        return Pot(path, role, least, whole, rest, payer_referrer)

    def _share(self, entry: _Entry) -> Share:
        """Resolve one share, but for a split inside it."""
        share = entry.share
        to = (
            None
            if share.to is None
            else self._who(f"{entry.written}.to", share.to, entry.owner, WORKER, OWNER, PLATFORM)
        )
        rule, value = _rule(share)
        return Share(
            path=entry.path,
            role=share.role or entry.role or _role(to),
            rule=rule,
            value=value,
            to=to,
            meter=None if share.per is None else Meter(share.per.count, share.per.unit),
            at_most_msat=share.at_most,
            until=None if share.until is None else _end(share.until),
            referrer_msat=share.referrer or NOTHING,
        )

    def _inner(self, entry: _Entry, most: Msat) -> Pot:
        """Resolve the split inside a share: proved for the least it can be, and a metered share can be nothing."""
        split, path, written = entry.share.split, f"{entry.path}.split", f"{entry.written}.split"
        assert split is not None, f"{entry.written} has no split"
        role = entry.share.role or entry.role
        inner = [
            _Entry(f"{path}.shares[{position}]", f"{written}.shares[{position}]", share, entry.owner, role)
            for position, share in enumerate(split.shares)
        ]
        rest = self._who(f"{written}.rest", split.rest, entry.owner, OWNER, PLATFORM)
        least = most if entry.share.per is None else NOTHING
        return self._pot(path, inner, least, NOTHING, rest=rest, role=role or _role(rest))

    def _left(self, path: str, shares: Sequence[Share], least: Msat, payer_referrer: Msat) -> Msat:
        """Return what percents of the rest can count on; a problem at the first share that is too much."""
        total = growing = of_rest = 0
        for share in shares:
            total += _most(share, least) + share.referrer_msat * WHOLE
            growing += _growing(share, least)
            of_rest += share.value if share.rule is Rule.PERCENT_OF_REST else 0
            if total > least * WHOLE:
                return self._too_much(share.path, total, least)
            if max(growing, of_rest) > WHOLE:
                self._problem(share.path, "more than 100 %", "percents that sum to 100 % at most")
                return NOTHING
        total += payer_referrer * WHOLE
        if total > least * WHOLE:
            return self._too_much(f"{path}.payer_referrer", total, least)
        return Msat((least * WHOLE - total) // WHOLE)

    def _too_much(self, path: str, total: int, least: Msat) -> Msat:
        found = f"{format_sat(-(-total // WHOLE))} with all before it"
        which = "fixed parts, metered maxima, percents and referrers"
        self._problem(
            path, found, f"at most {format_sat(least)}, the least there is to split, for all {which} together"
        )
        return NOTHING

    def _owner(self, written: str, source: AgentModel | SkillModel) -> str | None:
        """Return the owner's pubkey, or None where none is named."""
        return None if source.owner is None else self._who(f"{written}.owner", source.owner, None)

    def _who(self, path: str, text: str, owner: str | None, *words: str) -> str:
        """Return whom `text` means: a hex pubkey, `$worker` or `$platform`. `words` are those that may stand here."""
        if text == OWNER and OWNER in words:
            if owner is None:
                self._problem(path, text, "$owner only where an owner is named beside the shares")
            return owner or PLATFORM
        if text in words:
            return text
        try:
            return self.people.get(text) or parse_pubkey(text)
        except Rejected:
            self._problem(path, redacted(path, text), ", ".join((*words, "a name of people, an npub, 64 hex digits")))
            return PLATFORM

    def _problem(self, path: str, found: object, allowed: str) -> None:
        self.problems.append(BadConfig(path, found, allowed))


def _role(to: str | None) -> str:
    """Return the role of a share that names none."""
    return _ROLE_OF.get(to or "", _ROLE_OF_OTHERS)


def _price(price: PriceModel) -> Price:
    if price.per is None:
        return Price(price.base)
    return Price(price.base, Meter(price.per.count, price.per.unit), price.amount or NOTHING, price.at_most)


def _rule(share: ShareModel) -> tuple[Rule, int]:
    """Return how the size of a share is found, and the figure for it."""
    if share.percent is not None:
        return Rule.PERCENT, share.percent
    if share.percent_of_rest is not None:
        return Rule.PERCENT_OF_REST, share.percent_of_rest
    return (Rule.AMOUNT if share.per is None else Rule.PER), share.amount or 0


def _most(share: Share, least: Msat) -> int:
    """Return what a share takes of `least` at most, exactly, in millionths of an msat; of the rest it takes no more."""
    limit = share.at_most_msat
    wanted = share.value * least if share.rule is Rule.PERCENT else share.most(whole=least, left=0) * WHOLE
    return wanted if limit is None else min(wanted, limit * WHOLE)


def _growing(share: Share, least: Msat) -> int:
    """Return the percent by which a share grows with a charge above `least`: none once it is at its limit."""
    at_limit = share.at_most_msat is not None and _most(share, least) == share.at_most_msat * WHOLE
    return share.value if share.rule is Rule.PERCENT and not at_limit else 0


def _size(share: ShareModel) -> int:
    """Count a share and all shares inside it."""
    return 1 + sum(map(_size, share.split.shares if share.split else ()))


def _end(until: date) -> int:
    """Return the first second after that day (UTC)."""
    return (until.toordinal() - date(1970, 1, 1).toordinal() + 1) * _SECONDS_PER_DAY
