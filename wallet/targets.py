"""Where a user wants to be paid: what they said, by whichever way, in the order in which it is obeyed."""

from __future__ import annotations

from collections.abc import Mapping

from relaybot.db.database import Row
from wallet.book import Book
from wallet.chain_address import looks_like_chain_address
from wallet.states import Rail

KEEP = "keep"  # a target that means: leave it as balance
TARGET_SOURCES = ("registered", "10133", "profile")  # in the order in which they are obeyed


def in_order(said: Mapping[str, str]) -> list[str]:
    """Return the targets of what was `said` by each source, first choice first.

    Whoever said `keep` wants nothing sent, whatever stands in the second and third place.
    """
    targets = [said[source] for source in TARGET_SOURCES if said.get(source)]
    return [] if KEEP in targets[:1] else [target for target in targets if target != KEEP]


async def statements_of(book: Book, pubkey: str) -> dict[str, Row]:
    """Return the row of each source by which `pubkey` has said where to be paid."""
    found = await book.database.rows_by_id("targets", [f"{pubkey}/{source}" for source in TARGET_SOURCES])
    return {row["source"]: row for row in found.values()}


async def targets_of(book: Book, pubkey: str) -> list[str]:
    """Return where `pubkey` wants to be paid, first choice first."""
    return in_order({source: row["target"] for source, row in (await statements_of(book, pubkey)).items()})


async def payable_targets(book: Book, pubkey: str, *, said_by: int) -> list[str]:
    """Return where `pubkey` is paid, first choice first; of the others those that were said by that time only.

    Whoever has a stolen key could name a place of their own there, and wait until the first
    choice fails (F3). The first choice has its own pause.
    """
    said = await statements_of(book, pubkey)
    first, *others = in_order({source: row["target"] for source, row in said.items()}) or [""]
    if not others:
        return [first] if first else []
    heard = {row["target"]: f"target/{row['event']}" for row in said.values()}  # the Plan that took it
    plans = await book.database.rows_by_id("plans", heard.values())
    old = {key for key, plan in plans.items() if plan["applied_at"] <= said_by}
    return [first, *(target for target in others if heard[target] in old)]


def rail_of(target: str) -> Rail:
    """Return on which way a target that was read before is paid."""
    return Rail.ONCHAIN if looks_like_chain_address(target) else Rail.LIGHTNING
