"""Sending what is one's own: first shown, then confirmed; and links that a wallet scans (LNURL-withdraw)."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from handlers.conversation import Asked
from handlers.self_service import done_before
from handlers.withdraw_links import LINK_SECONDS, encode_lnurl, end_link, make_link, open_links
from handlers.withdrawals import withdraw
from relaybot.db.database import Row
from relaybot.nostr.event import HEX32_LENGTH, is_hex
from relaybot.web.account.acting import act
from relaybot.web.account.desk import Desk, Visit
from relaybot.web.account.forms import button, field, form, hidden_field
from relaybot.web.account.frame import heading, led_to, scrolled
from relaybot.web.account.history import when
from relaybot.web.account.live import RELOAD_SECONDS, Stamp, live_mark
from relaybot.web.account.qr import qr_code
from relaybot.web.html import Html, el
from wallet.ledger import Insert
from wallet.money import format_sat
from wallet.payout_notices import shown as shortened
from wallet.statements import balance_of

WITHDRAW_PATH, LINKS_PATH = "/account/withdraw", "/account/withdraw-links"

_PAYOUTS = 20
_LINK_SECRET = "This link was shown once. End it, and make another one."  # noqa: S105  what is said instead of one
_STATES = {
    "open": "next",
    "paying": "on its way",
    "waiting": "waiting",
    "paid": "paid",
    "stopped": "not paid: balance again",
}


async def withdraw_page(desk: Desk, visit: Visit) -> web.Response:
    """Ask how much and where to; show links that withdraw, and what went out before."""
    found = await balance_of(desk.bot.book.database, visit.me)
    rows = await payouts_of(desk, visit.me)
    places = "A Lightning invoice, a Lightning Address, an offer (BOLT12), or a bitcoin address."
    asks = form(
        desk,
        visit,
        WITHDRAW_PATH,
        field(
            "How many sats",
            "sats",
            visit.said("sats"),
            hint="A number, or the word all. Leave it out if an invoice says it.",
            pattern="[0-9]*|[aA][lL][lL]",
        ),
        field(
            "Where to", "to", visit.said("to"), hint=places, required=True, spellcheck="false", autocapitalize="none"
        ),
        button("Show what it costs"),
    )
    words = (
        f"{format_sat(found.has.sats)} can be sent, less what the way costs. Card money and promo pay for jobs only."
    )
    return desk.shown(
        visit,
        heading("Withdraw", words),
        asks,
        el("section", el("h2", "With a wallet that scans"), await _links(desk, visit)),
        el("section", el("h2", "What went out"), _payouts(rows)),
        title="Withdraw",
        here=WITHDRAW_PATH,
    )


async def preview_withdrawal(desk: Desk, visit: Visit) -> web.Response:
    """Say what a withdrawal would do; nothing is done yet."""
    words = _words(visit)
    asked = Asked(visit.me, "0" * HEX32_LENGTH, desk.bot.clock.now(), words)
    reply = await withdraw(desk.bot, asked)
    payout = next((one.values for one in reply.changes if isinstance(one, Insert) and one.table == "payouts"), None)
    facts: list[tuple[str, str]] = [("To", el("code", visit.said("to")))]
    if payout is not None:
        amount, reserve = int(payout["amount_msat"] or 0), int(payout["reserve_msat"] or 0)
        facts += [
            ("Arrives", format_sat(amount)),
            ("Kept ready for the way", format_sat(reserve)),
            ("Taken from your balance", format_sat(amount + reserve)),
        ]
    else:
        facts += [("Taken from your balance", format_sat(sum(one.amount_msat for one in reply.transfers)))]
    confirms = form(
        desk,
        visit,
        f"{WITHDRAW_PATH}/confirm",
        hidden_field("sats", visit.said("sats")),
        hidden_field("to", visit.said("to")),
        el("div", button("Send it"), el("a", "Go back", href=WITHDRAW_PATH), class_="actions"),
    )
    return desk.shown(
        visit,
        heading("Send this?", "Nothing is sent yet."),
        el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in facts], class_="facts"),
        el("p", "What the way does not need comes back. A payment cannot be taken back.", class_="quiet"),
        confirms,
        title="Send this?",
        here=WITHDRAW_PATH,
    )


async def do_withdrawal(desk: Desk, visit: Visit) -> web.Response:
    """Send it, by the command `withdraw`."""
    done = await act(desk, visit, "withdraw", withdraw, _words(visit))
    return led_to(f"/account/withdrawals/{done.id}")


async def withdrawal_page(desk: Desk, visit: Visit) -> web.Response:
    """Show one withdrawal of one's own."""
    text, row = await _withdrawal(desk, visit)
    stamp = _stamp(row)
    table = _payouts([row]) if row is not None else None
    path = f"/account/withdrawals/{visit.request.match_info['id']}"
    return desk.shown(
        visit,
        heading("Withdrawal"),
        el("p", text, class_="wide"),
        table,
        el("p", el("a", "Your balance", href="/account")),
        live_mark(f"{path}/live", stamp),
        title="Withdrawal",
        here=WITHDRAW_PATH,
        refresh=0 if stamp.over else RELOAD_SECONDS,
    )


async def withdrawal_live(desk: Desk, visit: Visit) -> web.StreamResponse:
    """Say when a withdrawal of one's own goes on."""

    async def look() -> Stamp:
        return _stamp((await _withdrawal(desk, visit))[1])

    return await desk.live.answer(visit.request, visit.me, look)


async def do_link(desk: Desk, visit: Visit) -> web.Response:
    """Make a link that withdraws, and show it: its secret is kept nowhere."""
    done = await act(desk, visit, "withdraw-link", make_link, (visit.said("sats") or "0",), secret=_LINK_SECRET)
    if done.again:
        visit = Visit(visit.request, visit.origin, visit.session, {}, _LINK_SECRET)
        return await withdraw_page(desk, visit)
    code = encode_lnurl(done.text)
    return desk.shown(
        visit,
        heading(
            "Scan this with your wallet",
            f"It sends {visit.said('sats')} sat there, once, within {LINK_SECONDS // 60} minutes.",
        ),
        el("a", qr_code(code, "The link as a QR code"), href=f"lightning:{code}"),
        el("p", el("code", code, id="payable"), class_="wide"),
        el("button", "Copy", type="button", class_="plain", hidden=True, data_copy="payable"),
        el("p", "Whoever has this code can take the money. It is shown this once.", class_="quiet"),
        title="Withdraw by link",
        here=WITHDRAW_PATH,
    )


async def do_end_link(desk: Desk, visit: Visit) -> web.Response:
    """End a link of one's own."""
    await act(desk, visit, "end-link", end_link, (visit.said("link"),))
    return led_to(WITHDRAW_PATH)


async def payouts_of(desk: Desk, pubkey: str) -> Sequence[Row]:
    """Return the newest payouts and withdrawals of somebody, newest first."""
    return await desk.bot.book.database.fetch(
        "SELECT * FROM payouts WHERE pubkey = :pubkey ORDER BY created_at DESC, id LIMIT :limit",
        pubkey=pubkey,
        limit=_PAYOUTS,
    )


def _words(visit: Visit) -> tuple[str, ...]:
    sats, where = visit.said("sats"), visit.said("to")
    return (sats, where) if sats else (where,)


async def _withdrawal(desk: Desk, visit: Visit) -> tuple[str, Row | None]:
    """Return what was answered, and the payout if one was made: none is, where nothing had to leave."""
    request_id = visit.request.match_info["id"]
    known = is_hex(request_id, HEX32_LENGTH)
    done = await done_before(desk.bot, visit.me, request_id, "withdraw") if known else None
    if done is None:
        raise web.HTTPNotFound
    return done.text, await desk.bot.book.row("payouts", request_id)


def _stamp(row: Row | None) -> Stamp:
    return Stamp("0", over=True) if row is None else Stamp(str(row["version"]), over=row["next_at"] is None)


async def _links(desk: Desk, visit: Visit) -> Html:
    now = desk.bot.clock.now()
    rows = await open_links(desk.bot, visit.me)
    listed = [
        form(
            desk,
            Visit(visit.request, visit.origin, visit.session),
            f"{LINKS_PATH}/end",
            hidden_field("link", row["id"]),
            el("p", f"{format_sat(row['amount_msat'])}, for {max(1, (row['expires_at'] - now) // 60)} more minutes "),
            el("button", "End it", class_="plain"),
        )
        for row in rows
    ]
    made = form(
        desk,
        Visit(visit.request, visit.origin, visit.session),
        LINKS_PATH,
        field(
            "How many sats, exactly",
            "sats",
            "",
            hint="The money leaves your balance when a wallet takes it.",
            inputmode="numeric",
            required=True,
            pattern="[0-9]+",
            prefix="link",
        ),
        button("Make a QR code"),
    )
    return el("div", listed, made)


def _payouts(rows: Sequence[Row]) -> Html:
    if not rows:
        return el("p", "Nothing has gone out yet.", class_="quiet")
    head = [el("th", name, scope="col") for name in ("When (UTC)", "What", "Where to", "State")]
    head += [el("th", name, scope="col", class_="number") for name in ("Amount", "Fee")]
    table = el(
        "table", el("caption", "Newest first"), el("thead", el("tr", head)), el("tbody", [_payout(row) for row in rows])
    )
    return scrolled(table, "Payouts and withdrawals")


def _payout(row: Row) -> Html:
    why = f" ({row['reason']})" if row["reason"] else ""
    return el(
        "tr",
        el("td", when(row["created_at"]), class_="nowrap"),
        el("td", row["kind"]),
        el("td", el("code", shortened(row["target"]))),
        el("td", f"{_STATES[row['state']]}{why}"),
        el("td", format_sat(row["amount_msat"]), class_="number"),
        el("td", format_sat(row["fee_msat"]), class_="number"),
    )
