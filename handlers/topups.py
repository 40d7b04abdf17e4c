"""`topup`: the ways in which somebody can add to their balance.

With a sum there is one way: an invoice, or the sender's own address on the chain. Without
one there are all that take any sum: an invoice that names none, a standing offer (BOLT12),
which can be paid again and again, and the address. What arrives is credited, whatever was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from handlers.bot import Bot
from handlers.card_offers import page_of, price_in_words, quote_offer
from handlers.conversation import Asked, Reply
from handlers.deposits import deposit_address
from handlers.invoices import make_invoice, new_invoice
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.nostr import nip19
from wallet.accounts import company, of, user
from wallet.journals import bulk_bonus
from wallet.ledger import Change, Insert, Values
from wallet.money import MSAT_PER_SAT, Msat, format_sat, parse_amount

_SAT_PER_BTC = 100_000_000


async def topup(bot: Bot, asked: Asked) -> Reply:
    """`topup`, `topup <sats>`, `topup <sats> lightning`, `topup <sats> onchain`, `topup <sats> card`."""
    match asked.words:
        case []:
            return await _all_ways(bot, asked)
        case [sats] | [sats, "lightning"]:
            return await _by_lightning(bot, asked, await _wanted(bot, asked.sender, sats))
        case [sats, "onchain"]:
            return await _on_chain(bot, asked, await _wanted(bot, asked.sender, sats))
        case [sats, "card"]:
            return await _by_card(bot, asked, parse_amount(f"{sats} sat"))
        case [_, _]:
            raise Rejected("invalid", "by lightning, onchain, or card")
        case _:
            raise Rejected("invalid", "too many words")


async def topup_company(bot: Bot, asked: Asked, found: Row, words: Sequence[str]) -> Reply:
    """`<sats>`, `<sats> lightning`, `<sats> onchain`: for the company whose row is `found`."""
    limits = bot.config.companies
    match words:
        case [sats] | [sats, "lightning" | "onchain"]:
            amount = parse_amount(f"{sats} sat")
        case [_, _]:
            raise Rejected("invalid", "by lightning, or onchain")
        case _:
            raise Rejected("invalid", "say how many sats")
    if not bot.config.limits.topup_min <= amount <= limits.topup_max:
        allowed = f"{format_sat(bot.config.limits.topup_min)} to {format_sat(limits.topup_max)}"
        raise Rejected("invalid", f"a top-up is {allowed}")
    if await bot.book.balance(of(company(found["id"]))) + amount > limits.balance_max:
        raise Rejected("invalid", f"a balance is at most {format_sat(limits.balance_max)}")
    reply = await (_on_chain if words[-1] == "onchain" else _by_lightning)(bot, asked, amount, found)
    bonus = bulk_bonus(amount, bot.bulk)
    promised = f"\nIt brings {format_sat(bonus)} more, for our own part of jobs." if bonus else ""
    return replace(reply, text=f"{reply.text}{promised}")


async def _wanted(bot: Bot, sender: str, sats: str) -> Msat:
    amount, limits = parse_amount(f"{sats} sat"), bot.config.limits
    if not limits.topup_min <= amount <= limits.topup_max:
        allowed = f"{format_sat(limits.topup_min)} to {format_sat(limits.topup_max)}"
        raise Rejected("invalid", f"a top-up is {allowed}")
    if await bot.book.balance(user(sender)) + amount > limits.balance_max:
        raise Rejected("invalid", f"a balance is at most {format_sat(limits.balance_max)}")
    return amount


async def _by_lightning(bot: Bot, asked: Asked, amount: Msat, found: Row | None = None) -> Reply:
    bolt11, row = await _invoice(bot, asked, amount, found)
    whose = "your balance" if found is None else f"the balance of {found['id']}"
    return Reply(f"Pay this invoice to add {bot.shown(amount)} to {whose}:\n{bolt11}", (row,))


async def _by_card(bot: Bot, asked: Asked, amount: Msat) -> Reply:
    offer, row = await quote_offer(bot, asked.sender, amount, cause=f"dm/{asked.rumor}")
    minutes = bot.config.card.quote_seconds // 60
    text = (
        f"{format_sat(amount)} by card cost {price_in_words(offer)}, for jobs only. Read the terms and pay here,"
        f" within {minutes} minutes:\n{page_of(bot, offer.id)}"
    )
    return Reply(text, (row,))


async def _on_chain(bot: Bot, asked: Asked, amount: Msat, found: Row | None = None) -> Reply:
    rules = bot.deposit_rules
    if amount < rules.minimum_msat:
        raise Rejected("invalid", f"on-chain, a top-up is at least {format_sat(rules.minimum_msat)}")
    org = "" if found is None else found["id"]
    address, changes = await deposit_address(bot, asked.sender, org)
    needs, whose = rules.needed(amount), f"for {org}" if org else "yours"
    fee = f" {format_sat(rules.fee_msat)} are taken off each deposit." if rules.fee_msat else ""
    sat = amount // MSAT_PER_SAT
    text = (
        f"Send {bot.shown(amount)} to this address, which is {whose} alone; it counts after {needs}"
        f" confirmation{'s' if needs > 1 else ''}.{fee}\n{address}\n"
        # BIP-21: the amount is in whole bitcoin
        f"bitcoin:{address}?amount={sat // _SAT_PER_BTC}.{sat % _SAT_PER_BTC:08d}"
    )
    return Reply(text, changes)


async def _all_ways(bot: Bot, asked: Asked) -> Reply:
    bolt11, row = await _invoice(bot, asked, None)
    offer, offered = await _standing_offer(bot, asked.sender)
    lines = [
        f"Pay this invoice with what you like, once:\n{bolt11}",
        f"Or this offer (BOLT12), as often as you like:\n{offer}",
    ]
    changes: tuple[Change, ...] = (row, *offered)
    if bot.config.onchain.enabled:
        address, addressed = await deposit_address(bot, asked.sender)
        minimum = format_sat(bot.deposit_rules.minimum_msat)
        lines.append(f"Or send {minimum} or more to this address on-chain:\n{address}")
        changes += addressed
    return Reply("\n".join(lines), changes)


async def _invoice(bot: Bot, asked: Asked, amount: Msat | None, found: Row | None = None) -> tuple[str, Insert]:
    """Return an invoice and its row; its label is the rumor's, so a repeat finds the same one."""
    org, whom = ("", "") if found is None else (found["id"], f" of {found['name'] or found['id']}")
    invoice = await make_invoice(
        bot,
        label=f"topup/{asked.rumor}",
        amount_msat=amount,
        description=f"{bot.config.service.name}: top-up{whom}",
        expiry_seconds=bot.config.jobs.payment_seconds,
    )
    return invoice.bolt11, new_invoice(
        invoice, purpose="topup", owner=asked.sender, job="", now=bot.clock.now(), company=org
    )


async def _standing_offer(bot: Bot, owner: str) -> tuple[str, tuple[Change, ...]]:
    """Return the owner's offer, and the row of a new one. Its words hold their name, so everybody has another one."""
    rows = await bot.book.database.fetch(
        "SELECT bolt12 FROM offers WHERE owner = :owner ORDER BY created_at, id LIMIT 1", owner=owner
    )
    if rows:
        return rows[0]["bolt12"], ()
    npub = nip19.encode_npub(owner)
    offer = await bot.lightning.create_offer(
        description=f"{bot.config.service.name}: top-up of {npub}", label=f"offer/{owner}"
    )
    values: Values = {"owner": owner, "bolt12": offer.bolt12, "created_at": bot.clock.now()}
    return offer.bolt12, (Insert("offers", offer.offer_id, values),)
