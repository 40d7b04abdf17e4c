"""What the owner of a payout hears of it, in words. Pure.

Whoever asked for a withdrawal always hears its end. Of payouts by themselves only those
hear who have said where private messages reach them (NIP-17: kind 10050).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from relaybot.db.database import Row
from wallet.ledger import Change, Plan, Update
from wallet.money import format_sat
from wallet.states import PayoutKind, PayoutState

_SHOWN_CHARACTERS_MAX = 44  # a bitcoin address is shown whole, an invoice by its ends


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to `pubkey`; `asked` if it answers something they asked for."""

    pubkey: str
    text: str
    asked: bool


Tell = Callable[[Notice], Awaitable[Sequence[Change]]]  # the events owed to somebody who shall hear of their money


async def tell_nobody(_notice: Notice) -> Sequence[Change]:
    """Owe no message."""
    return ()


def notice_of(payout: Row, plan: Plan) -> Notice | None:
    """Return what `plan` is to the owner of `payout`: its end, or the first time it has to wait; None for all else."""
    after = next((one.values for one in plan.changes if isinstance(one, Update) and one.table == "payouts"), {})
    asked, what = _is_asked(payout), _what(payout)
    match after.get("state"):
        case PayoutState.PAID.value:
            fee = format_sat(int(after["fee_msat"] or 0))
            return Notice(payout["pubkey"], f"Paid: {what}. The way there cost {fee}.", asked)
        case PayoutState.STOPPED.value:
            reason = after["reason"]
            return Notice(payout["pubkey"], f"Not paid: {what}. Why: {reason}. The money is your balance again.", asked)
        case PayoutState.WAITING.value if asked and payout["state"] != PayoutState.WAITING.value:
            waits = (
                f"Not paid yet: {what}. Why: {after['reason']}. It is tried again by itself, and you are told the end."
            )
            return Notice(payout["pubkey"], waits, asked)
        case _:
            return None


def sent_notice(payout: Row, txid: str) -> Notice:
    """Return what is said when a transaction on the chain is in the world."""
    text = f"Sent: {_what(payout)}, in transaction {txid}. You are told when it is confirmed."
    return Notice(payout["pubkey"], text, _is_asked(payout))


def confirmed_notice(payout: Row, fee_msat: int, txid: str) -> Notice:
    """Return what is said when a transaction lies deep enough."""
    text = f"Paid: {_what(payout)}, confirmed in transaction {txid}. Its part of the fee was {format_sat(fee_msat)}."
    return Notice(payout["pubkey"], text, _is_asked(payout))


def stuck_notice(payout: Row) -> Notice:
    """Return what is said when a payment was sent long ago and its end is not known."""
    text = (
        f"On its way and not confirmed yet: {_what(payout)}. The money stays held until it is known whether it arrived;"
        " you need not do anything."
    )
    return Notice(payout["pubkey"], text, _is_asked(payout))


def shown(target: str) -> str:
    """Return a destination as it is shown to people."""
    return target if len(target) <= _SHOWN_CHARACTERS_MAX else f"{target[:16]}…{target[-8:]}"


def _is_asked(payout: Row) -> bool:
    return PayoutKind(payout["kind"]) is PayoutKind.WITHDRAWAL


def _what(payout: Row) -> str:
    name = "your withdrawal" if _is_asked(payout) else "your payout"
    return f"{name} of {format_sat(payout['amount_msat'])} to {shown(payout['target'])}"
