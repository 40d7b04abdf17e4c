"""What somebody earns, by agent and role, and why each sum is as large as it is."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from handlers.earnings import Earned, Sum, earned, sums_of, why
from relaybot.web.account.desk import Desk, Visit
from relaybot.web.account.frame import heading, scrolled
from relaybot.web.account.history import when, why_link
from relaybot.web.html import Html, el
from relaybot.web.words import amount
from wallet.money import format_sat

SHOWN = 50  # of the newest, one by one


async def show_earnings(desk: Desk, visit: Visit) -> web.Response:
    """Show the earnings."""
    async with desk.bot.book.database.snapshot() as reader:
        found = await earned(reader, visit.me)
    if not found:
        words = (
            "You have earned nothing here yet. Who contributes to an agent (a model, data, an algorithm, compute) does."
        )
        return desk.shown(visit, heading("Earnings", words), title="Earnings", here="/account/earnings")
    total = sum(one.amount_msat for one in found)
    return desk.shown(
        visit,
        heading("Earnings", "You have earned ", amount(total), f" in {len(found):,} parts of charges and gifts."),
        el("section", el("h2", "By agent and role"), _sums(sums_of(found))),
        el("section", el("h2", "The newest"), _newest(found[:SHOWN])),
        title="Earnings",
        here="/account/earnings",
    )


async def show_why(desk: Desk, visit: Visit) -> web.Response:
    """Explain one entry of one's own."""
    async with desk.bot.book.database.snapshot() as reader:
        found = await why(reader, visit.me, visit.said("id"))
    facts = [("Entry", found.id), ("Share", found.path), ("Split", found.split)]
    shown = [el("div", el("dt", name), el("dd", el("code", value))) for name, value in facts if value]
    return desk.shown(
        visit,
        heading("Why this sum"),
        el("section", [el("p", words) for words in found.words]),
        el("dl", el("div", el("dt", "When"), el("dd", when(found.at))), shown, class_="facts"),
        el("p", el("a", "Back to the history", href="/account/history")),
        title="Why this sum",
    )


def _sums(sums: Sequence[Sum]) -> Html:
    head = [el("th", name, scope="col") for name in ("Agent", "As")]
    head += [el("th", name, scope="col", class_="number") for name in ("Times", "Earned")]
    rows = [
        el(
            "tr",
            el("th", one.agent, scope="row"),
            el("td", one.role),
            el("td", f"{one.count:,}", class_="number"),
            el("td", format_sat(one.amount_msat), class_="number"),
        )
        for one in sums
    ]
    table = el("table", el("caption", "All classes of money together"), el("thead", el("tr", head)), el("tbody", rows))
    return scrolled(table, "Earnings by agent and role")


def _newest(found: Sequence[Earned]) -> Html:
    head = [el("th", name, scope="col") for name in ("When (UTC)", "Agent", "As", "Class")]
    head += [el("th", name, scope="col", class_="number") for name in ("Amount", "Why")]
    rows = [
        el(
            "tr",
            el("td", when(one.at), class_="nowrap"),
            el("td", one.agent),
            el("td", one.role),
            el("td", one.cls),
            el("td", format_sat(one.amount_msat), class_="number"),
            el("td", why_link(one.id, "why"), class_="number"),
        )
        for one in found
    ]
    table = el("table", el("caption", "Newest first"), el("thead", el("tr", head)), el("tbody", rows))
    return scrolled(table, "Your newest earnings")
