"""The pages `/accounts` and `/accounts/<day>`: each published day, and how to check it without us."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from relaybot.nostr.flow_of_funds import KIND, LAYOUT, WHOLE_PERCENT, DaySummary
from relaybot.nostr.nip19 import EventPointer, encode_nevent, encode_npub
from relaybot.web.html import Html, el
from relaybot.web.layout import page
from relaybot.web.published import PublishedAccounts, PublishedDay, totals
from relaybot.web.site import Site
from relaybot.web.words import GROUPS, amount, cell_name, figure_of, long_day, time_of

_FLOWS = ("in", "earned", "out")
_HINT_LENGTH_MAX = 255  # NIP-19: the length of a relay is one byte, its text ASCII


def days_page(accounts: PublishedAccounts, site: Site) -> str:
    """Return the list of all published days."""
    days = accounts.days()
    opening = el("div", el("h1", "Day by day"), class_="opening")
    if not days:
        nothing = el("p", "Nothing is published yet. ", el("a", "What will stand here", href="/"), class_="lede")
        return page(site, opening, nothing, title="Day by day", here="/accounts")
    lede = el("p", "Each day is one signed event, published once and never changed.", class_="lede")
    gaps = [el("p", f"What was published before {long_day(day)} is missing here.") for day in accounts.missing()]
    table = day_table(list(reversed(days)), accounts, site)
    atom, document = el("a", "Atom feed", href="/accounts.atom"), el("a", "JSON", href="/accounts.json")
    feeds = el("p", "For programs: ", atom, " · ", document)
    return page(
        site, opening, lede, *gaps, table, feeds, reasons(days[-1].summary), title="Day by day", here="/accounts"
    )


def day_page(published: PublishedDay, accounts: PublishedAccounts, site: Site) -> str:
    """Return everything one day's event says."""
    summary, name = published.summary, long_day(published.day)
    return page(
        site,
        el(
            "div",
            el("p", el("a", "Day by day", href="/accounts"), class_="quiet"),
            el("h1", time_of(published.day, name)),
            demo_notice(summary),
            class_="opening",
        ),
        _figures(published, accounts, site),
        _neighbours(published, accounts),
        reasons(summary),
        verification(accounts, site, published),
        title=name,
        here="/accounts",
        path=f"/accounts/{published.day}",
        about=f"The public accounts of {name}: what came in, who earned it, what was paid out.",
    )


def day_table(days: Sequence[PublishedDay], accounts: PublishedAccounts, site: Site) -> Html:
    """Return one row per day with the three sums and its event."""
    head = el(
        "tr",
        el("th", "Day", scope="col"),
        *(el("th", GROUPS[group], scope="col", class_="number") for group in _FLOWS),
        el("th", "Event", scope="col"),
    )
    rows = [
        el(
            "tr",
            el("th", el("a", time_of(each.day, each.day), href=f"/accounts/{each.day}"), scope="row"),
            *(
                el("td", sourced(amount(totals([each]).group(group)), each, accounts, site), class_="number")
                for group in _FLOWS
            ),
            el("td", _event_link(each, accounts, site, f"{each.event_id[:8]}…")),
        )
        for each in days
    ]
    table = el(
        "table", el("caption", "Published days (UTC), in sat"), el("thead", head), el("tbody", rows), class_="figures"
    )
    return el("div", table, class_="scroll", tabindex=0, role="region", aria_label="Published days")


def reasons(summary: DaySummary) -> Html:
    """Explain what `withheld` means, with the rule of this summary."""
    return el(
        "section",
        el("h2", "Why a figure is withheld"),
        el(
            "p",
            "A total of a few people would give away what each of them did. So a figure is published only if it rests "
            f"on at least {_people(summary.k)}{_dominance(summary)}. Roles and ways with fewer are counted together "
            "as “several”. What cannot stand even so is withheld, waits, and is added to a later day: nothing is left "
            "out for good. "
            "“Withheld” does not tell whether there was little or nothing.",
        ),
        el(
            "p",
            "Figures are rounded down to ",
            amount(summary.round_msat),
            ". What is left over is added to a later day as well.",
        ),
        id="withheld",
    )


def verification(accounts: PublishedAccounts, site: Site, published: PublishedDay) -> Html:
    """Say how a stranger gets and checks the event without this page."""
    request = json.dumps(["REQ", "accounts", {"kinds": [KIND], "authors": [accounts.author]}])
    at = datetime.fromtimestamp(published.published_at, UTC)
    facts = (
        ("Event", _event_link(published, accounts, site, published.event_id)),
        ("Signed by", el("code", encode_npub(accounts.author))),
        ("Published", el("time", f"{at:%Y-%m-%d %H:%M} UTC", datetime=f"{at:%Y-%m-%dT%H:%MZ}")),
        ("Schema", el("code", f"kind {KIND}, flow-of-funds/1")),
    )
    return el(
        "section",
        el("h2", "Check it yourself"),
        el(
            "p",
            "This page is made of signed Nostr events only. Ask the relay ",
            el("code", site.relay_url),
            " for them, check their signatures with any Nostr library, and add them up: you must get the same figures.",
        ),
        el("pre", el("code", request)),
        el("p", "The event of ", time_of(published.day, long_day(published.day)), ":"),
        el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in facts], class_="facts"),
        id="check",
    )


def _figures(published: PublishedDay, accounts: PublishedAccounts, site: Site) -> Html:
    summary = published.summary
    bodies = [
        el(
            "tbody",
            el("tr", el("th", GROUPS[group], scope="rowgroup", colspan=2)),
            [
                el(
                    "tr",
                    el("th", cell_name((group, name)), scope="row"),
                    el(
                        "td",
                        sourced(figure_of((group, name), summary.figures[group, name]), published, accounts, site),
                        class_="number",
                    ),
                )
                for name in names
            ],
        )
        for group, names in LAYOUT.items()
    ]
    head = el("tr", el("th", "Figure", scope="col"), el("th", "Published", scope="col", class_="number"))
    return el(
        "table", el("caption", "Everything the event says, in sat"), el("thead", head), bodies, class_="figures day"
    )


def _neighbours(published: PublishedDay, accounts: PublishedAccounts) -> Html | None:
    days = accounts.days()
    place = days.index(published)
    before = days[place - 1].day if place > 0 else None
    after = days[place + 1].day if place + 1 < len(days) else None
    links = [
        el("a", text, href=f"/accounts/{day}", rel=rel)
        for text, day, rel in ((f"← {before}", before, "prev"), (f"{after} →", after, "next"))
        if day
    ]
    return el("nav", links, aria_label="Other days", class_="neighbours") if links else None


def _event_link(published: PublishedDay, accounts: PublishedAccounts, site: Site, text: str) -> Html:
    nevent = nevent_of(published, accounts, site)
    return el("a", el("code", text), href=f"nostr:{nevent}", title=nevent)


def sourced(figure: Html, published: PublishedDay, accounts: PublishedAccounts, site: Site) -> Html:
    """Return a figure that leads to the signed event it stands in; a withheld one leads to the reason already."""
    if "withheld" in figure:
        return figure
    nevent = nevent_of(published, accounts, site)
    return el("a", figure, href=f"nostr:{nevent}", title=f"the signed event: {nevent}", class_="source")


def nevent_of(published: PublishedDay, accounts: PublishedAccounts, site: Site) -> str:
    """Return a day's event as people pass it on (NIP-19)."""
    return _nevent(published.event_id, accounts.author, site.relay_url)


@lru_cache(maxsize=1_024)  # bech32 is most of a page's cost, and a day's event never changes
def _nevent(event_id: str, author: str, relay_url: str) -> str:
    hinted = relay_url.isascii() and len(relay_url) <= _HINT_LENGTH_MAX
    return encode_nevent(EventPointer(event_id, (relay_url,) if hinted else (), author, KIND))


def demo_notice(summary: DaySummary) -> Html | None:
    """Say that the figures are a demonstration's, if they are."""
    if not summary.demo:
        return None
    text = (
        f"Figures may stand on {_people(summary.k)} here, and on a part of a day. Real accounts protect people better."
    )
    return el("p", el("strong", "A demonstration. "), text, class_="notice")


def _people(count: int) -> str:
    return f"{count} people" if count > 1 else "one person"


def _dominance(summary: DaySummary) -> str:
    if summary.dominance_percent == WHOLE_PERCENT:
        return ""
    return f", none of whom has more than {summary.dominance_percent} % of it"
