"""One person's money: what they have, why, and what stands in the way of their payouts."""

from __future__ import annotations

from handlers.money_commands import as_csv
from relaybot.config import Config
from relaybot.nostr import nip19
from relaybot.operator.opening import Answer, opened
from wallet.accounts import person
from wallet.statements import Entry, balance_of, every_entry, held_of, history_of
from wallet.wording import class_in_words, told

_SHOWN = 20  # entries and payouts that `users show` tells


async def statement(config: Config, pubkey: str) -> list[Answer]:
    """Return every entry on somebody's accounts, oldest first, each with its cause in words."""
    async with opened(config) as book, book.database.snapshot() as reader:
        entries = [entry async for entry in every_entry(reader, person(pubkey))]
    return [_shown(entry) for entry in reversed(entries)]


async def statement_csv(config: Config, pubkey: str) -> str:
    """Return the same as CSV."""
    async with opened(config) as book, book.database.snapshot() as reader:
        entries = [entry async for entry in every_entry(reader, person(pubkey))]
    return as_csv(reversed(entries))


async def show_user(config: Config, pubkey: str) -> Answer:
    """Return what somebody has by class, what is held, where they want to be paid, and their newest entries."""
    async with opened(config) as book, book.database.snapshot() as reader:
        found = await balance_of(reader, pubkey)
        row = (await reader.rows_by_id("users", [pubkey])).get(pubkey)
        targets = await reader.fetch("SELECT source, target FROM targets WHERE pubkey = :pubkey", pubkey=pubkey)
        held = await held_of(reader, pubkey)
        entries = await history_of(reader, person(pubkey), limit=_SHOWN)
    return {
        "npub": nip19.encode_npub(pubkey),
        "pubkey": pubkey,
        "known": row is not None,
        "sats_msat": found.has.sats,
        "card_msat": found.has.card,
        "promo_msat": found.has.promo,
        "maturing_msat": found.maturing_msat,
        "owed_msat": found.owed_msat,
        "held_msat": found.held_msat,
        "held": [f"{one['what']} {one['id']}: {one['amount_msat']} msat, {one['state']}" for one in held],
        "withdrawals": row["withdrawals"] if row is not None else "open",
        "referrer": row["referrer"] if row is not None else None,
        "targets": [f"{one['source']}: {one['target'] or 'none'}" for one in targets],
        "newest": [f"{entry.amount_msat} msat ({class_in_words(entry.account)}): {_why(entry)}" for entry in entries],
    }


def _shown(entry: Entry) -> Answer:
    return {
        "time": entry.created_at,
        "class": class_in_words(entry.account),
        "amount_msat": entry.amount_msat,
        "balance_msat": entry.balance_msat,
        "what": _why(entry),
        "id": entry.id,
    }


def _why(entry: Entry) -> str:
    return told(plan=f"{entry.cause}/", account=entry.account, other=entry.other, reason=entry.reason)
