"""The page `/how`: how the money flows, in words and one picture."""

from __future__ import annotations

from relaybot.web.html import Html, el, joined
from relaybot.web.layout import page
from relaybot.web.site import Site

_WIDTH, _HEIGHT = 945, 360  # of the picture; on a phone, of another one
_TALL_WIDTH, _TALL_HEIGHT = 345, 560
_BOX = (190, 72)  # of a box in the picture
_TITLE = "You pay in; the price is held while a node works, split at delivery among six roles, and paid out."
_STEPS = {
    "You put money in": """Over Lightning or on the chain; or you simply pay the invoice of one job. It is your balance,
        and you may take it out again.""",
    "You ask an agent": """Its price is held, not spent: nobody can touch it while the job is under way, and it is yours
        again if the job fails, is cancelled or takes too long.""",
    "A compute node does the work": "It is chosen among the free ones, does the job and delivers the result.",
    "The price is split": """At the moment of delivery, whole and to a thousandth of a sat: to whoever wrote the
        algorithm, trained the model, gave the data, runs the node or the API, brought the customer, and to the
        platform. The shares stand on each agent's page.""",
    "Everybody is paid out": """Each share goes to its owner's own Lightning wallet by itself, as soon as it is worth
        the fee.""",
    "The day is published": """After each day its totals are signed and published on Nostr; the public accounts on these
        pages are made of those events and of nothing else.""",
}.items()
_FIRST = "You put money in"
_BY_CARD = " What is bought by card pays for jobs only: it cannot be taken out."
_PROMISES = (
    """Every payment in and out stands in a book of double entry whose accounts sum to zero, and which is compared with
    the Lightning node every few minutes. If they differ, payments stop until somebody has looked.""",
    """A payment whose end is not known is not paid a second time: its money waits until the node's records say what
    became of it.""",
    "The shares of a job are those that stood there when you asked: later changes of a split don't touch it.",
)
_ROLES = ("Algorithms", "Models and data", "Compute nodes", "APIs and apps", "Referrers", "The platform")


def how_page(site: Site) -> str:
    """Return the page."""
    opening = el(
        "div",
        el("h1", "How the money flows"),
        el(
            "p",
            "You pay for a finished job. Everybody who made it possible is paid at that moment, by a rule that anybody "
            "can read.",
            class_="lede",
        ),
        class_="opening",
    )
    return page(
        site,
        opening,
        el("figure", _picture(), _tall_picture(), _caption(), class_="picture"),
        _steps(site),
        _promises(),
        _privacy(),
        title="How it works",
        here="/how",
        about="You pay for a finished job, and everybody who made it possible is paid at that moment.",
    )


def _steps(site: Site) -> Html:
    items = [
        el("li", el("strong", f"{name}."), " ", words, _BY_CARD if site.cards and name == _FIRST else None)
        for name, words in _STEPS
    ]
    links = el("p", el("a", "The agents and their prices", href="/agents"), " · ", el("a", "The accounts", href="/"))
    return el("section", el("h2", "Step by step"), el("ol", items, class_="steps"), links)


def _promises() -> Html:
    items = [el("li", words) for words in _PROMISES]
    return el("section", el("h2", "What you can rely on"), el("ul", items, class_="steps"))


def _privacy() -> Html:
    return el(
        "section",
        el("h2", "What is not shown"),
        el(
            "p",
            "No figure of the accounts names anybody, or stands on a few people. Such figures are withheld, and added "
            "to a later day. ",
            el("a", "Why a figure is withheld", href="/accounts#withheld"),
            ".",
        ),
    )


def _caption() -> Html:
    return el("figcaption", "The price of one job, from the customer to everybody who contributed.", class_="quiet")


def _picture() -> Html:
    """Draw the flow: in, held, split, out. The steps below say the same in words."""
    top, bottom, middle = 24, _HEIGHT - 24, _HEIGHT // 2
    parts: list[Html] = [
        el("title", _TITLE),
        _box(2, middle, "You", "Lightning, on-chain, card"),
        _arrow(2 + _BOX[0], 266, middle, "in"),
        _box(266, middle, "Held", "while a node works"),
        _arrow(266 + _BOX[0], 516, middle, "in"),
        el("circle", class_="knot", cx=528, cy=middle, r=10),
    ]
    for number, role in enumerate(_ROLES):
        y = top + (bottom - top) * number // (len(_ROLES) - 1)
        parts.append(el("path", class_="flow earned", d=f"M538 {middle}C594 {middle} 582 {y} 640 {y}"))
        parts.append(el("text", role, class_="label", x=650, y=y + 6))
        if role != _ROLES[-1]:
            parts.append(_arrow(816, 862, y, "out"))
            parts.append(el("text", "own wallet", class_="small", x=870, y=y + 4))
    below = middle + _BOX[1] // 2
    parts.append(el("path", class_="flow back", d=f"M361 {below + 4}V{below + 62}H97V{below + 6}"))
    parts.append(el("text", "back to you, if the job fails", class_="small", x=229, y=below + 84, text_anchor="middle"))
    return _drawn(parts, "wide", _WIDTH, _HEIGHT)


def _tall_picture() -> Html:
    """Draw the same from top to bottom, for narrow screens."""
    left, center, trunk = 16, 16 + _BOX[0] // 2, 36
    you, held, knot = 40, 160, 246
    parts: list[Html] = [
        el("title", _TITLE),
        _box(left, you, "You", "Lightning, on-chain, card"),
        _down(center, you + _BOX[1] // 2, held - _BOX[1] // 2, "in"),
        _box(left, held, "Held", "while a node works"),
        _down(center, held + _BOX[1] // 2, knot - 12, "in"),
        el("circle", class_="knot", cx=center, cy=knot, r=10),
        el("path", class_="flow back", d=f"M{left + _BOX[0] + 4} {held}h24V{you}h-22"),
    ]
    for number, line in enumerate(("back to you,", "if the job", "fails")):
        parts.append(el("text", line, class_="small", x=left + _BOX[0] + 38, y=(you + held) // 2 - 12 + number * 17))
    for number, role in enumerate(_ROLES):
        y = knot + 62 + number * 46
        start = f"M{center} {knot + 10}C{center} {knot + 34} {trunk} {knot + 14} {trunk} {knot + 44}"
        parts.append(el("path", class_="flow earned", d=f"{start}V{y - 16}q0 16 16 16h8"))
        parts.append(el("text", role, class_="label", x=trunk + 34, y=y + 6))
        if role != _ROLES[-1]:
            parts.append(_arrow(226, 264, y, "out"))
            parts.append(el("text", "own wallet", class_="small", x=271, y=y + 4))
    return _drawn(parts, "tall", _TALL_WIDTH, _TALL_HEIGHT)


def _drawn(parts: list[Html], name: str, width: int, height: int) -> Html:
    return el("svg", parts, class_=f"flowchart {name}", viewBox=f"0 0 {width} {height}", role="img", focusable="false")


def _box(x: int, middle: int, name: str, words: str) -> Html:
    center, y = x + _BOX[0] // 2, middle - _BOX[1] // 2
    return joined(
        el("rect", class_="box", x=x, y=y, width=_BOX[0], height=_BOX[1], rx=14),
        el("text", name, class_="label", x=center, y=middle - 4, text_anchor="middle"),
        el("text", words, class_="small", x=center, y=middle + 17, text_anchor="middle"),
    )


def _arrow(x1: int, x2: int, y: int, tone: str) -> Html:
    return joined(
        el("path", class_=f"flow {tone}", d=f"M{x1 + 3} {y}H{x2 - 8}"),
        el("path", class_=f"head {tone}", d=f"M{x2} {y}l-10 -6v12z"),
    )


def _down(x: int, y1: int, y2: int, tone: str) -> Html:
    return joined(
        el("path", class_=f"flow {tone}", d=f"M{x} {y1 + 3}V{y2 - 8}"),
        el("path", class_=f"head {tone}", d=f"M{x} {y2}l-6 -10h12z"),
    )
