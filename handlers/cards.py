"""Card payments from the book's side, and what the operator gives: each function returns one Plan.

Whoever speaks to a card company (a web hook, the operator at the command line) calls these
with what the company's own record says, never with what a browser or a message said:

    plan_card_bought     the payment is complete: card money, which pays for jobs only
    follow_dispute       a dispute or refund of it: opened, won or lost, whatever came before
    plan_card_settled    the company has paid out to the bank
    plan_written_off     the operator gives up what is still owed for it

A Plan's key derives from the payment, so whatever arrives twice is booked once; all changes
guard what was read, so `book.decide(partial(plan_…, bot, …))` is how each is called. The
money's rules stand in `wallet/deposits.py`, what follows by itself in `lots.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from functools import partial

import structlog

from handlers.bot import Bot, check_payouts
from handlers.credits import funded
from relaybot.errors import Rejected
from wallet.accounts import Class, Owner, company, of, owner, person
from wallet.deposits import (
    CardDeposit,
    Debt,
    plan_bought,
    plan_dispute_lost,
    plan_dispute_won,
    plan_disputed,
    plan_part_back,
)
from wallet.deposits import plan_written_off as loss_of
from wallet.journals import plan_bonus, plan_card_settlement
from wallet.ledger import Change, Journal, Plan, Verdict
from wallet.lots import Lot
from wallet.money import Msat, format_sat
from wallet.payout_notices import Notice
from wallet.purses import card_payment_of, debt_of
from wallet.states import DepositState

log = structlog.get_logger()

TOLD_MAX = 100  # earners who are told that a dispute took from them, those of the largest sums; all see it in `history`

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)  # a part of Plan keys


@dataclass(frozen=True, slots=True)
class CardPayment:
    """A complete payment as the card company's own record tells it."""

    id: str  # the company's own name for it, unique for ever
    pubkey: str  # who paid: owes it, if it is taken back
    amount_msat: Msat  # what it bought, at the rate it was quoted
    paid_at: int  # the oldest is spent first
    company: str | None = None  # for which it was paid, by one of its members


class DisputeState(Enum):
    """How a dispute stands by the card company's own record. A refund is a dispute that is lost at once."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


async def plan_card_bought(bot: Bot, payment: CardPayment, *changes: Change) -> Plan:
    """Credit a complete card payment, once; a debt of the payer's is paid out of it first.

    `changes` are the caller's own rows of the same fact. Rejected if its id cannot be one, or there is no such company.
    """
    _require_id(payment.id)
    if payment.company and await bot.book.row("companies", payment.company) is None:
        raise Rejected("invalid", "no company has this id", found=payment.company[:40])
    deposit = CardDeposit(
        id=payment.id,
        version=0,
        account=of(company(payment.company) if payment.company else person(payment.pubkey), Class.CARD),
        pubkey=payment.pubkey,
        amount_msat=payment.amount_msat,
        state=DepositState.GOOD,
        written_off_msat=Msat(0),
        created_at=payment.paid_at,
    )
    debt = await debt_of(bot.book.database, payment.pubkey)
    journal = plan_bought(deposit, debt)
    left = payment.amount_msat - min(payment.amount_msat, debt.owed_msat)
    text = f"You bought {format_sat(payment.amount_msat)} by card: money for jobs."
    if debt.owed_msat:
        text = (
            f"You bought {format_sat(payment.amount_msat)} by card. It paid what you owed; {format_sat(left)} are left."
        )
    told = await bot.tell(Notice(payment.pubkey, text, asked=True))
    return journal.plan(f"card/{payment.id}/bought", await funded(bot, payment.pubkey), *told, *changes)


async def follow_dispute(
    bot: Bot, payment_id: str, seen: DisputeState, amount_msat: Msat | None = None
) -> DepositState:
    """Bring a card payment to where the card company's own record says its dispute stands; return its state.

    `amount_msat` is all that is disputed or refunded of the payment now; if None, what was so far, or
    the whole of a good one. What is more is taken, what is less given back; the same word again
    changes nothing. Rejected if the payment was never credited (the word may have come before it:
    ask again later), or is smaller than that.
    """
    while (answer := await bot.book.decide(partial(plan_dispute, bot, payment_id, seen, amount_msat))).done:
        if answer.verdict is Verdict.ALREADY:
            deposit = (await _payment(bot, payment_id))[0]
            return deposit.state
    raise Rejected("error", "the book did not take it", detail=answer.reason)


async def plan_dispute(bot: Bot, payment_id: str, seen: DisputeState, amount_msat: Msat | None = None) -> Plan | None:
    """Return the next step of a card payment towards what its dispute was `seen` to be; None where it is there."""
    deposit, lots, debt = await _payment(bot, payment_id)
    is_good, before = deposit.state is DepositState.GOOD, deposit.disputed_msat
    total = amount_msat if amount_msat is not None else deposit.amount_msat if is_good else before
    key = f"card/{payment_id}"
    if seen is DisputeState.WON:
        if is_good:
            return None
        text = f"The dispute about your card payment {payment_id} is over: what was taken back was given back."
        told = await bot.tell(Notice(deposit.pubkey, text, asked=False))
        return plan_dispute_won(deposit, lots, debt).plan(f"{key}/won/{deposit.version}", *told)
    if not 0 < total <= deposit.amount_msat:
        raise Rejected("invalid", "no part of this card payment", paid=format_sat(deposit.amount_msat))
    if total < before:
        text = f"Less of your card payment {payment_id} is disputed or refunded than was:"
        notice = Notice(deposit.pubkey, f"{text} a part of what was taken back was given back.", asked=False)
        back = plan_part_back(deposit, lots, debt, total)
        return back.plan(f"{key}/won/{deposit.version}", *await bot.tell(notice))
    if total > before or (seen is DisputeState.OPEN and deposit.state is DepositState.LOST):
        journal = plan_disputed(deposit, lots, total, now=bot.clock.now())
        log.warning("card_payment_disputed", payment=payment_id, pubkey=deposit.pubkey)
        return journal.plan(f"{key}/disputed/{deposit.version}", *await _told(bot, deposit, journal))
    if seen is DisputeState.LOST and deposit.state is DepositState.DISPUTED:
        return plan_dispute_lost(deposit).plan(f"{key}/lost/{deposit.version}")
    return None


async def plan_written_off(bot: Bot, payment_id: str) -> Plan:
    """Give up what is still owed for a disputed card payment: the payer may use the service again.

    Rejected if there is no such payment, or nothing is owed for it.
    """
    deposit, lots, debt = await _payment(bot, payment_id)
    journal = Journal() if deposit.state is DepositState.GOOD else loss_of(deposit, lots, debt)
    if not journal.transfers:
        raise Rejected("invalid", "nothing is owed for this card payment", state=deposit.state.value)
    told = await bot.tell(Notice(deposit.pubkey, "What you owed for a card payment was written off.", asked=False))
    return journal.plan(f"card/{payment_id}/written-off/{deposit.version}", *told)


async def plan_card_settled(settlement_id: str, *, gross_msat: int, fee_msat: Msat, bank_msat: int) -> Plan:
    """Book what the card company has paid out to the bank, once for each of its own ids of a payout.

    Rejected if the id cannot be one. Amounts as in `wallet.journals.plan_card_settlement`.
    """
    _require_id(settlement_id)
    journal = plan_card_settlement(gross_msat=gross_msat, fee_msat=fee_msat, bank_msat=bank_msat)
    return journal.plan(f"settlement/{settlement_id}/booked")


async def plan_bonus_given(bot: Bot, to: Owner, amount_msat: Msat, name: str) -> Plan:
    """Give promo money, once to each owner under each `name` (`welcome`): it pays for jobs only.

    Rejected if that cannot be a name.
    """
    _require_id(name)
    pubkey = owner(of(to))
    told = (
        ()
        if pubkey is None
        else await bot.tell(
            Notice(pubkey, f"You were given a bonus of {format_sat(amount_msat)}: money for jobs.", asked=False)
        )
    )
    return plan_bonus(to, amount_msat, "bonus").plan(f"bonus/{name}/{to}", *told)


async def _payment(bot: Bot, payment_id: str) -> tuple[CardDeposit, tuple[Lot, ...], Debt]:
    found = await card_payment_of(bot.book.database, payment_id)
    if found is None:
        raise Rejected("invalid", "no card payment has this id", found=payment_id[:80])
    return found


async def _told(bot: Bot, deposit: CardDeposit, journal: Journal) -> tuple[Change, ...]:
    """Return the word to the payer, and to those whose earnings were taken."""
    taken: Counter[str] = Counter()
    for transfer in journal.transfers:
        earner = owner(transfer.debit)
        if earner is not None and transfer.debit.endswith("/maturing"):
            taken[earner] += transfer.amount_msat
    owes = sum(transfer.amount_msat for transfer in journal.transfers if transfer.debit.endswith("/owed"))
    text = f"Your card payment {deposit.id} was disputed or refunded: what was left of it is taken back."
    if owes:
        text += f" You owe {format_sat(owes)}; the next top-up pays it, and until then your account rests."
    # their row is written, too: a withdrawal that was decided before is decided again
    changes: list[Change] = [*check_payouts([deposit.pubkey], bot.clock.now())]
    changes += await bot.tell(Notice(deposit.pubkey, text, asked=False))
    for earner, amount in taken.most_common(TOLD_MAX):
        lost = f"A card payment was disputed: {format_sat(amount)} of what you earned from it are taken back."
        changes += await bot.tell(Notice(earner, lost, asked=False))
    return tuple(changes)


def _require_id(text: str) -> None:
    if not _ID.fullmatch(text):
        raise Rejected("invalid", "1 to 100 letters, digits, - or _", found=text[:80])
