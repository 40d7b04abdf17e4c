"""The published days for programs: an Atom feed, and one JSON document. Like the pages, of signed events alone."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html import escape
from typing import Any

from relaybot.nostr.flow_of_funds import LAYOUT
from relaybot.web.days import nevent_of
from relaybot.web.published import PublishedAccounts, PublishedDay, totals
from relaybot.web.site import Site
from relaybot.web.words import GROUPS, long_day
from wallet.money import format_sat

ENTRIES_MAX = 50  # of the feed: readers come by at least once in seven weeks
_FLOWS = ("in", "earned", "out")
_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def atom_feed(accounts: PublishedAccounts, site: Site) -> str:
    """Return the newest days as an Atom feed (RFC 4287)."""
    newest = list(reversed(accounts.days()))[:ENTRIES_MAX]
    updated = _rfc3339(max((day.published_at for day in newest), default=0))
    entries = "".join(_entry(day, accounts, site) for day in newest)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">\n'
        f"<title>{_xml(site.name)}: public accounts</title>\n<subtitle>{_xml(site.about)}</subtitle>\n"
        f"<id>{_xml(site.url)}/accounts.atom</id>\n<updated>{updated}</updated>\n"
        f'<link rel="self" type="application/atom+xml" href="{_xml(site.url)}/accounts.atom"/>\n'
        f'<link rel="alternate" type="text/html" href="{_xml(site.url)}/accounts"/>\n'
        f"<author><name>{_xml(site.name)}</name></author>\n{entries}</feed>\n"
    )


def _entry(day: PublishedDay, accounts: PublishedAccounts, site: Site) -> str:
    sums = totals([day])
    words = "; ".join(f"{GROUPS[flow].lower()}: {_shown(sums.group(flow))}" for flow in _FLOWS)
    at = _rfc3339(day.published_at)
    return (
        f"<entry><title>{_xml(long_day(day.day))}</title><id>nostr:{nevent_of(day, accounts, site)}</id>"
        f"<published>{at}</published><updated>{at}</updated>"
        f'<link rel="alternate" type="text/html" href="{_xml(site.url)}/accounts/{day.day}"/>'
        f"<summary>{_xml(words)}</summary></entry>\n"
    )


def accounts_json(accounts: PublishedAccounts, site: Site) -> str:
    """Return all days, oldest first: amounts in msat, a number of jobs; null where a figure is withheld."""
    document = {
        "service": site.name,
        "pubkey": accounts.author,
        "relay": site.relay_url,
        "days": [_day(day, accounts, site) for day in accounts.days()],
    }
    return json.dumps(document, ensure_ascii=False)


def _day(day: PublishedDay, accounts: PublishedAccounts, site: Site) -> dict[str, Any]:
    summary = day.summary
    return {
        "day": day.day,
        "event": day.event_id,
        "nevent": nevent_of(day, accounts, site),
        "published_at": day.published_at,
        "k": summary.k,
        "dominance_percent": summary.dominance_percent,
        "round_msat": summary.round_msat,
        "demo": summary.demo,
        "figures": {group: {name: summary.figures[group, name] for name in names} for group, names in LAYOUT.items()},
    }


def _xml(text: str) -> str:
    """Return text for XML 1.0, which knows none of the control characters, not even escaped (2.2, Char)."""
    return escape(_NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text))


def _shown(msat: int | None) -> str:
    return "withheld" if msat is None else format_sat(msat)


def _rfc3339(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
