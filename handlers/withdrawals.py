"""`withdraw`: a user sends what is theirs to wherever they say, once for each message.

The hold is part of the Plan that marks the message as done; from there on the withdrawal
goes the way of every payout (`wallet/payouts.py`), and its owner is told the end. Only
sats can leave: card money and gifts pay for jobs.
"""

from __future__ import annotations

from dataclasses import replace

from handlers.bot import Bot
from handlers.conversation import Asked, Reply
from handlers.credits import plan_company_fed, plan_fed, require_no_debt
from handlers.settlements import InternalPayment, pay_internally
from relaybot.db.database import Row
from relaybot.errors import Rejected
from wallet.accounts import user
from wallet.batch_rules import quote
from wallet.bolt11_invoice import parse_bolt11
from wallet.bolt12_offer import Offer
from wallet.chain_address import ChainAddress
from wallet.destinations import Destination, PayTarget
from wallet.ledger import Expect, Journal
from wallet.lightning import DecodedInvoice
from wallet.lnurl import OWN_NODE
from wallet.money import Msat, format_sat, parse_amount
from wallet.obstacles import closed_words, paused_words
from wallet.opening import PayoutRules, check_balance, check_limits, opened, reserve_msat, whole_balance, whole_less
from wallet.payees import read_destination
from wallet.payout_checks import outflow_of
from wallet.payout_notices import shown
from wallet.states import PayoutKind, Rail
from wallet.switches import RESTORED

ALL = "all"
OWN_ADDRESS = "that is an address of this service's own wallet: nothing would leave"

LightningDestination = DecodedInvoice | PayTarget | Offer


async def withdraw(bot: Bot, asked: Asked) -> Reply:
    """`withdraw <sats|all> <destination>`; an invoice that names its amount may stand alone."""
    said, where = _words(asked)
    inside = await pay_inside(bot, asked.sender, where, parse_amount(f"{said} sat") if said.isdecimal() else None)
    if inside is not None:
        text = f"{bot.shown(inside.amount_msat)} are paid: the invoice is of this service, so nothing had to leave."
        return Reply(text, inside.journal.changes, inside.journal.transfers)
    given = await _to_a_user(bot, asked, said, where)
    if given is not None:
        return given
    destination = await _destination(bot, where)
    row = await bot.book.row("users", asked.sender)
    if row is None:
        raise Rejected("invalid", "you have no balance yet")
    rail = Rail.ONCHAIN if isinstance(destination, ChainAddress) else Rail.LIGHTNING
    await require_open(bot, row, rail)
    await require_no_debt(bot, asked.sender)  # `opened` guards the row, which was read before
    rules, balance = bot.payout_rules, await bot.book.balance(user(asked.sender))
    if isinstance(destination, ChainAddress):
        amount, reserve, most = await _on_chain(bot, said, destination, balance)
    else:
        amount, reserve = _amounts(said, destination, rules, balance)
        most, _ = whole_balance(rules, balance)
    check_balance(balance, amount=amount, reserve=reserve, most=most)
    check_limits(rules, await outflow_of(bot.book, asked.sender, bot.clock.now()), amount)
    if isinstance(destination, DecodedInvoice) and await bot.book.row("attempts", destination.payment_hash) is not None:
        raise Rejected("duplicate", "this invoice was used before: ask for a new one")
    target = destination.bolt11 if isinstance(destination, DecodedInvoice) else str(destination)
    held, changes = opened(
        row,
        asked.rumor,
        target,
        kind=PayoutKind.WITHDRAWAL,
        rail=rail,
        amount=amount,
        reserve=reserve,
        now=bot.clock.now(),
    )
    text = (
        f"{bot.shown(amount)} go to {shown(target)}. {format_sat(reserve)} are kept ready for {_way(bot, rail)};"
        f" what it does not need comes back. I tell you when it has arrived."
    )
    return Reply(text, changes, (held,))


def _way(bot: Bot, rail: Rail) -> str:
    if rail is Rail.LIGHTNING:
        return "the way there"
    minutes = -(-bot.config.onchain.batch_seconds // 60)
    return f"its part of the transaction's fee, which goes out within {minutes} minutes together with others"


async def _on_chain(bot: Bot, said: str, address: ChainAddress, balance: int) -> tuple[Msat, Msat, Msat]:
    """Return what shall arrive, what is kept ready for the fee, and the most that could be sent."""
    if not bot.config.onchain.enabled:
        raise Rejected("invalid", "this service sends no bitcoin on-chain: withdraw by Lightning")
    if await bot.chain.is_own(address.text):
        raise Rejected("invalid", OWN_ADDRESS)
    rules = bot.batch_rules
    now = quote(address.script, feerate=await bot.chain.feerate(rules.fees.blocks), rules=rules)
    most = whole_less(balance, now.reserve_msat)
    amount = most if said.lower() == ALL else _said_amount(said, None)
    now.check(amount)
    return amount, now.reserve_msat, most


async def _to_a_user(bot: Bot, asked: Asked, said: str, where: str) -> Reply | None:
    """Pay to the deposit address of one of our users inside the book, at no fee (E5); None if it is none."""
    try:
        address = await _destination(bot, where)
    except Rejected:  # it is refused where all destinations are
        return None
    row = await bot.book.row("addresses", str(address)) if isinstance(address, ChainAddress) else None
    if row is None:
        return None
    if row["owner"] == asked.sender and not row["company"]:
        raise Rejected("invalid", "that is your own address here: nothing would leave")
    payer = await bot.book.row("users", asked.sender)
    if payer is None:
        raise Rejected("invalid", "you have no balance yet")
    await require_open(bot, payer, Rail.ONCHAIN)
    owes_nothing = await require_no_debt(bot, asked.sender)
    balance = await bot.book.balance(user(asked.sender))
    amount = whole_less(balance, Msat(0)) if said.lower() == ALL else _said_amount(said, None)
    if not 0 < amount <= balance:
        raise Rejected("invalid", f"your balance is {format_sat(balance)}")
    if row["company"]:
        cause = f"internal/{asked.rumor}"
        journal = await plan_company_fed(
            bot, cause, row["company"], row["owner"], amount, source=user(asked.sender), brings_bonus=False
        )
    else:
        journal = await plan_fed(bot, row["owner"], amount, "internal", source=user(asked.sender))
    arrived = bot.message(row["owner"], f"{bot.shown(amount)} arrived from another user here.")
    still_open = Expect("users", asked.sender, {"withdrawals": "open"})
    text = f"{bot.shown(amount)} are paid: the address is of a user of this service, so nothing had to leave."
    return Reply(text, (owes_nothing, still_open, *journal.changes, arrived), journal.transfers)


async def pay_inside(bot: Bot, payer: str, where: str, amount: Msat | None) -> InternalPayment | None:
    """Pay an invoice of ours out of the payer's balance, at no fee; None if `where` is no invoice of ours.

    It is an exit like any other: Rejected where withdrawals are closed or paused.
    """
    try:
        invoice = parse_bolt11(where)
    except Rejected:  # another destination
        return None
    paid = await pay_internally(bot, payer, invoice.bolt11, amount)
    if paid is None:
        return None
    row = await bot.book.row("users", payer)
    if row is None:
        raise Rejected("invalid", "you have no balance yet")
    await require_open(bot, row, Rail.LIGHTNING)
    still_open = Expect("users", payer, {"withdrawals": "open"})
    return replace(paid, journal=paid.journal + Journal(changes=(still_open,)))


def _words(asked: Asked) -> tuple[str, str]:
    match asked.words:
        case [where] if where.lower() != ALL and not where.isdecimal():
            return "", where
        case [said, where]:
            return said, where
        case _:
            raise Rejected("invalid", "say how much, and where to")


async def _destination(bot: Bot, where: str) -> Destination:
    node, domain, onions = await bot.lightning.info(), bot.config.web.domain, bot.config.outgoing.onions
    try:
        return read_destination(where, node, bot.clock.now(), domain=domain, onions=onions)
    except Rejected as refusal:
        if refusal.reason != OWN_NODE:
            raise
        raise Rejected("invalid", "that is a wallet on this service's own node: nothing would leave") from None


async def require_open(bot: Bot, row: Row, *rails: Rail) -> None:
    """Raise Rejected if withdrawals are closed for this user, a row of `users`, or paused for all, or on a rail."""
    if row["withdrawals"] != "open":
        raise Rejected("restricted", closed_words(row["withdrawals_reason"]))
    found = await bot.book.database.rows_by_id("pauses", ["withdrawals", *(rail.value for rail in rails), RESTORED])
    for _, pause in sorted(found.items()):
        if pause["state"] != "open":
            raise Rejected("restricted", paused_words(pause))


def _amounts(said: str, destination: LightningDestination, rules: PayoutRules, balance: int) -> tuple[Msat, Msat]:
    """Return what shall arrive and what is kept for the way; Rejected if the two words contradict each other."""
    asks = destination.amount_msat if isinstance(destination, DecodedInvoice | Offer) else None
    if said.lower() == ALL:
        amount, reserve = whole_balance(rules, balance)
    else:
        amount = _said_amount(said, asks)
        reserve = reserve_msat(rules, amount)
    if asks is not None and asks != amount:
        raise Rejected("invalid", f"this is for exactly {format_sat(asks)}: say so, or leave the number out")
    if amount == 0:
        raise Rejected("invalid", "there is nothing to send")
    return amount, reserve


def _said_amount(said: str, asks: Msat | None) -> Msat:
    if said:
        return parse_amount(f"{said} sat")
    if asks is None:
        raise Rejected("invalid", "say how much, and where to")
    return asks
