"""What is in service of others: approved, refused, taken out; and the agents that come of it, without a restart.

Approval acts on one version, named by its event id, as it was shown: the Plan guards its row and
its listing's, so a version that came meanwhile is not approved by mistake. Jobs under way keep
the split that was stored with them. A change in service raises one cursor; every process that
shares the book looks at it and puts its agents together anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import structlog

from handlers.bot import Agent, Bot
from handlers.registered import (
    DECLINED,
    Declined,
    Used,
    counted_up,
    declined_shares,
    generation,
    own_paths,
    pins_of,
    read_version,
    shares_of,
    skills_used,
    split_of,
    unchanged,
)
from handlers.states import LISTING, ListingState, ListingStep
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.nostr import nip19
from relaybot.nostr.keys import KeyPair
from splits.agreement import worse_for
from splits.market import Listed, people_of
from splits.model import FETCHED, AgentModel, SkillModel
from splits.problems import BadConfigs
from splits.resolved import split_hash
from wallet.ledger import Change, Expect, Insert, Plan, Update, Values
from wallet.payout_notices import Notice

log = structlog.get_logger()

NAMED, AGREED = "named", "agreed"  # what somebody says to being named with a share; or `declined`

_APPROVED_AGENTS = (
    "SELECT listing_versions.* FROM listings JOIN listing_versions ON listing_versions.id = listings.approved"
    " WHERE listings.id LIKE 'agent:%' ORDER BY listings.created_at, listings.id"
)
_AGENTS = "SELECT id FROM listings WHERE id LIKE 'agent:%' ORDER BY id"

KeyOf = Callable[[str], KeyPair]  # of a role: `agent/translate.0123456789abcdef`


class Market:
    """Keeps the agents of one process as the book has them."""

    def __init__(self, bot: Bot, key_of: KeyOf) -> None:
        self._bot = bot
        self._key_of = key_of
        self._put = self._followed = 0  # generations; nothing was ever approved

    async def refresh(self) -> bool:
        """Put the agents together as the book has them; tell whether anything is left to do about a change."""
        now = await generation(self._bot.book)
        if now != self._put:
            self._bot.agents.put(await self._agents())
            self._put = now
        return self._put != self._followed

    def followed(self) -> None:
        """Note that the world knows of what was put together last."""
        self._followed = self._put

    async def retired(self) -> Sequence[tuple[str, KeyPair]]:
        """Return the id and the key of every registered agent that is not in service."""
        rows = await self._bot.book.database.fetch(_AGENTS)
        agents = [row["id"].removeprefix("agent:") for row in rows]
        keys = [(agent, self._key_of(f"agent/{agent}")) for agent in agents]
        return [(agent, key) for agent, key in keys if key.pubkey not in self._bot.agents]

    async def _agents(self) -> Mapping[str, Agent]:
        declined = await declined_shares(self._bot.book)
        found: dict[str, Agent] = {}
        for version in await self._bot.book.database.fetch(_APPROVED_AGENTS):
            agent = await self._agent(version, declined)
            if agent is not None:
                found[agent.keypair.pubkey] = agent
        return found

    async def _agent(self, version: Row, declined: Declined) -> Agent | None:
        """Return an agent as it runs; None if it cannot, by what has changed around it."""
        full = version["listing"].removeprefix("agent:")
        try:
            model = read_version(version)
            assert isinstance(model, AgentModel), f"{version['listing']} is no agent"
            used = await skills_used(self._bot.book, model, pinned=pins_of(version))
            _check_complete(used)
            split = split_of(self._bot, full, model, used, declined)
        except (BadConfigs, Rejected) as refusal:
            log.warning("listed_agent_out_of_service", agent=full, reason=str(refusal))
            return None
        return Agent(
            id=full,
            name=model.name,
            about=model.about,
            keypair=self._key_of(f"agent/{full}"),
            kinds=frozenset(model.kinds),
            params=model.params,
            result_schema=model.result_schema,
            on_cancel=model.on_cancel,
            fetches_inputs=model.inputs == FETCHED,
            takes_open_requests=model.open,
            split=split,
            split_hash=split_hash(split),
            author=version["author"],
        )


def _check_complete(used: Used) -> None:
    if used.missing:
        raise Rejected("invalid", "it uses a skill that is not in service", skills=", ".join(sorted(used.missing)))


async def plan_approved(bot: Bot, event_id: str) -> Plan:
    """Return the Plan that puts exactly this version into service. Rejected says why that cannot be."""
    version = await version_to_decide(bot, event_id, ListingStep.APPROVE)
    listing = await listing_of(bot, version)
    model = read_version(version)
    await _check_agreed(bot, listing, version, model)
    used = await _checked(bot, version, model)
    now, author = bot.clock.now(), version["author"]
    values: Values = {"uses": json.dumps(used.versions, sort_keys=True), "decided_at": now}
    place: Values = {"approved": event_id, "agreed": event_id, "waiting": ""}
    text = f"{titled(version, model)} is approved and in service."
    changes: list[Change] = [
        stepped(version, ListingStep.APPROVE, values),
        *await _replaced(bot, listing),
        Update("listings", listing["id"], place, expect={"version": listing["version"]}),
        *await _named(bot, version, model),
        *([Expect("names", _full(version), None)] if isinstance(model, AgentModel) else []),
        await counted_up(bot.book),
        bot.message(author, text, reply_to=event_id),
    ]
    return Plan(f"listing/{event_id}/approve", changes=tuple(changes))


async def plan_refused(bot: Bot, event_id: str, reason: str) -> Plan:
    """Return the Plan that refuses a version that waits, or takes an approved one out of service."""
    version = await version_to_decide(bot, event_id, ListingStep.REFUSE)
    listing, in_service = await listing_of(bot, version), ListingState(version["state"]) is ListingState.APPROVED
    values: Values = {"reason": reason, "decided_at": bot.clock.now()}
    place: Values = {"approved": ""} if in_service else {"waiting": ""}
    said = "is taken out of service" if in_service else "is refused"
    changes: list[Change] = [
        stepped(version, ListingStep.REFUSE, values),
        Update("listings", listing["id"], place, expect={"version": listing["version"]}),
        *([await counted_up(bot.book)] if in_service else []),
        bot.message(
            version["author"],
            f"{titled(version, read_version(version))} {said}{f': {reason}' if reason else ''}.",
            reply_to=event_id,
        ),
    ]
    return Plan(f"listing/{event_id}/refuse", changes=tuple(changes))


async def version_to_decide(bot: Bot, event_id: str, step: ListingStep) -> Row:
    """Return a version that may take this step; Rejected if there is none, or it has gone on."""
    version = await bot.book.row("listing_versions", event_id)
    if version is None:
        raise Rejected("invalid", "there is no such version of a skill or an agent", found=event_id[:80])
    if not LISTING.allows(ListingState(version["state"]), step):
        raise Rejected("invalid", f"this version is {version['state']}; market list shows what waits")
    return version


async def listing_of(bot: Bot, version: Row) -> Row:
    """Return the listing that this is a version of."""
    listing = await bot.book.row("listings", version["listing"])
    assert listing is not None, f"version {version['id']} has no listing"
    return listing


async def _replaced(bot: Bot, listing: Row) -> Sequence[Change]:
    """Return the change that takes the version in service out of it, for another of the same listing."""
    if not listing["approved"]:
        return ()
    version = await bot.book.row("listing_versions", listing["approved"])
    assert version is not None, f"{listing['id']} names a version that is not there"
    return (stepped(version, ListingStep.REPLACE, {"decided_at": bot.clock.now()}),)


async def version_agreed(bot: Bot, listing: Row) -> Row | None:
    """Return the version that was approved last, also if it was withdrawn since: what people agreed to, or None."""
    return await bot.book.row("listing_versions", listing["agreed"]) if listing["agreed"] else None


def stepped(version: Row, step: ListingStep, values: Values) -> Update:
    """Return the change of a version by one step of its life, guarded by what was read."""
    state = LISTING.after(ListingState(version["state"]), step).value
    return Update("listing_versions", version["id"], {"state": state, **values}, expect={"version": version["version"]})


def titled(version: Row, model: Listed) -> str:
    """Return how a version is called in messages: `Your agent Translator (agent:translate.0123…)`."""
    return f"Your {version['listing'].partition(':')[0]} {model.name} ({version['listing']})"


def _full(version: Row) -> str:
    full: str = version["listing"].partition(":")[2]
    return full


async def disagreeing(bot: Bot, listing: Row, version: Row, model: Listed) -> Sequence[str]:
    """Return the hex keys of those who would have less by a version, and have not agreed to it."""
    agreed = await version_agreed(bot, listing)
    if agreed is None:
        return ()
    before = read_version(agreed)
    worse = sorted(worse_for(before, model, author=version["author"]))
    rows = await bot.book.database.rows_by_id("namings", [naming_id(version["listing"], one) for one in worse])
    said = {row["pubkey"]: row for row in rows.values()}
    return [one for one in worse if one not in said or not _lets_pass(said[one], version["id"])]


def _lets_pass(naming: Row, event_id: str) -> bool:
    """Tell whether somebody agreed to this version, or takes no share at all."""
    return bool(naming["state"] == DECLINED or (naming["state"] == AGREED and naming["event"] == event_id))


def naming_id(listing: str, pubkey: str) -> str:
    """Return the id of the row of what somebody says to being named by a listing."""
    return f"{listing}/{pubkey}"


async def _check_agreed(bot: Bot, listing: Row, version: Row, model: Listed) -> None:
    missing = await disagreeing(bot, listing, version, model)
    if missing:
        who = ", ".join(map(nip19.encode_npub, missing))
        raise Rejected("blocked", "it gives less to people who have not agreed to that", who=who)


async def _checked(bot: Bot, version: Row, model: Listed) -> Used:
    """Return the skills that a version works with from its approval on; Rejected if it cannot work."""
    full, declined = _full(version), await declined_shares(bot.book)
    try:
        used = await skills_used(bot.book, model)
        _check_complete(used)
        if isinstance(model, SkillModel):
            shares_of(bot, full, model, used, declined)
            return used
        split_of(bot, full, model, used, declined)
    except BadConfigs as problems:
        raise Rejected("invalid", "it cannot be paid as it stands", problems=own_paths(full, problems)) from None
    name = model.name.casefold()
    if any(name in {one.name.casefold(), one.id} for one in bot.agents.values() if one.id != full):
        raise Rejected("invalid", "another agent has this name", found=model.name)
    return used


async def _named(bot: Bot, version: Row, model: Listed) -> Sequence[Change]:
    """Return what remembers everybody else who is named with a share, and what they are told for the first time."""
    changes: list[Change] = []
    for person in sorted(people_of(model) - {version["author"]}):
        row_id = naming_id(version["listing"], person)
        row = await bot.book.row("namings", row_id)
        if row is not None:
            changes.append(unchanged("namings", row))
            continue
        values: Values = {
            "listing": version["listing"],
            "pubkey": person,
            "state": NAMED,
            "event": "",
            "created_at": bot.clock.now(),
        }
        text = (
            f"{nip19.encode_npub(version['author'])} gives you a share of {version['listing']}, {model.name}."
            f" If you do not want it, write: share {version['listing']} decline"
        )
        changes += [Insert("namings", row_id, values), *await bot.tell(Notice(person, text, asked=False))]
    return changes
