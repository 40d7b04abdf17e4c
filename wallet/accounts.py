"""The names of all accounts, and what each may do: docs/ledger.md explains each.

An account is its name. Balance = credits minus debits, in msat; all balances sum
to zero. Nothing here stores or moves anything.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NewType

from relaybot.errors import Rejected

Account = NewType("Account", str)
Owner = NewType("Owner", str)  # whose money: user/<pubkey> or org/<id>


class Class(Enum):
    """What somebody's or an escrow's money may be used for, in the order in which a job draws on it."""

    PROMO = "promo"  # given by the operator: pays for jobs only, and of them only the platform's part
    CARD = "card"  # bought by card: pays for jobs only
    SATS = "sats"  # withdrawable


REVENUE = {cls: Account(f"platform/revenue/{cls.value}") for cls in Class}
FEES = Account("platform/fees")
ROUTING_INCOME = Account("platform/routing_income")
EXPENSE_LIGHTNING = Account("platform/expense/lightning")
EXPENSE_ONCHAIN = Account("platform/expense/onchain")
EXPENSE_CARD = Account("platform/expense/card")
EXPENSE_FX = Account("platform/expense/fx")
PROMOTIONS = Account("platform/promotions")
CARD_LOSSES = Account("platform/card_losses")
BANK = Account("platform/bank")
CAPITAL = Account("platform/capital")
NODE_LIGHTNING = Account("node/lightning")
NODE_ONCHAIN = Account("node/onchain")
CARD_RECEIVABLE = Account("card/receivable")

_PUBKEY = r"[0-9a-f]{64}"
_CLASS = "(?:sats|card|promo)"
_NAME = re.compile(
    rf"user/{_PUBKEY}/(?:sats|card|promo|maturing|owed)"
    rf"|org/[a-z0-9][a-z0-9-]{{0,63}}/{_CLASS}"
    rf"|hold/[a-z]+/[0-9a-z/-]{{1,128}}/{_CLASS}"
    rf"|platform/revenue/{_CLASS}"
    r"|platform/(?:fees|routing_income|promotions|card_losses|bank|capital)"
    r"|platform/expense/(?:lightning|onchain|card|fx)"
    r"|node/(?:lightning|onchain)|card/receivable",
    re.ASCII,
)


def parse_account(name: str) -> Account:
    """Return `name` as an account; Rejected if there is no account of that name."""
    if not _NAME.fullmatch(name):
        raise Rejected("invalid", "no such account", found=name[:80])
    return Account(name)


def person(pubkey: str) -> Owner:
    """Return the user with this hex `pubkey` as an owner of money."""
    return Owner(f"user/{pubkey}")


def company(org_id: str) -> Owner:
    """Return the company with this id as an owner of money."""
    return Owner(f"org/{org_id}")


def of(whose: Owner, cls: Class = Class.SATS) -> Account:
    """Return the account on which the money of this class stands."""
    return Account(f"{whose}/{cls.value}")


def user(pubkey: str, cls: Class = Class.SATS) -> Account:
    """Return the account of the user with this hex `pubkey`."""
    return of(person(pubkey), cls)


def maturing(pubkey: str) -> Account:
    """Return the account of what this user earned from card money and does not have in sats yet."""
    return Account(f"user/{pubkey}/maturing")


def owed(pubkey: str) -> Account:
    """Return the account of what this user owes us: below zero while there is a debt."""
    return Account(f"user/{pubkey}/owed")


def hold(cause: str, cls: Class = Class.SATS) -> Account:
    """Return the escrow of one `cause` (`job/<event id>`, `payout/<id>`): empty when it is finished."""
    return Account(f"hold/{cause}/{cls.value}")


def owner(account: Account) -> str | None:
    """Return the hex pubkey whose account this is, or None for all others."""
    kind, _, rest = account.partition("/")
    return rest.partition("/")[0] if kind == "user" else None


def ceiling_msat(account: Account) -> int | None:
    """Return the balance above which `account` may never rise, or None: nobody pays more than they owe."""
    return 0 if account.endswith("/owed") else None


def floor_msat(account: Account) -> int | None:
    """Return the balance below which `account` may never fall, or None for no floor.

    Users, companies and escrows never go below zero. `owed` is a receivable, and
    the platform's and the node's accounts hold either sign.
    """
    return 0 if account.startswith(("user/", "org/", "hold/")) and not account.endswith("/owed") else None
