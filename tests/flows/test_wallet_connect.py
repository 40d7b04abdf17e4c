"""Wallet connect (NIP-47) over real sockets: nostr-sdk as the app, and a client of our own for what no app sends."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from nostr_sdk import (
    ListTransactionsRequest,
    LookupInvoiceRequest,
    MakeInvoiceRequest,
    NostrWalletConnect,
    NostrWalletConnectUri,
    PayInvoiceRequest,
    TransactionState,
)
from websockets.asyncio.client import ClientConnection, connect

from relaybot.clock import SystemClock
from relaybot.demo.stage import HOST
from relaybot.nostr import encryption
from relaybot.nostr.encryption import NIP04, NIP44, Encryption, Scheme
from relaybot.nostr.event import Event, encode_event, event_from
from relaybot.nostr.keys import KeyPair
from relaybot.simulator.scripts import Outcome, Script
from tests.flows.harness import World, world
from wallet.bolt11_invoice import parse_bolt11
from wallet.book import Book, running
from wallet.ledger import Plan, Put, Update
from wallet.money import from_sat

FEE_RESERVE = 5_000  # msat: payouts.fee_minimum


@asynccontextmanager
async def connected(budget: str = "", sats: int = 10_000) -> AsyncIterator[tuple[World, str]]:
    """A world in which Bob has money, and the URI of an app that he connected."""
    async with world(payouts={"enabled": False}) as w:
        await w.fund("bob", sats)
        yield w, await connect_app(w, budget)


async def connect_app(w: World, budget: str = "", name: str = "zapper") -> str:
    answer = await (await w.join("bob")).ask(w.bot, f"connect {name} {budget}".strip())
    return answer.splitlines()[-1]


@asynccontextmanager
async def app_of(uri: str) -> AsyncIterator[NostrWalletConnect]:
    app = NostrWalletConnect(NostrWalletConnectUri.parse(uri))
    try:
        yield app
    finally:
        await app.client().shutdown()


class Client:
    """An app that speaks for itself: it sends what it is told to, and reads what comes back."""

    def __init__(self, uri: str, relay: ClientConnection) -> None:
        parsed = urlsplit(uri)
        self.service = parsed.netloc
        self.keypair = KeyPair(bytes.fromhex(parse_qs(parsed.query)["secret"][0]))
        self._relay = relay

    def request(self, method: str, scheme: Scheme = NIP44, **params: object) -> Event:
        text = json.dumps({"method": method, "params": params})
        content = encryption.encrypt(text, self.keypair, self.service, Encryption(scheme, secrets.token_bytes(32)))
        tags = [("p", self.service), *([("encryption", "nip44_v2")] if scheme == NIP44 else [])]
        return self.keypair.sign(kind=23194, content=content, tags=tags, created_at=int(time.time()))

    async def send(self, event: Event) -> None:
        await self._relay.send(f'["EVENT",{encode_event(event)}]')

    async def read(self, kind: int, scheme: Scheme = NIP44) -> dict[str, Any]:
        """Return the next of what the service says in events of this kind."""
        async with asyncio.timeout(20):
            while True:
                frame = json.loads(await self._relay.recv())
                if frame[0] == "EVENT" and frame[2]["kind"] == kind:
                    event = event_from(frame[2])
                    said: dict[str, Any] = json.loads(
                        encryption.decrypt(event.content, self.keypair, self.service, scheme)
                    )
                    return said

    async def call(self, method: str, scheme: Scheme = NIP44, **params: object) -> dict[str, Any]:
        await self.send(self.request(method, scheme, **params))
        return await self.read(23195, scheme)


@asynccontextmanager
async def client_of(w: World, uri: str) -> AsyncIterator[Client]:
    async with connect(f"ws://{HOST}:{w.port}") as relay:
        client = Client(uri, relay)
        await relay.send(json.dumps(["REQ", "me", {"kinds": [23195, 23196, 23197], "#p": [client.keypair.pubkey]}]))
        assert json.loads(await relay.recv())[0] == "EOSE"
        yield client


async def test_an_app_uses_the_balance_of_whoever_connected_it() -> None:
    async with connected() as (w, uri), app_of(uri) as app:
        assert await app.get_balance() is not None
        info = await app.get_info()
        assert "pay_invoice" in [str(method).lower() for method in info.methods] or info.methods
        bolt11 = w.network.people.invoice("alice", from_sat(1_000))
        paid = await app.pay_invoice(PayInvoiceRequest(id=None, invoice=bolt11, amount=None))
        assert hashlib.sha256(bytes.fromhex(paid.preimage)).hexdigest() == parse_bolt11(bolt11).payment_hash
        assert await w.balance("bob") == 10_000_000 - 1_000_000 - (paid.fees_paid or 0)
        found = await app.lookup_invoice(LookupInvoiceRequest(payment_hash=None, invoice=bolt11))
        assert (found.amount, found.state) == (1_000_000, TransactionState.SETTLED)
        await w.sound()


async def test_an_app_is_paid_and_told_so() -> None:
    async with connected() as (w, uri), app_of(uri) as app, client_of(w, uri) as client:
        made = await app.make_invoice(
            MakeInvoiceRequest(amount=21_000, description="for Bob", description_hash=None, expiry=None)
        )
        await (await w.join("alice")).pay(made.invoice)
        told = await client.read(23197)
        assert told["notification_type"] == "payment_received"
        assert (told["notification"]["amount"], told["notification"]["state"]) == (21_000, "settled")
        assert await w.balance("bob") == 10_021_000
        listed = await app.list_transactions(
            ListTransactionsRequest(_from=None, until=None, limit=None, offset=None, unpaid=None, transaction_type=None)
        )
        assert sorted(one.amount for one in listed) == [21_000, 10_000_000]


async def test_the_same_invoice_twice_pays_once() -> None:
    async with connected() as (w, uri), client_of(w, uri) as client:
        bolt11 = w.network.people.invoice("alice", from_sat(1_000))
        first = await client.call("pay_invoice", invoice=bolt11)
        again = await client.call("pay_invoice", invoice=bolt11)
        assert first["result"]["preimage"] == again["result"]["preimage"]
        assert len(await w.rows("SELECT id FROM payouts")) == 1


async def test_i6_a_replayed_request_pays_once_also_after_a_restart() -> None:
    async with connected() as (w, uri):
        async with client_of(w, uri) as client:
            request = client.request("pay_invoice", invoice=w.network.people.invoice("alice", from_sat(1_000)))
            await client.send(request)
            await client.read(23195)
            await client.send(request)
        await w.stop()
        await w.start()
        async with client_of(w, uri) as client:
            await client.send(request)
            assert (await client.call("get_balance"))["result"]["balance"] == await w.balance("bob")
        assert len(await w.rows("SELECT id FROM payouts")) == 1
        assert w.network.people.balance_msat("alice") == from_sat(1_001_000)


async def test_a_payment_that_is_pending_has_not_failed() -> None:
    async with connected() as (w, uri), client_of(w, uri) as client:
        w.network.scripts.add(Script(outcome=Outcome.HOLD))
        bolt11 = w.network.people.invoice("alice", from_sat(1_000))
        request = client.request("pay_invoice", invoice=bolt11)
        await client.send(request)
        await w.handled(request)
        balance = await client.call("get_balance")  # answered first: nothing was said of the payment
        assert balance["result_type"] == "get_balance"
        pending = await client.call("lookup_invoice", payment_hash=parse_bolt11(bolt11).payment_hash)
        assert pending["result"]["state"] == "pending"


async def test_a_payment_that_failed_is_told() -> None:
    async with connected() as (w, uri), client_of(w, uri) as client:
        w.network.scripts.add(Script(outcome=Outcome.HOLD))
        request = client.request("pay_invoice", invoice=w.network.people.invoice("alice", from_sat(1_000)))
        await client.send(request)
        await w.handled(request)
        stopped = Update("payouts", request.id, {"state": "stopped", "reason": "no route"}, expect={})
        async with w.database() as database, running(Book(database, SystemClock())) as book:
            assert (await book.apply(Plan("test/stopped", changes=(stopped,)))).done
        said = await client.read(23195)
        assert said["error"] == {"code": "PAYMENT_FAILED", "message": "no route"}


async def test_a_budget_is_kept_and_what_it_did_not_need_comes_back() -> None:
    async with connected("2010/day") as (w, uri), client_of(w, uri) as client:
        over = await client.call("pay_invoice", invoice=w.network.people.invoice("alice", from_sat(3_000)))
        assert over["error"]["code"] == "QUOTA_EXCEEDED"
        for _ in range(2):
            done = await client.call("pay_invoice", invoice=w.network.people.invoice("alice", from_sat(990)))
            assert done["error"] is None
        spent = await client.call("pay_invoice", invoice=w.network.people.invoice("alice", from_sat(990)))
        assert spent["error"]["code"] == "QUOTA_EXCEEDED"
        told = (await client.call("get_budget"))["result"]
        assert 1_980_000 <= told["used_budget"] < told["total_budget"] == 2_010_000
        assert told["renewal_period"] == "daily"
        assert 0 < told["renews_at"] - int(time.time()) <= 86_400
        listed = await (await w.join("bob")).ask(w.bot, "connect")
        assert listed.startswith("zapper: 1,98")
        assert "of 2,010 sat used this day" in listed


async def test_an_app_hears_of_what_its_owner_sends_by_message_once() -> None:
    async with connected() as (w, uri), client_of(w, uri) as client:
        bolt11 = w.network.people.invoice("alice", from_sat(1_000))
        assert "1,000 sat" in await (await w.join("bob")).ask(w.bot, f"withdraw {bolt11}")
        told = await client.read(23197)
        sent = told["notification"]
        assert (told["notification_type"], sent["type"], sent["amount"]) == ("payment_sent", "outgoing", 1_000_000)
        assert (sent["state"], sent["payment_hash"]) == ("settled", parse_bolt11(bolt11).payment_hash)
        assert hashlib.sha256(bytes.fromhex(sent["preimage"])).hexdigest() == sent["payment_hash"]
        own = w.network.people.invoice("alice", from_sat(500))
        assert (await client.call("pay_invoice", invoice=own))["error"] is None  # its own word came before the answer
        assert (await client.call("get_budget"))["result"] == {}
        heard = [row["event"] for row in await w.rows("SELECT event FROM outbox WHERE event LIKE '%\"kind\":23197,%'")]
        assert len(heard) == 2


async def test_a_closed_connection_is_told_that_it_has_no_wallet() -> None:
    async with connected() as (w, uri), client_of(w, uri) as client:
        bob = await w.join("bob")
        assert "no connection of this name" in await bob.ask(w.bot, "disconnect nothing")
        await bob.ask(w.bot, "disconnect zapper")
        assert (await client.call("get_balance"))["error"]["code"] == "UNAUTHORIZED"
        assert "No app is connected" in await bob.ask(w.bot, "connect")


CODES: list[tuple[str, dict[str, Any], str]] = [
    ("pay_keysend", {"amount": 1, "pubkey": "02" * 33}, "NOT_IMPLEMENTED"),
    ("pay_invoice", {"invoice": "lnbcrt1nonsense"}, "OTHER"),
    ("pay_invoice", {"invoice": "lno1qgsqvgnwgcg35z6ee2h3yczraddm72xrfua9uve2rlrm9deu7xyfzrc"}, "OTHER"),
    ("pay_keysend_to_the_moon", {}, "NOT_IMPLEMENTED"),
    ("multi_pay_invoice", {"invoices": []}, "NOT_IMPLEMENTED"),
    ("pay_invoice", {}, "OTHER"),
    ("make_invoice", {"amount": 0}, "OTHER"),
    ("make_invoice", {"amount": 1_000, "description_hash": "00" * 32}, "OTHER"),
    ("lookup_invoice", {}, "OTHER"),
    ("lookup_invoice", {"payment_hash": "00" * 32}, "NOT_FOUND"),
]


async def test_what_cannot_be_done_is_answered_with_its_code() -> None:
    async with connected(sats=10) as (w, uri), client_of(w, uri) as client:
        found = [
            (method, params, (await client.call(method, **params))["error"]["code"]) for method, params, _ in CODES
        ]
        assert found == CODES


async def test_more_than_the_balance_is_insufficient_balance() -> None:
    async with connected(sats=10) as (w, uri), client_of(w, uri) as client:
        said = await client.call("pay_invoice", invoice=w.network.people.invoice("alice", from_sat(1_000)))
        assert said["error"]["code"] == "INSUFFICIENT_BALANCE"


async def test_an_app_of_nip04_is_answered_in_nip04() -> None:
    async with connected() as (w, uri), client_of(w, uri) as client:
        assert (await client.call("get_balance", NIP04))["result"]["balance"] == 10_000_000


async def test_a_stranger_with_the_services_key_gets_nothing() -> None:
    async with connected() as (w, uri), client_of(w, uri) as client:
        stranger = KeyPair(secrets.token_bytes(32))
        client.keypair = stranger
        request = client.request("get_balance")
        await client.send(request)
        rows = await w.rows("SELECT id FROM inbox WHERE id = :id", id=request.id)
        assert rows == []


async def test_withdrawals_that_are_closed_close_the_wallet_too() -> None:
    async with connected() as (w, uri):
        closed = Put("users", w.keys["bob"].pubkey, {"withdrawals": "closed", "withdrawals_reason": ""})
        async with w.database() as database, running(Book(database, SystemClock())) as book:
            assert (await book.apply(Plan("test/closed", changes=(closed,)))).done
        async with client_of(w, uri) as client:
            said = await client.call("pay_invoice", invoice=w.network.people.invoice("alice", from_sat(1_000)))
            assert said["error"]["code"] == "RESTRICTED"


async def test_a_connection_does_what_it_may_until_its_time_is_over() -> None:
    async with connected() as (w, _):
        bob = await w.join("bob")
        uri = await connect_app(w, "for 2 days only receive", name="till")
        listed = await bob.ask(w.bot, "connect")
        assert "till: with no limit of its own, until 20" in listed
        assert "for make_invoice, lookup_invoice, get_info, get_budget only" in listed
        async with client_of(w, uri) as client:
            info = (await client.call("get_info"))["result"]
            assert info["methods"] == ["make_invoice", "lookup_invoice", "get_info", "get_budget"]
            assert info["notifications"] == ["payment_received"]
            for method in ("get_balance", "list_transactions"):
                assert (await client.call(method))["error"]["code"] == "RESTRICTED"
            bolt11 = w.network.people.invoice("alice", from_sat(1))
            assert (await client.call("pay_invoice", invoice=bolt11))["error"]["code"] == "RESTRICTED"
            w.clock.advance(2 * 86_400 + 1)
            assert (await client.call("get_info"))["error"]["code"] == "UNAUTHORIZED"
        assert "over since" in await bob.ask(w.bot, "Connect")


async def test_a_budget_is_whole_again_when_its_period_is_over() -> None:
    async with connected("1010/day") as (w, uri), client_of(w, uri) as client:
        for code in (None, "QUOTA_EXCEEDED"):
            said = await client.call("pay_invoice", invoice=w.network.people.invoice("alice", from_sat(1_000)))
            assert (said["error"] or {"code": None})["code"] == code
        await w.tamper("UPDATE connections SET spent_since = spent_since - 86400")
        invoice = w.network.people.invoice("alice", from_sat(1_000))
        assert (await client.call("pay_invoice", invoice=invoice))["error"] is None


async def test_an_app_that_asks_too_fast_is_told_to_wait() -> None:
    async with world(nwc={"requests_per_minute": 2}) as w:
        uri = await connect_app(w)
        async with client_of(w, uri) as client:
            codes = [((await client.call("get_balance"))["error"] or {"code": None})["code"] for _ in range(3)]
            assert codes == [None, None, "RATE_LIMITED"]
            w.clock.advance(60)
            assert (await client.call("get_balance"))["error"] is None


async def test_whoever_asks_again_for_a_payment_under_way_waits_for_the_same_end() -> None:
    async with connected("5000/day") as (w, uri), client_of(w, uri) as client:
        w.network.scripts.add(Script(outcome=Outcome.HOLD))
        bolt11 = w.network.people.invoice("alice", from_sat(1_000))
        requests = [client.request("pay_invoice", invoice=bolt11.upper() if n else bolt11) for n in range(2)]
        for request in requests:
            await client.send(request)
            await w.handled(request)
        assert len(await w.rows("SELECT id FROM payouts")) == 1
        stopped = Update("payouts", requests[0].id, {"state": "stopped", "reason": "no route"}, expect={})
        async with w.database() as database, running(Book(database, SystemClock())) as book:
            assert (await book.apply(Plan("test/stopped", changes=(stopped,)))).done
        ends = [(await client.read(23195))["error"]["code"] for _ in requests]
        assert ends == ["PAYMENT_FAILED", "PAYMENT_FAILED"]
        assert (await client.call("pay_invoice", invoice=bolt11))["error"]["code"] == "PAYMENT_FAILED"


async def test_names_of_connections_are_ones_own_and_words() -> None:
    async with connected() as (w, _):
        bob = await w.join("bob")
        assert "you have a connection of this name" in await bob.ask(w.bot, "connect zapper 5/day")
        assert "letters and digits" in await bob.ask(w.bot, "connect <script>")
        assert "a budget is sats and a period" in await bob.ask(w.bot, "connect other 5/year")
        assert "a budget is sats and a period" in await bob.ask(w.bot, "connect other for ever")
        assert "1 to 3650 days" in await bob.ask(w.bot, "connect other for 3651 days")
        assert "only read, receive, pay" in await bob.ask(w.bot, "connect other only read,write")
        assert "say which connection" in await bob.ask(w.bot, "disconnect")


async def test_an_invoice_of_ours_is_paid_inside_the_book_by_app_and_by_message() -> None:
    async with connected("1500/day") as (w, uri), client_of(w, uri) as client:
        alice, bob = await w.join("alice"), await w.join("bob")
        for sats, pay in ((1_000, "app"), (2_000, "message")):
            before = await w.balance("alice")
            bolt11 = (await alice.ask(w.bot, f"topup {sats}")).split()[-1]
            if pay == "app":
                paid = (await client.call("pay_invoice", invoice=bolt11))["result"]
                assert paid["fees_paid"] == 0
                proof = hashlib.sha256(bytes.fromhex(paid["preimage"])).hexdigest()
                assert proof == parse_bolt11(bolt11).payment_hash
            else:
                assert "nothing had to leave" in await bob.ask(w.bot, f"withdraw {bolt11}")
            assert await w.balance("alice") == before + sats * 1000
            again = await bob.ask(w.bot, f"withdraw {sats} {bolt11}")
            assert "this invoice has been paid" in again
        assert await w.balance("bob") == 7_000_000
        over = (await alice.ask(w.bot, "topup 600")).split()[-1]
        assert (await client.call("pay_invoice", invoice=over))["error"]["code"] == "QUOTA_EXCEEDED"
        assert await w.rows("SELECT id FROM payouts") == []
        await w.sound()
