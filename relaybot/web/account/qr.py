"""QR codes as SVG, drawn on the server: black on white whatever the page's colours, or cameras do not see them."""

from __future__ import annotations

import segno

from relaybot.web.html import Html, el

_BORDER = 4  # modules of white around it: ISO/IEC 18004


def qr_code(text: str, label: str) -> Html:
    """Return the code of `text`, named `label` for who does not see it."""
    rows = tuple(segno.make_qr(text, error="l", boost_error=False).matrix)
    size = len(rows) + 2 * _BORDER
    path = "".join(
        f"M{column + _BORDER} {line + _BORDER}h1v1h-1z"
        for line, row in enumerate(rows)
        for column, dark in enumerate(row)
        if dark
    )
    white = el("path", d=f"M0 0h{size}v{size}h-{size}z", fill="#fff")
    black = el("path", d=path, fill="#000", shape_rendering="crispEdges")
    return el("svg", white, black, role="img", aria_label=label, viewBox=f"0 0 {size} {size}", class_="qr")
