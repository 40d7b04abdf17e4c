"""What an entry of the book means, in words for whoever has the money. Pure.

Every reason that a journal gives a transfer is told here, once, for private messages,
statements and the operator's `books explain`.
"""

from __future__ import annotations

from wallet.accounts import CARD_RECEIVABLE, NODE_LIGHTNING, NODE_ONCHAIN, Account

ID_CHARACTERS = 8  # of a job or a payment that are shown: enough to find it, and to read

_HELD = {
    "hold": "held for {cause}",
    "release": "back from {cause}, which was not charged",
    "unused": "back from {cause}: not needed",
    "refund": "paid back: {cause}",
    "payout": "paid out",
    "fee": "routing fee",
    "fee rounded up": "part of the transaction's fee",
    "reserve not needed": "back from {cause}: fee reserve not needed",
    "not taken": "back from {cause}: not taken by the wallet",
    "stopped": "back from {cause}, which was given up",
    "topup": "top-up",
    "job": "paid by invoice, for a job",
    "card": "bought by card",
    "bonus": "bonus",
    "bonus taken back": "bonus taken back",
    "referral taken back": "referral taken back: {cause} was paid back",
    "dissolved": "what was left of a company",
    "bulk bonus": "bonus for a large top-up",
    "owed": "debt paid",
    "matured": "earned from card money: now sats",
    "advanced": "earned from card money: advanced",
    "advance": "earned from card money: advanced",
    "deposit": "top-up on-chain",
    "deposit reversed": "deposit undone by the chain",
    "internal": "between users of this service",
}
_TAKEN_BACK = {
    "disputed": "taken back by the card company",
    "won": "given back: the dispute was won",
    "written off": "debt written off",
}


def told(*, plan: str, account: Account, other: Account, reason: str) -> str:
    """Say why money came to or left `account`; `other` is where it came from or went."""
    cause = cause_in_words(plan)
    if reason == "fee" and NODE_ONCHAIN in {account, other}:
        return _HELD["fee rounded up"]
    outside = other in {NODE_LIGHTNING, NODE_ONCHAIN, CARD_RECEIVABLE}
    if reason == "zap" and not outside:
        return f"zap, {_HELD['internal']}"
    if reason in _HELD:
        return _HELD[reason].format(cause=cause)
    word, _, rest = reason.partition(":")
    if word in _TAKEN_BACK:
        return f"{_TAKEN_BACK[word]} ({rest})"
    if rest and plan.startswith("job/"):
        earned = f"earned as {word} in {cause}"
        return earned if not account.endswith("/maturing") else f"{earned}, from card money"
    return f"{reason} ({cause})" if not outside else f"{reason}, from outside"


def cause_in_words(plan: str) -> str:
    """Name what a Plan was about: `job 1a2b3c4d`, `payout 3`."""
    what, _, rest = plan.partition("/")
    if what == "lot":  # named after the job in which it was earned
        return cause_in_words(rest)
    name = rest.split("/")[1] if what == "payout" and "/" in rest else rest.split("/")[0]
    return f"{what} {name[:ID_CHARACTERS]}".strip()


def class_in_words(account: Account) -> str:
    """Name the class of an account as its owner knows it: `sats`, `card`, `maturing`."""
    return account.rpartition("/")[2]
