"""Where earnings go and from which sum on, one's name, who referred whom, and ending all sessions."""

from __future__ import annotations

from aiohttp import web

from handlers.commands import COMMANDS
from handlers.names import names_of
from handlers.pay_requests import address_of
from handlers.targets import payout
from relaybot.nostr import nip19
from relaybot.web.account.acting import act
from relaybot.web.account.desk import Desk, Visit
from relaybot.web.account.forms import button, field, form, hidden_field
from relaybot.web.account.frame import heading, led_to
from relaybot.web.html import Html, el
from wallet.money import MSAT_PER_SAT, format_sat
from wallet.payout_notices import shown
from wallet.targets import KEEP, targets_of

SETTINGS_PATH, REFER_PATH = "/account/settings", "/account/refer"


async def settings_page(desk: Desk, visit: Visit) -> web.Response:
    """Show all of it."""
    return desk.shown(
        visit,
        heading("Settings"),
        await _payout(desk, visit),
        await _name(desk, visit),
        await _referrals(desk, visit),
        _sessions(desk, visit),
        title="Settings",
        here=SETTINGS_PATH,
    )


async def do_payout(desk: Desk, visit: Visit) -> web.Response:
    """Say where to be paid, by the command `payout`."""
    await act(desk, visit, "payout", payout, (visit.said("target") or KEEP,))
    return led_to(SETTINGS_PATH)


async def do_threshold(desk: Desk, visit: Visit) -> web.Response:
    """Say from which sum on, by the same command."""
    await act(desk, visit, "threshold", payout, ("threshold", visit.said("sats") or "0"))
    return led_to(SETTINGS_PATH)


async def do_name(desk: Desk, visit: Visit) -> web.Response:
    """Take a name, by the command `name`."""
    await act(desk, visit, "name", COMMANDS["name"].run, (visit.said("name") or "-",))
    return led_to(SETTINGS_PATH)


async def refer_page(desk: Desk, visit: Visit) -> web.Response:
    """Ask whether the person of a referral link is one's referrer."""
    npub = visit.request.match_info["npub"]
    asks = form(
        desk,
        visit,
        REFER_PATH,
        hidden_field("npub", npub),
        el("p", el("code", nip19.encode_npub(nip19.parse_somebody(npub)))),
        button("Yes, name them as my referrer"),
    )
    words = "They earn a little with what you spend, at no cost to you. It can be said once."
    return desk.shown(visit, heading("Were you sent by them?", words), asks, title="Referral", here=SETTINGS_PATH)


async def do_refer(desk: Desk, visit: Visit) -> web.Response:
    """Name one's referrer, by the command `refer`."""
    await act(desk, visit, "refer", COMMANDS["refer"].run, tuple(visit.said("npub").split()))
    return led_to(SETTINGS_PATH)


async def _payout(desk: Desk, visit: Visit) -> Html:
    targets, row = await targets_of(desk.bot.book, visit.me), await desk.bot.book.row("users", visit.me)
    own = row["threshold_msat"] if row is not None else None
    threshold = desk.bot.payout_rules.threshold_msat if own is None else own
    goes = f"What you earn is sent to {shown(targets[0])}" if targets else "What you earn stays your balance"
    where = form(
        desk,
        visit,
        f"{SETTINGS_PATH}/payout",
        field(
            "Where to",
            "target",
            visit.said("target"),
            hint="A Lightning Address, an offer (BOLT12) or a bitcoin address; nothing keeps it as balance.",
            spellcheck="false",
            autocapitalize="none",
        ),
        button("Change"),
    )
    sats = visit.said("sats") or str(threshold // MSAT_PER_SAT)
    when = form(
        desk,
        visit,
        f"{SETTINGS_PATH}/threshold",
        field("From how many sats on", "sats", sats, inputmode="numeric", required=True, pattern="[0-9]+"),
        button("Change"),
    )
    words = f"{goes}, when your balance reaches {format_sat(threshold)}." if targets else f"{goes}."
    return el("section", el("h2", "Payouts"), el("p", words), where, el("h3", "Threshold"), when)


async def _name(desk: Desk, visit: Visit) -> Html | None:
    if desk.bot.config.web.domain is None:
        return None
    names = [address_of(desk.bot, name) or name for name in await names_of(desk.bot, visit.me)]
    listed = el("p", "You are ", ", ".join(names), ": whoever pays or zaps it, pays you.") if names else None
    asks = form(
        desk,
        visit,
        f"{SETTINGS_PATH}/name",
        field(
            "Name",
            "name",
            visit.said("name"),
            hint=f"What stands before @{desk.bot.config.web.domain}. It is yours for good.",
            required=True,
            autocapitalize="none",
        ),
        button("Take it"),
    )
    return el("section", el("h2", "Lightning Address"), listed, asks)


async def _referrals(desk: Desk, visit: Visit) -> Html:
    row = await desk.bot.book.row("users", visit.me)
    referrer = row["referrer"] if row is not None else None
    link = f"{visit.origin}{REFER_PATH}/{nip19.encode_npub(visit.me)}"
    mine = el("p", "Send this to others, and earn with them: ", el("code", link))
    if referrer is not None:
        return el(
            "section",
            el("h2", "Referrals"),
            mine,
            el("p", "You were referred by ", el("code", nip19.encode_npub(referrer))),
        )
    days = desk.bot.config.referrals.window_days
    asks = form(
        desk,
        visit,
        REFER_PATH,
        field(
            "Who referred you",
            "npub",
            visit.said("npub"),
            hint=f"Their npub. Once, and within {days} days of your first top-up.",
            required=True,
            spellcheck="false",
            autocapitalize="none",
        ),
        button("Name them"),
    )
    return el("section", el("h2", "Referrals"), mine, asks)


def _sessions(desk: Desk, visit: Visit) -> Html:
    everywhere = form(
        desk,
        visit,
        "/account/sign-out",
        hidden_field("everywhere", "yes"),
        el("button", "Sign out everywhere", class_="plain"),
    )
    return el("section", el("h2", "Signed in"), el("p", "If a browser of yours is lost, end all sessions."), everywhere)
