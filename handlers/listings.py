"""Authors register skills and agents (kind 37172), and withdraw them (kind 5).

The newest version of each waits until the operator approves it; the approved one goes on
working meanwhile. The author hears by private message what is wrong with a version, each
with its path, or that it waits. Everything a stranger can cause here is bounded
(`limits.listing…`): a listing is read, compared and kept, and costs a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from handlers.bot import Bot, written
from handlers.cancelling import on_cancel
from handlers.market import disagreeing, listing_of, stepped, titled
from handlers.registered import counted_up, declined_shares, own_paths, shares_of, skills_used, split_of
from handlers.states import ListingState, ListingStep
from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from relaybot.inbox import Decision
from relaybot.nostr import nip19
from relaybot.nostr.event import Event
from relaybot.nostr.listings import Listing, deleted_listings, parse_listing
from splits.market import Listed, full_id, read_listing
from splits.model import AgentModel
from splits.problems import BadConfigs
from wallet.ledger import Change, Insert, Plan, Update, Values, Verdict
from wallet.payout_notices import Notice

DAY = 86_400
CLOSED = "closed"
_COUNTS = 1_000  # a cursor holds day and count in one number: more than any limit


async def on_listing(bot: Bot, event: Event) -> Decision:
    """Take a kind 37172: a new version waits for approval, or its author hears what is wrong with it."""
    if bot.config.marketplace == CLOSED:
        return "refused: this service takes no skills and agents of others (marketplace)"
    listing = parse_listing(event)
    row = await bot.book.row("listings", _id(listing))
    if row is not None and row["author"] == listing.author and not _is_newer(row, listing):
        return "an older version"
    counted = await _counted(bot, listing.author)
    try:
        await _check_limits(bot, listing, row)
        model = read_listing(listing.what, listing.content, listing.author)
        return await _plan_waiting(bot, listing, row, model, counted)
    except BadConfigs as problems:
        why = own_paths(_full(listing), problems)
    except Rejected as refusal:
        why = refusal.reason
    text = f"Your {listing.what} {listing.name} was not taken:\n{why}"
    answer = bot.message(listing.author, text, reply_to=event.id)
    return Plan(f"listing/{event.id}/reject", changes=(counted, answer))


async def on_deletion(bot: Bot, event: Event) -> Decision:
    """Take a kind 5: its author's listings are withdrawn, then jobs cancelled that it names.

    Each by a Plan of its own, so a crash between two of them is harmless: they are decided again.
    """
    names, versions = deleted_listings(event)
    own = [f"{what}:{full_id(name, event.pubkey)}" for what, name in names]
    found = await bot.book.database.rows_by_id("listing_versions", versions)
    single = [row["id"] for row in found.values() if row["author"] == event.pubkey]
    ended = 0
    whole = [partial(_decide_withdrawn, bot, listing, event) for listing in own]
    for step in (*whole, *(partial(_decide_version_withdrawn, bot, version, event) for version in single)):
        answer = await bot.book.decide(step)
        if not answer.done:  # it keeps moving
            raise Unavailable(f"a listing could not be withdrawn now: {answer.reason}")
        ended += answer.verdict is Verdict.APPLIED
    cancelled = await on_cancel(bot, event)
    return f"{ended} withdrawn" if ended else cancelled


async def has_registered(bot: Bot, author: str) -> bool:
    """Tell whether an author has anything registered."""
    rows = await bot.book.database.fetch("SELECT 1 FROM listings WHERE author = :author LIMIT 1", author=author)
    return bool(rows)


def _is_newer(row: Row, listing: Listing) -> bool:
    # NIP-01: of two addressable events of one date the one with the lower id stays.
    newest = row["waiting"] or row["approved"] or ""
    said: int = row["stated_at"]
    return said < listing.created_at or (said == listing.created_at and listing.event_id < newest)


async def _counted(bot: Bot, author: str) -> Change:
    """Return the change that counts a version of today; Rejected, untold, beyond the limit."""
    today, cursor = bot.clock.now() // DAY, f"listings/{author}"
    row = await bot.book.row("cursors", cursor)
    day, count = divmod(row["value"], _COUNTS) if row is not None else (today, 0)
    count = count + 1 if day == today else 1
    allowed = bot.config.limits.listing_versions_per_day_max
    if count > allowed:
        raise Rejected("rate-limited", "too many versions of this author today", allowed=allowed)
    return written("cursors", cursor, row, {"value": today * _COUNTS + count})


async def _check_limits(bot: Bot, listing: Listing, row: Row | None) -> None:
    limits, now = bot.config.limits, bot.clock.now()
    if row is not None and row["author"] != listing.author:
        raise Rejected("blocked", "this id is another author's: choose another")
    if listing.created_at > now + bot.config.jobs.future_seconds:
        raise Rejected("invalid", "created_at: it is from the future")
    if len(listing.content.encode()) > limits.listing_bytes_max:
        raise Rejected("invalid", f"the content has more than {limits.listing_bytes_max} bytes")
    count = bot.book.database.fetch
    if row is None:
        mine = await count("SELECT COUNT(*) AS number FROM listings WHERE author = :author", author=listing.author)
        if mine[0]["number"] >= limits.listings_per_author_max:
            raise Rejected("rate-limited", f"you have registered {limits.listings_per_author_max} already")
    waiting = await count(
        "SELECT COUNT(*) AS number FROM listing_versions WHERE state = :state", state=ListingState.WAITING.value
    )
    if waiting[0]["number"] >= limits.listings_waiting_max and not (row is not None and row["waiting"]):
        raise Rejected("rate-limited", "too many wait for approval; publish it again later")


async def _plan_waiting(bot: Bot, listing: Listing, row: Row | None, model: Listed, counted: Change) -> Plan:
    """Return the Plan that has a version wait; BadConfigs if it can never be paid."""
    missing = await _missing_skills(bot, listing, model)
    version: Values = {
        "listing": _id(listing),
        "author": listing.author,
        "body": listing.content,
        "stated_at": listing.created_at,
        "state": ListingState.WAITING.value,
        "reason": "",
        "uses": "{}",
        "decided_at": None,
        "created_at": bot.clock.now(),
    }
    place: Values = {"author": listing.author, "waiting": listing.event_id, "stated_at": listing.created_at}
    fresh: Values = {**place, "approved": "", "agreed": "", "created_at": bot.clock.now()}
    known = {**version, "id": listing.event_id}
    asked = await disagreeing(bot, row, known, model) if row is not None else ()
    changes: list[Change] = [
        written("listings", _id(listing), row, fresh if row is None else place),
        *await _replaced(bot, row),
        Insert("listing_versions", listing.event_id, version),
        counted,
        *[change for person in asked for change in await bot.tell(_question(listing, model, person))],
        bot.message(listing.author, _waits(known, model, asked, missing), reply_to=listing.event_id),
    ]
    return Plan(f"listing/{listing.event_id}/wait", changes=tuple(changes))


async def _missing_skills(bot: Bot, listing: Listing, model: Listed) -> Sequence[str]:
    """Return the skills that must be approved first; BadConfigs if what is there cannot be paid."""
    used = await skills_used(bot.book, model, waiting=True)
    if used.missing:
        return used.missing
    declined = await declined_shares(bot.book)
    if isinstance(model, AgentModel):
        split_of(bot, _full(listing), model, used, declined)
    else:
        shares_of(bot, _full(listing), model, used, declined)
    return ()


async def _replaced(bot: Bot, row: Row | None) -> Sequence[Change]:
    """Return the change that ends the version that waited until now."""
    if row is None or not row["waiting"]:
        return ()
    version = await bot.book.row("listing_versions", row["waiting"])
    assert version is not None, f"{row['id']} names a version that is not there"
    return (stepped(version, ListingStep.REPLACE, {"decided_at": bot.clock.now()}),)


def _waits(version: Row, model: Listed, asked: Sequence[str], missing: Sequence[str]) -> str:
    lines = [f"{titled(version, model)} waits for approval."]
    if asked:
        who = ", ".join(map(nip19.encode_npub, asked))
        lines.append(f"It gives less than before to {who}: they must agree first; until then the old version stays.")
    if missing:
        lines.append(f"It uses skills that are not registered yet: {', '.join(missing)}.")
    return "\n".join(lines)


def _question(listing: Listing, model: Listed, person: str) -> Notice:
    text = (
        f"{nip19.encode_npub(listing.author)} asks you to take less of {_id(listing)}, {model.name}, by the version"
        f" {listing.event_id}. Unless you agree, everything stays as it is. To agree, write:"
        f"\nshare {_id(listing)} agree {listing.event_id}"
    )
    return Notice(person, text, asked=False)


async def _decide_withdrawn(bot: Bot, listing: str, event: Event) -> Plan | None:
    """Return the Plan that withdraws what a listing had when its author deleted it (NIP-09: up to that date)."""
    row = await bot.book.row("listings", listing)
    if row is None or row["author"] != event.pubkey:
        return None
    ids = [row["approved"], row["waiting"]]
    versions = (await bot.book.database.rows_by_id("listing_versions", filter(None, ids))).values()
    ended = [version for version in versions if version["stated_at"] <= event.created_at]
    said_at = max(row["stated_at"], bot.believed_date(event.created_at))
    return await _plan_withdrawn(bot, row, ended, event, stated_at=said_at) if ended else None


async def _decide_version_withdrawn(bot: Bot, version_id: str, event: Event) -> Plan | None:
    version = await bot.book.row("listing_versions", version_id)
    if version is None or ListingState(version["state"]) not in {ListingState.WAITING, ListingState.APPROVED}:
        return None
    row = await listing_of(bot, version)
    plan = await _plan_withdrawn(bot, row, [version], event, stated_at=row["stated_at"])
    return replace(plan, key=f"{plan.key}/{version_id}")  # a deletion may name several versions


async def _plan_withdrawn(bot: Bot, row: Row, versions: Sequence[Row], event: Event, *, stated_at: int) -> Plan:
    ended = {version["id"] for version in versions}
    place: Values = {key: "" if row[key] in ended else row[key] for key in ("approved", "waiting")}
    changes: list[Change] = [
        *(stepped(version, ListingStep.WITHDRAW, {"decided_at": bot.clock.now()}) for version in versions),
        Update("listings", row["id"], {**place, "stated_at": stated_at}, expect={"version": row["version"]}),
        *([await counted_up(bot.book)] if row["approved"] in ended else []),
        bot.message(row["author"], f"{row['id']} is withdrawn, as you asked.", reply_to=event.id),
    ]
    return Plan(f"listing/{row['id']}/withdraw/{event.id}", changes=tuple(changes))


def _full(listing: Listing) -> str:
    return full_id(listing.name, listing.author)


def _id(listing: Listing) -> str:
    return f"{listing.what}:{_full(listing)}"
