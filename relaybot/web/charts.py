"""Charts as SVG drawn on the server: rectangles only; words and figures stand in the HTML beside them."""

from __future__ import annotations

from collections.abc import Sequence

from relaybot.web.html import Html, el

_WIDTH = 1_000
_HEIGHT = 100
_SHADES = 6  # of the pieces of one bar; the smallest share the last one
_LEAST = 2  # what stands is seen, however small


def share_bar(part: int, whole: int) -> Html:
    """Return a horizontal bar of `part` in `whole`; decoration beside the figure that says the same."""
    width = max(part * _WIDTH // whole, _LEAST * 3)
    return el(
        "svg",
        el("rect", class_="track", width=_WIDTH, height=10),
        el("rect", class_="bar", width=width, height=10),
        class_="share",
        viewBox=f"0 0 {_WIDTH} 10",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )


def share_strip(parts: Sequence[int], whole: int) -> Html:
    """Return one bar cut into `parts` of `whole`, each in another shade; decoration beside a table."""
    place, pieces = 0, []
    for number, part in enumerate(parts):
        width = part * _WIDTH // whole
        pieces.append(
            el("rect", class_=f"piece p{min(number, _SHADES - 1)}", x=place, width=max(width - _LEAST, 1), height=10)
        )
        place += width
    return el(
        "svg",
        el("rect", class_="track", width=_WIDTH, height=10),
        pieces,
        class_="strip",
        viewBox=f"0 0 {_WIDTH} 10",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )


def day_columns(values: Sequence[int | None], *, published: Sequence[bool], label: str) -> Html:
    """Return one column per day: a bar, a low mark where a day is withheld, nothing where none was published."""
    slot = _WIDTH // len(values)
    highest = max((value for value in values if value is not None), default=0) or 1
    columns = []
    for place, (value, told) in enumerate(zip(values, published, strict=True)):
        height = _LEAST if value is None else max(value * _HEIGHT // highest, _LEAST)
        if told:
            name = "gap" if value is None else "bar"
            x = place * slot + slot // 8
            columns.append(el("rect", class_=name, x=x, y=_HEIGHT - height, width=slot * 3 // 4, height=height))
    return el(
        "svg",
        el("title", label),
        columns,
        class_="columns",
        viewBox=f"0 0 {slot * len(values)} {_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        focusable="false",
    )
