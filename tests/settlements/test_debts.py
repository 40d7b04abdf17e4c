"""Which debt a payment was for, and what of it was in sats."""

from __future__ import annotations

import pytest

from wallet.accounts import CARD_RECEIVABLE, owed, user
from wallet.debts import debts_of

BOB = "b0" * 32
OWED, SATS, CARD = owed(BOB), user(BOB), f"user/{BOB}/card"
MOVES = {  # in words → debit, credit
    "takes": (OWED, CARD_RECEIVABLE),
    "other": (OWED, "platform/revenue/sats"),
    "sats": (SATS, OWED),
    "card": (CARD, OWED),
    "collects": (CARD, OWED),
    "loses": ("platform/card_losses", OWED),
    "wins": (CARD_RECEIVABLE, OWED),
    "gives": (CARD_RECEIVABLE, SATS),
}
REASONS = {"takes": "disputed:", "collects": "disputed:", "loses": "written off:", "wins": "won:", "gives": "won:"}


@pytest.mark.parametrize(
    ("story", "deposit", "still", "in_sats"),
    [
        ("takes d1 100", "d1", 100, 0),
        ("takes d1 100 / sats 30", "d1", 70, 30),
        ("takes d1 100 / card 40 / sats 30", "d1", 30, 30),
        ("takes d1 100 / sats 60 / gives d1 60", "d1", 40, 0),
        # the oldest debt is paid first
        ("other 50 / takes d1 100 / sats 70", "d1", 80, 20),
        ("takes d1 100 / card 100 / other 50 / sats 50", "d1", 0, 0),
        ("takes d1 100 / takes d2 100 / sats 120", "d1", 0, 100),
        ("takes d1 100 / takes d2 100 / sats 120", "d2", 80, 20),
        ("takes d1 100 / sats 100 / takes d1 50 / sats 20", "d1", 30, 120),
        # what belongs to one payment pays its own debt first
        ("takes d1 100 / takes d2 100 / collects d2 100", "d1", 100, 0),
        ("other 50 / takes d1 100 / loses d1 40", "d1", 60, 0),
        ("takes d1 100 / sats 60 / wins d1 40", "d1", 0, 60),
        # and beyond that sets free what was paid on it in sats
        ("takes d1 100 / sats 100 / takes d2 80 / wins d1 80", "d1", 0, 20),
        ("takes d1 100 / sats 100 / takes d2 80 / wins d1 80", "d2", 0, 80),
        ("takes d1 100 / sats 30 / card 70 / takes d2 80 / collects d1 80", "d2", 0, 30),
    ],
)
def test_what_is_owed_for_a_card_payment_and_was_paid_in_sats(
    story: str, deposit: str, still: int, in_sats: int
) -> None:
    rows = []
    for line in story.split(" / "):
        word, *of, msat = line.split()
        debit, credit = MOVES[word]
        reason = REASONS.get(word, "owed") + "".join(of)
        rows.append({"debit": debit, "credit": credit, "amount_msat": int(msat), "reason": reason})
    debts = debts_of(BOB, rows)
    assert (debts.owed_for(deposit), debts.in_sats[deposit]) == (still, in_sats)


def test_more_than_was_owed_is_a_fault() -> None:
    with pytest.raises(AssertionError, match="5 msat more than was owed"):
        debts_of(BOB, [{"debit": SATS, "credit": OWED, "amount_msat": 5, "reason": "owed"}])
