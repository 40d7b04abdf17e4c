"""The pages of the simulated card company: where a card is given, and where its holder is asked who they are."""

from __future__ import annotations

from relaybot.cardsim.world import Card, Object
from relaybot.web.html import Html, document, el, raw_style
from relaybot.web.layout import stylesheet
from wallet.rates import format_units

_CARDS = {
    Card.GOOD: "is good",
    Card.CHALLENGED: "asks who you are (3-D Secure)",
    Card.DECLINED: "is declined",
    Card.DISPUTED: "is good, and disputed at once",
    Card.WARNED: "is good, and its bank warns of fraud",
    Card.REVIEWED: "is good, and looked at first",
}


def pay_page(session: Object, problem: str = "") -> str:
    """Return the page on which a card is given."""
    choices = [
        el(
            "label",
            el("input", type="radio", name="card", value=card.value, checked=card is Card.GOOD),
            f" {_spaced(card.value)} ",
            el("span", words, class_="quiet"),
        )
        for card, words in _CARDS.items()
    ]
    return _page(
        session,
        el("p", problem, class_="notice", role="alert") if problem else None,
        el(
            "form",
            el("fieldset", el("legend", "Pay with the card"), [el("p", choice) for choice in choices]),
            el("button", f"Pay {price(session)}", type="submit", class_="button"),
            method="post",
        ),
        el("p", el("a", "Back, without paying", href=session["cancel_url"])),
    )


def challenge_page(session: Object, card: str) -> str:
    """Return the page on which the bank asks the cardholder (3-D Secure)."""
    return _page(
        session,
        el("p", "Your bank wants to know whether it is you who pays."),
        el(
            "form",
            el("input", type="hidden", name="card", value=card),
            el("button", "It is me", type="submit", name="challenge", value="passed", class_="button"),
            " ",
            el("button", "It is not me", type="submit", name="challenge", value="failed"),
            method="post",
        ),
    )


def over_page(session: Object) -> str:
    """Return the page of a checkout that cannot be paid any more."""
    return _page(session, el("p", "This checkout is over."), el("p", el("a", "Back", href=session["success_url"])))


def price(session: Object) -> str:
    """Return what a checkout costs, for people."""
    return format_units(session["amount_total"], session["currency"].upper())


def _spaced(number: str) -> str:
    return " ".join(number[place : place + 4] for place in range(0, len(number), 4))


def _page(session: Object, *content: Html | None) -> str:
    return document(
        el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("title", "Simulated card company"),
            el("link", rel="icon", href="data:,"),
            raw_style(stylesheet()),
        ),
        el(
            "body",
            el("header", el("p", el("strong", "A simulated card company: no real money moves."), class_="notice")),
            el(
                "main",
                el("div", el("h1", price(session)), el("p", session["description"], class_="lede"), class_="opening"),
                *content,
                id="content",
            ),
        ),
    )
