"""The frame of the account's pages: their navigation, their styles and script, and their security headers."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from aiohttp import web

from handlers.sessions import Session
from relaybot.nostr import nip19
from relaybot.web.html import Child, Html, el, raw_style
from relaybot.web.layout import page, security_headers, stylesheet
from relaybot.web.site import Site

SCRIPT_PATH = "/account.js"

_PAGES = (
    ("/account", "Balance"),
    ("/account/topup", "Top up"),
    ("/account/jobs", "Jobs"),
    ("/account/withdraw", "Withdraw"),
    ("/account/history", "History"),
    ("/account/earnings", "Earnings"),
    ("/account/apps", "Apps"),
    ("/account/companies", "Companies"),
    ("/account/settings", "Settings"),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a page is not shown."""

    status: int
    title: str
    words: str


@cache
def script() -> str:
    """Return our one script: NIP-07, and what is live."""
    return files(__package__).joinpath("account.js").read_text(encoding="utf-8")


@cache
def account_headers() -> dict[str, str]:
    """Return the headers of the account's pages: one script of ours, forms to ourselves, no frame, nothing kept."""
    styles = " ".join(f"'sha256-{_digest(css)}'" for css in (stylesheet(), account_stylesheet()))
    return {
        **security_headers(),
        "Content-Security-Policy": (
            f"default-src 'none'; style-src {styles}; img-src 'self'; script-src 'self'; connect-src 'self'; "
            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        ),
        # With no-referrer a browser sends forms with `Origin: null`, and we could not tell whose they are.
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


@cache
def account_stylesheet() -> str:
    """Return what the account's pages have beyond the others."""
    return files(__package__).joinpath("account.css").read_text(encoding="utf-8")


def account_page(
    site: Site,
    session: Session | None,
    *content: Child,
    title: str,
    here: str = "",
    status: int = 200,
    refresh: int = 0,
    problem: str = "",
) -> web.Response:
    """Return a page; `problem` is what was wrong with the form that was sent."""
    again = el("noscript", el("meta", http_equiv="refresh", content=refresh)) if refresh else None
    head = (
        raw_style(account_stylesheet()),
        el("script", src=SCRIPT_PATH, defer=True),
        el("meta", name="robots", content="noindex"),
        again,
    )
    body = (
        _navigation(session, here) if session is not None else None,
        el("p", problem, role="alert", class_="problem") if problem else None,
        *content,
    )
    text = page(site, *body, title=f"Problem: {title}" if problem else title, here="/account", head=head)
    return web.Response(text=text, content_type="text/html", status=status, headers=account_headers())


def error_page(site: Site, problem: Problem) -> web.Response:
    """Return a page that says why another is not shown."""
    content = (
        el("div", el("h1", problem.title), el("p", problem.words, class_="lede", role="alert"), class_="opening"),
        el("p", el("a", "Your account", href="/account")),
    )
    return account_page(site, None, *content, title=problem.title, status=problem.status)


def heading(title: str, *lede: Child) -> Html:
    """Return the opening of a page."""
    return el("div", el("h1", title), el("p", *lede, class_="lede") if lede else None, class_="opening")


def led_to(path: str) -> web.Response:
    """Send the browser to another page of ours, after a form was done."""
    return web.Response(status=303, headers={"Location": path})


def scrolled(table: Html, label: str) -> Html:
    """Return a table that is scrolled by itself where a phone is too narrow for it."""
    return el("div", table, class_="scroll", tabindex=0, role="region", aria_label=label)


def _navigation(session: Session, here: str) -> Html:
    npub = nip19.encode_npub(session.pubkey)
    links = [el("li", el("a", name, href=path, aria_current="page" if path == here else None)) for path, name in _PAGES]
    out = el(
        "form",
        el("input", type="hidden", name="csrf", value=session.csrf),
        el("span", "Signed in as ", el("code", f"{npub[:9]}…{npub[-4:]}", title=npub), class_="quiet"),
        el("button", "Sign out", class_="plain"),
        method="post",
        action="/account/sign-out",
        class_="who",
    )
    return el("div", el("nav", el("ul", links), aria_label="Your account"), out, class_="account-bar")


def _digest(css: str) -> str:
    return base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
