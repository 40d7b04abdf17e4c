"""A top-up by card, up to where it is paid: the quote, what may be bought, the terms, the card company's page.

    quoted ──terms taken──► accepted ──(checkout made)──► open ──► card_payments.py

The quote stands for `card.quote_seconds`. Taking it is one Plan that counts against the
limits; only then the card company is asked for a page, under a key that is the offer's own:
a crash in between, or a second click, finds the same page. That page ends after
`CHECKOUT_SECONDS`; what is paid later is not paid at this price.
"""

from __future__ import annotations

from functools import partial

from handlers.bot import Bot, CardDesk, written
from relaybot.errors import Rejected
from wallet.accounts import Account, Class, person, user
from wallet.card_rules import Bought, CardLimits, Offer, is_challenged, limit_broken, price_of
from wallet.cards import Checkout, Wanted
from wallet.ledger import Change, Insert, Plan, Update, Values
from wallet.money import Msat, format_sat
from wallet.purses import purse_of
from wallet.rates import format_units
from wallet.states import OFFER, OfferState, OfferStep

CHECKOUT_SECONDS = 2_700  # the card company wants at least 1,800 from when the page is made
MAKE_SECONDS = 600  # the page is made within these, or never
COUNTER = "card/offers"  # of all that were taken: a decision over the limits guards it
BACK = "back"  # in the query of the page to which the card company sends whoever was at its own
ID_DIGITS = 32  # 128 bits of a secret: nobody guesses an offer's address
DAY = 86_400

TERMS = (
    "What you buy is balance at this service. It pays for jobs only.",
    "It cannot be withdrawn, sent on or given back as money, neither in bitcoin nor to the card.",
    "A payment may be held until it has been looked at.",
    "If the payment is taken back by your bank, the balance is taken back too; what was spent of it by then is owed.",
)

_BOUGHT = """
SELECT COALESCE(SUM(CASE WHEN pubkey = :pubkey THEN amount_msat ELSE 0 END), 0) AS user_day_msat,
       COALESCE(SUM(amount_msat), 0) AS day_msat
FROM card_offers WHERE accepted_at > :after AND state NOT IN ('expired', 'returned')
"""
_KNOWN = """
SELECT id FROM card_offers WHERE pubkey = :pubkey AND state = 'credited' AND created_at <= :before LIMIT 1
"""


def desk_of(bot: Bot) -> CardDesk:
    """Return where cards are taken; Rejected if they are not."""
    if bot.cards is None:
        raise Rejected("invalid", "this service takes no cards: top up by Lightning")
    return bot.cards


def limits_of(bot: Bot) -> CardLimits:
    """Return what may be bought by card, as `card:` in the configuration says."""
    card = bot.config.card
    return CardLimits(
        minimum_msat=card.topup_min,
        maximum_msat=card.topup_max,
        first_msat_max=card.first_max,
        user_day_msat_max=card.user_day_max,
        day_msat_max=card.day_max,
        challenge_above_msat=card.three_d_secure_above,
    )


def page_of(bot: Bot, offer_id: str) -> str:
    """Return the address of an offer's page, where price and terms are read and taken."""
    return f"{bot.config.web_url}/topup/card/{offer_id}"


def price_in_words(offer: Offer) -> str:
    """Return what an offer costs, as people read it: `11.40 EUR`."""
    return format_units(offer.minor, offer.currency)


async def quote_offer(
    bot: Bot, pubkey: str, amount: Msat, *, cause: str, account: Account | None = None
) -> tuple[Offer, Insert]:
    """Return a quoted offer and its row; `cause` is what asked for it, and gives it its id.

    Rejected if no cards are taken, nobody knows a price, or the purchase would break a limit.
    """
    desk_of(bot)
    quote = bot.rates.quote()
    if quote is None:
        raise Rejected("error", "nobody says what bitcoin costs now; try again later")
    await _check_welcome(bot, pubkey, amount)
    _check_limits(amount, limits_of(bot), await _bought(bot, pubkey))
    card, now = bot.config.card, bot.clock.now()
    offer = Offer(
        id=bot.preimage(f"card/{cause}").hex()[:ID_DIGITS],
        version=1,
        pubkey=pubkey,
        account=account or user(pubkey, Class.CARD),
        amount_msat=amount,
        currency=quote.currency,
        minor=price_of(quote, amount, fee_ppm=card.fee_percent),
        state=OfferState.QUOTED,
        challenge=0,
        quote_until=now + card.quote_seconds,
        pay_until=None,
        checkout=None,
        url=None,
        payment=None,
        doubts="",
        approved_at=None,
        look_at=now + card.quote_seconds + 1,
        created_at=now,
    )
    names = ("pubkey", "account", "amount_msat", "currency", "minor", "challenge", "quote_until", "doubts", "look_at")
    values: Values = {name: getattr(offer, name) for name in names}
    return offer, Insert("card_offers", offer.id, {**values, "state": offer.state.value, "created_at": now})


async def offer_of(bot: Bot, offer_id: str) -> Offer:
    """Return an offer as it stands; Rejected if there is none of this id."""
    row = await bot.book.row("card_offers", offer_id)
    if row is None:
        raise Rejected("invalid", "there is no such top-up")
    return Offer.of_row(row)


async def take_offer(bot: Bot, offer_id: str) -> str:
    """Take an offer, price and terms, and return where it is paid; again and again the same page.

    Rejected if it is over or a limit would be broken, Unavailable if the card company does not answer.
    """
    desk = desk_of(bot)
    answer = await bot.book.decide(partial(_decide_accepted, bot, offer_id))
    if not answer.done:
        raise Rejected("error", "the top-up could not be taken; try again", detail=answer.reason)
    offer, now = await offer_of(bot, offer_id), bot.clock.now()
    if offer.state is OfferState.ACCEPTED:
        assert offer.pay_until is not None, f"offer {offer.id} was accepted without an end"
        if now > offer.pay_until - CHECKOUT_SECONDS + MAKE_SECONDS:
            raise Rejected("invalid", "this top-up is over; ask for another one")
        checkout = await desk.provider.create_checkout(_wanted(bot, offer))
        await bot.book.decide(partial(_decide_opened, bot, offer_id, checkout))
        offer = await offer_of(bot, offer_id)
    if offer.state is OfferState.OPEN and offer.url and now < (offer.pay_until or 0):
        return offer.url
    raise Rejected("invalid", "this top-up is over; ask for another one")


def stepped(offer: Offer, step: OfferStep, **values: str | int | None) -> Update:
    """Return the row of an offer after a step, guarded by what was read."""
    after: Values = {"state": OFFER.after(offer.state, step).value, **values}
    return Update("card_offers", offer.id, after, expect={"version": offer.version})


def _wanted(bot: Bot, offer: Offer) -> Wanted:
    """Return the checkout of an offer: made of its row alone, so that it is the same each time it is asked for."""
    assert offer.pay_until is not None, f"offer {offer.id} has no end"
    return Wanted(
        key=offer.id,
        minor=offer.minor,
        currency=offer.currency.lower(),
        description=f"{bot.config.service.name}: {format_sat(offer.amount_msat)} for jobs",
        return_url=f"{page_of(bot, offer.id)}?{BACK}",
        expires_at=offer.pay_until,
        challenge=bool(offer.challenge),
    )


async def _decide_accepted(bot: Bot, offer_id: str) -> Plan | None:
    counter = await bot.book.row("cursors", COUNTER)  # read before what it guards
    offer, now = await offer_of(bot, offer_id), bot.clock.now()
    if offer.state is not OfferState.QUOTED:
        return None
    if now > offer.quote_until:  # G6
        raise Rejected("invalid", "this price has expired; ask for another one")
    limits, bought = limits_of(bot), await _bought(bot, offer.pubkey)
    await _check_welcome(bot, offer.pubkey, offer.amount_msat)
    _check_limits(offer.amount_msat, limits, bought)
    pay_until = now + CHECKOUT_SECONDS
    taken = stepped(
        offer,
        OfferStep.ACCEPT,
        accepted_at=now,
        pay_until=pay_until,
        challenge=int(is_challenged(offer.amount_msat, limits, bought)),
        look_at=pay_until + 1,
    )
    counted: Change = written("cursors", COUNTER, counter, {"value": 1 + (counter["value"] if counter else 0)})
    return Plan(f"offer/{offer.id}/accepted", changes=(taken, counted))


async def _decide_opened(bot: Bot, offer_id: str, checkout: Checkout) -> Plan | None:
    offer = await offer_of(bot, offer_id)
    if offer.state is not OfferState.ACCEPTED:
        return None
    opened = stepped(offer, OfferStep.OPEN, checkout=checkout.id, url=checkout.url, look_at=bot.clock.now())
    return Plan(f"offer/{offer.id}/opened", changes=(opened,))


async def _bought(bot: Bot, pubkey: str) -> Bought:
    now, database = bot.clock.now(), bot.book.database
    [sums] = await database.fetch(_BOUGHT, pubkey=pubkey, after=now - DAY)
    known = await database.fetch(_KNOWN, pubkey=pubkey, before=now - bot.config.card.first_days * DAY)
    return Bought(Msat(sums["user_day_msat"]), Msat(sums["day_msat"]), is_first=not known)


def _check_limits(amount: Msat, limits: CardLimits, bought: Bought) -> None:
    broken = limit_broken(amount, limits, bought)
    if broken is not None:
        words, most = broken
        raise Rejected("invalid", f"{words} {format_sat(most)}")


async def _check_welcome(bot: Bot, pubkey: str, amount: Msat) -> None:
    """Raise Rejected for somebody whose payments were suspected or taken back, or whose balance is full."""
    customer = await bot.book.row("card_customers", pubkey)
    if customer is not None and customer["warned_at"] is not None:
        raise Rejected("blocked", "no further top-up by card: an earlier one was taken back, or is suspected")
    purse = await purse_of(bot.book.database, person(pubkey))
    if purse.has.total + amount > bot.config.limits.balance_max:
        raise Rejected("invalid", f"a balance is at most {format_sat(bot.config.limits.balance_max)}")
