"""Wallet connections: which apps may use one's balance, how much of it, and how to end that."""

from __future__ import annotations

from aiohttp import web

from handlers.connections import PERIODS, connect, disconnect, open_connections, spent
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.web.account.acting import act
from relaybot.web.account.desk import Desk, Visit
from relaybot.web.account.forms import button, choice, field, form, hidden_field
from relaybot.web.account.frame import heading, led_to
from relaybot.web.account.history import when
from relaybot.web.account.qr import qr_code
from relaybot.web.html import Html, el
from wallet.money import format_sat

APPS_PATH = "/account/apps"

_SECRET = "This connection was shown once. End it, and make another one."  # noqa: S105  what is said instead of one
_PERIOD_OF = {seconds: name for name, seconds in PERIODS.items()}


async def apps_page(desk: Desk, visit: Visit) -> web.Response:
    """List the connections, and offer another one."""
    rows = await open_connections(desk.bot, visit.me)
    cards = [_card(desk, visit, row) for row in rows]
    asks = form(
        desk,
        visit,
        APPS_PATH,
        field(
            "Name",
            "name",
            visit.said("name"),
            hint="What you call the app, such as Damus.",
            required=True,
            maxlength="40",
        ),
        field(
            "Budget in sats",
            "sats",
            visit.said("sats"),
            hint="Nothing: no limit but your balance.",
            inputmode="numeric",
            pattern="[0-9]*",
        ),
        choice("For each", "period", [(name, name) for name in PERIODS], visit.said("period")),
        button("Connect"),
    )
    return desk.shown(
        visit,
        heading(
            "Apps", "An app that you connect here pays from your balance (Nostr Wallet Connect), within its budget."
        ),
        el("div", cards, class_="agents") if cards else el("p", "No app is connected.", class_="quiet"),
        el("section", el("h2", "Connect an app"), asks),
        title="Apps",
        here=APPS_PATH,
    )


async def do_connect(desk: Desk, visit: Visit) -> web.Response:
    """Make a connection, by the command `connect`, and show its secret: it is kept nowhere."""
    words = connect_words(visit.said("name"), visit.said("sats"), visit.said("period") or "day")
    done = await act(desk, visit, "connect", connect, words, secret=_SECRET)
    if done.again:
        return await apps_page(desk, Visit(visit.request, visit.origin, visit.session, {}, _SECRET))
    uri = uri_in(done.text)
    return desk.shown(
        visit,
        heading(
            "Paste this into the app", "Or scan it there. Show it to nobody else: whoever has it can use your balance."
        ),
        el("a", qr_code(uri, "The connection as a QR code"), href=uri),
        el("p", el("code", uri, id="payable"), class_="wide"),
        el("button", "Copy", type="button", class_="plain", hidden=True, data_copy="payable"),
        el("p", "It is shown this once. ", el("a", "Back to your apps", href=APPS_PATH), class_="quiet"),
        title="Connect an app",
        here=APPS_PATH,
    )


async def do_disconnect(desk: Desk, visit: Visit) -> web.Response:
    """End a connection, by the command `disconnect`."""
    await act(desk, visit, "disconnect", disconnect, (visit.said("name"),))
    return led_to(APPS_PATH)


def connect_words(name: str, sats: str, period: str) -> tuple[str, ...]:
    """Return the words of the command that makes a connection. Rejected without a name."""
    if not name:
        raise Rejected("invalid", "a connection's name is up to 40 letters and digits")
    return (name, f"{sats}/{period}") if sats else (name,)


def uri_in(text: str) -> str:
    """Return the connection's address out of what the command answers: its last line."""
    return text.rpartition("\n")[2]


def _card(desk: Desk, visit: Visit, row: Row) -> Html:
    facts = [("Since", when(row["created_at"]))]
    if row["budget_msat"] is None:
        facts.insert(0, ("Budget", el("span", "none of its own")))
    else:
        used, _ = spent(row, desk.bot.clock.now())
        budget = f"{format_sat(used)} of {format_sat(row['budget_msat'])} used this {_PERIOD_OF[row['period']]}"
        facts.insert(0, ("Budget", el("span", budget)))
    return el(
        "article",
        el("h2", row["name"]),
        el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in facts], class_="facts"),
        form(
            desk,
            Visit(visit.request, visit.origin, visit.session),
            f"{APPS_PATH}/end",
            hidden_field("name", row["name"]),
            el("button", f"Disconnect {row['name']}", class_="plain"),
        ),
        class_="card",
    )
