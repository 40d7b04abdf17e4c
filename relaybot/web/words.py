"""How pages say amounts, days and cells to people. Pure; no page stands here."""

from __future__ import annotations

from datetime import date

from relaybot.nostr.flow_of_funds import JOBS_COUNT, CellName
from relaybot.web.html import Html, el
from wallet.money import format_sat

GROUPS = {
    "in": "Came in",
    "earned": "Earned",
    "out": "Paid out",
    "jobs": "Jobs",
    "tips": "Tips",
    "fees": "Fees",
}
_NAMES = {
    ("in", "lightning"): "over Lightning",
    ("in", "onchain"): "on-chain",
    ("in", "card"): "by card",
    ("in", "other"): "several ways together",
    ("earned", "compute"): "Compute nodes",
    ("earned", "model"): "Models",
    ("earned", "data"): "Data",
    ("earned", "algorithm"): "Algorithms and skills",
    ("earned", "api"): "APIs",
    ("earned", "app"): "Apps",
    ("earned", "educator"): "Educators",
    ("earned", "referrer"): "Referrers",
    ("earned", "platform"): "The platform",
    ("earned", "other"): "Several roles together",
    ("out", "lightning"): "over Lightning",
    ("out", "onchain"): "on-chain",
    ("out", "other"): "several ways together",
    ("jobs", "count"): "Jobs done",
    ("jobs", "charged"): "Charged for them",
    ("tips", "given"): "Given to people",
    ("fees", "routing"): "Lightning routing",
    ("fees", "onchain"): "on-chain",
    ("fees", "other"): "several kinds together",
}


def cell_name(cell: CellName) -> str:
    """Return a cell's name for people."""
    return _NAMES[cell]


def full_name(cell: CellName) -> str:
    """Return a cell's name where its group does not stand above it."""
    return f"{GROUPS[cell[0]].lower()}: {_NAMES[cell]}"


def long_day(day: str) -> str:
    """Return `22 November 2026` for `2026-11-22`."""
    parsed = date.fromisoformat(day)
    return f"{parsed.day} {parsed:%B} {parsed.year}"


def short_day(day: str) -> str:
    """Return `22 Nov` for `2026-11-22`."""
    parsed = date.fromisoformat(day)
    return f"{parsed.day} {parsed:%b}"


def time_of(day: str, text: str) -> Html:
    """Return `text` marked up as the date it means."""
    return el("time", text, datetime=day)


def amount(msat: int | None) -> Html:
    """Return an amount in sat, or that it is withheld and where the page says why."""
    if msat is None:
        return withheld()
    figure, unit = format_sat(msat).rsplit(" ", 1)
    return el("span", figure, " ", el("small", unit), class_="amount")


def figure_of(cell: CellName, figure: int | None) -> Html:
    """Return the figure of a cell: an amount, or a number of jobs."""
    if cell == JOBS_COUNT and figure is not None:
        return el("span", f"{figure:,}", class_="amount")
    return amount(figure)


def percent(part: int, whole: int) -> str:
    """Return a share for people: `7 %`, and `< 1 %` rather than nothing."""
    share = (200 * part + whole) // (2 * whole)
    return f"{share} %" if share else "< 1 %"


def exact_percent(part: int, whole: int) -> str:
    """Return a share with the decimals it needs, two at most: `8.33 %`, `63 %`."""
    hundredths = (part * 10_000 + whole // 2) // whole
    text = f"{hundredths // 100}.{hundredths % 100:02d}".rstrip("0").rstrip(".")
    return f"{text} %"


def withheld() -> Html:
    """Return the word for a figure that is not published, leading to the reason."""
    return el("a", "withheld", href="#withheld", class_="withheld")
