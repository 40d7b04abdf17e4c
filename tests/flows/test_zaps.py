"""Zaps and payments to our Lightning Addresses, over real HTTP, paid from real (simulated) wallets."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from relaybot.app import serve as run
from relaybot.demo.people import Person
from relaybot.demo.stage import HOST
from relaybot.errors import BadConfig
from relaybot.nostr import nip17, nip19, nip57, nip59
from relaybot.nostr.event import Event, event_from
from tests.flows.harness import PRICE, World, world
from wallet.bolt11_invoice import parse_bolt11

DOMAIN = "bots.test"


@asynccontextmanager
async def town(**overrides: Any) -> AsyncIterator[World]:
    async with world(**{"web": {"domain": DOMAIN}, **overrides}) as made:
        yield made


async def get(w: World, path: str, **query: str | int) -> dict[str, Any]:
    """Ask our server as a wallet does; the domain leads to it."""
    url = f"http://{HOST}:{w.port}{path}"
    async with aiohttp.ClientSession() as http, http.get(url, params=query, headers={"Host": DOMAIN}) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        answer: dict[str, Any] = await response.json()
        return answer


async def ask_to_zap(w: World, name: str, sats: int, by: Person, **more: Any) -> dict[str, Any]:
    """Ask for the invoice of a zap by `by` to `name`."""
    described = await get(w, f"/.well-known/lnurlp/{name}")
    named = (await get(w, "/.well-known/nostr.json", name=name))["names"]
    request = nip57.build_zap_request(
        by.keypair,
        recipient=more.pop("recipient", named[name]),
        relays=[f"ws://{HOST}:{w.port}", "ws://127.0.0.1:1", *more.pop("relays", ())],
        amount_msat=sats * 1000,
        now=int(time.time()),
        **more,
    )
    path = described["callback"].removeprefix(f"https://{DOMAIN}")
    return await get(w, path, amount=sats * 1000, nostr=nip57.request_text(request))


async def zap(w: World, name: str, sats: int, by: Person, **more: Any) -> nip57.ZapReceipt:
    """Zap, pay, and wait for the receipt; it is verified as a client verifies it."""
    answer = await ask_to_zap(w, name, sats, by, **more)
    invoice = parse_bolt11(answer["pr"])
    await by.pay(answer["pr"])
    event = await receipt_of(w, answer["pr"])
    zapper = (await get(w, f"/.well-known/lnurlp/{name}"))["nostrPubkey"]
    receipt = nip57.parse_zap_receipt(event, zapper=zapper, paid_msat=invoice.amount_msat)
    assert receipt.request.description_hash == invoice.description_hash
    assert hashlib.sha256(bytes.fromhex(receipt.preimage or "")).hexdigest() == invoice.payment_hash
    return receipt


async def receipt_of(w: World, bolt11: str) -> Event:
    """Wait for the receipt of an invoice, at the relay, as anybody can."""
    async with asyncio.timeout(20), connect(f"ws://{HOST}:{w.port}") as relay:
        await relay.send('["REQ","zaps",{"kinds":[9735]}]')
        while True:
            frame = json.loads(await relay.recv())
            if frame[0] == "EVENT" and event_from(frame[2]).tag("bolt11") == bolt11:
                return event_from(frame[2])


def said(person: Person, event: Event) -> str:
    """Return the words of a private message to `person`, '' for any other event."""
    return nip17.parse_message(nip59.unwrap(event, person.keypair)).text if event.kind == 1059 else ""


async def test_what_a_wallet_is_told_of_an_agent() -> None:
    async with town() as w:
        told = await get(w, "/.well-known/lnurlp/autodev")
        assert told["tag"] == "payRequest"
        assert told["callback"] == f"https://{DOMAIN}/lnurlp/autodev/callback"
        assert (told["minSendable"], told["maxSendable"]) == (1_000, 1_000_000_000)
        assert json.loads(told["metadata"]) == [
            ["text/plain", "Tip the makers of AutoDev"],
            ["text/identifier", f"autodev@{DOMAIN}"],
        ]
        assert (told["allowsNostr"], told["commentAllowed"]) == (True, 255)


async def test_a_zap_to_the_service_tops_up_whoever_sent_it() -> None:
    async with town() as w:
        bob = await w.join("bob")
        receipt = await zap(w, "service", 500, bob, comment="for later")
        assert receipt.request.sender == bob.pubkey
        assert await w.balance("bob") == 500_000
        await w.sound()


async def test_a_zap_to_an_agent_is_shared_among_its_makers() -> None:
    async with town(payouts={"enabled": False}) as w:
        await zap(w, "autodev", 3_100, await w.join("bob"))
        found = {name: await w.balance(name) for name in ("alice", "carol", "dave", "grace", "heidi")}
        assert found == {"alice": 2_000_000, "carol": 0, "dave": 500_000, "grace": 300_000, "heidi": 300_000}
        assert await w.account("platform/revenue/sats") == 0
        await w.sound()


async def test_the_platform_takes_its_percentage_of_tips_only_if_it_says_so() -> None:
    async with town(payouts={"enabled": False}, zaps={"platform": "10%"}) as w:
        await zap(w, "autodev", 100, await w.join("bob"))
        assert await w.account("platform/revenue/sats") == 10_000 + 2  # what flooring leaves of 90,000 among four
        await w.sound()


async def test_a_zap_to_a_user_is_theirs_and_they_are_told_once_if_they_want_to_be() -> None:
    async with town(dm={"batch_seconds": 1}, payouts={"enabled": False}) as w:
        alice, bob, eve = await w.join("alice"), await w.join("bob"), await w.join("eve")
        heard = await alice.publish(10050, "", [["relay", f"ws://{HOST}:{w.port}"]])
        await w.handled(heard)
        for person in (alice, eve):  # Eve never said where private messages reach her
            await zap(w, nip19.encode_npub(person.pubkey), 21, bob)
        await alice.wait_for("word of it", lambda event: said(alice, event) == "You were given 21 sat.")
        assert (await w.balance("alice"), await w.balance("eve")) == (21_000, 21_000)
        assert "not told any more" in await alice.ask(w.bot, "notices off")
        await zap(w, nip19.encode_npub(alice.pubkey), 22, bob)
        await w.until(lambda: _all_told(w))
        assert "not told any more" in await alice.ask(w.bot, "Notices")  # by then everything before it was sent
        assert [text for event in alice.seen() if "given 22" in (text := said(alice, event))] == []
        assert [event for event in eve.seen() if event.kind == 1059] == []
        assert "Usage: notices" in await alice.ask(w.bot, "notices never")


async def _all_told(w: World) -> bool:
    return not await w.rows("SELECT id FROM notices WHERE due_at IS NOT NULL")


async def test_a_chosen_name_is_an_address_and_nobody_elses() -> None:
    async with town() as w:
        alice, mallory = await w.join("alice"), await w.join("mallory")
        assert "top up or earn something first" in await alice.ask(w.bot, "name alice")
        await w.fund("alice", 10)
        assert await alice.ask(w.bot, "name Alice") == f"You are alice@{DOMAIN}: whoever pays or zaps it, pays you."
        assert await alice.ask(w.bot, "name") == f"You are alice@{DOMAIN}."
        await w.fund("mallory", 10)
        assert "taken" in await mallory.ask(w.bot, "name alice")
        assert "reserved" in await mallory.ask(w.bot, "name autodev")
        assert "letter" in await mallory.ask(w.bot, "name npub1mallory")
        await zap(w, "alice", 21, await w.join("bob"))
        assert await w.balance("alice") == 31_000


async def test_a_zap_on_the_request_for_payment_pays_the_job_whoever_sends_it() -> None:
    async with town() as w:
        await w.node_joins()
        request = await w.request("bob")
        asked = await w.feedback("bob", request, "payment-required")
        bob = await w.join("bob")
        event = next(one for one in bob.seen() if one.id == asked.event_id)
        await zap(w, "autodev", 12_000, await w.join("mallory"), zapped=event)
        await w.feedback("bob", request, "processing")
        assert (await w.job(request))["state"] in {"held", "assigned"}
        assert await w.account(f"hold/job/{request.id}/sats") == PRICE
        await w.sound()


async def test_an_underpaid_zap_is_balance_and_the_job_waits() -> None:
    async with town() as w:
        request = await w.request("bob")
        asked = await w.feedback("bob", request, "payment-required")
        bob = await w.join("bob")
        event = next(one for one in bob.seen() if one.id == asked.event_id)
        await zap(w, "autodev", 11_999, bob, zapped=event)
        assert (await w.job(request))["state"] == "awaiting_payment"
        assert await w.balance("bob") == 11_999_000


async def test_a_zap_on_a_result_tips_everybody_who_was_paid_for_it() -> None:
    async with town(payouts={"enabled": False}) as w:
        await w.fund("bob", 12_000)
        await w.node_joins()
        alice = await w.join("alice")
        assert await alice.ask(w.bot, "zaps") == "No result names you."
        assert "so that people can zap you" in await alice.ask(w.bot, "zaps on")
        request = await w.request("bob")
        child = await w.assignment()
        await w.claim(child)
        await w.deliver(child)
        result = await w.result("bob", request)
        # NIP-57, Appendix G: who wants it is named, the agent stands for all others
        assert [list(tag) for tag in result.tags_named("zap")] == [
            ["zap", alice.pubkey, f"ws://{HOST}:{w.port}", "2000000"],
            ["zap", w.agent, f"ws://{HOST}:{w.port}", "2100000"],
        ]
        await w.feedback("bob", request, "success")
        await zap(w, "autodev", 4_100, await w.join("bob"), zapped=result)
        found = {name: await w.balance(name) for name in ("alice", "carol", "dave", "grace", "heidi")}
        assert found == {name: 2 * msat for name, msat in _EARNED.items()}
        await w.sound()


_EARNED = {"alice": 2_000_000, "carol": 1_000_000, "dave": 500_000, "grace": 300_000, "heidi": 300_000}


async def test_a_plain_payment_to_an_address_needs_no_nostr_and_can_be_verified() -> None:
    async with town(payouts={"enabled": False}) as w:
        answer = await get(w, "/lnurlp/autodev/callback", amount=3_100_000, comment="thank you")
        told = await get(w, "/.well-known/lnurlp/autodev")
        invoice = parse_bolt11(answer["pr"])
        assert invoice.description_hash == hashlib.sha256(told["metadata"].encode()).hexdigest()
        verify = answer["verify"].removeprefix(f"https://{DOMAIN}")
        assert await get(w, verify) == {"status": "OK", "settled": False, "preimage": None, "pr": answer["pr"]}
        await (await w.join("bob")).pay(answer["pr"])
        await w.until(lambda: _is(w, "alice", 2_000_000))
        found = await get(w, verify)
        assert found["settled"]
        assert hashlib.sha256(bytes.fromhex(found["preimage"])).hexdigest() == invoice.payment_hash


async def _is(w: World, name: str, msat: int) -> bool:
    return await w.balance(name) == msat


async def test_the_receipt_also_reaches_the_relay_that_the_sender_named() -> None:
    got: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

    async def elsewhere(visitor: ServerConnection) -> None:
        event = event_from(json.loads(await visitor.recv())[1])
        await visitor.send(json.dumps(["OK", event.id, True, ""]))
        got.set_result(event)

    async with serve(elsewhere, HOST, 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with town(outgoing={"hosts": {"elsewhere.test": f"http://{HOST}:{port}"}}) as w:
            receipt = await zap(w, "service", 5, await w.join("bob"), relays=["wss://elsewhere.test"])
            async with asyncio.timeout(20):
                assert (await got).id == receipt.event_id


async def test_the_same_zap_request_gets_the_same_invoice() -> None:
    async with town() as w:
        bob = await w.join("bob")
        request = nip57.build_zap_request(
            bob.keypair, recipient=w.agent, relays=[], amount_msat=21_000, now=int(time.time())
        )
        asked: dict[str, str | int] = {"amount": 21_000, "nostr": nip57.request_text(request)}
        first, again = [await get(w, "/lnurlp/autodev/callback", **asked) for _ in range(2)]
        assert first == again


async def test_an_anonymous_zap_to_the_service_is_refused_or_a_donation() -> None:
    async with town() as w:
        refused = await ask_to_zap(w, "service", 5, await w.join("bob"), anonymous=True)
        assert refused["status"] == "ERROR"
        assert "not anonymously" in refused["reason"]
        assert "not anonymously" in (await get(w, "/lnurlp/service/callback", amount=5_000))["reason"]
    async with town(zaps={"anonymous": "donate"}) as w:
        await zap(w, "service", 5, await w.join("bob"), anonymous=True)
        assert (await w.balance("bob"), await w.account("platform/revenue/sats")) == (0, 5_000)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("nobody", {"amount": 5_000}, "nobody has this name here"),
    ("npub1nonsense", {"amount": 5_000}, "nobody has this name here"),
    ("autodev", {}, "amount: amount must be a string of digits"),
    ("autodev", {"amount": "1e3"}, "amount: amount must be a string of digits"),
    ("autodev", {"amount": "-1"}, "amount: amount must be a string of digits"),
    ("autodev", {"amount": 999}, "amount: out of range"),
    ("autodev", {"amount": 2**63}, "amount: "),
    ("autodev", {"amount": 5_000, "comment": "x" * 256}, "comment: too long"),
    ("autodev", {"amount": 5_000, "payerdata": "{}"}, "payerdata: not asked for here"),
    ("autodev", {"amount": 5_000, "nostr": "{}"}, "event has a wrong shape"),
]


async def test_d7_what_a_wallet_asks_wrongly_it_is_told_by_name() -> None:
    """Nothing of it makes an invoice."""
    async with town() as w:
        for name, query, reason in WRONG:
            told = await get(w, f"/lnurlp/{name}/callback", **query)
            assert told["status"] == "ERROR"
            assert told["reason"].startswith(reason)
        assert await w.rows("SELECT id FROM invoices") == []


async def test_d7_a_zap_request_for_somebody_else_is_refused() -> None:
    """The recipient of the request is not who is paid."""
    async with town() as w:
        bob = await w.join("bob")
        told = await ask_to_zap(w, "autodev", 5, bob, recipient=bob.pubkey)
        assert told["reason"].startswith("p: the zap request is for somebody else")


async def test_d6_a_forged_receipt_on_the_relay_moves_nothing() -> None:
    """Credit comes from our node's word, never from an event seen on a relay."""
    async with town() as w:
        bob = await w.join("bob")
        answer = await ask_to_zap(w, "service", 500, bob)
        request = nip57.parse_zap_request(
            nip57.request_text(
                nip57.build_zap_request(bob.keypair, recipient=w.bot, relays=[], amount_msat=500_000, now=1)
            )
        )
        forged = nip57.build_zap_receipt(
            bob.keypair, request, bolt11=answer["pr"], preimage="00" * 32, paid_at=int(time.time())
        )
        await bob.send(forged)
        await bob.ask(w.bot, "balance")
        assert await w.balance("bob") == 0


async def test_without_a_domain_nobody_has_an_address_and_the_log_says_what_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with world() as w:
        assert "set web.domain to have them" in capsys.readouterr().out
        assert (await get(w, "/.well-known/lnurlp/service"))["reason"] == "nobody has this name here"
        assert await get(w, "/.well-known/nostr.json", name="_") == {"names": {}}


async def test_one_address_cannot_flood_the_node_with_invoices() -> None:
    async with town(zaps={"requests_per_minute": 2}) as w:
        answers = [await get(w, "/lnurlp/autodev/callback", amount=5_000) for _ in range(4)]
        assert ["pr" in answer for answer in answers] == [True, True, False, False]
        assert "wait a minute" in answers[-1]["reason"]


async def test_behind_a_proxy_each_subscriber_is_counted_by_their_own_network() -> None:
    async with town(zaps={"requests_per_minute": 1}, relay={"trusted_proxies": ["127.0.0.1"]}) as w:
        url = f"http://{HOST}:{w.port}/lnurlp/autodev/callback"
        asked = ("203.0.113.1", "203.0.113.2", "2001:db8::1", "2001:db8::2", "6.6.6.6, 2001:db8:0:1::1")
        served = []
        async with aiohttp.ClientSession() as http:
            for address in asked:
                headers = {"X-Forwarded-For": address}
                async with http.get(url, params={"amount": 5_000}, headers=headers) as response:
                    served.append("pr" in await response.json())
        assert served == [True, True, True, False, True]


async def test_a_long_zap_request_fits_and_a_longer_one_is_answered_in_words() -> None:
    async with town() as w:
        bob = await w.join("bob")
        answer = await ask_to_zap(w, "autodev", 5, bob, comment="x" * 12_000)
        assert parse_bolt11(answer["pr"]).amount_msat == 5_000
        url = f"http://{HOST}:{w.port}/lnurlp/autodev/callback"
        query = {"amount": "5000", "nostr": "x" * 25_000}
        async with aiohttp.ClientSession() as http, http.get(url, params=query) as response:
            assert (response.status, (await response.json())["reason"]) == (431, "the request is too long for a URL")


async def test_an_agent_does_not_take_the_name_of_a_user() -> None:
    async with town() as w:
        await w.stop()
        await w.tamper("INSERT INTO names (id, version, pubkey, created_at) VALUES ('autodev', 1, 'a', 1)")
        with pytest.raises(BadConfig, match=r"agents\.autodev"):
            await run(w.config, {}, ready=lambda _: None)
