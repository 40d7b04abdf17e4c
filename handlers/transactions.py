"""A user's invoices and payments, as wallet apps read them (NIP-47): found by hash, or listed.

An incoming one is an invoice of theirs; an outgoing one a payment over Lightning, or an
invoice of this service that they paid inside the book.
"""

from __future__ import annotations

from handlers.bot import Bot
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.nostr import nip47
from wallet.bolt11_invoice import parse_bolt11
from wallet.ledger import Value

_INVOICES = (
    "SELECT payment_hash, bolt11, description, amount_msat, received_msat, preimage, expires_at, created_at,"
    " settled_at FROM invoices"
)
_INCOMING = f"{_INVOICES} WHERE owner = :owner"
_INSIDE = f"{_INVOICES} WHERE payer = :owner AND payer <> ''"
_OUTGOING = (
    "SELECT attempts.id AS payment_hash, attempts.bolt11, attempts.preimage, attempts.state, payouts.state AS payout,"
    " payouts.amount_msat, payouts.fee_msat, payouts.created_at, payouts.updated_at FROM payouts"
    " JOIN attempts ON attempts.id = payouts.attempt WHERE payouts.pubkey = :owner"
)
_UNSENT = (  # no attempt yet: a few at most, for so many one user may have under way
    "SELECT '' AS payment_hash, target AS bolt11, '' AS preimage, state AS payout, amount_msat, fee_msat, created_at,"
    " updated_at FROM payouts WHERE pubkey = :owner AND attempt = '' AND next_at IS NOT NULL"
)


async def find_transaction(
    bot: Bot, owner: str, payment_hash: str, *, type_: str | None = None
) -> nip47.Transaction | None:
    """Return the user's invoice or payment with this hash, or None."""
    fetch, now = bot.book.database.fetch, bot.clock.now()
    if type_ != "outgoing":
        for row in await fetch(f"{_INCOMING} AND payment_hash = :hash", owner=owner, hash=payment_hash):
            return _incoming(row, now)
    for row in await fetch(f"{_OUTGOING} AND attempts.id = :hash", owner=owner, hash=payment_hash):
        return _outgoing(row)
    for row in await fetch(_UNSENT, owner=owner):
        if _hash_of(row["bolt11"]) == payment_hash:
            return _outgoing(row)
    for row in await fetch(f"{_INSIDE} AND payment_hash = :hash", owner=owner, hash=payment_hash):
        return _inside(row)
    return None


async def list_transactions(bot: Bot, owner: str, wanted: nip47.ListTransactions) -> list[nip47.Transaction]:
    """Return a page of the user's invoices and payments, newest first."""
    now, limit = bot.clock.now(), min(wanted.limit, nip47.LISTED_MAX)
    values: dict[str, Value] = {
        "owner": owner,
        "since": wanted.since,
        "until": now if wanted.until is None else wanted.until,
        "limit": wanted.offset + limit,
    }

    async def page(sql: str, date: str, only: str) -> list[Row]:
        span = f"{date} >= :since AND {date} <= :until"
        order = f"ORDER BY {date} DESC, payment_hash LIMIT :limit"  # pages must not overlap within a second
        return list(await bot.book.database.fetch(f"{sql} AND {span}{only} {order}", **values))

    found: list[nip47.Transaction] = []
    if wanted.type != "outgoing":
        paid = "" if wanted.unpaid else " AND received_msat > 0"
        found += [_incoming(row, now) for row in await page(_INCOMING, "created_at", paid)]
    if wanted.type != "incoming":
        paid = "" if wanted.unpaid else " AND payouts.state = 'paid'"
        found += [_outgoing(row) for row in await page(_OUTGOING, "payouts.created_at", paid)]
        found += [_inside(row) for row in await page(_INSIDE, "settled_at", "")]
    found.sort(key=lambda one: (-one.created_at, one.payment_hash))
    return found[wanted.offset : wanted.offset + limit]


def _incoming(row: Row, now: int) -> nip47.Transaction:
    settled = row["received_msat"] > 0
    return nip47.Transaction(
        "incoming",
        "settled" if settled else "expired" if row["expires_at"] <= now else "pending",
        row["payment_hash"],
        row["received_msat"] or row["amount_msat"],
        row["created_at"],
        invoice=row["bolt11"],
        description=row["description"] or None,
        preimage=row["preimage"] or None,
        expires_at=row["expires_at"],
        settled_at=row["settled_at"] if settled else None,
    )


def _outgoing(row: Row) -> nip47.Transaction:
    state = {"paid": "settled", "stopped": "failed"}.get(row["payout"], "pending")
    return nip47.Transaction(
        "outgoing",
        state,  # type: ignore[arg-type]  # one of three of its words
        row["payment_hash"] or _hash_of(row["bolt11"]),
        row["amount_msat"],
        row["created_at"],
        invoice=row["bolt11"],
        preimage=row["preimage"] or None,
        fees_msat=row["fee_msat"],
        settled_at=row["updated_at"] if row["payout"] == "paid" else None,
    )


def _hash_of(target: str) -> str:
    """Return the payment hash of an invoice; '' of any other target."""
    try:
        return parse_bolt11(target).payment_hash
    except Rejected:
        return ""


def _inside(row: Row) -> nip47.Transaction:
    """Return what was paid inside the book: when it was paid is when it began."""
    return nip47.Transaction(
        "outgoing",
        "settled",
        row["payment_hash"],
        row["amount_msat"] or row["received_msat"],
        row["settled_at"],
        invoice=row["bolt11"],
        preimage=row["preimage"] or None,
        settled_at=row["settled_at"],
    )
