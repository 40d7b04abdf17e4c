"""Attacks on zaps and wallet connect, on one book beside one node: what is given, to whom, and how often."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from handlers import pay_requests, wallet_connect
from handlers.answers import unsigned_request
from handlers.bot import HELD_BACK_SECONDS, Bot, new_user
from handlers.notices import tell_due
from handlers.settlements import pay_internally
from handlers.wishes import zap_tags
from relaybot.config import parse_config
from relaybot.errors import Rejected, Unavailable
from relaybot.inbox import Decision
from relaybot.nostr import encryption, nip19, nip47, nip57
from relaybot.nostr.encryption import NIP04, NIP44, Encryption
from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.keys import KeyPair
from splits.compute import Part
from tests.payouts.desk import NOW
from tests.settlements.conftest import AGENT, ALICE, BOB, Street, Till, reaches
from wallet.ledger import Insert, Plan, Verdict
from wallet.lightning import Lightning
from wallet.money import from_sat

DOMAIN = "bots.test"
SHARED = {**AGENT, "shares": [{"to": ALICE.pubkey, "role": "algorithm", "amount": "12000 sat"}]}
APP, OTHER_APP = KeyPair(b"\x07" * 32), KeyPair(b"\x08" * 32)


@pytest.fixture
async def till(street: Street) -> AsyncIterator[Till]:
    written = {"agents": {"autodev": SHARED}, "web": {"domain": DOMAIN}}
    street.config = parse_config(written, config_dir=street.config.service.data_dir)
    async with street.till() as till:
        yield till


async def zap_invoice(till: Till, name: str, sat: int, by: KeyPair, to: str, *, zapped: Event | None = None) -> str:
    """Ask for the invoice of a zap, as a wallet does."""
    request = nip57.build_zap_request(
        by, recipient=to, relays=["wss://relay.test"], amount_msat=from_sat(sat), zapped=zapped, now=NOW
    )
    asked = pay_requests.Asked(amount=str(from_sat(sat)), nostr=nip57.request_text(request))
    return str((await pay_requests.request(till.bot, name, asked))["pr"])


async def receipts(till: Till) -> list[Event]:
    rows = await till.book.database.fetch("SELECT event FROM outbox ORDER BY created_at")
    return [one for row in rows if (one := parse_event(row["event"])).kind == nip57.ZAP_RECEIPT_KIND]


async def paid_inside(till: Till, bolt11: str, by: KeyPair) -> None:
    payment = await pay_internally(till.bot, by.pubkey, bolt11)
    assert payment is not None
    assert (await till.book.apply(payment.journal.plan("test/inside"))).verdict is Verdict.APPLIED


# ---- zaps


async def test_d6_a_settlement_that_is_told_again_gives_nothing_twice_and_the_same_receipt(till: Till) -> None:
    await till.pay(await zap_invoice(till, "service", 500, BOB, till.bot.service.pubkey))
    await till.follow()
    (receipt,) = await receipts(till)
    for _ in range(2):
        await till.rewind()
        await till.follow()
    assert await till.balance(BOB) == from_sat(500)
    assert [one.id for one in await receipts(till)] == [receipt.id]
    assert receipt.pubkey == till.bot.zapper.pubkey


async def test_the_same_request_at_another_name_of_the_same_key_is_one_invoice(till: Till, street: Street) -> None:
    names = ("service", "_", nip19.encode_npub(till.bot.service.pubkey))
    invoices = {await zap_invoice(till, name, 500, BOB, till.bot.service.pubkey) for name in names}
    assert len(invoices) == 1
    assert len(await till.invoices()) == 1


async def test_nobody_zaps_themselves_for_nothing_by_whatever_name(till: Till) -> None:
    """A receipt is public word of a payment: out of one's own balance into it, it would cost nothing."""
    await till.funded(5_000, ALICE)
    await till.book.apply(
        Plan("test/name", changes=(Insert("names", "alice", {"pubkey": ALICE.pubkey, "created_at": NOW}),))
    )
    agent = next(iter(till.bot.agents))
    to_herself = [
        await zap_invoice(till, "alice", 21, BOB, ALICE.pubkey),
        await zap_invoice(till, nip19.encode_npub(ALICE.pubkey), 22, BOB, ALICE.pubkey),
        await zap_invoice(till, "service", 23, ALICE, till.bot.service.pubkey),
        await zap_invoice(till, "autodev", 24, BOB, agent),  # all of whose tips are hers
    ]
    for bolt11 in to_herself:
        with pytest.raises(Rejected, match="this gift is to yourself"):
            await pay_internally(till.bot, ALICE.pubkey, bolt11)
    assert (await till.balance(ALICE), await receipts(till)) == (from_sat(5_000), [])


async def test_a_zap_between_users_is_told_with_its_sum_and_has_its_receipt(till: Till, street: Street) -> None:
    await till.funded(5_000, BOB)
    await reaches(till, ALICE)
    await paid_inside(till, await zap_invoice(till, nip19.encode_npub(ALICE.pubkey), 21, BOB, ALICE.pubkey), BOB)
    street.clock.advance(till.bot.config.dm.batch_seconds)
    await tell_due(till.bot)
    assert await till.told(ALICE) == ["You were given 21 sat."]
    assert (await till.balance(BOB), await till.balance(ALICE)) == (from_sat(4_979), from_sat(21))
    (receipt,) = await receipts(till)
    assert (receipt.tag("p"), receipt.tag("P")) == (ALICE.pubkey, BOB.pubkey)


async def test_d7_a_receipt_is_owed_to_five_relays_of_the_request_at_most_each_once(till: Till) -> None:
    """Whether they are public is found out where they are visited (test_visitor.py)."""
    named = ["http://relay.test", *(f"wss://r{number}.test" for number in range(9)), "wss://r0.test"]
    named.insert(3, till.bot.config.relay.public_url)  # ours has it anyway
    event = nip57.build_zap_request(BOB, recipient=till.bot.service.pubkey, relays=named, now=NOW)
    asked = pay_requests.Asked(amount="21000", nostr=nip57.request_text(event))
    await till.pay((await pay_requests.request(till.bot, "service", asked))["pr"])
    await till.follow()
    (receipt,) = await receipts(till)
    visits = await till.book.database.fetch("SELECT id, event FROM visits")
    assert sorted(row["id"].split("/", 1)[1] for row in visits) == [f"wss://r{number}.test" for number in range(5)]
    assert {row["id"].split("/", 1)[0] for row in visits} == {receipt.id}


async def test_a_private_zap_is_credited_and_names_its_one_time_key(till: Till) -> None:
    """`anon` with words in it: only the receiver can read who sent it (NIP-57 in use by Damus and Amethyst)."""
    one_time = KeyPair(secrets.token_bytes(32))
    tags = [("p", ALICE.pubkey), ("relays", "wss://relay.test"), ("anon", "pzap1words_iv1more")]
    text = nip57.request_text(one_time.sign(kind=9734, content="", tags=tags, created_at=NOW))
    asked = pay_requests.Asked(amount="21000", nostr=text)
    answer = await pay_requests.request(till.bot, nip19.encode_npub(ALICE.pubkey), asked)
    await till.pay(answer["pr"])
    await till.follow()
    (receipt,) = await receipts(till)
    assert (receipt.tag("description"), receipt.tag("P")) == (text, one_time.pubkey)
    assert await till.balance(ALICE) == 21_000
    zaps = await till.book.database.fetch("SELECT sender FROM zaps")
    assert [row["sender"] for row in zaps] == [""]


async def test_nobody_is_named_on_results_that_are_not_public(till: Till) -> None:
    await till.book.apply(Plan("test/zaps", changes=(Insert("users", ALICE.pubkey, {**new_user(NOW), "zaps": "on"}),)))
    agent, parts = next(iter(till.bot.agents)), [Part("a", "algorithm", ALICE.pubkey, from_sat(9))]
    public, encrypted = (BOB.sign(kind=5050, content="", tags=tags, created_at=NOW) for tags in ((), [("encrypted",)]))
    by_message = unsigned_request(BOB.pubkey, kind=5050, tags=(), rumor="0" * 64, nip04=False, created_at=NOW)
    named = [await zap_tags(till.bot, agent, request, parts) for request in (public, encrypted, by_message)]
    assert [bool(tags) for tags in named] == [True, False, False]


async def test_what_is_zapped_for_a_job_too_little_or_too_late_is_balance_and_its_customer_is_told(
    till: Till, street: Street
) -> None:
    await reaches(till, BOB)
    job = await till.ask_for_job(BOB)
    rows = await till.book.database.fetch("SELECT event FROM outbox WHERE about = :job", job=job["id"])
    (asked,) = (parse_event(row["event"]) for row in rows)
    bills = [await zap_invoice(till, "autodev", sat, ALICE, asked.pubkey, zapped=asked) for sat in (11_999, 12_000)]
    await till.pay(bills[0])
    await till.follow()
    assert (await till.again(job))["state"] == "awaiting_payment"
    await till.set_row("jobs", job["id"], state="released")
    await till.pay(bills[1])
    await till.follow()
    assert await till.balance(BOB) == from_sat(23_999)
    little, late = [text for text in await till.told(BOB) if "zapped" in text]
    assert little.startswith("11,999 sat were zapped for job")
    assert "not enough for its price of 12,000 sat: it waits on. They are your balance." in little
    assert late == f"12,000 sat were zapped for job {job['id'][:8]}, after it had ended. They are your balance."


# ---- wallet connect


async def connect(till: Till, app: KeyPair, owner: KeyPair, budget_sat: int | None = None) -> None:
    values: dict[str, str | int | None] = {
        "owner": owner.pubkey,
        "name": app.pubkey[:8],
        "service": till.bot.wallet_key(app.pubkey).pubkey,
        "budget_msat": None if budget_sat is None else from_sat(budget_sat),
        "period": 86_400,
        "spent_msat": 0,
        "spent_since": NOW,
        "expires_at": None,
        "methods": "",
        "state": "open",
        "created_at": NOW,
    }
    assert (
        await till.book.apply(Plan(f"test/{app.pubkey}", changes=(Insert("connections", app.pubkey, values),)))
    ).done


def asks(bot: Bot, app: KeyPair, method: str, **params: object) -> Event:
    service = bot.wallet_key(app.pubkey).pubkey
    how = Encryption(NIP44, secrets.token_bytes(32))
    content = encryption.encrypt(json.dumps({"method": method, "params": params}), app, service, how)
    tags = [["p", service], ["encryption", "nip44_v2"]]
    return app.sign(kind=nip47.REQUEST_KIND, content=content, tags=tags, created_at=NOW)


async def handled(till: Till, event: Event, decided: Decision | None = None) -> str | None:
    """Handle a request as the inbox does, beginning with what was decided before; return the error it was answered."""
    made = [decided] if decided is not None else []

    async def decide() -> Plan:
        decision = made.pop() if made else await wallet_connect.on_request(till.bot, event)
        assert isinstance(decision, Plan), decision
        return decision

    assert (await till.book.decide(decide)).done
    return await code(till, event)


async def code(till: Till, event: Event) -> str | None:
    """Return the error by which a request was answered; '' if it has no answer yet, None if it was done."""
    rows = await till.book.database.fetch("SELECT event FROM outbox WHERE about = :id", id=event.id)
    for row in rows:
        response = parse_event(row["event"])
        app = next(one for one in (APP, OTHER_APP) if one.pubkey == response.tag("p"))
        said = json.loads(encryption.decrypt(response.content, app, response.pubkey, NIP44))
        return None if said["error"] is None else str(said["error"]["code"])
    return ""


async def both(till: Till, *events: Event) -> list[str | None]:
    """Decide on all requests in the same state, then apply them: each that comes too late is decided anew."""
    decided = [await wallet_connect.on_request(till.bot, event) for event in events]
    pairs = zip(events, decided, strict=True)
    return list(await asyncio.gather(*(handled(till, event, decision) for event, decision in pairs)))


async def test_two_apps_of_one_balance_at_once_spend_it_once(till: Till) -> None:
    await till.funded(1_000, BOB)
    for app in (APP, OTHER_APP):
        await connect(till, app, BOB)
    invoices = [till.network.people.invoice("alice", from_sat(900)) for _ in range(2)]
    pairs = zip((APP, OTHER_APP), invoices, strict=True)
    ended = await both(till, *(asks(till.bot, app, "pay_invoice", invoice=one) for app, one in pairs))
    assert sorted(ended, key=str) == ["", "INSUFFICIENT_BALANCE"]  # one is held, and answered when it has ended
    assert len(await till.book.database.fetch("SELECT id FROM payouts")) == 1


async def test_two_payments_of_one_app_at_once_keep_its_budget(till: Till) -> None:
    await till.funded(10_000, BOB)
    await connect(till, APP, BOB, budget_sat=1_000)
    outside = till.network.people.invoice("alice", from_sat(700))
    inside = await till.top_up(700, ALICE, number=9)
    ended = await both(till, *(asks(till.bot, APP, "pay_invoice", invoice=one) for one in (outside, inside)))
    assert ended == ["", "QUOTA_EXCEEDED"]
    assert await till.balance(ALICE) == 0


async def test_a2_an_invoice_of_ours_is_paid_once_by_two_apps_at_once(till: Till) -> None:
    await till.funded(5_000, BOB)
    await till.funded(5_000, ALICE)
    for app in (APP, OTHER_APP):
        await connect(till, app, BOB)
    bolt11 = await till.top_up(1_000, ALICE, number=9)
    ended = await both(till, *(asks(till.bot, app, "pay_invoice", invoice=bolt11) for app in (APP, OTHER_APP)))
    assert ended == [None, None]  # the second is told the proof of the first
    assert (await till.balance(BOB), await till.balance(ALICE)) == (from_sat(4_000), from_sat(6_000))


async def test_an_app_that_is_disconnected_meanwhile_spends_nothing(till: Till) -> None:
    await till.funded(5_000, BOB)
    await connect(till, APP, BOB)
    event = asks(till.bot, APP, "pay_invoice", invoice=till.network.people.invoice("alice", from_sat(700)))
    decided = await wallet_connect.on_request(till.bot, event)
    await till.set_row("connections", APP.pubkey, state="closed")
    assert await handled(till, event, decided) == "UNAUTHORIZED"
    assert await till.balance(BOB) == from_sat(5_000)


@pytest.mark.parametrize(("method", "params"), [("pay_invoice", {}), ("make_invoice", {"amount": 1_000})])
async def test_while_the_node_is_away_an_app_is_told_so_and_nothing_is_done_later(
    till: Till, method: str, params: dict[str, object]
) -> None:
    await till.funded(5_000, BOB)
    await connect(till, APP, BOB)
    given = params or {"invoice": till.network.people.invoice("alice", from_sat(700))}
    event = asks(till.bot, APP, method, **given)

    class Away:
        async def info(self) -> None:
            raise Unavailable("no node")

        async def create_invoice(self, **_: object) -> None:
            raise Unavailable("no node")

    away: Lightning = Away()  # type: ignore[assignment]  # the two methods that are called
    refused = await wallet_connect.on_request(replace(till.bot, lightning=away), event)
    assert await handled(till, event, refused) == "INTERNAL"
    assert await handled(till, event) == "INTERNAL"
    assert await till.balance(BOB) == from_sat(5_000)


async def test_i6_a_request_that_a_relay_held_back_for_days_is_not_done(till: Till, street: Street) -> None:
    await till.funded(5_000, BOB)
    await connect(till, APP, BOB)
    event = asks(till.bot, APP, "pay_invoice", invoice=await till.top_up(1_000, ALICE, number=9))
    street.clock.advance(HELD_BACK_SECONDS + 1)
    assert await wallet_connect.on_request(till.bot, event) == "the request was held back"


async def test_what_an_app_was_paid_is_told_by_message_only_to_whom_messages_reach(till: Till) -> None:
    await connect(till, APP, BOB)
    for number, told in enumerate((0, 1)):
        event = asks(till.bot, APP, "make_invoice", amount=21_000 + number)
        assert await handled(till, event) is None
        await till.pay((await till.row("invoices", f"nwc/{event.id}"))["bolt11"])
        await till.follow()
        assert len(await till.told(BOB)) == told
        assert await heard(till, APP) == {23197: 21_000 + number, 23196: 21_000 + number}
        await reaches(till, BOB)


async def heard(till: Till, app: KeyPair) -> dict[int, int]:
    """Return of which sum an app was notified last, by kind: the new one by NIP-44, the old one by NIP-04."""
    found: dict[int, int] = {}
    for row in await till.book.database.fetch("SELECT event FROM outbox ORDER BY created_at, rowid"):
        event = parse_event(row["event"])
        if event.kind in {nip47.NOTIFICATION_KIND, nip47.NIP04_NOTIFICATION_KIND}:
            scheme = NIP44 if event.kind == nip47.NOTIFICATION_KIND else NIP04
            told = json.loads(encryption.decrypt(event.content, app, event.pubkey, scheme))
            found[event.kind] = told["notification"]["amount"]
    return found
