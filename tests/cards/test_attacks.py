"""Attacks G1 to G6: webhooks that lie, browsers that lie, payments that are none, disputes, laundering, old prices."""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from handlers import pay_requests
from handlers.card_offers import take_offer
from handlers.cards import CardPayment, plan_card_bought
from handlers.company_ends import dissolve
from handlers.connections import connect
from handlers.conversation import Asked
from handlers.settlements import pay_internally
from handlers.wallet_connect import on_request
from handlers.withdrawals import withdraw
from relaybot.cardsim.webhooks import Manner
from relaybot.errors import Rejected
from relaybot.nostr import encryption, nip19, nip57
from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import encode_event, parse_event
from relaybot.nostr.keys import KeyPair
from tests.cards.counter import Counter
from tests.settlements.conftest import ALICE, BOB
from tests.settlements.test_card_money import asks, delivered, paying_carol
from wallet.accounts import Class, maturing, person, user
from wallet.card_signature import HEADER, sign
from wallet.journals import plan_bonus
from wallet.ledger import Insert, Plan, Values
from wallet.money import from_sat
from wallet.states import OfferState

SECRET = "whsec_simulated"
FRIEND = KeyPair(b"\x04" * 32)


async def heard(counter: Counter, event: dict[str, Any], *, secret: str = SECRET, age: int = 0) -> int:
    """Send a message to the webhook, as somebody would; return the status."""
    body = json.dumps(event).encode()
    headers = {HEADER: sign(body, secret, counter.clock.now() - age)} if secret else {}
    url = f"{counter.bot.config.web_url}/card/webhook"
    async with counter.http.post(url, data=body, headers=headers) as answer:
        return answer.status


def completed(checkout: str | None, **more: Any) -> dict[str, Any]:
    about = {"object": "checkout.session", "id": checkout, "payment_status": "paid", "amount_total": 10**9}
    return {"id": "evt_1", "created": 1, "livemode": False, "data": {"object": about}, **more}


async def test_g1_a_payment_is_credited_once_however_its_webhooks_come(counter: Counter) -> None:
    for manner, customer in ((Manner.DOUBLED, BOB), (Manner.FORGED, ALICE)):
        counter.company.webhooks.manner = manner
        offer = await counter.paid(10_000, customer)
        event = completed(offer.checkout)
        assert [await heard(counter, event) for _ in range(3)] == [200, 200, 200]  # replayed
        for _ in range(2):
            assert (await counter.settled(offer)).state is OfferState.CREDITED
        assert await counter.has(customer) == (10_000, 0)
    assert counter.company.webhooks.answers == [200, 200, 400]
    counter.company.webhooks.manner = Manner.LOST
    lost = await counter.paid(10_000)
    assert (await counter.later(lost, 61)).state is OfferState.CREDITED  # it was asked for
    assert await counter.has() == (20_000, 0)
    assert await counter.receivable() == -30_000


async def test_g1_what_came_before_is_told_after_and_nothing_comes_of_it(counter: Counter) -> None:
    offer = await counter.paid(10_000)
    assert offer.payment is not None
    counter.company.webhooks.manner = Manner.REORDERED
    counter.company.world.dispute(offer.payment, "needs_response")
    counter.company.world.dispute(offer.payment, "won")
    assert (await counter.settled(offer)).state is OfferState.CREDITED
    assert await counter.has() == (10_000, 0)
    counter.company.webhooks.manner = Manner.LOST  # missed: the list of events has it
    counter.company.world.dispute(offer.payment, "lost")
    await counter.later(offer, 61)
    assert await counter.has() == (0, 0)


async def test_g1_webhooks_that_are_unsigned_old_or_of_another_secret_or_mode_are_not_heard(counter: Counter) -> None:
    offer = await counter.quoted(10_000)
    await take_offer(counter.bot, offer.id)
    opened = await counter.offer(offer.id)
    event = completed(opened.checkout)
    assert [
        await heard(counter, event, secret=""),
        await heard(counter, event, secret="whsec_guessed"),
        await heard(counter, event, age=301),
        await heard(counter, event, age=-301),
    ] == [400, 400, 400, 400]
    assert await heard(counter, {**event, "livemode": True}) == 200  # of the other mode: nothing to do with us
    strange: Any
    for strange in ([], {}, {"data": 1}, {"data": {"object": {}}}, completed(None), completed("cs_of_somebody_else")):
        assert await heard(counter, strange) == 200  # signed, and means nothing
    assert (await counter.offer(offer.id)).version == opened.version
    assert await heard(counter, event) == 200
    assert (await counter.settled(offer)).state is OfferState.OPEN  # it lies: nothing was paid


@pytest.mark.parametrize("lie", [{"amount_total": 1}, {"currency": "jpy"}, {"livemode": True}])
async def test_g2_only_the_amount_currency_and_mode_that_were_quoted_buy_anything(
    counter: Counter, lie: dict[str, Any]
) -> None:
    offer = await counter.quoted(10_000)
    where = await counter.take(offer)
    session = counter.company.world.sessions[(await counter.offer(offer.id)).checkout or ""]
    session |= lie  # a mistake of the shop's, or a browser that has found a way
    assert await counter.give(where) == 303
    held = await counter.settled(offer)
    assert held.state is OfferState.HELD
    assert held.doubts in {"amount", "mode"}
    await counter.till.set_row("card_offers", offer.id, approved_at=counter.clock.now())
    assert (await counter.later(offer)).state is OfferState.HELD  # not even the operator credits that
    assert await counter.has() == (0, 0)


async def test_g3_a_checkout_that_is_complete_and_unpaid_is_no_payment(counter: Counter) -> None:
    offer = await counter.quoted(10_000)
    await counter.take(offer)
    checkout = (await counter.offer(offer.id)).checkout
    counter.company.world.sessions[checkout or ""] |= {"status": "complete"}
    assert await heard(counter, completed(checkout)) == 200
    assert (await counter.settled(offer)).state is OfferState.OPEN
    assert await counter.has() == (0, 0)


async def test_g4_a_dispute_takes_what_is_left_then_what_was_earned_then_a_debt_and_gives_it_back_when_won(
    counter: Counter,
) -> None:
    counter.till.bot = paying_carol(counter.till).bot
    offer = await counter.paid(20_000)
    assert offer.payment is not None
    await delivered(counter.till, await asks(counter.till))  # 12,000 sat, half of them Carol's
    assert await counter.has() == (8_000, 0)
    earned = maturing(ALICE.pubkey)
    assert await counter.till.book.balance(earned) == 6_000_000
    counter.company.world.dispute(offer.payment, "needs_response")
    await counter.settled(offer)
    assert await counter.has() == (0, 6_000)  # 8,000 left, 6,000 not matured, 6,000 owed
    assert await counter.till.book.balance(earned) == 0
    assert await counter.receivable() == 0
    with pytest.raises(Rejected, match="no further top-up by card"):
        await counter.quoted(10_000)
    counter.company.world.dispute(offer.payment, "won")
    await counter.settled(offer)
    assert await counter.has() == (8_000, 0)
    assert await counter.till.book.balance(earned) == 6_000_000
    assert await counter.receivable() == -20_000


async def app_pays(counter: Counter, customer: KeyPair, bolt11: str) -> dict[str, Any]:
    """Let an app that somebody connected pay an invoice (NIP-47); return what it is answered."""
    bot, now = counter.bot, counter.clock.now()
    asked = Asked(customer.pubkey, "3" * 64, now, ("app",))
    reply = await connect(bot, asked)
    assert (await bot.book.apply(Plan(f"dm/{asked.rumor}", changes=reply.changes))).done
    uri = urlsplit(reply.text.splitlines()[-1])
    app = KeyPair(bytes.fromhex(parse_qs(uri.query)["secret"][0]))
    text = json.dumps({"method": "pay_invoice", "params": {"invoice": bolt11}})
    content = encryption.encrypt(text, app, uri.netloc, Encryption(NIP44, bytes(32)))
    tags = [["p", uri.netloc], ["encryption", "nip44_v2"]]
    plan = await on_request(bot, app.sign(kind=23194, content=content, tags=tags, created_at=now))
    assert isinstance(plan, Plan)
    assert plan.transfers == ()
    [answer] = [parse_event(str(row.values["event"])) for row in plan.changes if isinstance(row, Insert)]
    told: dict[str, Any] = json.loads(encryption.decrypt(answer.content, app, uri.netloc, NIP44))
    return told


async def test_g5_card_and_promo_money_leave_on_no_way(counter: Counter) -> None:
    """Withdrawn, paid to oneself and to others inside, given as a zap, spent by an app: all of it asks for sats."""
    await counter.paid(20_000)
    book, till = counter.till.book, counter.till
    assert (await book.apply(plan_bonus(person(BOB.pubkey), from_sat(9_000), "bonus").plan("bonus/1"))).done
    outside = till.network.people.invoice("friend", from_sat(1_000))
    for destination in (outside, "friend@wallets.test"):
        with pytest.raises(Rejected, match="you have 0 sat"):
            await withdraw(counter.bot, Asked(BOB.pubkey, "1" * 64, counter.clock.now(), ("1000", destination)))
    described = await pay_requests.describe(counter.bot, nip19.encode_npub(ALICE.pubkey))
    tags = [["p", ALICE.pubkey], ["amount", str(from_sat(1_000))], ["relays", "wss://relay.test"]]
    zap = encode_event(BOB.sign(kind=nip57.ZAP_REQUEST_KIND, content="", tags=tags, created_at=counter.clock.now()))
    gift = pay_requests.Asked(str(from_sat(1_000)), zap, "", "")
    given = await pay_requests.request(counter.bot, nip19.encode_npub(ALICE.pubkey), gift) if described else {}
    inside = [await till.top_up(1_000), await till.top_up(1_000, ALICE, number=2), given["pr"]]
    job_of_alice = await till.invoice_of(await till.ask_for_job(ALICE))
    for bolt11 in (*inside, job_of_alice):
        with pytest.raises(Rejected, match="your balance is 0 sat"):
            await pay_internally(counter.bot, BOB.pubkey, bolt11)
    assert (await app_pays(counter, BOB, outside))["error"]["code"] == "INSUFFICIENT_BALANCE"
    assert await counter.has() == (20_000, 0)
    assert await book.balance(user(BOB.pubkey, Class.PROMO)) == from_sat(9_000)


async def test_g5_ones_own_agent_and_referrer_turn_card_money_into_nothing_that_can_be_withdrawn(
    counter: Counter,
) -> None:
    till = counter.till
    till.bot = paying_carol(till).bot
    await counter.paid(24_000)
    await till.set_row("users", BOB.pubkey, referrer=FRIEND.pubkey)
    await delivered(till, await asks(till))  # Alice is Bob under another name: the node and its owner
    assert await till.balance(ALICE) == 0
    assert await till.book.balance(maturing(ALICE.pubkey)) == from_sat(6_000)  # for 120 days
    assert await till.balance(FRIEND) == await till.book.balance(maturing(FRIEND.pubkey)) == 0
    bolt11 = till.network.people.invoice("friend", from_sat(1))
    with pytest.raises(Rejected, match="you have 0 sat"):
        await withdraw(counter.bot, Asked(ALICE.pubkey, "2" * 64, counter.clock.now(), ("1", bolt11)))


async def test_g5_a_company_paid_by_card_pays_its_owner_s_own_node_in_card_money(counter: Counter) -> None:
    """A friend pays into Alice's company by card, her own node does its job, then she ends it and wants to leave."""
    till = counter.till
    till.bot = paying_carol(till).bot
    acme: Values = {"name": "Acme", "owner": ALICE.pubkey, "founder": ALICE.pubkey, "state": "open", "limit_msat": None}
    founded = Insert("companies", "acme", {**acme, "created_at": 0})
    assert (await till.book.apply(Plan("test/acme", changes=(founded,)))).done
    payment = CardPayment("pi_1", FRIEND.pubkey, from_sat(24_000), counter.clock.now(), "acme")
    assert (await till.book.decide(partial(plan_card_bought, till.bot, payment))).done
    await delivered(till, str((await till.ask_for_job(ALICE, "Fix it", ["param", "org", "acme"]))["id"]))
    assert await till.book.balance(user(ALICE.pubkey, Class.CARD)) == from_sat(6_000)
    assert await till.balance(ALICE) == await till.book.balance(maturing(ALICE.pubkey)) == 0
    asked = Asked(ALICE.pubkey, "4" * 64, counter.clock.now(), ())
    with pytest.raises(Rejected, match="12,000 sat were bought by card and pay for jobs only"):
        await dissolve(till.bot, asked, await till.row("companies", "acme"), ["confirm"])
    bolt11 = till.network.people.invoice("friend", from_sat(1))
    with pytest.raises(Rejected, match="you have 0 sat"):
        await withdraw(counter.bot, Asked(ALICE.pubkey, "5" * 64, counter.clock.now(), ("1", bolt11)))


async def test_g6_a_price_expires(counter: Counter) -> None:
    offer = await counter.quoted(10_000)
    counter.clock.advance(901)
    assert "This price has expired" in await counter.read(offer)
    with pytest.raises(Rejected, match="price has expired"):
        await take_offer(counter.bot, offer.id)
    late = await counter.quoted(10_000)
    where = await counter.take(late)
    session = counter.company.world.sessions[(await counter.offer(late.id)).checkout or ""]
    session["expires_at"] += 3_600  # the company lets it be paid longer than it was told
    counter.clock.advance(2_701)
    assert await counter.give(where) == 303
    held = await counter.settled(late)
    assert (held.state, held.doubts) == (OfferState.HELD, "late")
    assert await counter.has() == (0, 0)
