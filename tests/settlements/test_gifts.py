"""Gifts, from the name they are given to: whose they are, and word of them."""

from __future__ import annotations

from handlers.invoices import make_invoice, new_invoice
from handlers.names import Kind, find_named
from handlers.notices import tell_due
from handlers.settlements import cancel_paid, pay_internally
from handlers.zaps import Gift, Purpose, new_zap
from relaybot.nostr import nip19, nip57
from tests.settlements.conftest import ALICE, BOB, Till
from wallet.ledger import Insert, Plan
from wallet.money import from_sat

NOBODY = f"{5:064x}"  # no point of the curve


async def test_an_npub_leads_to_the_service_an_agent_or_a_user_and_to_nobody_if_it_is_no_key(till: Till) -> None:
    agent = next(iter(till.bot.agents))
    found = [
        None if named is None else (named.kind, named.agent)
        for pubkey in (till.bot.service.pubkey, agent, ALICE.pubkey, NOBODY)
        for named in [await find_named(till.bot, nip19.encode_npub(pubkey))]
    ]
    assert found == [(Kind.SERVICE, ""), (Kind.AGENT, till.bot.agents[agent].id), (Kind.USER, ""), None]


async def test_a_notice_that_cannot_be_written_is_closed_and_keeps_nobody_waiting(till: Till) -> None:
    now = till.bot.clock.now()
    notices = (
        Insert("notices", f"{pubkey}/{now}", {"pubkey": pubkey, "due_at": now, "created_at": now})
        for pubkey in (NOBODY, ALICE.pubkey)
    )
    reached = (
        Insert("dm_relays", pubkey, {"relays": "[]", "stated_at": now, "event": ""})
        for pubkey in (NOBODY, ALICE.pubkey)
    )
    await till.book.apply(Plan("test/notices", changes=(*notices, *reached)))
    await tell_due(till.bot)
    assert len(await till.told(ALICE)) == 1
    assert await till.book.database.fetch("SELECT id FROM notices WHERE due_at IS NOT NULL") == []


async def a_zap(till: Till, sat: int) -> str:
    """Return the invoice of a zap from Bob to Alice, as her Lightning Address makes it."""
    now = till.bot.clock.now()
    text = nip57.request_text(nip57.build_zap_request(BOB, recipient=ALICE.pubkey, relays=["wss://r.test"], now=now))
    made = await make_invoice(
        till.bot, label="gift/1", amount_msat=from_sat(sat), description=text, expiry_seconds=600, hashed=True
    )
    purpose = Purpose(Gift.USER, ALICE.pubkey, ALICE.pubkey, BOB.pubkey)
    rows = (
        new_invoice(made, purpose="gift", owner=ALICE.pubkey, job="", now=now),
        Insert("zaps", made.payment_hash, new_zap(purpose, request=text, comment="", now=now)),
    )
    assert (await till.book.apply(Plan("test/zap", changes=rows))).done
    return made.bolt11


async def test_b2_a_zap_paid_inside_and_over_lightning_in_one_second_is_credited_twice_and_has_one_receipt(
    till: Till,
) -> None:
    """The receipt is dated by the payment, so two of one second are one event: nothing that came after was booked."""
    await till.funded(5_000, BOB)
    bolt11 = await a_zap(till, 2_000)
    await till.pay(bolt11)  # the node has it before we do
    inside = await pay_internally(till.bot, BOB.pubkey, bolt11)
    assert inside is not None
    assert (await till.book.apply(inside.journal.plan("test/pay"))).done
    await till.follow()
    assert (await till.balance(BOB), await till.balance(ALICE)) == (from_sat(3_000), from_sat(4_000))
    assert (await till.owed_kinds()).count(nip57.ZAP_RECEIPT_KIND) == 1
    assert await cancel_paid(till.bot)
    await till.agrees()
