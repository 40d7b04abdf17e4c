"""How accounts are called in stories: `bob`, `bob:card`, `acme:promo`, `hold:job1`, `node`, `losses`."""

from __future__ import annotations

from tests.book.stores import person
from wallet.accounts import (
    BANK,
    CAPITAL,
    CARD_LOSSES,
    CARD_RECEIVABLE,
    EXPENSE_CARD,
    EXPENSE_FX,
    EXPENSE_LIGHTNING,
    EXPENSE_ONCHAIN,
    FEES,
    NODE_LIGHTNING,
    NODE_ONCHAIN,
    PROMOTIONS,
    REVENUE,
    ROUTING_INCOME,
    Account,
    Class,
    Owner,
    company,
    hold,
    maturing,
    of,
    owed,
)
from wallet.accounts import person as user_called

COMPANIES = {"acme": ("bob", "mallory")}  # and who belongs to them
OURS = {
    "node": NODE_LIGHTNING,
    "onchain": NODE_ONCHAIN,
    "receivable": CARD_RECEIVABLE,
    "platform": REVENUE[Class.SATS],
    "platform:card": REVENUE[Class.CARD],
    "platform:promo": REVENUE[Class.PROMO],
    "fees": FEES,
    "routing": ROUTING_INCOME,
    "promotions": PROMOTIONS,
    "losses": CARD_LOSSES,
    "bank": BANK,
    "capital": CAPITAL,
    "lightning-expense": EXPENSE_LIGHTNING,
    "onchain-expense": EXPENSE_ONCHAIN,
    "card-expense": EXPENSE_CARD,
    "fx-expense": EXPENSE_FX,
}


def owner_of(name: str) -> Owner:
    """Return whose money somebody in a story has."""
    return company(name) if name in COMPANIES else user_called(person(name))


def account(name: str) -> Account:
    """Return the account that a story calls by this name."""
    if name in OURS:
        return OURS[name]
    who, _, what = name.partition(":")
    if who == "hold":
        job, _, cls = what.partition(":")
        return hold(f"job/{job}" if job.startswith("job") else f"payout/{job}", Class(cls or "sats"))
    if what in {"maturing", "owed"}:
        return {"maturing": maturing, "owed": owed}[what](person(who))
    return of(owner_of(who), Class(what or "sats"))
