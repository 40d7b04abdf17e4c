"""What private messages tell somebody of their money: `balance`, `history`, `statement`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from handlers.bot import Bot
from handlers.deposits import arriving
from relaybot.errors import Rejected
from wallet.accounts import person
from wallet.money import format_sat
from wallet.statements import Entry, balance_of, held_of, history_of
from wallet.wording import class_in_words, told

HISTORY_DEFAULT, HISTORY_MAX = 10, 50  # lines of an answer
STATEMENT_MAX = 200  # lines of a statement: as much as a private message carries with ease


async def balance_text(bot: Bot, pubkey: str) -> str:
    """Return what somebody has, by class, what is held, and what is on its way."""
    async with bot.book.database.snapshot() as reader:
        found, held = await balance_of(reader, pubkey), await held_of(reader, pubkey)
    lines = [f"Your balance is {bot.shown(found.has.sats)}."]
    more = (
        (found.has.card, "bought by card: for jobs only"),
        (found.has.promo, "given by us: for jobs only"),
        (found.maturing_msat, "earned from card payments: yours when they can no longer be disputed"),
        (found.owed_msat, "owed by you: your next top-up pays it first"),
    )
    lines += [f"{bot.shown(amount)} {what}" for amount, what in more if amount]
    lines += [f"{bot.shown(row['amount_msat'])} held for {row['what']} {_short(row['id'])}" for row in held]
    lines += [f"{deposit} arriving on-chain" for deposit in await arriving(bot, pubkey)]
    return "\n".join(lines)


async def history_text(bot: Bot, pubkey: str, words: Sequence[str]) -> str:
    """Return the newest entries, newest first. Rejected for another count than 1 to 50."""
    count = _count(words)
    entries = await history_of(bot.book.database, person(pubkey), limit=count)
    if not entries:
        return "Nothing has moved on your account yet."
    return "\n".join(_line(entry) for entry in entries)


async def statement_text(bot: Bot, pubkey: str) -> str:
    """Return the newest entries as CSV, oldest first."""
    entries = await history_of(bot.book.database, person(pubkey), limit=STATEMENT_MAX)
    return as_csv(reversed(entries))


def as_csv(entries: Iterable[Entry]) -> str:
    """Return entries as CSV with a header; amounts are in msat, as exact as the book."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("time", "account", "amount_msat", "balance_msat", "what", "id"))
    for entry in entries:
        writer.writerow(
            (_time(entry), class_in_words(entry.account), entry.amount_msat, entry.balance_msat, _why(entry), entry.id)
        )
    return out.getvalue()


def _line(entry: Entry) -> str:
    sign = "+" if entry.amount_msat > 0 else ""
    cls = class_in_words(entry.account)
    kind = "" if cls == "sats" else f" ({cls})"
    return f"{_time(entry)}  {sign}{format_sat(entry.amount_msat)}{kind}  {_why(entry)}"


def _why(entry: Entry) -> str:
    return told(plan=f"{entry.cause}/", account=entry.account, other=entry.other, reason=entry.reason)


def _time(entry: Entry) -> str:
    return datetime.fromtimestamp(entry.created_at, UTC).strftime("%Y-%m-%d %H:%M")


def _short(row_id: str) -> str:
    return row_id.rpartition("/")[2][:8]


def _count(words: Sequence[str]) -> int:
    match words:
        case []:
            return HISTORY_DEFAULT
        case [number] if number.isascii() and number.isdigit() and 1 <= int(number[:9]) <= HISTORY_MAX:
            return int(number)
        case _:
            raise Rejected("invalid", f"say how many entries, 1 to {HISTORY_MAX}")
