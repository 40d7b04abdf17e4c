"""A standing offer (BOLT12) is its owner's: whoever pays it tops them up, as often as they like."""

from __future__ import annotations

from handlers.conversation import Asked
from handlers.topups import topup
from relaybot.nostr.keys import KeyPair
from relaybot.simulator.people import Wanted
from tests.payouts.desk import NOW
from tests.settlements.conftest import ALICE, BOB, Till
from wallet.accounts import CAPITAL
from wallet.ledger import Plan
from wallet.money import from_sat


async def offer_of(till: Till, customer: KeyPair = BOB, rumor: str = "aa") -> str:
    """Return the offer in the answer to `topup`."""
    reply = await topup(till.bot, Asked(customer.pubkey, rumor * 32, NOW, ()))
    assert (await till.book.apply(Plan(f"dm/{rumor}", changes=reply.changes))).done
    return next(line for line in reply.text.splitlines() if line.startswith("lno1"))


async def test_everybody_who_pays_an_offer_tops_its_owner_up(till: Till) -> None:
    offer = await offer_of(till)
    for sat in (1_000, 2_500):
        await till.network.people.pay("anybody", Wanted(offer, from_sat(sat)))
    await till.follow()
    assert await till.balance(BOB) == from_sat(3_500)
    assert await till.told(BOB) == [f"{sat} sat arrived: your balance is topped up." for sat in ("1,000", "2,500")]
    await till.agrees()


async def test_d1_an_offer_s_payment_that_is_read_again_is_credited_once(till: Till) -> None:
    offer = await offer_of(till)
    await till.network.people.pay("anybody", Wanted(offer, from_sat(1_000)))
    await till.follow()
    await till.rewind()
    await till.follow()
    assert await till.balance(BOB) == from_sat(1_000)


async def test_an_offer_is_made_once_and_nobody_has_another_s(till: Till) -> None:
    assert await offer_of(till, rumor="aa") == await offer_of(till, rumor="bb")
    assert await offer_of(till, ALICE, rumor="cc") != await offer_of(till, rumor="dd")


async def test_an_offer_that_the_operator_made_by_hand_is_the_operator_s(till: Till) -> None:
    offer = await till.bot.lightning.create_offer(description="Donate", label="by hand")
    await till.network.people.pay("anybody", Wanted(offer.bolt12, from_sat(700)))
    await till.follow()
    assert await till.book.balance(CAPITAL) == from_sat(700)


async def test_an_invoice_without_a_sum_takes_what_is_paid(till: Till) -> None:
    await till.pay(await till.any_sum(), 4_321)
    await till.follow()
    assert await till.balance() == from_sat(4_321)
