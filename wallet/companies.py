"""Companies: their names and months, what large top-ups bring, what is left when one ends. Pure.

A company's money pays for its members' jobs. It leaves in one way only: when the company is
dissolved, what is left of its sats becomes its owner's. A bonus for buying much at once is
promo, given in the Plan that credits the money. It is for money that is spent here, so who
leaves with a part of that money gives its part of the bonus back: no circle of topping up
and leaving gains anything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from relaybot.errors import Rejected
from wallet.accounts import PROMOTIONS, Account, Class, Owner, company, of, owed, user
from wallet.journals import plan_bonus
from wallet.ledger import Journal, Put, Transfer, Update, Values
from wallet.lots import Mix
from wallet.money import Msat

NAME_CHARACTERS_MAX = 60
MONTHS = 12

# `npub1…` could be taken for a person; what ends in a hyphen, for less than it is
_ID = re.compile(r"(?!npub1)[a-z](?:[a-z0-9]|-(?=[a-z0-9])){1,31}", re.ASCII)
# One script, so that no letter looks like another one's; nothing that a page, a table or an invoice reads as its own
_NAME = re.compile(r"[A-Za-z0-9À-ÖØ-öø-ÿ](?:[ ]?[A-Za-z0-9À-ÖØ-öø-ÿ.,&/()+-]){0,59}")
_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Topup:
    """Money that came in for a company, as it stands in a row of `company_topups`."""

    id: str  # its cause: invoice/<hash>, deposit/<txid>/<vout>
    company: str
    pubkey: str  # who had asked for the invoice or the address
    amount_msat: Msat
    bonus_msat: Msat
    version: int = 0
    state: str = "good"  # good, reversed

    @classmethod
    def of_row(cls, row: Values) -> Topup:
        """Return the top-up of a row."""
        return cls(**{name: row[name] for name in cls.__slots__})  # type: ignore[arg-type]  # the table has these types


def parse_company_id(text: str) -> str:
    """Return the id of a company; Rejected for what none can be called."""
    if not _ID.fullmatch(text):
        raise Rejected("invalid", "a company's id is 2 to 32 of a-z, 0-9 and hyphen, and begins with a letter")
    return text


def parse_company_name(text: str) -> str:
    """Return the name of a company as it is kept; Rejected if it could be taken for anything else."""
    name = unicodedata.normalize("NFC", text.strip())
    if not _NAME.fullmatch(name) or len(name) > NAME_CHARACTERS_MAX:
        raise Rejected("invalid", f"a company's name is up to {NAME_CHARACTERS_MAX} Latin letters, digits and .,&/()+-")
    return name


def month_of(now: int) -> int:
    """Return the UTC month of a Unix time, such as 202611."""
    date = datetime.fromtimestamp(now, UTC)
    return date.year * 100 + date.month


def parse_month(text: str) -> int:
    """Read a month such as 2026-11; Rejected for anything else."""
    found = _MONTH.fullmatch(text)
    if found is None or not 1 <= int(found[2]) <= MONTHS or found[1] == "0000":
        raise Rejected("invalid", "a month is such as 2026-11", found=text[:20])
    return int(found[1]) * 100 + int(found[2])


def format_month(month: int) -> str:
    """Show a month as it is read: `2026-11`."""
    return f"{month // 100:04d}-{month % 100:02d}"


def month_span(month: int) -> tuple[int, int]:
    """Return when a month begins and when the next one does, as Unix times."""
    year, number = divmod(month, 100)
    after = (year + 1, 1) if number == MONTHS else (year, number + 1)
    begins = int(datetime(year, number, 1, tzinfo=UTC).timestamp())
    ends = int(datetime(*after, 1, tzinfo=UTC).timestamp())
    return begins, ends


def plan_topped_up(topup: Topup, source: Account, now: int) -> Journal:
    """Credit what came in for a company, and give its bonus."""
    owner = company(topup.company)
    row: Values = {
        "company": topup.company,
        "pubkey": topup.pubkey,
        "amount_msat": topup.amount_msat,
        "bonus_msat": topup.bonus_msat,
        "state": topup.state,
        "created_at": now,
    }
    return Journal(
        (
            Transfer(source, of(owner), topup.amount_msat, "topup"),
            *plan_bonus(owner, topup.bonus_msat, "bulk bonus").transfers,
        ),
        (Put("company_topups", topup.id, row),),  # the chain may give again what it took
    )


def plan_topup_reversed(topup: Topup, node: Account, has: Mix) -> Journal:
    """Take back a top-up that the chain has undone, with its bonus; whoever asked for it owes what is spent."""
    owner, debt = company(topup.company), owed(topup.pubkey)
    back, bonus_back = min(topup.amount_msat, has.sats), min(topup.bonus_msat, has.promo)
    bonus_in_sats = min(topup.bonus_msat - bonus_back, has.sats - back)
    why = "deposit reversed"
    return Journal(
        (
            *_moves(of(owner), node, back, why),
            *_moves(debt, node, topup.amount_msat - back, why),
            *_moves(of(owner, Class.PROMO), PROMOTIONS, bonus_back, "bonus taken back"),
            *_moves(of(owner), PROMOTIONS, bonus_in_sats, "bonus taken back"),
            *_moves(debt, PROMOTIONS, topup.bonus_msat - bonus_back - bonus_in_sats, "bonus taken back"),
        ),
        (Update("company_topups", topup.id, {"state": "reversed"}, expect={"version": topup.version}),),
    )


def bonus_not_earned(topups: Sequence[Topup], sats: Msat) -> Msat:
    """Return how much of its bonuses a company has not earned that leaves with `sats`.

    What brought a bonus counts as spent first; of what is left of it, the bonus is due again at
    the best rate there was, rounded up.
    """
    good = [topup for topup in topups if topup.state == "good"]
    rated = [topup for topup in good if topup.bonus_msat]
    others = sum(topup.amount_msat for topup in good if not topup.bonus_msat)
    unspent = min(max(0, sats - others), sum(topup.amount_msat for topup in rated))
    return Msat(max((-(-unspent * topup.bonus_msat // topup.amount_msat) for topup in rated), default=0))


def plan_dissolved(org: str, owner: str, has: Mix, topups: Sequence[Topup]) -> Journal:
    """Move what is left of a company's sats to its owner; promo goes back, and what was not earned of it.

    Card money stays where it is: it pays for jobs only.
    """
    purse: Owner = company(org)
    due = max(0, bonus_not_earned(topups, has.sats) - has.promo)
    return Journal(
        (
            *_moves(of(purse, Class.PROMO), PROMOTIONS, has.promo, "bonus taken back"),
            *_moves(of(purse), PROMOTIONS, due, "bonus taken back"),
            *_moves(of(purse), user(owner), has.sats - due, "dissolved"),
        )
    )


def budget_id(org: str, pubkey: str, month: int) -> str:
    """Return the row of `tallies` in which is counted what this member spends in this month."""
    return f"budget/{org}/{pubkey}/{month}"


def _moves(debit: Account, credit: Account, amount: int, reason: str) -> tuple[Transfer, ...]:
    return (Transfer(debit, credit, Msat(amount), reason),) if amount else ()
