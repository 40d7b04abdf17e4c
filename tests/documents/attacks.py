"""The attacks and incidents of this field, and the tests that bear their names: `test_c16_…` is of attack C16."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType

from tests.documents.blocks import ROOT

ATTACKS: Mapping[str, str] = MappingProxyType({
    "A1": "forty spends at once against money for ten, from one process and from two",
    "A2": "one invoice of ours, paid by twenty users at once",
    "A3": "a lease runs out while the node hangs, and the user tries again",
    "A4": "a fresh invoice while the first attempt is unknown",
    "A5": "the same request again; the same key with other content",
    "A6": "a withdraw link used twice",
    "A7": "refunded and spent, cancelled and delivered in the same moment",
    "A8": "two jobs at once against money for one",
    "B1": "paying oneself",
    "B2": "paid inside the book, and over Lightning, too",
    "B3": "a stranger's invoice with our payment hash",
    "B4": "killed between debit and credit",
    "B5": "amounts that are none: zero, negative, too large, in other notations, not whole",
    "C1": "a route that takes as much as it can",
    "C2": "the fee reserve siphoned off in a loop",
    "C3": "withdrawing everything",
    "C4": "pending taken for failed",
    "C5": "pending taken for paid",
    "C6": "paid, and then the look-up fails",
    "C7": "killed at any step of a payout",
    "C8": "a second invoice of a Lightning Address while the first is unknown",
    "C9": "an empty look-up taken for a failure",
    "C10": "several attempts for one payment hash",
    "C11": "fees and change rounded the wrong way",
    "C12": "a payee who holds a payment for days",
    "C13": "an invoice that settles after it expired",
    "C14": "another network, garbage, expired, our own invoice, our own node",
    "C15": "executor and poller, or two processes, at one payout",
    "C16": "one payment that hangs, and all others behind it",
    "C17": "the node restarts in the middle; an orphan that is pending for ever",
    "C18": "nothing left to pay with in the channels",
    "D1": "a settlement seen twice, a feed read from its beginning",
    "D2": "settled while we were down",
    "D3": "overpaid",
    "D4": "paid after it expired",
    "D5": "a node that was set back",
    "D6": "forged, replayed and foreign zap receipts",
    "D7": "zap requests that are wrong in every way, relays that lead inside",
    "E1": "deposits that are not deep enough, or replaced",
    "E2": "a reorganisation that takes back what is spent",
    "E3": "one output seen in three ways",
    "E4": "old addresses, dust, several outputs of one transaction",
    "E5": "killed between preparing and sending; a deposit address of ours as the destination",
    "E6": "the node's emergency reserve, everything withdrawn",
    "F1": "addresses that lead inside, however they are written; bodies without end",
    "F2": "a provider that answers with another amount or another invoice",
    "F3": "a payout address changed with a stolen key",
    "G1": "webhooks replayed, reordered, old, wrongly signed, of the test mode",
    "G2": "amounts that do not come from the card company itself",
    "G3": "completed, and not paid",
    "G4": "disputes, lost and won",
    "G5": "card money and promo on their way to becoming withdrawable",
    "G6": "prices in fiat that have expired",
    "H1": "shares that do not sum to the price",
    "H2": "killed at every step, a full disk, a clock that jumps",
    "H3": "yesterday's book beside today's node",
    "H4": "sums and products beyond 64 bits",
    "I1": "one event from three relays, and again after a restart",
    "I2": "job requests that are forged, of the future, or stale",
    "I3": "nodes that answer late, twice, for another's job, above the price, or never",
    "I4": "a cancel that meets the delivery",
    "I5": "a result that cannot be published",
    "I6": "wallet-connect requests replayed after a restart",
    "I7": "wraps whose seal and rumor disagree, commands of strangers, commands replayed",
    "I8": "floods of a relay, frames that are wrong in every way",
    "I9": "private events asked for by those they don't concern",
    "I10": "a token of NIP-98 used twice, or for something else",
    "J1": "a published figure that stands on few, or the difference of two",
    "J2": "somebody named or dated in a summary",
    "J3": "a summary that was changed, left out or doubled",
    "J4": "a liability left out or shrunk",
})  # fmt: skip

_TEST = re.compile(r"^(?:    )?(?:async )?def test_([a-j]\d{1,2})_\w+\(", re.MULTILINE)


@cache
def files_by_attack() -> Mapping[str, Mapping[str, int]]:
    """Return how many tests of which file bear an attack's name, by attack and file."""
    found: dict[str, dict[str, int]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in _TEST.findall(path.read_text(encoding="utf-8")):
            files = found.setdefault(name.upper(), {})
            file = path.relative_to(ROOT / "tests").as_posix().removesuffix(".py")
            files[file] = files.get(file, 0) + 1
    return MappingProxyType(found)


def table() -> Iterator[str]:
    """Yield the lines of the table of attacks: what, and in which files how many tests."""
    for attack, about in ATTACKS.items():
        yield f"{attack:<4}{about}"
        yield f"      {', '.join(f'{file} ({count})' for file, count in files_by_attack().get(attack, {}).items())}"
