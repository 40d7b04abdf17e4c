"""Top-ups by card that wait for the operator: seen, taken as they are, given back; customers verified."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from handlers.bot import Bot, written
from handlers.card_offers import offer_of
from handlers.card_payments import nudge
from relaybot.config import Config
from relaybot.desk import card_desk
from relaybot.errors import Rejected
from relaybot.keyring import Keyring
from relaybot.nostr import nip19
from relaybot.operator.opening import Answer, decide, opened, opened_bot
from wallet.card_rules import NEVER, Doubt, Offer
from wallet.ledger import Plan, Update
from wallet.rates import format_units
from wallet.states import OfferState

_OFFERS = "SELECT * FROM card_offers WHERE state = :state OR :state = '' ORDER BY created_at DESC, id LIMIT :limit"


async def list_offers(config: Config, state: str, limit: int) -> Sequence[Answer]:
    """Return the newest top-ups by card in this state, of any if it is empty."""
    async with opened(config) as book:
        rows = await book.database.fetch(_OFFERS, state=state, limit=limit)
    offers = [Offer.of_row(row) for row in rows]
    return [
        {
            "id": offer.id,
            "npub": nip19.encode_npub(offer.pubkey),
            "amount_msat": offer.amount_msat,
            "price": format_units(offer.minor, offer.currency),
            "state": offer.state.value,
            "doubts": offer.doubts,
            "payment": offer.payment or "",
            "created_at": offer.created_at,
        }
        for offer in offers
    ]


async def approve(config: Config, keyring: Keyring, offer_id: str) -> Answer:
    """Take a payment that is held as it is: the service credits it soon. Rejected if it is not held, or cannot be."""
    async with opened_bot(config, keyring) as bot:
        taken = await decide(bot, partial(_decide_approved, bot, offer_id))
    return {"id": offer_id, **taken}


async def _decide_approved(bot: Bot, offer_id: str) -> Plan | None:
    offer, now = await offer_of(bot, offer_id), bot.clock.now()
    if offer.approved_at is not None:
        return None
    doubts = {Doubt(doubt) for doubt in offer.doubts.split(",") if doubt}
    if offer.state is not OfferState.HELD or not NEVER.isdisjoint(doubts):
        raise Rejected("invalid", "this top-up cannot be approved", state=offer.state.value, doubts=offer.doubts)
    row = Update("card_offers", offer.id, {"approved_at": now, "look_at": now}, expect={"version": offer.version})
    return Plan(f"offer/{offer.id}/approved", changes=(row,))


async def refund(config: Config, keyring: Keyring, offer_id: str) -> Answer:
    """Give the payment of a top-up back to its card, whole; what was credited of it is taken back by the service.

    Rejected if it was not paid. The card company gives it back once, however often it is asked.
    """
    desk = card_desk(config)
    if desk is None:
        raise Rejected("invalid", "no card company is configured")
    try:
        async with opened_bot(config, keyring) as bot:
            offer = await offer_of(bot, offer_id)
            if offer.payment is None:
                raise Rejected("invalid", "this top-up was not paid", state=offer.state.value)
            await desk.provider.refund(offer.payment)
            await nudge(bot, offer_id)
    finally:
        await desk.provider.close()
    return {"id": offer_id, "payment": offer.payment, "refunded": format_units(offer.minor, offer.currency)}


async def verify(config: Config, keyring: Keyring, pubkey: str, *, off: bool) -> Answer:
    """Say that a customer is known to the operator, or no longer; what was held for it alone is credited soon."""
    async with opened_bot(config, keyring) as bot:
        await decide(bot, partial(_decide_verified, bot, pubkey, off=off))
        held = await bot.book.database.fetch(
            "SELECT id FROM card_offers WHERE pubkey = :pubkey AND state = 'held' ORDER BY id", pubkey=pubkey
        )
        for row in held:
            await nudge(bot, row["id"])
    return {"npub": nip19.encode_npub(pubkey), "verified": not off, "held": [row["id"] for row in held]}


async def _decide_verified(bot: Bot, pubkey: str, *, off: bool) -> Plan:
    row, now = await bot.book.row("card_customers", pubkey), bot.clock.now()
    # Whoever is verified is trusted anew, whatever was suspected before.
    values = {"verified_at": None if off else now, "warned_at": row["warned_at"] if row is not None and off else None}
    version = row["version"] if row is not None else 0
    return Plan(f"customer/{pubkey}/verified/{version}", changes=(written("card_customers", pubkey, row, values),))
