"""Adding to one's balance: an invoice with its QR code, or an address on the chain; what arrives shows by itself."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web

from handlers.deposits import CURSOR
from handlers.topups import topup
from relaybot.db.database import Row
from relaybot.nostr.event import HEX32_LENGTH, is_hex
from relaybot.web.account.acting import act
from relaybot.web.account.desk import Desk, Visit
from relaybot.web.account.forms import button, choice, field, form
from relaybot.web.account.frame import heading, led_to, scrolled
from relaybot.web.account.history import when
from relaybot.web.account.live import RELOAD_SECONDS, Stamp, live_mark
from relaybot.web.account.qr import qr_code
from relaybot.web.html import Child, Html, el
from relaybot.web.words import amount
from wallet.journals import bulk_bonus
from wallet.money import Msat, format_sat
from wallet.onchain import Deposit

TOPUP_PATH, ONCHAIN_PATH = "/account/topup", "/account/onchain"

_DEPOSITS = 20
_DEPOSIT_WORDS = {
    "pending": "arriving",
    "credited": "credited",
    "buried": "credited",
    "kept": "below the minimum: not credited",
    "lost": "in no block any more",
    "reversed": "taken back by the chain",
}


async def topup_page(desk: Desk, visit: Visit) -> web.Response:
    """Ask how much, and by which way."""
    limits, onchain = desk.bot.config.limits, desk.bot.config.onchain.enabled
    ways = [("lightning", "Lightning: at once"), *([("onchain", "On-chain: after confirmations")] if onchain else [])]
    ways += [("card", "Card: for jobs only")] if desk.bot.cards is not None else []
    hint = (
        f"{format_sat(limits.topup_min)} to {format_sat(limits.topup_max)}; what arrives is credited, whatever you say."
    )
    asks = form(
        desk,
        visit,
        TOPUP_PATH,
        field(
            "How many sats", "sats", visit.said("sats"), hint=hint, inputmode="numeric", required=True, pattern="[0-9]+"
        ),
        choice("By which way", "way", ways, visit.said("way")),
        button("Go on"),
    )
    words = "Sats that you add are yours: they pay for jobs, and you can withdraw them at any time."
    more = el("p", "Deposits and your address: ", el("a", "on-chain", href=ONCHAIN_PATH), ".") if onchain else None
    return desk.shown(visit, heading("Top up", words), asks, more, title="Top up", here=TOPUP_PATH)


async def do_topup(desk: Desk, visit: Visit) -> web.Response:
    """Make the invoice, the address, or the page of a card payment, by the command `topup`."""
    sats, way = visit.said("sats"), visit.said("way") or "lightning"
    done = await act(desk, visit, "topup", topup, (sats or "0", way))
    match way:
        case "lightning":
            return led_to(f"/account/topups/{done.id}")
        case "onchain":
            return led_to(f"{ONCHAIN_PATH}?sats={sats}")
        case _:  # a card: the answer's last line is where price and terms are read
            return led_to(urlsplit(done.text.rpartition("\n")[2]).path)


async def invoice_page(desk: Desk, visit: Visit) -> web.Response:
    """Show an invoice of one's own: to be paid, paid, or expired."""
    row = await invoice_of(desk, visit)
    stamp = stamp_of(desk, row)
    path = f"/account/topups/{visit.request.match_info['id']}"
    content: Sequence[Child]
    org = row["company"]
    whose = f"the balance of {org}" if org else "your balance"
    if row["received_msat"]:
        words, path_back = (org, f"/account/companies/{org}") if org else ("Your balance", "/account")
        content = (
            heading("Paid", amount(row["received_msat"]), " arrived."),
            el("p", f"They are added to {whose}.", class_="done", role="status"),
            el("p", el("a", words, href=path_back, class_="button")),
        )
    elif stamp.over:
        content = (
            heading("This invoice has run out", "Nothing was paid."),
            el("p", el("a", "Make another one", href=TOPUP_PATH, class_="button")),
        )
    else:
        content = (
            heading("Pay this invoice", "to add ", amount(row["amount_msat"]), f" to {whose}."),
            _bonus(desk, row) if org else None,
            _payable(row["bolt11"], f"lightning:{row['bolt11']}", row["bolt11"].upper(), "The invoice as a QR code"),
            el("p", "Waiting for your payment. This page tells when it has arrived.", role="status"),
            el("p", "It can be paid until ", when(row["expires_at"]), " UTC.", class_="quiet"),
        )
    refresh = 0 if stamp.over else RELOAD_SECONDS
    return desk.shown(
        visit, *content, live_mark(f"{path}/live", stamp), title="Top up", here=TOPUP_PATH, refresh=refresh
    )


def _bonus(desk: Desk, invoice: Row) -> Html | None:
    """Say what a company's large top-up brings besides."""
    bonus = bulk_bonus(Msat(invoice["amount_msat"]), desk.bot.bulk)
    return el("p", "It brings ", amount(bonus), " more, for our own part of jobs.") if bonus else None


async def invoice_live(desk: Desk, visit: Visit) -> web.StreamResponse:
    """Say when an invoice of one's own is paid."""

    async def look() -> Stamp:
        return stamp_of(desk, await invoice_of(desk, visit))

    return await desk.live.answer(visit.request, visit.me, look)


async def invoice_of(desk: Desk, visit: Visit) -> Row:
    """Return the row of the top-up that the address names, if it is one's own."""
    request_id = visit.request.match_info["id"]
    row = await desk.bot.book.row("invoices", f"topup/{request_id}") if is_hex(request_id, HEX32_LENGTH) else None
    if row is None or row["owner"] != visit.me:
        raise web.HTTPNotFound
    return row


def stamp_of(desk: Desk, invoice: Row) -> Stamp:
    """Return what an invoice shows now."""
    over = invoice["received_msat"] > 0 or invoice["expires_at"] <= desk.bot.clock.now()
    return Stamp(f"{invoice['received_msat']}{'x' if over else ''}", over)


async def onchain_page(desk: Desk, visit: Visit) -> web.Response:
    """Show one's own address and what arrives there."""
    rows, tip = await deposits_of(desk, visit.me)
    found = await desk.bot.book.database.fetch(
        "SELECT id FROM addresses WHERE owner = :owner AND company = '' AND used_at IS NULL"
        " ORDER BY created_at, id LIMIT 1",
        owner=visit.me,
    )
    stamp = _deposits_stamp(rows, tip)
    address = found[0]["id"] if found else ""
    return desk.shown(
        visit,
        heading("On-chain", "Bitcoin that you send to your address is your balance after its confirmations."),
        _address(desk, visit, address) if address else el("p", el("a", "Ask for an address", href=TOPUP_PATH)),
        el("section", el("h2", "Deposits"), _deposits(rows, tip)),
        live_mark(f"{ONCHAIN_PATH}/live", stamp),
        title="On-chain",
        here=TOPUP_PATH,
        refresh=0 if stamp.over else 6 * RELOAD_SECONDS,
    )


async def onchain_live(desk: Desk, visit: Visit) -> web.StreamResponse:
    """Say when something about one's deposits changes."""

    async def look() -> Stamp:
        return _deposits_stamp(*await deposits_of(desk, visit.me))

    return await desk.live.answer(visit.request, visit.me, look)


async def deposits_of(desk: Desk, pubkey: str) -> tuple[Sequence[Row], int]:
    """Return the newest deposits of somebody, and the height of the chain."""
    rows = await desk.bot.book.database.fetch(
        "SELECT * FROM deposits WHERE owner = :owner AND company = '' ORDER BY created_at DESC, id LIMIT :limit",
        owner=pubkey,
        limit=_DEPOSITS,
    )
    cursor = await desk.bot.book.row("cursors", CURSOR)
    return rows, cursor["value"] if cursor is not None else 0


def _deposits_stamp(rows: Sequence[Row], tip: int) -> Stamp:
    waits = any(row["state"] == "pending" for row in rows)
    return Stamp(f"{len(rows)}-{sum(row['version'] for row in rows)}-{tip if waits else 0}")


def _payable(text: str, link: str, code: str, label: str) -> Html:
    return el(
        "section",
        el("a", qr_code(code, label), href=link),
        el("p", el("a", "Open in your wallet", href=link, class_="button")),
        el("p", el("code", text, id="payable"), class_="wide"),
        el("button", "Copy", type="button", class_="plain", hidden=True, data_copy="payable"),
    )


def _address(desk: Desk, visit: Visit, address: str) -> Html:
    rules, said = desk.bot.deposit_rules, visit.said("sats")
    sats = int(said) if said.isascii() and said.isdigit() and len(said) <= 10 else 0  # noqa: PLR2004  of 21 million bitcoin
    # BIP-21: the amount is in whole bitcoin
    uri = f"bitcoin:{address}" + (f"?amount={sats // 100_000_000}.{sats % 100_000_000:08d}" if sats else "")
    needs = rules.needed(sats * 1_000)
    words = [f"At least {format_sat(rules.minimum_msat)}; {needs} confirmation{'s' if needs > 1 else ''}."]
    words += [f"{format_sat(rules.fee_msat)} are taken off each deposit."] if rules.fee_msat else []
    return el("div", _payable(address, uri, uri, "The address as a QR code"), el("p", " ".join(words), class_="quiet"))


def _deposits(rows: Sequence[Row], tip: int) -> Html:
    if not rows:
        return el("p", "Nothing has arrived yet.", class_="quiet")
    head = [el("th", name, scope="col") for name in ("When (UTC)", "Transaction", "State")]
    head.append(el("th", "Amount", scope="col", class_="number"))
    body = [_deposit(row, tip) for row in rows]
    table = el("table", el("caption", "Newest first"), el("thead", el("tr", head)), el("tbody", body))
    return scrolled(table, "Your deposits")


def _deposit(row: Row, tip: int) -> Html:
    deposit = Deposit.of_row(row)
    state = _DEPOSIT_WORDS[row["state"]]
    if row["state"] == "pending":
        state += f": {deposit.depth(tip)} of {deposit.needs} confirmations"
    return el(
        "tr",
        el("td", when(row["created_at"]), class_="nowrap"),
        el("td", el("code", f"{deposit.id[:16]}…")),
        el("td", state),
        el("td", format_sat(deposit.amount_msat), class_="number"),
    )
