"""What every page has: head, header, the word on simulated money, footer; and the security headers."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from relaybot.web.html import Child, Html, document, el, joined, raw_style
from relaybot.web.site import Site

MARK = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<g fill="none" stroke="#c2700f" stroke-width="3" stroke-linecap="round">'
    '<path d="M4 16h9"/><path d="M13 16c6 0 6-9 15-9"/><path d="M13 16h15"/><path d="M13 16c6 0 6 9 15 9"/>'
    '</g><circle cx="13" cy="16" r="3.5" fill="#c2700f"/></svg>'
)
_PAGES = (("/", "Accounts"), ("/accounts", "Day by day"), ("/agents", "Agents"), ("/how", "How it works"))
_ACCOUNT = ("/account", "Your account")


@cache
def stylesheet() -> str:
    """Return our one stylesheet."""
    return files(__package__).joinpath("style.css").read_text(encoding="utf-8")


@cache
def picture() -> bytes:
    """Return the picture that others show beside a link to us (PNG, 1200 by 630)."""
    return files(__package__).joinpath("preview.png").read_bytes()


@cache
def security_headers() -> dict[str, str]:
    """Return the headers of every answer: nothing is loaded from elsewhere, and no script runs."""
    digest = base64.b64encode(hashlib.sha256(stylesheet().encode()).digest()).decode()
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Server": "relaybot",
    }


def page(
    site: Site, *content: Child, title: str, here: str = "", path: str = "", about: str = "", head: Child = None
) -> str:
    """Return a whole page; `here` is the path of the navigation entry it belongs to, `head` goes into its head.

    `path` is its own, where that is another one; `about` is what is said of it where somebody links to it.
    """
    return document(
        el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("meta", name="color-scheme", content="light dark"),
            el("meta", name="description", content=about or site.about),
            _preview(site, title, path or here, about or site.about) if path or here else None,
            el("link", rel="alternate", type="application/atom+xml", title="Public accounts", href="/accounts.atom"),
            el("title", f"{title} · {site.name}"),
            el("link", rel="icon", href="/icon.svg", type="image/svg+xml"),
            raw_style(stylesheet()),
            head,
        ),
        el(
            "body",
            el("a", "Skip to the content", href="#content", class_="skip"),
            _header(site, here),
            el("main", *content, id="content"),
            _footer(site),
        ),
    )


def _preview(site: Site, title: str, path: str, about: str) -> Html:
    """Return what others show of a link to this page (the Open Graph protocol)."""
    said = (
        ("og:type", "website"),
        ("og:site_name", site.name),
        ("og:title", title),
        ("og:description", about),
        ("og:url", f"{site.url}{path}"),
        ("og:image", f"{site.url}/preview.png"),
        ("og:image:alt", "One line that becomes three: money that is split"),
    )
    return joined(*(el("meta", property=name, content=content) for name, content in said))


def _header(site: Site, here: str) -> Html:
    pages = (*_PAGES, _ACCOUNT) if site.account else _PAGES
    links = [el("li", el("a", name, href=path, aria_current="page" if path == here else None)) for path, name in pages]
    notice = el("p", el("strong", "Lightning is simulated: no real money moves."), class_="notice", role="note")
    return el(
        "header",
        el(
            "div",
            el("a", el("img", src="/icon.svg", alt="", width=28, height=28), site.name, href="/", class_="brand"),
            el("nav", el("ul", links), aria_label="Pages"),
            class_="bar-top",
        ),
        notice if site.simulated else None,
    )


def _footer(site: Site) -> Html:
    return el(
        "footer",
        el("p", site.about),
        el(
            "dl",
            el("div", el("dt", "Write to us on Nostr"), el("dd", el("code", site.npub))),
            el("div", el("dt", "Relay"), el("dd", el("code", site.relay_url))),
            el("div", el("dt", "Lightning"), el("dd", site.lightning)),
        ),
    )
