"""What somebody has, class by class: what each can be used for, what is held for what, what is on its way."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from handlers.deposits import arriving
from relaybot.db.database import Row
from relaybot.web.account.desk import Desk, Visit
from relaybot.web.account.frame import heading, scrolled
from relaybot.web.html import Html, el
from relaybot.web.words import amount
from wallet.money import format_sat
from wallet.statements import Balance, balance_of, held_of

_SATS = "pays for jobs; can be withdrawn, sent, and used by connected apps"
_CARD = "bought by card: pays for jobs only, and is never paid out"
_PROMO = "given by us: pays the platform's part of jobs"
_MATURING = "earned from card payments: becomes sats when they can no longer be disputed"
_OWED = "owed by you: your next top-up pays it first, and nothing can leave before"


async def balance_page(desk: Desk, visit: Visit) -> web.Response:
    """Show the balance."""
    async with desk.bot.book.database.snapshot() as reader:
        found, held = await balance_of(reader, visit.me), await held_of(reader, visit.me)
    coming = await arriving(desk.bot, visit.me)
    opening = heading(format_sat(found.has.sats), "is what you can use for anything.")
    ways = (("Top up", "/account/topup"), ("Ask an agent", "/account/jobs"), ("Withdraw", "/account/withdraw"))
    buttons = [
        el("a", name, href=path, class_="button" if path == ways[0][1] else "button second") for name, path in ways
    ]
    actions = el("p", buttons, class_="actions")
    return desk.shown(
        visit, opening, actions, _classes(found), _held(held), _coming(coming), title="Balance", here="/account"
    )


def _classes(found: Balance) -> Html:
    rows = [("Sats", found.has.sats, _SATS)]
    more = (
        ("Card money", found.has.card, _CARD),
        ("Promo", found.has.promo, _PROMO),
        ("Maturing", found.maturing_msat, _MATURING),
        ("Owed", found.owed_msat, _OWED),
    )
    rows += [row for row in more if row[1]]
    body = [
        el("tr", el("th", name, scope="row"), el("td", amount(msat), class_="number"), el("td", use))
        for name, msat, use in rows
    ]
    head = el(
        "tr",
        el("th", "Class", scope="col"),
        el("th", "Amount", scope="col", class_="number"),
        el("th", "What it is for", scope="col"),
    )
    table = el("table", el("caption", "Your money by class"), el("thead", head), el("tbody", body))
    return el("section", el("h2", "What it is for"), scrolled(table, "Your money by class"))


def _held(held: Sequence[Row]) -> Html:
    if not held:
        return el("section", el("h2", "Held"), el("p", "Nothing is held.", class_="quiet"))
    items = [
        el(
            "li",
            amount(row["amount_msat"]),
            f" for {row['what']} ",
            el("code", _short(row["id"])),
            f" ({row['state']})",
        )
        for row in held
    ]
    words = "This is set aside for what is under way. What is not needed comes back by itself."
    return el("section", el("h2", "Held"), el("ul", items), el("p", words, class_="quiet"))


def _coming(coming: Sequence[str]) -> Html | None:
    if not coming:
        return None
    return el("section", el("h2", "Arriving on-chain"), el("ul", [el("li", one) for one in coming]))


def _short(row_id: str) -> str:
    return row_id.rpartition("/")[2][:8]
