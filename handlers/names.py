"""Names before the @: who is meant by `<name>@<our domain>`, in Lightning Addresses and in NIP-05.

The service, every agent by its id, every user by a chosen name or by npub. A name is taken
once and never given to anybody else: money may still be on its way to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from handlers.bot import Bot
from relaybot.errors import BadConfig, Rejected
from relaybot.nostr import nip19
from splits.market import is_listed_id
from wallet.accounts import user
from wallet.ledger import Change, Insert, Update

SERVICE_NAMES = ("_", "service")  # NIP-05: `_` stands for the domain itself
NAMES_MAX = 3  # of one user: a name is kept for ever

# LUD-16 allows a-z0-9-_. ; one that begins like a key could be taken for one
_NAME = re.compile(r"(?!npub1)[a-z][a-z0-9._-]{1,29}", re.ASCII)
_RESERVED = frozenset(
    {*SERVICE_NAMES, "abuse", "admin", "administrator", "bot", "help", "info", "mail", "me", "operator", "postmaster",
     "relay", "relaybot", "root", "security", "support", "webmaster", "www"}
)  # fmt: skip


class Kind(Enum):
    """Whom a name leads to."""

    SERVICE = "service"
    AGENT = "agent"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Named:
    """Who is meant by a name: `title` is for people, `agent` is its id or ''."""

    kind: Kind
    name: str
    pubkey: str
    title: str
    agent: str = ""


async def check_names(bot: Bot) -> None:
    """Raise BadConfig if an agent has the id of a user's name: money may still be on its way to that user."""
    ids = {agent.id for agent in bot.agents.values()}
    for name in sorted(await bot.book.database.rows_by_id("names", ids)):
        raise BadConfig(f"agents.{name}", name, "another id: a user of this service has this name for good")


async def find_named(bot: Bot, name: str) -> Named | None:
    """Return who is meant by `name`, or None."""
    if name in SERVICE_NAMES:
        return Named(Kind.SERVICE, name, bot.service.pubkey, bot.config.service.name)
    for pubkey, agent in bot.agents.items():
        if agent.id == name:
            return Named(Kind.AGENT, name, pubkey, agent.name, agent=agent.id)
    if name.startswith("npub1"):
        return _named_by_key(bot, name)
    row = await bot.book.row("names", name) if _NAME.fullmatch(name) else None
    return Named(Kind.USER, name, row["pubkey"], name) if row is not None else None


def _named_by_key(bot: Bot, name: str) -> Named | None:
    """Return whose npub it is: ours are the service's and the agents', never a user's."""
    try:
        pubkey = nip19.parse_somebody(name)
    except Rejected:
        return None
    if pubkey == bot.service.pubkey:
        return Named(Kind.SERVICE, name, pubkey, bot.config.service.name)
    if pubkey in bot.agents:
        agent = bot.agents[pubkey]
        return Named(Kind.AGENT, name, pubkey, agent.name, agent=agent.id)
    return Named(Kind.USER, name, pubkey, f"{name[:12]}…")


async def plan_name(bot: Bot, pubkey: str, name: str) -> tuple[Change, ...]:
    """Return the changes that give `name` to the user; none if it is theirs already. Rejected says why not."""
    if not _NAME.fullmatch(name):
        raise Rejected("invalid", "a name is 2 to 30 of a-z, 0-9, dot, hyphen, underscore, and begins with a letter")
    if name in _RESERVED or is_listed_id(name) or name in (agent.id for agent in bot.agents.values()):
        raise Rejected("invalid", "this name is reserved")
    taken = await bot.book.row("names", name)
    if taken is not None and taken["pubkey"] != pubkey:
        raise Rejected("invalid", "this name is taken")
    if taken is not None:
        return ()
    row = await bot.book.row("users", pubkey)
    if row is None or (row["first_funded_at"] is None and await bot.book.balance(user(pubkey)) == 0):
        raise Rejected("invalid", "a name is for users: top up or earn something first")
    if len(await names_of(bot, pubkey)) >= NAMES_MAX:
        raise Rejected("invalid", f"you have {NAMES_MAX} names already, and they are yours for good")
    change = Insert("names", name, {"pubkey": pubkey, "created_at": bot.clock.now()})
    return change, Update("users", pubkey, {}, expect={"version": row["version"]})  # two at once are counted one by one


async def names_of(bot: Bot, pubkey: str) -> list[str]:
    """Return the names of a user, the newest first."""
    rows = await bot.book.database.fetch(
        "SELECT id FROM names WHERE pubkey = :pubkey ORDER BY created_at DESC, id", pubkey=pubkey
    )
    return [row["id"] for row in rows]
