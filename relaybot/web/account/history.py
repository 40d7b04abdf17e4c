"""Every entry on somebody's accounts with its cause: by class and way, page by page, and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

from aiohttp import web

from handlers.money_commands import as_csv
from relaybot.errors import Rejected
from relaybot.web.account.desk import Desk, Visit
from relaybot.web.account.forms import choice
from relaybot.web.account.frame import account_headers, heading, scrolled
from relaybot.web.html import Html, el
from wallet.accounts import person
from wallet.money import format_sat
from wallet.statements import Entry, every_entry, history_page
from wallet.wording import class_in_words, told

ENTRIES = 25  # of one page
CSV_ENTRIES_MAX = 100_000

_CLASSES = (
    ("", "All"),
    ("sats", "Sats"),
    ("card", "Card money"),
    ("promo", "Promo"),
    ("maturing", "Maturing"),
    ("owed", "Owed"),
)
_WAYS = (("", "In and out"), ("in", "In"), ("out", "Out"))
_SIGNS = {"": 0, "in": 1, "out": -1}
_CSV_PAGE = 500


async def show_history(desk: Desk, visit: Visit) -> web.Response:
    """Show a page of entries."""
    only, way = filters_of(visit)
    entries, before = await history_page(
        desk.bot.book.database, person(visit.me), limit=ENTRIES, before=_before(visit), only=only, sign=_SIGNS[way]
    )
    chosen = {name: value for name, value in (("class", only), ("way", way)) if value}
    download = el("a", "Download as CSV", href=f"/account/history.csv?{urlencode(chosen)}".rstrip("?"))
    older = _link("Older entries", {**chosen, "before": str(before)}) if before is not None else None
    newest = _link("Newest entries", chosen) if _before(visit) is not None else None
    nothing = el("p", "Nothing has moved here yet.", class_="quiet")
    return desk.shown(
        visit,
        heading("History", "Every change of your balance, and why."),
        _filters(only, way),
        entries_table(entries) if entries else nothing,
        el("p", [newest, " " if newest and older else None, older], class_="neighbours"),
        el("p", download, class_="quiet"),
        title="History",
        here="/account/history",
    )


async def download_history(desk: Desk, visit: Visit) -> web.StreamResponse:
    """Send the entries as CSV, newest first, piece by piece."""
    only, way = filters_of(visit)
    headers = {**account_headers(), "Content-Disposition": 'attachment; filename="history.csv"'}
    response = web.StreamResponse(headers={**headers, "Content-Type": "text/csv; charset=utf-8"})
    await response.prepare(visit.request)
    written, page = 0, list[Entry]()
    async for entry in every_entry(desk.bot.book.database, person(visit.me), only=only, sign=_SIGNS[way]):
        page.append(entry)
        if len(page) == _CSV_PAGE:
            await response.write(_csv(page, first=not written).encode())
            written, page = written + len(page), []
        if written >= CSV_ENTRIES_MAX:
            break
    if page or not written:
        await response.write(_csv(page, first=not written).encode())
    await response.write_eof()
    return response


def filters_of(visit: Visit) -> tuple[str, str]:
    """Return the class and the way that are asked for. Rejected if there are none such."""
    only, way = visit.said("class"), visit.said("way")
    if only not in dict(_CLASSES) or way not in _SIGNS:
        raise Rejected("invalid", "no such filter of the history")
    return only, way


def entries_table(entries: Sequence[Entry]) -> Html:
    """Return entries as a table, each leading to why it is so."""
    columns = ("When (UTC)", "What", "Class")
    head = [el("th", name, scope="col") for name in columns]
    head += [el("th", name, scope="col", class_="number") for name in ("Amount", "Balance")]
    table = el(
        "table", el("caption", "Newest first"), el("thead", el("tr", head)), el("tbody", [_row(one) for one in entries])
    )
    return scrolled(table, "Entries of your account")


def when(moment: int) -> Html:
    """Return a time as people read it."""
    at = datetime.fromtimestamp(moment, UTC)
    return el("time", at.strftime("%Y-%m-%d %H:%M"), datetime=at.strftime("%Y-%m-%dT%H:%M:%SZ"))


def reason_of(entry: Entry) -> str:
    """Return why an entry is there."""
    return told(plan=f"{entry.cause}/", account=entry.account, other=entry.other, reason=entry.reason)


def why_link(transfer_id: str, text: str) -> Html:
    """Return the link to why an entry is so."""
    return el("a", text, href=f"/account/why?{urlencode({'id': transfer_id})}")


def _row(entry: Entry) -> Html:
    sign = "+" if entry.amount_msat > 0 else ""
    return el(
        "tr",
        el("td", when(entry.created_at), class_="nowrap"),
        el("td", why_link(entry.id, reason_of(entry))),
        el("td", class_in_words(entry.account)),
        el("td", f"{sign}{format_sat(entry.amount_msat)}", class_="number " + ("plus" if sign else "minus")),
        el("td", format_sat(entry.balance_msat), class_="number"),
    )


def _filters(only: str, way: str) -> Html:
    fields = (choice("Class", "class", _CLASSES, only), choice("Way", "way", _WAYS, way))
    return el(
        "form", fields, el("button", "Show", class_="plain"), method="get", action="/account/history", class_="filters"
    )


def _before(visit: Visit) -> int | None:
    said = visit.said("before")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 19 else None  # noqa: PLR2004  below 2^63


def _link(text: str, query: dict[str, str]) -> Html:
    return el("a", text, href=f"/account/history?{urlencode(query)}".rstrip("?"))


def _csv(entries: Sequence[Entry], *, first: bool) -> str:
    text = as_csv(entries)
    return text if first else text.partition("\n")[2]
