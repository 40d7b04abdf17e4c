"""Signing in and out: by a Nostr extension (NIP-07), or by the link of a private message."""

from __future__ import annotations

import re

from aiohttp import web

from handlers.sessions import (
    LINK_PATH,
    LINK_SECONDS,
    SIGN_IN_PATH,
    Session,
    link_owner,
    new_challenge,
    sign_in,
    sign_in_by_link,
    sign_out,
)
from relaybot.nostr import nip19
from relaybot.nostr.event import parse_event
from relaybot.web.account.desk import Desk, Visit, cookie_name
from relaybot.web.account.forms import button, hidden_field
from relaybot.web.account.frame import heading, led_to
from relaybot.web.html import Html, el

HOME = "/account"

_OURS = re.compile(r"/account(?:/[\w/.-]*)?(?:\?[\w=&%.:+-]*)?", re.ASCII)


async def sign_in_page(desk: Desk, visit: Visit) -> web.Response:
    """Show the ways to sign in."""
    opening = heading("Your account", "Your key is your account. There is nothing to register, and no password.")
    return desk.shown(
        visit, opening, el("div", _by_extension(desk, visit), _by_message(desk), class_="ways"), title="Sign in"
    )


async def do_sign_in(desk: Desk, visit: Visit) -> web.Response:
    """Take the signed challenge."""
    event = parse_event(visit.said("event"))
    opened = await sign_in(desk.bot, event, desk.secret, origin=visit.origin, before=visit.session)
    return _welcome(visit, opened)


async def link_page(desk: Desk, visit: Visit) -> web.Response:
    """Show whose link it is, and ask: what only looks at links, as some programs do, uses none up."""
    token = visit.request.match_info["token"]
    npub = nip19.encode_npub(await link_owner(desk.bot, token))
    asks = el(
        "form",
        el("p", "You will be signed in as ", el("code", npub), "."),
        button("Sign in"),
        method="post",
        action=f"{LINK_PATH}/{token}",
        class_="form card",
    )
    return desk.shown(visit, heading("Sign in"), asks, title="Sign in")


async def do_link(desk: Desk, visit: Visit) -> web.Response:
    """Use a link up."""
    return _welcome(visit, await sign_in_by_link(desk.bot, visit.request.match_info["token"], before=visit.session))


async def do_sign_out(desk: Desk, visit: Visit) -> web.Response:
    """End this session, or all of one's own."""
    assert visit.session is not None, "whoever signs out is signed in"
    await sign_out(desk.bot, visit.session, everywhere=visit.said("everywhere") == "yes")
    response = led_to(SIGN_IN_PATH)
    response.del_cookie(cookie_name(visit.origin), path="/", secure=visit.origin.startswith("https:"), httponly=True)
    return response


def _welcome(visit: Visit, opened: Session) -> web.Response:
    wanted = visit.said("next")
    response = led_to(wanted if _OURS.fullmatch(wanted) else HOME)
    response.set_cookie(
        cookie_name(visit.origin),
        opened.token,
        path="/",
        httponly=True,
        secure=visit.origin.startswith("https:"),
        samesite="Lax",  # Strict would show a signed-in user the door whenever they come by a link
    )
    return response


def _by_extension(desk: Desk, visit: Visit) -> Html:
    wanted = visit.said("next")
    return el(
        "section",
        el("h2", "With a Nostr extension"),
        el("p", "Your extension (NIP-07) signs one line that only this page can use, once. Your key stays with it."),
        el("p", "Looking for an extension…", role="status", data_extension="status", hidden=True),
        el("noscript", el("p", "This way needs JavaScript. The other one does not.", class_="quiet")),
        el(
            "form",
            hidden_field("event", ""),
            hidden_field("next", wanted) if wanted else None,
            button("Sign in with your extension"),
            method="post",
            action=SIGN_IN_PATH,
            class_="form",
            hidden=True,
            data_sign="sign-in",
            data_url=f"{visit.origin}{SIGN_IN_PATH}",
            data_challenge=new_challenge(desk.bot, desk.secret),
        ),
        class_="card",
    )


def _by_message(desk: Desk) -> Html:
    minutes = LINK_SECONDS // 60
    return el(
        "section",
        el("h2", "With a private message"),
        el(
            "p",
            "Write the word ",
            el("code", "login"),
            " to the service in a private message (NIP-17), from any client:",
        ),
        el("p", el("code", desk.site.npub)),
        el("p", "on the relay ", el("code", desk.site.relay_url)),
        el("p", f"It answers with a link that works once, for {minutes} minutes.", class_="quiet"),
        class_="card",
    )
