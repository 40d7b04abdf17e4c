"""Wallet connections: which apps may use a user's balance, how much of it, and until when (NIP-47).

`connect` makes a pair of keys: the app's secret is told once, to the user, and kept nowhere;
ours derives from the app's pubkey. A connection that is closed stays as a row, so the app
is told that it has no wallet any more.
"""

from __future__ import annotations

import re

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

_NAME = re.compile(r"[\w][\w .-]{0,39}")
_BUDGET = re.compile(r"([\d,]{1,20})(?:/(day|week|month))?", re.ASCII)


async def connect(bot: Bot, asked: Asked) -> Reply:
    """`connect`, `connect <name> [<sats>[/day|week|month]]`."""
    match asked.words:
        case []:
            return Reply(_listed(await open_connections(bot, asked.sender), bot.clock.now()))
        case [name]:
            return await _connect(bot, asked, name, None, DAY)
        case [name, budget]:
            return await _connect(bot, asked, name, *_budget(budget))
        case _:
            raise Rejected("invalid", "a name is one word here, and the budget another")


async def _connect(bot: Bot, asked: Asked, name: str, budget: Msat | None, period: int) -> Reply:
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
        "budget_msat": budget,
        "period": period,
        "spent_msat": 0,
        "spent_since": now,
        "expires_at": None,
        "state": "open",
        "created_at": now,
    }
    counter = await bot.book.row("cursors", f"connections/{asked.sender}")  # two at once are counted one by one
    counted = written("cursors", f"connections/{asked.sender}", counter, {"value": now})
    info = nip47.build_info(ours, nip47.METHODS, now=now)
    uri = nip47.connection_uri(
        ours.pubkey,
        relays=[bot.config.relay.public_url],
        secret=secret.hex(),
        lud16=await _lud16(bot, asked.sender),
    )
    limit = (
        f"at most {format_sat(budget)} a {_period_name(period)}" if budget is not None else "with no limit of its own"
    )
    text = f"{name} may use your balance, {limit}. Paste this into the app, and show it to nobody else:\n{uri}"
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


def _listed(rows: list[Row], now: int) -> str:
    if not rows:
        return "No app is connected. connect <name> [<sats>/day] makes a connection."
    return "\n".join(f"{row['name']}: {_used(row, now)}" for row in rows)


def _used(row: Row, now: int) -> str:
    if row["budget_msat"] is None:
        return "no limit of its own"
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
    """Return the rows that tell every connected app of a user what happened to the balance."""
    now = bot.clock.now()
    changes: list[Change] = []
    for connection in await open_connections(bot, owner):
        keypair = bot.wallet_key(connection["id"])
        nonces = (bot.chance(32), bot.chance(32))
        events = nip47.build_notifications(keypair, connection["id"], name, transaction, nonces=nonces, now=now)
        changes += events_owed(now, *events)
    return changes
