"""`share`: what others' skills and agents give the sender, and what the sender says to it.

Whoever is named with a share may decline it: it falls to the rest, and the author is told.
A version that gives somebody less is approved only after they agreed to that very version.
"""

from __future__ import annotations

from handlers.bot import Bot
from handlers.conversation import Asked, Reply
from handlers.market import AGREED, NAMED, listing_of, naming_id
from handlers.registered import DECLINED, counted_up, read_version
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.nostr import nip19
from splits.agreement import worse_for
from wallet.ledger import Change, Update, Values

NAMINGS_SHOWN_MAX = 50

_NAMINGS = (
    "SELECT namings.*, listings.author, listings.approved, listings.agreed, listings.waiting FROM namings"
    " JOIN listings ON listings.id = namings.listing WHERE pubkey = :pubkey"
    " ORDER BY namings.created_at DESC, namings.id LIMIT :limit"
)


async def share(bot: Bot, asked: Asked) -> Reply:
    """`share`, `share <id> agree [<version>]`, `share <id> decline`."""
    match asked.words:
        case []:
            return Reply(await _all(bot, asked.sender))
        case [listing, "agree"]:
            return await _take(bot, asked.sender, listing)
        case [listing, "agree", version]:
            return await _agree(bot, asked.sender, listing, version)
        case [listing, "decline"]:
            return await _decline(bot, asked.sender, listing)
        case _:
            raise Rejected("invalid", "say which, and agree or decline")


async def _all(bot: Bot, sender: str) -> str:
    rows = await bot.book.database.fetch(_NAMINGS, pubkey=sender, limit=NAMINGS_SHOWN_MAX)
    if not rows:
        return "Nobody's skill or agent gives you a share."
    return "\n".join([await _line(bot, row) for row in rows])


async def _line(bot: Bot, row: Row) -> str:
    state = {DECLINED: "declined"}.get(row["state"], "yours" if row["approved"] else "not in service")
    asks = ""
    if await _asks(bot, row):
        version = row["waiting"]
        asks = f"; version {version} gives you less: share {row['listing']} agree {version}, or leave it as it is"
    return f"{row['listing']}, by {nip19.encode_npub(row['author'])}: {state}{asks}"


async def _asks(bot: Bot, row: Row) -> bool:
    """Tell whether the version that waits needs this person's agreement and has it not."""
    if not row["waiting"] or not row["agreed"] or row["state"] == DECLINED or row["event"] == row["waiting"]:
        return False
    found = await bot.book.database.rows_by_id("listing_versions", [row["agreed"], row["waiting"]])
    before, after = (read_version(found[row[key]]) for key in ("agreed", "waiting"))
    return row["pubkey"] in worse_for(before, after, author=row["author"])


async def _take(bot: Bot, sender: str, listing: str) -> Reply:
    """Take a share that was declined, and agree to no version by it."""
    naming = await _naming(bot, sender, listing)
    if not _is_declined(naming):
        raise Rejected("invalid", "you have this share; to agree to less, name the version")
    taken = (_said(naming, {"state": NAMED}), await counted_up(bot.book))
    return Reply(f"You take your share of {listing} again.", taken)


async def _agree(bot: Bot, sender: str, listing: str, version: str) -> Reply:
    """Agree to one version, and to no other: one that came since the question was asked is none of it."""
    naming = await _naming(bot, sender, listing)
    if _is_declined(naming):
        raise Rejected("invalid", "you take no share of it; take it first")
    row = await listing_of(bot, {"id": naming["id"], "listing": listing})
    if row["waiting"] != version:
        raise Rejected("invalid", "this version does not wait any more; share shows the one that does")
    return Reply(f"You agree to this version of {listing}.", (_said(naming, {"state": AGREED, "event": version}),))


async def _decline(bot: Bot, sender: str, listing: str) -> Reply:
    naming = await _naming(bot, sender, listing)
    text = f"You take no share of {listing} from now on; it falls to the rest. Back: share {listing} agree"
    if _is_declined(naming):
        return Reply(text)
    row = await listing_of(bot, {"id": naming["id"], "listing": listing})
    told = bot.message(
        row["author"], f"{nip19.encode_npub(sender)} takes no share of your {listing}; it falls to the rest."
    )
    changes: tuple[Change, ...] = (
        _said(naming, {"state": DECLINED, "event": ""}),
        await counted_up(bot.book),
        told,
    )
    return Reply(text, changes)


async def _naming(bot: Bot, sender: str, listing: str) -> Row:
    naming = await bot.book.row("namings", naming_id(listing, sender))
    if naming is None:
        raise Rejected(
            "invalid", "no skill or agent of that id gives you a share; share lists them", found=listing[:80]
        )
    return naming


def _said(naming: Row, values: Values) -> Update:
    return Update("namings", naming["id"], values, expect={"version": naming["version"]})


def _is_declined(naming: Row) -> bool:
    return bool(naming["state"] == DECLINED)
