"""Card payments, from the card company's page on: credited, held, given back, disputed, won.

Theory of operation. A webhook, an event of the card company's list and our own clock all do
the same: they say which offer is to be looked at. A look asks the card company for its own
objects and takes the one step that `wallet/card_rules.py` makes of them:

    open ──► credited: from here on a dispute or a refund is `cards.follow_dispute`
      │  ╲──► held ──► credited
      ╰──► expired    ╰──► returned ──► held, credited: a dispute that was won

Nothing that came with the word is believed, so it may come late, twice, in any order or not
at all. Each step is one Plan that guards the offer's version as it was when the card company
was asked: whatever happened meanwhile is looked at again. The Plan of the credit has the
payment's own id as its key: it is credited once (G1).
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import structlog

from handlers.bot import Bot, written
from handlers.card_offers import desk_of, price_in_words, stepped
from handlers.cards import CardPayment, DisputeState, follow_dispute, plan_card_bought
from relaybot.db.database import Row
from wallet.card_rules import Customer, Doubt, Move, Offer, is_warned, next_move, taken_msat
from wallet.cards import CardEvent, DisputeStatus, Payment
from wallet.ledger import Change, Plan, Put, Update
from wallet.money import format_sat
from wallet.states import OfferState, OfferStep

log = structlog.get_logger()

EVENTS = "card/events"  # the cursor: when the newest event that was read happened
OVERLAP_SECONDS = 600  # events may be listed a little after they happened
FIRST_SECONDS = 86_400  # how far back is read the first time
SEEN_MAX = 10_000  # events remembered, so that the overlap is not looked at again and again
LOOKS_MAX = 20  # offers looked at in one round
HELD_REST_SECONDS = 600  # between two looks at a payment that is held; events come faster

_DUE = "SELECT * FROM card_offers WHERE look_at <= :now ORDER BY look_at, id LIMIT :limit"
RESTING_MAX = 1_000  # offers that rest in memory; beyond, the one that rested first is looked at again

WORDS = {
    Doubt.AMOUNT: "another amount was paid than was quoted",
    Doubt.MODE: "it was paid with test money",
    Doubt.LATE: "it was paid after the price had expired",
    Doubt.AUTHENTICATION: "the cardholder has not been confirmed (3-D Secure)",
    Doubt.WARNING: "the bank has asked about it",
    Doubt.REVIEW: "the card company looks at it",
    Doubt.VERIFICATION: "we look at each customer's first payment",
}


async def tell(bot: Bot, event: CardEvent) -> bool:
    """Note that an event is about an offer of ours, which is looked at soon; tell whether it is."""
    column, name = ("checkout", event.checkout) if event.checkout else ("payment", event.payment)
    rows = await bot.book.database.fetch(
        f"SELECT id FROM card_offers WHERE {column} = :name",  # noqa: S608  one of two words of ours
        name=name,
    )
    if not rows:
        return False
    await nudge(bot, rows[0]["id"])
    return True


async def nudge(bot: Bot, offer_id: str) -> None:
    """Let an offer be looked at soon."""
    await bot.book.decide(partial(_decide_told, bot, offer_id))


async def _decide_told(bot: Bot, offer_id: str) -> Plan | None:
    row = await bot.book.row("card_offers", offer_id)
    assert row is not None, f"offer {offer_id} is gone"
    look = Update("card_offers", offer_id, {"look_at": bot.clock.now()}, expect={"version": row["version"]})
    return Plan(f"offer/{offer_id}/told/{row['version']}", changes=(look,))


class CardPayments:
    """Follow the card company: its events, and the offers that are due."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._asked_at = 0
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._resting: OrderedDict[tuple[str, int], int] = OrderedDict()  # (offer, version) → until when

    async def follow(self) -> bool:
        """Read what has happened, look at what is due; never asks to be called again at once."""
        now = self._bot.clock.now()
        if now - self._asked_at >= self._bot.config.card.poll_seconds:
            await self._read_events()
            self._asked_at = now
        for row in await self._bot.book.database.fetch(_DUE, now=now, limit=LOOKS_MAX + len(self._resting)):
            if self._resting.get((row["id"], row["version"]), 0) <= now:
                await self._bot.stumbles.past("cards", row["id"], partial(self._look, row), otherwise=None)
        return False

    async def _read_events(self) -> None:
        bot = self._bot
        cursor, now = await bot.book.row("cursors", EVENTS), bot.clock.now()
        since = cursor["value"] - OVERLAP_SECONDS if cursor is not None else now - FIRST_SECONDS
        newest = cursor["value"] if cursor is not None else 0
        for event in await desk_of(bot).provider.events_since(since):
            if event.id not in self._seen:
                await tell(bot, event)
                self._seen[event.id] = None
            newest = max(newest, event.created_at)
        while len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        if cursor is None or newest > cursor["value"]:
            moved = written("cursors", EVENTS, cursor, {"value": newest or now, "mark": ""})
            await bot.book.apply(Plan(f"cursors/{EVENTS}/{cursor['version'] if cursor else 0}", changes=(moved,)))

    async def _look(self, row: Row) -> None:
        """Ask the card company about one offer, and take the step that follows."""
        bot, offer = self._bot, Offer.of_row(row)
        if not await look(bot, offer):
            held = offer.state is OfferState.HELD
            rest = HELD_REST_SECONDS if held else bot.config.card.poll_seconds
            self._resting[offer.id, offer.version] = bot.clock.now() + rest
            while len(self._resting) > RESTING_MAX:
                self._resting.popitem(last=False)


async def look(bot: Bot, offer: Offer) -> bool:
    """Take the step that follows from what the card company says of `offer` now; tell whether there was one."""
    plan = await _plan_of(bot, offer)
    # A conflict: something happened meanwhile, and is looked at in the next round.
    return plan is not None and (await bot.book.apply(plan)).done


async def _plan_of(bot: Bot, offer: Offer) -> Plan | None:
    match offer.state:
        case OfferState.QUOTED | OfferState.ACCEPTED:
            return _expired(offer)
        case OfferState.OPEN | OfferState.HELD:
            return await _plan_of_open(bot, offer)
        case OfferState.CREDITED:
            return await _plan_of_credited(bot, offer)
        case OfferState.RETURNED:  # a dispute from before the credit may be won
            return await _plan_of_open(bot, offer) or _rested(offer)
        case OfferState.EXPIRED:  # pragma: no branch  (the type checker knows no other)
            return _rested(offer)


async def _plan_of_open(bot: Bot, offer: Offer) -> Plan | None:
    assert offer.checkout is not None, f"offer {offer.id} is open without a checkout"
    desk = desk_of(bot)
    checkout = await desk.provider.checkout(offer.checkout)
    payment = await desk.provider.payment(checkout.payment) if checkout.payment else None
    customer = await bot.book.row("card_customers", offer.pubkey)
    wanted = Customer(
        must_be_verified=bot.config.card.verification == "operator",
        is_verified=customer is not None and customer["verified_at"] is not None,
    )
    move = next_move(offer, checkout, payment, wanted, live=desk.live)
    if move is None:
        return None
    if move.step is OfferStep.EXPIRE:
        return _expired(offer)
    assert payment is not None, f"offer {offer.id} moves by no payment"
    match move.step:
        case OfferStep.CREDIT:
            return await _plan_credited(bot, offer, payment)
        case OfferStep.GIVE_BACK:
            return _plan_returned(bot, offer, payment)
        case _:
            return _plan_held(bot, offer, payment, move)


async def _plan_credited(bot: Bot, offer: Offer, payment: Payment) -> Plan:
    log.info("card_credited", offer=offer.id, payment=payment.id, amount_msat=offer.amount_msat)
    owner, _, _ = offer.account.rpartition("/")
    bought = CardPayment(
        id=payment.id,
        pubkey=offer.pubkey,
        amount_msat=offer.amount_msat,
        paid_at=payment.created_at,
        company=owner.removeprefix("org/") if owner.startswith("org/") else None,
    )
    credited = stepped(offer, OfferStep.CREDIT, payment=payment.id, doubts="", look_at=None)
    return await plan_card_bought(bot, bought, credited)


def _plan_held(bot: Bot, offer: Offer, payment: Payment, move: Move) -> Plan | None:
    doubts = ",".join(doubt.value for doubt in move.doubts)
    if offer.state is OfferState.HELD and doubts == offer.doubts:
        return None
    log.warning("card_held", offer=offer.id, payment=payment.id, doubts=doubts)
    words = "; ".join(WORDS[doubt] for doubt in move.doubts)
    told = bot.message(
        offer.pubkey,
        f"Your payment of {price_in_words(offer)} by card has arrived, and is held for now: {words}."
        f" You hear from us when {format_sat(offer.amount_msat)} are added to your balance.",
    )
    held = stepped(offer, OfferStep.HOLD, payment=payment.id, doubts=doubts, look_at=bot.clock.now())
    return Plan(f"offer/{offer.id}/held/{offer.version}", changes=(held, told))


def _plan_returned(bot: Bot, offer: Offer, payment: Payment) -> Plan:
    log.warning("card_returned", offer=offer.id, payment=payment.id)
    told = bot.message(
        offer.pubkey, f"Your payment of {price_in_words(offer)} by card went back: nothing is added to your balance."
    )
    back = stepped(offer, OfferStep.GIVE_BACK, payment=payment.id, look_at=None)
    warned = (_warned(bot, offer),) if payment.dispute is not DisputeStatus.NONE else ()
    return Plan(f"offer/{offer.id}/returned/{offer.version}", changes=(back, told, *warned))


async def _plan_of_credited(bot: Bot, offer: Offer) -> Plan:
    """Bring what was credited to where the card company's dispute or refund of it stands, and let the offer rest."""
    assert offer.payment is not None, f"offer {offer.id} was credited for no payment"
    payment = await desk_of(bot).provider.payment(offer.payment)
    taken = taken_msat(offer, payment)
    if taken:
        seen = DisputeState.OPEN if payment.dispute is DisputeStatus.OPEN else DisputeState.LOST
        await follow_dispute(bot, payment.id, seen, taken)
    else:  # whatever was taken is with us again: a dispute that was won, a refund that failed
        await follow_dispute(bot, payment.id, DisputeState.WON)
    suspected = bool(taken) or is_warned(payment)
    if suspected:
        log.warning("card_suspected", payment=payment.id, offer=offer.id, taken_msat=taken)
    return _rested(offer, *((_warned(bot, offer),) if suspected else ()))


def _rested(offer: Offer, *changes: Change) -> Plan:
    rested = Update("card_offers", offer.id, {"look_at": None}, expect={"version": offer.version})
    return Plan(f"offer/{offer.id}/looked/{offer.version}", changes=(rested, *changes))


def _expired(offer: Offer) -> Plan:
    return Plan(f"offer/{offer.id}/expired", changes=(stepped(offer, OfferStep.EXPIRE, look_at=None),))


def _warned(bot: Bot, offer: Offer) -> Put:
    return Put("card_customers", offer.pubkey, {"warned_at": bot.clock.now()}, fresh={"verified_at": None})
