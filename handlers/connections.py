"""Wallet connections: which apps may use a user's balance, how much of it, and until when (NIP-47).

`connect` makes a pair of keys: the app's secret is told once, to the user, and kept nowhere;
ours derives from the app's pubkey. A connection that is closed stays as a row, so the app
is told that it has no wallet any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from handlers.bot import Bot, events_owed, written
from handlers.conversation import Asked, Reply
from handlers.names import names_of
from handlers.pay_requests import address_of
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.nostr import nip47
from relaybot.nostr.keys import KeyPair
from wallet.ledger import Change, Insert, Update, Values
from wallet.money import Msat, format_sat, parse_amount

CONNECTIONS_MAX = 20  # open ones of one user
SECRET_BYTES = 32
DAY = 86_400
PERIODS = {"day": DAY, "week": 7 * DAY, "month": 30 * DAY}
DAYS_MAX = 3_650  # of a connection that ends by itself
PERMISSIONS = {
    "read": frozenset({"lookup_invoice", "list_transactions", "get_balance"}),
    "receive": frozenset({"make_invoice", "lookup_invoice"}),
    "pay": frozenset({"pay_invoice"}),
}
RENEWALS = {DAY: "daily", 7 * DAY: "weekly", 30 * DAY: "monthly"}  # the words of `get_budget`
NO_LIMIT = "with no limit of its own"

_NAME = re.compile(r"[\w][\w .-]{0,39}")
_BUDGET = re.compile(r"([\d,]{1,20})(?:/(day|week|month))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Terms:
    """What an app may do: spend so much in a period (None: anything), until then (None: for good), by these methods."""

    budget_msat: Msat | None = None
    period: int = DAY
    expires_at: int | None = None
    methods: tuple[str, ...] = ()  # none: all of them


async def connect(bot: Bot, asked: Asked) -> Reply:
    """`connect`, `connect <name> [<sats>[/day|week|month]] [for <n> days] [only read,receive,pay]`."""
    if not asked.words:
        return Reply(_listed(await open_connections(bot, asked.sender), bot.clock.now()))
    name, *words = asked.words
    return await _connect(bot, asked, name, _terms(Terms(), words, bot.clock.now()))


def _terms(terms: Terms, words: Sequence[str], now: int) -> Terms:
    """Read what stands behind a connection's name, piece by piece."""
    match words:
        case []:
            return terms
        case ["for", number, "day" | "days", *rest] if number.isascii() and number.isdigit():
            if not 1 <= int(number[:6]) <= DAYS_MAX:
                raise Rejected("invalid", f"a connection lasts 1 to {DAYS_MAX} days, or for good")
            return _terms(replace(terms, expires_at=now + int(number) * DAY), rest, now)
        case ["only", what, *rest]:
            parts = what.split(",")
            if not set(parts) <= PERMISSIONS.keys():
                raise Rejected("invalid", f"only {', '.join(PERMISSIONS)}, or several of them with commas")
            allowed = frozenset({"get_info", "get_budget"}).union(*(PERMISSIONS[part] for part in parts))
            methods = tuple(method for method in nip47.METHODS if method in allowed)
            return _terms(replace(terms, methods=methods), rest, now)
        case [budget, *rest]:
            most, period = _budget(budget)
            return _terms(replace(terms, budget_msat=most, period=period), rest, now)
        case _:  # pragma: no cover  (words are what they are)
            raise AssertionError("a list begins with something")


async def _connect(bot: Bot, asked: Asked, name: str, terms: Terms) -> Reply:
    if not _NAME.fullmatch(name):
        raise Rejected("invalid", "a connection's name is up to 40 letters and digits")
    known = await open_connections(bot, asked.sender)
    if any(row["name"] == name for row in known):
        raise Rejected("invalid", "you have a connection of this name: disconnect it first")
    if len(known) >= CONNECTIONS_MAX:
        raise Rejected("invalid", f"you have {CONNECTIONS_MAX} connections already")
    secret, now = bot.chance(SECRET_BYTES), bot.clock.now()
    client = KeyPair(secret).pubkey
    ours = bot.wallet_key(client)
    values: Values = {
        "owner": asked.sender,
        "name": name,
        "service": ours.pubkey,
        "budget_msat": terms.budget_msat,
        "period": terms.period,
        "spent_msat": 0,
        "spent_since": now,
        "expires_at": terms.expires_at,
        "methods": " ".join(terms.methods),
        "state": "open",
        "created_at": now,
    }
    counter = await bot.book.row("cursors", f"connections/{asked.sender}")  # two at once are counted one by one
    counted = written("cursors", f"connections/{asked.sender}", counter, {"value": now})
    info = nip47.build_info(ours, terms.methods or nip47.METHODS, now=now)
    uri = nip47.connection_uri(
        ours.pubkey,
        relays=[bot.config.relay.public_url],
        secret=secret.hex(),
        lud16=await _lud16(bot, asked.sender),
    )
    text = (
        f"{name} may use your balance, {_in_words(terms)}. Paste this into the app, and show it to nobody else:\n{uri}"
    )
    return Reply(text, (Insert("connections", client, values), counted, *events_owed(now, info)))


async def disconnect(bot: Bot, asked: Asked) -> Reply:
    """`disconnect <name>`: the app may use nothing any more; what is under way is settled."""
    if len(asked.words) != 1:
        raise Rejected("invalid", "say which connection")
    (name,) = asked.words
    found = [row for row in await open_connections(bot, asked.sender) if row["name"] == name]
    if not found:
        raise Rejected("invalid", "you have no connection of this name")
    closed = Update("connections", found[0]["id"], {"state": "closed"}, expect={"version": found[0]["version"]})
    return Reply(f"{name} may use nothing of yours any more.", (closed,))


async def open_connections(bot: Bot, pubkey: str) -> list[Row]:
    """Return the open connections of a user, oldest first."""
    rows = await bot.book.database.fetch(
        "SELECT * FROM connections WHERE owner = :owner AND state = 'open' ORDER BY created_at, id", owner=pubkey
    )
    return list(rows)


def spent(connection: Row, now: int) -> tuple[int, int]:
    """Return what a connection has spent in the period that runs now, and when that began."""
    since, period = connection["spent_since"], connection["period"]
    if now < since + period:
        return connection["spent_msat"], since
    return 0, now - (now - since) % period


def budget_of(connection: Row, now: int) -> Mapping[str, int | str]:
    """Return what `get_budget` answers, in msat and Unix seconds; nothing where there is no budget."""
    if connection["budget_msat"] is None:
        return {}
    used, since = spent(connection, now)
    return {
        "used_budget": used,
        "total_budget": connection["budget_msat"],
        "renews_at": since + connection["period"],
        "renewal_period": RENEWALS[connection["period"]],
    }


def allowed_methods(connection: Row) -> tuple[str, ...]:
    """Return what an app may ask, in the order of `nip47.METHODS`."""
    return tuple(connection["methods"].split()) or nip47.METHODS


def _in_words(terms: Terms) -> str:
    most = terms.budget_msat
    words = [f"at most {format_sat(most)} a {_period_name(terms.period)}" if most is not None else NO_LIMIT]
    words += [f"until {_day(terms.expires_at)}"] if terms.expires_at is not None else []
    words += [f"for {', '.join(terms.methods)} only"] if terms.methods else []
    return ", ".join(words)


def _day(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _listed(rows: list[Row], now: int) -> str:
    if not rows:
        return "No app is connected. connect <name> [<sats>/day] makes a connection."
    return "\n".join(f"{row['name']}: {', '.join(_facts(row, now))}" for row in rows)


def _facts(row: Row, now: int) -> Iterator[str]:
    yield _used(row, now)
    if row["expires_at"] is not None:
        yield f"{'over since' if row['expires_at'] < now else 'until'} {_day(row['expires_at'])}"
    if row["methods"]:
        yield f"for {row['methods'].replace(' ', ', ')} only"


def _used(row: Row, now: int) -> str:
    if row["budget_msat"] is None:
        return NO_LIMIT
    used, _ = spent(row, now)
    return f"{format_sat(used)} of {format_sat(row['budget_msat'])} used this {_period_name(row['period'])}"


def _period_name(seconds: int) -> str:
    return next(name for name, length in PERIODS.items() if length == seconds)


def _budget(text: str) -> tuple[Msat, int]:
    found = _BUDGET.fullmatch(text)
    if found is None:
        raise Rejected("invalid", "a budget is sats and a period, such as 1000/day, 5000/week or 20000/month")
    return parse_amount(f"{found[1]} sat"), PERIODS[found[2] or "day"]


async def _lud16(bot: Bot, pubkey: str) -> str | None:
    names = await names_of(bot, pubkey)
    return address_of(bot, names[0]) if names else None


async def notifications(bot: Bot, owner: str, name: str, transaction: nip47.Transaction) -> list[Change]:
    """Return the rows that tell the connected apps of a user what happened to the balance: those that may know."""
    now = bot.clock.now()
    changes: list[Change] = []
    for connection in await open_connections(bot, owner):
        is_over = (connection["expires_at"] or now) < now
        if is_over or name not in nip47.notifications_of(allowed_methods(connection)):
            continue
        keypair = bot.wallet_key(connection["id"])
        nonces = (bot.chance(32), bot.chance(32))
        events = nip47.build_notifications(keypair, connection["id"], name, transaction, nonces=nonces, now=now)
        changes += events_owed(now, *events)
    return changes
