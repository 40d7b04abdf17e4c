"""The page `/`: in ten seconds, how much came in, who earned it, and how much was paid out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from relaybot.nostr.flow_of_funds import CELLS, LAYOUT, CellName
from relaybot.web.agents import how_to_ask
from relaybot.web.charts import day_columns, share_bar
from relaybot.web.days import day_table, demo_notice, reasons, sourced, verification
from relaybot.web.html import Child, Html, el, joined
from relaybot.web.layout import page
from relaybot.web.published import PublishedAccounts, PublishedDay, Totals, totals, week_of
from relaybot.web.site import Site
from relaybot.web.words import GROUPS, amount, cell_name, figure_of, full_name, long_day, percent, short_day, time_of

CHART_DAYS = 30  # a month at a glance
FLOWS = ("in", "earned", "out")
_HINTS = {
    "in": "what customers paid in",
    "earned": "shared out as jobs were done",
    "out": "sent on to people's own wallets",
}


_LEGEND = "A low grey mark is a day whose figure is withheld; what it would have told comes with a later day."


def home_page(accounts: PublishedAccounts, site: Site) -> str:
    """Return the page, made of published days only."""
    days = accounts.days()
    content = _story(days, accounts, site) if days else _nothing_yet(site)
    about = "What came in, who earned it, and what was paid out: published day by day, signed, for all to check."
    return page(site, content, title="Public accounts", here="/", about=about)


def _story(days: Sequence[PublishedDay], accounts: PublishedAccounts, site: Site) -> Html:
    spans = _spans(days)
    return joined(
        _opening(days, spans[-1][1]),
        el("div", [_card(flow, spans, days[-1], accounts, site) for flow in FLOWS], class_="cards"),
        _roles(spans[-1][1], since=days[0].day),
        _by_day(days, accounts, site),
        _all_figures(spans),
        reasons(days[-1].summary),
        verification(accounts, site, days[-1]),
    )


def _spans(days: Sequence[PublishedDay]) -> Sequence[tuple[Html, Totals]]:
    """Return the spans of time the page tells of, the longest last; one day alone is one span."""
    first, last = days[0].day, days[-1].day
    if first == last:
        return ((joined("on ", time_of(last, short_day(last))), totals(days)),)
    return (
        (joined("last day, ", time_of(last, short_day(last))), totals(days[-1:])),
        (joined("last 7 days"), totals(week_of(days))),
        (joined("since ", time_of(first, short_day(first))), totals(days)),
    )


def _opening(days: Sequence[PublishedDay], whole: Totals) -> Html:
    """Say everything in one sentence."""
    first, last = days[0].day, days[-1].day
    span = (
        joined("On ", time_of(last, long_day(last)), ", ")
        if first == last
        else joined("From ", time_of(first, long_day(first)), " to ", time_of(last, long_day(last)), ", ")
    )
    return el(
        "div",
        el("h1", "Public accounts"),
        el(
            "p",
            span,
            _clause(whole.group("in"), "came in"),
            ", ",
            _clause(whole.group("earned"), "were shared among contributors and the platform"),
            ", and ",
            _clause(whole.group("out"), "were paid out"),
            ".",
            class_="lede",
        ),
        el("p", el("a", "How the money flows", href="/how"), class_="more"),
        el("p", "A sat is a hundred-millionth of a bitcoin.", class_="quiet"),
        demo_notice(days[-1].summary),
        class_="opening",
    )


def _clause(msat: int | None, what: str) -> Html:
    if msat is None:
        return joined("what ", what.replace("were ", "was "), " is ", amount(None))
    return joined(amount(msat), " ", what)


def _card(
    flow: str,
    spans: Sequence[tuple[Html, Totals]],
    last: PublishedDay,
    accounts: PublishedAccounts,
    site: Site,
) -> Html:
    """Show one flow over each span; the figure of the last day leads to its event, sums to the days they are of."""

    def figure(sums: Totals) -> Html:
        shown = amount(sums.group(flow))
        if sums is spans[0][1]:
            return sourced(shown, last, accounts, site)
        return shown if sums.group(flow) is None else el("a", shown, href="/accounts", class_="source")

    rows = [
        el("div", el("dt", name), el("dd", figure(sums)), class_="whole" if sums is spans[-1][1] else None)
        for name, sums in reversed(spans)
    ]
    return el("section", el("h2", GROUPS[flow]), el("p", _HINTS[flow]), el("dl", rows), class_=f"card {flow}")


def _roles(whole: Totals, *, since: str) -> Html:
    """Show who earned how much, the largest first."""
    earned = whole.group("earned")
    cells: list[CellName] = [("earned", name) for name in LAYOUT["earned"]]
    standing = sorted(
        ((figure, cell) for cell in cells if (figure := whole.figures[cell]) is not None),
        key=lambda pair: (-pair[0], cells.index(pair[1])),
    )
    rows = [
        el(
            "tr",
            el("th", cell_name(cell), share_bar(figure, earned or 1), scope="row"),
            el("td", percent(figure, earned or 1), class_="number"),
            el("td", amount(figure), class_="number"),
        )
        for figure, cell in standing
    ]
    head = el(
        "tr",
        el("th", "Role", scope="col"),
        *(el("th", name, scope="col", class_="number") for name in ("Share", "Earned")),
    )
    caption = joined("Everything earned since ", time_of(since, long_day(since)), ", by role")
    table = el("table", el("caption", caption), el("thead", head), el("tbody", rows), class_="roles earned")
    silent = [cell_name(cell) for cell in cells[:-1] if whole.figures[cell] is None]
    return el(
        "section",
        el("h2", "Who earned it"),
        table if rows else el("p", "What was earned is ", amount(None), " so far.", class_="quiet"),
        _silent(silent),
    )


def _silent(names: Sequence[str]) -> Html | None:
    if not names:
        return None
    return el("p", "No figure stands for: ", ", ".join(names), " (", amount(None), ").", class_="quiet")


def _by_day(days: Sequence[PublishedDay], accounts: PublishedAccounts, site: Site) -> Html:
    """Show a month in three rows of columns, and the same as a table."""
    last = date.fromisoformat(days[-1].day)
    window = [(last - timedelta(days=back)).isoformat() for back in reversed(range(CHART_DAYS))]
    shown = [accounts.day(day) for day in window]
    charts = [_flow_chart(flow, window, shown) for flow in FLOWS]
    table = day_table([published for published in reversed(shown) if published], accounts, site)
    return el(
        "section",
        el("h2", "Day by day"),
        el("div", charts, class_="charts"),
        el("p", _LEGEND, class_="quiet note") if any(map(_withholds, shown)) else None,
        el("details", el("summary", "The same as a table, with the signed events"), table),
        el("p", el("a", "All published days", href="/accounts")),
    )


def _withholds(published: PublishedDay | None) -> bool:
    return published is not None and any(totals([published]).group(flow) is None for flow in FLOWS)


def _flow_chart(flow: str, window: Sequence[str], shown: Sequence[PublishedDay | None]) -> Html:
    values = [totals([published]).group(flow) if published else None for published in shown]
    standing = [value for value in values if value is not None]
    highest: Child = joined("highest ", amount(max(standing))) if standing else "withheld on every day"
    label = f"{GROUPS[flow]}, one column a day; the table below has the figures"
    return el(
        "figure",
        el("figcaption", el("strong", GROUPS[flow]), " ", el("span", highest, class_="quiet")),
        day_columns(values, published=[published is not None for published in shown], label=label),
        el("p", *(el("span", short_day(day)) for day in (window[0], window[-1])), class_="axis", aria_hidden="true"),
        class_=flow,
    )


def _all_figures(spans: Sequence[tuple[Html, Totals]]) -> Html:
    """Show every cell that ever stood, and name those that never did."""
    whole = spans[-1][1]
    standing = [cell for cell in CELLS if whole.figures[cell] is not None]
    bodies = []
    for group in LAYOUT:
        cells = [cell for cell in standing if cell[0] == group]
        rows = [
            el(
                "tr",
                el("th", cell_name(cell), scope="row"),
                *(el("td", figure_of(cell, sums.figures[cell]), class_="number") for _, sums in spans),
            )
            for cell in cells
        ]
        heading = el("tr", el("th", GROUPS[group], scope="rowgroup", colspan=len(spans) + 1))
        bodies.append(el("tbody", heading, rows) if rows else None)
    head = el(
        "tr", el("th", "Figure", scope="col"), *(el("th", name, scope="col", class_="number") for name, _ in spans)
    )
    caption = el("caption", "Sums of published days, in sat")
    table = el("table", caption, el("thead", head), bodies, class_="figures")
    silent = [full_name(cell) for cell in CELLS if cell not in standing and cell[1] != "other"]
    return el(
        "section",
        el("h2", "All figures"),
        el("div", table, class_="scroll", tabindex=0, role="region", aria_label="All figures"),
        _silent(silent),
    )


def _nothing_yet(site: Site) -> Html:
    """Explain the empty page, and how to fill it."""
    return joined(
        el(
            "div",
            el("h1", "Public accounts"),
            el(
                "p",
                "Nothing is published yet. Here will stand, in ten seconds' reading, how much came in, "
                "who earned it, and how much was paid out.",
                class_="lede",
            ),
            class_="opening",
        ),
        el(
            "section",
            el("h2", "When the first figures come"),
            el(
                "p",
                "After the end of each day (UTC) the day's totals are published as one signed Nostr event, "
                "and this page is made of those events and of nothing else. Totals are shown only where enough "
                "people stand behind them; until then they wait and are added to a later day.",
            ),
        ),
        how_to_ask(site),
    )
