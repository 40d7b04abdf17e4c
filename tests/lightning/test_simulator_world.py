"""The world around the simulated nodes: Lightning Addresses, wallets, scripts, over HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from relaybot.clock import SetClock
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.scripts import Outcome, Script
from wallet.bolt11_invoice import parse_bolt11
from wallet.cln import CoreLightning
from wallet.lightning import PaymentState
from wallet.money import Msat, from_sat


class Client:
    """A person with a browser."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self.url = url

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
        async with self._http.get(f"{self.url}{path}", headers=headers) as response:
            return response.status, await response.json()

    async def post(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        async with self._http.post(f"{self.url}{path}", json=body) as response:
            return response.status, await response.json()


@pytest.fixture
async def client(network: SimulatedNetwork) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as http:
        yield Client(http, network.running.url)


async def test_a_lightning_address_leads_to_an_invoice_over_the_hash_of_its_metadata(
    client: Client, network: SimulatedNetwork, clock: SetClock
) -> None:
    status, said = await client.get("/.well-known/lnurlp/alice")
    assert (status, said["tag"]) == (200, "payRequest")
    assert said["callback"] == f"{client.url}/lnurlp/alice/callback"
    assert '["text/identifier", "alice@wallets.test"]' in said["metadata"]
    assert said["minSendable"] <= 1_000 < said["maxSendable"]
    _, answer = await client.get("/lnurlp/alice/callback?amount=2000000")
    invoice = parse_bolt11(answer["pr"])
    assert answer["routes"] == []
    assert invoice.amount_msat == 2_000_000
    assert invoice.description_hash == hashlib.sha256(said["metadata"].encode()).hexdigest()
    assert invoice.payee == network.nodes["wallets"].pubkey
    assert invoice.expires_at == clock.now() + 600


async def test_who_asks_for_the_public_name_is_led_on_under_the_public_name(client: Client) -> None:
    _, said = await client.get("/.well-known/lnurlp/alice", Host="wallets.test")
    assert said["callback"] == "https://wallets.test/lnurlp/alice/callback"


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/lnurlp/NOT A NAME",
        f"/.well-known/lnurlp/{'x' * 65}",
        "/lnurlp/alice/callback",
        "/lnurlp/alice/callback?amount=999",
        "/lnurlp/alice/callback?amount=-1",
        "/lnurlp/alice/callback?amount=1e6",
        "/lnurlp/alice/callback?amount=99999999999999999999",
        "/lnurlp/NOT A NAME/callback?amount=1000",
    ],
)
async def test_lnurl_errors_are_answers_of_their_own(client: Client, path: str) -> None:
    status, said = await client.get(path)
    assert (status, said["status"]) == (200, "ERROR")
    assert said["reason"]


async def test_every_visit_gets_an_invoice_of_its_own(client: Client) -> None:
    asked = [(await client.get("/lnurlp/alice/callback?amount=1000"))[1]["pr"] for _ in range(3)]
    assert len({parse_bolt11(each).payment_hash for each in asked}) == 3


async def test_a_person_pays_an_invoice_of_the_service(client: Client, node: CoreLightning) -> None:
    invoice = await node.create_invoice(label="l", amount_msat=from_sat(12_000), description="d", expiry_seconds=600)
    status, paid = await client.post("/wallets/bob/pay", {"bolt11": invoice.bolt11})
    assert (status, paid["status"]) == (200, "complete")
    assert hashlib.sha256(bytes.fromhex(paid["preimage"])).hexdigest() == invoice.payment_hash
    _, bob = await client.get("/wallets/bob")
    assert bob["balance_msat"] == from_sat(1_000_000) - paid["amount_sent_msat"]
    assert [each["status"] for each in bob["sent"]] == ["complete"]
    assert bob["address"] == "bob@wallets.test"


async def test_one_person_pays_another_at_no_fee(client: Client) -> None:
    _, answer = await client.get("/lnurlp/alice/callback?amount=5000000")
    _, paid = await client.post("/wallets/bob/pay", {"bolt11": answer["pr"]})
    assert paid["amount_sent_msat"] == 5_000_000
    assert (await client.get("/wallets/alice"))[1]["balance_msat"] == from_sat(1_005_000)
    assert (await client.get("/wallets/bob"))[1]["balance_msat"] == from_sat(995_000)


async def test_a_wallet_is_opened_with_what_it_is_granted_and_only_once(client: Client) -> None:
    status, carol = await client.post("/wallets", {"name": "carol", "granted_msat": 7})
    assert (status, carol["balance_msat"]) == (201, 7)
    _, again = await client.post("/wallets", {"name": "carol", "granted_msat": 8})
    assert again["balance_msat"] == 7


async def test_wallets_of_like_names_are_kept_apart(client: Client) -> None:
    for name in ("al", "al_x", "alx", "al.x"):
        _, answer = await client.get(f"/lnurlp/{name}/callback?amount=1000000")
        await client.post("/wallets/bob/pay", {"bolt11": answer["pr"]})
    for name in ("al", "al_x", "alx", "al.x"):
        assert len((await client.get(f"/wallets/{name}"))[1]["received"]) == 1


async def test_a_wallet_spends_no_more_than_it_holds(client: Client, node: CoreLightning) -> None:
    await client.post("/wallets", {"name": "poor", "granted_msat": 1_000})
    invoice = await node.create_invoice(label="l", amount_msat=Msat(2_000), description="d", expiry_seconds=600)
    status, said = await client.post("/wallets/poor/pay", {"bolt11": invoice.bolt11})
    assert (status, said["code"]) == (409, 301)


async def test_an_amountless_invoice_is_paid_with_the_amount_that_is_named(client: Client, node: CoreLightning) -> None:
    invoice = await node.create_invoice(label="l", amount_msat=None, description="d", expiry_seconds=600)
    status, said = await client.post("/wallets/bob/pay", {"bolt11": invoice.bolt11})
    assert (status, said["field"]) == (400, "bolt11")
    status, said = await client.post("/wallets/bob/pay", {"bolt11": invoice.bolt11, "amount_msat": 7_777})
    assert (status, said["amount_msat"]) == (200, 7_777)


async def test_what_fails_at_the_node_says_why(client: Client, node: CoreLightning, clock: SetClock) -> None:
    invoice = await node.create_invoice(label="l", amount_msat=Msat(1_000), description="d", expiry_seconds=1)
    clock.advance(5)
    status, said = await client.post("/wallets/bob/pay", {"bolt11": invoice.bolt11})
    assert (status, said["code"]) == (409, 207)


async def test_a_lost_connection_is_said_and_the_payment_goes_on(
    client: Client, network: SimulatedNetwork, node: CoreLightning
) -> None:
    invoice = await node.create_invoice(label="l", amount_msat=Msat(1_000), description="d", expiry_seconds=600)
    await client.post("/scripts", {"outcome": "lost_connection", "node": "wallets"})
    status, _ = await client.post("/wallets/bob/pay", {"bolt11": invoice.bolt11})
    settlement = await node.next_settlement(after_index=0, timeout_seconds=20)
    assert (status, settlement is not None) == (504, True)


async def test_a_scripted_outcome_waits_for_its_payment_and_is_released_by_hash(
    client: Client, network: SimulatedNetwork, node: CoreLightning
) -> None:
    status, script = await client.post("/scripts", {"outcome": "error_while_pending", "wallet": "alice"})
    assert (status, script["outcome"]) == (201, "error_while_pending")
    dave, alice = (network.people.invoice(name, 1_000_000) for name in ("dave", "alice"))
    assert (await node.pay(dave, maxfee_msat=Msat(5_000), label="l")).state is PaymentState.SETTLED
    assert (await node.pay(alice, maxfee_msat=Msat(5_000), label="l")).state is PaymentState.UNKNOWN
    payment_hash = parse_bolt11(alice).payment_hash
    assert await client.post("/scripts/release", {"payment_hash": "00" * 32}) == (200, {"released": 0})
    assert await client.post("/scripts/release", {"payment_hash": payment_hash, "ending": "fail"}) == (
        200,
        {"released": 1},
    )
    assert (await node.payment(payment_hash)).state is PaymentState.FAILED


async def test_the_overview_says_what_runs(client: Client, network: SimulatedNetwork) -> None:
    await client.post("/wallets", {"name": "bob"})
    network.scripts.add(Script(outcome=Outcome.HOLD))
    _, said = await client.get("/")
    assert said["simulated"] is True
    assert [each["name"] for each in said["nodes"]] == ["service", "hub", "wallets"]
    assert [each["name"] for each in said["wallets"]] == ["bob"]
    assert [each["outcome"] for each in said["scripts"]] == ["hold"]
    assert said["payments_on_their_way"] == 0


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/wallets", {}, "name"),
        ("/wallets", {"name": "Bad Name"}, "name"),
        ("/wallets", {"name": "bob", "granted_msat": -1}, "granted_msat"),
        ("/wallets", {"name": "bob", "balance": 1}, "balance"),
        ("/wallets/bob/pay", {}, "bolt11"),
        ("/wallets/bob/pay", {"bolt11": 5}, "bolt11"),
        ("/wallets/bob/pay", {"bolt11": "garbage"}, "bolt11"),
        ("/wallets/bob/pay", {"bolt11": "lnbcrt1", "amount_msat": "many"}, "amount_msat"),
        ("/wallets/BOB/pay", {"bolt11": "lnbcrt1"}, "name"),
        ("/scripts", {}, "outcome"),
        ("/scripts", {"outcome": "explode"}, "outcome"),
        ("/scripts", {"outcome": "hold", "payment_hash": "zz"}, "payment_hash"),
        ("/scripts", {"outcome": "hold", "seconds": -1}, "seconds"),
        ("/scripts/release", {"ending": "maybe"}, "ending"),
        ("/scripts", [], "body"),
        ("/scripts", "text", "body"),
        ("/scripts", None, "outcome"),
    ],
)
async def test_a_bad_body_is_refused_naming_the_field(client: Client, path: str, body: Any, field: str) -> None:
    status, said = await client.post(path, body)
    assert (status, said["field"]) == (400, field)
    assert said["error"]


async def test_an_unknown_wallet_is_not_found(client: Client) -> None:
    status, said = await client.get("/wallets/nobody")
    assert (status, said["field"]) == (404, "name")
