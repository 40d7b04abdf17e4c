"""The API: signed requests, each once; what it does is what the commands do; nobody reads what is another's."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest

from relaybot.clock import SetClock
from relaybot.errors import Rejected
from relaybot.nostr import nip19, nip98
from relaybot.nostr.keys import KeyPair
from relaybot.web.api import models
from relaybot.web.api.door import AHEAD_SECONDS_MAX, Tokens
from relaybot.web.api.openapi import openapi
from relaybot.web.api.problems import BASE
from relaybot.web.api.routes import OPERATIONS
from tests.account.test_money_pages import FAST, invoice
from tests.flows.harness import World, world

BODIES: dict[str, Any] = {
    "PUT /payout": {"target": "bob@wallets.test", "threshold_sats": 500},
    "POST /topups": {"sats": 765},
    "POST /withdrawals/quote": {"to": "bob@wallets.test", "sats": 5},
    "POST /withdrawals": {"to": "bob@wallets.test", "sats": 5},
    "POST /withdraw-links": {"sats": 5},
    "POST /jobs": {"agent": "autodev", "input": "Fix it"},
    "POST /connections": {"name": "phone", "sats": 10, "period": "week"},
    "POST /companies/{org}/members": {"npub": "nobody"},
    "PUT /companies/{org}/members": {"npub": "nobody"},
    "POST /companies/{org}/approvals": {"job": "0" * 64, "approve": True},
    "POST /referrer": {"npub": "nobody"},
}
IDS = {"id": "0" * 64, "name": "phone", "org": "acme", "npub": "nobody"}


@dataclass(slots=True)
class Api:
    """A client of the API."""

    http: aiohttp.ClientSession
    w: World
    keypair: KeyPair

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, auth: str | None = None, **more: Any
    ) -> tuple[int, Any]:
        """Send one request, signed anew unless `auth` is said."""
        raw = b"" if body is None else json.dumps(body).encode()
        raw = more.get("raw", raw)
        headers = {"Content-Type": more.get("content_type", "application/json")} if raw else {}
        headers |= {"Idempotency-Key": key} if key is not None else {}
        auth = self.auth(method, path, raw) if auth is None else auth
        url = f"http://127.0.0.1:{self.w.port}{BASE}{path}"
        headers |= {"Authorization": auth} if auth else {}
        async with self.http.request(
            method, url, data=raw or None, headers=headers, skip_auto_headers=["Content-Type"]
        ) as answer:
            if answer.status != 200:
                assert answer.content_type == "application/problem+json"
            return answer.status, await answer.json(content_type=None)

    def auth(self, method: str, path: str, raw: bytes = b"", *, age: int = 0) -> str:
        """Sign one request."""
        event = nip98.build_http_auth(
            self.keypair,
            url=f"http://127.0.0.1:{self.w.port}{BASE}{path}",
            method=method,
            body=raw,
            challenge=secrets.token_hex(8),  # or two of one second were the same
            now=self.w.clock.now() - age,
        )
        return nip98.authorization(event)


@asynccontextmanager
async def api(w: World, name: str) -> AsyncIterator[Api]:
    """Open a client for somebody."""
    async with aiohttp.ClientSession() as http:
        yield Api(http, w, w.keys[name])


@asynccontextmanager
async def served(**more: Any) -> AsyncIterator[World]:
    """Run a service that has run for a while."""
    async with world(web=FAST, **more) as w:
        w.clock.advance(AHEAD_SECONDS_MAX + 1)
        yield w


async def test_money_comes_and_goes_by_the_commands_once_for_each_key() -> None:
    async with served() as w, api(w, "bob") as bob, api(w, "eve") as eve:
        await w.join("bob")
        status, made = await bob.call("POST", "/topups", {"sats": 50_000}, key="one")
        assert (status, made["state"], made["amount_msat"]) == (200, "waiting", 50_000_000)
        assert await bob.call("POST", "/topups", {"sats": 50_000}, key="one") == (200, made)  # A5: the first answer
        status, refused = await bob.call("POST", "/topups", {"sats": 50_001}, key="one")
        assert (status, refused["type"]) == (409, "urn:relaybot:duplicate")
        assert (await eve.call("POST", "/topups", {"sats": 50_001}, key="one"))[0] == 200  # her keys are her own
        await (await w.join("bob")).pay(made["bolt11"])
        while (await bob.call("GET", f"/topups/{made['id']}"))[1]["state"] != "paid":
            pass
        assert (await bob.call("GET", "/balance"))[1]["sats_msat"] == 50_000_000
        order = {"to": "bob@wallets.test", "sats": 4_000}
        assert (await bob.call("POST", "/withdrawals/quote", order))[1]["reserve_msat"] == 40_000
        answers = await asyncio.gather(*(bob.call("POST", "/withdrawals", order, key="w") for _ in range(10)))
        assert {answer[1]["id"] for answer in answers if answer[0] == 200} == {answers[0][1]["id"]}
        while (found := (await bob.call("GET", f"/withdrawals/{answers[0][1]['id']}"))[1])["state"] != "paid":
            pass
        assert await (await w.join("bob")).received_msat() == 4_000_000
        assert found["to"] == "bob@wallets.test"
        assert len((await bob.call("GET", "/payouts"))[1]["payouts"]) == 1
        status, inside = await eve.call("POST", "/topups", {"sats": 1_000})
        status, paid = await bob.call("POST", "/withdrawals", {"to": inside["bolt11"]})
        assert (status, paid["state"]) == (200, None)
        page = (await bob.call("GET", "/history?limit=2"))[1]
        rest = (await bob.call("GET", f"/history?before={page['next']}&way=in"))[1]
        assert [one["what"] for one in rest["entries"]][-1] == "top-up"
        outside = await invoice(w, "alice", 7)
        assert (await bob.call("POST", "/withdrawals", {"to": outside, "sats": 8}))[0] == 422
        await w.sound()


async def test_a_job_is_asked_for_paid_and_read() -> None:
    async with served(payouts={"enabled": False}) as w, api(w, "bob") as bob, api(w, "alice") as alice:
        await w.fund("bob", 12_000)
        await w.node_joins()
        assert (await bob.call("GET", "/agents"))[1]["agents"][0]["price_max_msat"] == 12_000_000
        made = [
            (await bob.call("POST", "/jobs", {"agent": "autodev", "input": "Fix it"}, key="j"))[1] for _ in range(2)
        ]
        assert made[0]["id"] == made[1]["id"]
        await w.deliver(await w.assignment(), "it is fixed")
        while (job := (await bob.call("GET", f"/jobs/{made[0]['id']}"))[1])["state"] != "captured":
            pass
        assert (job["result"], job["charged_msat"]) == ("it is fixed", 12_000_000)
        assert [one["id"] for one in (await bob.call("GET", "/jobs"))[1]["jobs"]] == [job["id"]]
        earned = (await alice.call("GET", "/earnings"))[1]
        assert earned["sums"] == [{"agent": "autodev", "role": "algorithm", "amount_msat": 2_000_000, "count": 1}]
        why = f"/earnings/why?id={earned['newest'][0]['id']}"
        assert "a fixed 2,000 sat" in " ".join((await alice.call("GET", why))[1]["words"])
        assert (await bob.call("GET", why))[0] == 422
        assert (await alice.call("GET", f"/jobs/{job['id']}"))[0] == 404


async def test_apps_links_and_settings() -> None:
    async with served() as w, api(w, "bob") as bob:
        await w.fund("bob", 1_000)
        order = {"name": "phone", "sats": 10, "period": "week"}
        first = (await bob.call("POST", "/connections", order, key="c"))[1]
        again = (await bob.call("POST", "/connections", order, key="c"))[1]
        assert first["uri"].startswith("nostr+walletconnect://")
        assert again == first | {"uri": None}  # its secret is kept nowhere
        assert (await bob.call("GET", "/connections"))[1]["connections"] == [again]
        assert (await bob.call("DELETE", "/connections/phone"))[0] == 200
        assert (await bob.call("DELETE", "/connections/phone"))[0] == 422
        link = (await bob.call("POST", "/withdraw-links", {"sats": 5}, key="l"))[1]
        assert link["lnurl"].startswith("LNURL1")
        assert (await bob.call("POST", "/withdraw-links", {"sats": 5}, key="l"))[1] == link | {"lnurl": None}
        assert (await bob.call("DELETE", f"/withdraw-links/{link['id']}"))[0] == 200
        assert (await bob.call("GET", "/withdraw-links"))[1] == {"links": []}
        changed = (await bob.call("PUT", "/payout", BODIES["PUT /payout"]))[1]
        assert changed == {"targets": ["bob@wallets.test"], "threshold_msat": 500_000}
        assert (await bob.call("PUT", "/payout", {}))[0] == 422
        npub = nip19.encode_npub(w.keys["frank"].pubkey)
        assert "Thank you" in (await bob.call("POST", "/referrer", {"npub": npub}))[1]["words"]
        onchain = (await bob.call("POST", "/topups", {"sats": 5_000, "way": "onchain"}))[1]
        w.network.chain.send(onchain["address"], 5_000_000)
        w.network.chain.mine()
        while not (found := (await bob.call("GET", "/deposits"))[1]["deposits"]):
            pass
        assert (found[0]["address"], found[0]["amount_msat"]) == (onchain["address"], 5_000_000)


async def test_a_company_is_its_owner_s_and_a_member_sees_themselves() -> None:
    async with served() as w, api(w, "bob") as bob, api(w, "eve") as eve:
        await w.fund("bob", 10)
        await (await w.join("bob")).ask(w.bot, "org create acme")
        npub = nip19.encode_npub(w.keys["eve"].pubkey)
        assert (await eve.call("GET", "/companies/acme"))[0] == 404
        order = {"npub": npub, "sats_a_month": 500}
        assert (await bob.call("POST", "/companies/acme/members", order))[0] == 200
        await (await w.join("eve")).ask(w.bot, "org accept acme")
        assert (await bob.call("PUT", "/companies/acme/members", order | {"sats_a_month": 700}))[0] == 200
        me = {"pubkey": w.keys["eve"].pubkey, "state": "member", "budget_msat": 700_000, "used_msat": 0}
        seen = (await eve.call("GET", "/companies/acme"))[1]
        assert (seen["role"], seen["members"], seen["sats_msat"]) == ("member", [me], None)
        assert (await bob.call("GET", "/companies/acme"))[1]["members"] == [me]
        assert (await eve.call("POST", "/companies/acme/members", order))[0] == 403
        assert (await bob.call("POST", "/companies/acme/approvals", {"job": "0" * 64, "approve": True}))[0] == 422
        assert (await bob.call("DELETE", f"/companies/acme/members/{npub}"))[0] == 200
        assert (await eve.call("GET", "/companies"))[1] == {"companies": []}


async def test_a_stranger_asks_so_often_a_day() -> None:
    async with served(dm={"stranger_answers_per_day": 2}) as w, api(w, "eve") as eve:
        assert [(await eve.call("POST", "/topups", {"sats": 5}))[0] for _ in range(3)] == [200, 200, 429]


async def test_i10_a_token_is_good_once_for_one_request_of_now() -> None:
    """What changes something is remembered by the book, whatever the process has forgotten."""
    async with served() as w, api(w, "bob") as bob:
        raw = json.dumps({"sats": 5}).encode()
        good = bob.auth("POST", "/topups", raw)
        assert (await bob.call("POST", "/topups", raw=raw, auth=good, key="a"))[0] == 200
        for key in ("a", "b"):  # a thief who changes the one header that is not signed
            assert (await bob.call("POST", "/topups", raw=raw, auth=good, key=key))[0] == 401
        await w.stop()
        await w.start()
        status, refused = await bob.call("POST", "/topups", raw=raw, auth=good, key="b")
        assert (status, "used before" in refused["detail"]) == (401, True)
        assert len(await w.rows("SELECT id FROM invoices")) == 1
        read = bob.auth("GET", "/balance", age=5)
        assert "just begun" in (await bob.call("GET", "/balance", auth=read))[1]["detail"]
        w.clock.advance(AHEAD_SECONDS_MAX + 1)
        read = bob.auth("GET", "/balance")
        assert [(await bob.call("GET", "/balance", auth=read))[0] for _ in range(2)] == [200, 401]
        for auth, field in (
            (bob.auth("GET", "/history"), "u"),
            (bob.auth("GET", "/balance?x=1"), "u"),
            (bob.auth("POST", "/balance"), "method"),
            (bob.auth("GET", "/balance", b"body"), "payload"),
            (bob.auth("GET", "/balance", age=65), "created_at"),
            (bob.auth("GET", "/balance", age=-15), "created_at"),
        ):
            status, refused = await bob.call("GET", "/balance", auth=auth)
            assert (status, refused.get("field")) == (401, field), refused
        assert (await bob.call("POST", "/topups", raw=b'{"sats":6}', auth=bob.auth("POST", "/topups", raw)))[0] == 401
        for auth in ("Bearer x", "Nostr x", "Nostr e30="):
            assert (await bob.call("GET", "/balance", auth=auth))[0] == 401


async def test_every_endpoint_asks_who_calls_and_shows_nobody_else_s() -> None:
    async with served(payouts={"enabled": False}) as w, api(w, "bob") as bob, api(w, "eve") as eve:
        await w.fund("bob", 43_210)
        await (await w.join("bob")).ask(w.bot, "org create acme")
        ids = []
        for one, body in BODIES.items():
            method, path = one.replace("{org}", "acme").split()
            ids.append((await bob.call(method, path, body))[1].get("id", ""))
        for operation in OPERATIONS:
            path = re.sub(r"\{(\w+)\}", lambda found: IDS[found[1]], operation.path)
            query = "?id=job/x/y" if operation.query is models.WhyQuery else ""
            assert (await eve.call(operation.method, path + query, auth=""))[0] == 401, path
            body = BODIES.get(f"{operation.method} {operation.path}", {}) if operation.body is not None else None
            body = {"name": "hers"} if operation.body is models.ConnectionOrder else body
            for mine in [each for each in ids if each] if "{id}" in operation.path else [""]:
                found = re.sub(r"\{id\}", mine, operation.path) if mine else path
                status, told = await eve.call(operation.method, found + query, body)
                assert status in {200, 404, 422}, (found, told)
                assert "{" not in operation.path or status in {404, 422}, found
                text = json.dumps(told)
                assert w.keys["bob"].pubkey not in text
                assert "43210" not in text
        assert len([one for one in ids if one]) == 4  # an invoice, a withdrawal, a link, a job
        assert len((await bob.call("GET", "/connections"))[1]["connections"]) == 1
        assert len((await bob.call("GET", "/withdraw-links"))[1]["links"]) == 1


async def test_what_is_wrong_is_said_with_its_field() -> None:
    async with served() as w, api(w, "bob") as bob:
        for body, status, field in (
            ({"sats": "5"}, 422, "sats"),
            ({"sats": 0}, 422, "sats"),
            ({"sats": 1.5}, 422, "sats"),
            ({"sats": 2**63}, 422, "sats"),
            ({"sats": 5, "way": "card"}, 422, "way"),
            ({"sats": 5, "more": 1}, 422, "more"),
            ({}, 422, "sats"),
            ([], 422, None),
        ):
            found = await bob.call("POST", "/topups", body)
            assert (found[0], found[1].get("field")) == (status, field), found
        assert (await bob.call("POST", "/topups", raw=b"{"))[0] == 400
        assert (await bob.call("POST", "/topups", raw=b'{"sats": 1e400}'))[0] == 422
        assert (await bob.call("POST", "/topups", raw=b"x" * 70_000))[0] == 413
        assert (await bob.call("POST", "/topups", {"sats": 5}, content_type="text/plain"))[0] == 422
        assert (await bob.call("GET", "/history?limit=x"))[1]["field"] == "limit"
        assert (await bob.call("POST", "/topups", {"sats": 5}, key="x" * 200))[1]["field"] == "Idempotency-Key"
        assert (await bob.call("GET", "/topups/x"))[0] == 404
        assert (await bob.call("GET", "/balance", raw=b"{}"))[1]["field"] == "body"


async def test_who_asks_too_much_waits() -> None:
    async with world(web={"requests_per_minute": 3}) as w, api(w, "bob") as bob, api(w, "eve") as eve:
        w.clock.advance(AHEAD_SECONDS_MAX + 1)
        await w.fund("bob", 10)
        assert [(await bob.call("GET", "/balance"))[0] for _ in range(4)] == [200, 200, 200, 429]
        assert [(await eve.call("GET", "/balance"))[0] for _ in range(2)] == [200, 200]
        new = replace(
            eve, keypair=KeyPair(secrets.token_bytes(32))
        )  # who never had money here gains nothing by new keys
        assert [(await new.call("GET", "/balance"))[0] for _ in range(2)] == [200, 429]
        w.clock.advance(60)
        assert [(await bob.call("GET", "/balance", auth="x"))[0] for _ in range(4)] == [401, 401, 401, 429]


async def test_behind_a_proxy_of_ours_each_client_is_counted_by_itself() -> None:
    behind = {"trusted_proxies": ["127.0.0.1"]}
    async with world(web={"requests_per_minute": 2}, relay=behind) as w, aiohttp.ClientSession() as http:
        for path, refused in (("/api/v1/balance", 401), ("/account/sign-in", 200)):
            for client, statuses in (("192.0.2.1", [refused, refused, 429]), ("192.0.2.2", [refused, refused])):
                client = f"{client}{len(path)}"  # noqa: PLW2901  pages and API count together
                for status in statuses:
                    headers = {"X-Forwarded-For": f"198.51.100.1, {client}"}
                    async with http.get(f"http://127.0.0.1:{w.port}{path}", headers=headers) as answer:
                        assert answer.status == status, (path, client)


async def test_the_openapi_document_is_that_of_the_endpoints() -> None:
    async with served() as w, aiohttp.ClientSession(f"http://127.0.0.1:{w.port}") as http:
        document = await (await http.get(f"{BASE}/openapi.json")).json()
    assert document == openapi()
    assert {(path, method) for path, found in document["paths"].items() for method in found} == {
        (BASE + one.path, one.method.lower()) for one in OPERATIONS
    }
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert names <= set(document["components"]["schemas"])
    ids = [found["operationId"] for path in document["paths"].values() for found in path.values()]
    assert len(ids) == len(set(ids))


def test_remembered_tokens_are_forgotten_when_they_are_too_old_to_be_used() -> None:
    clock = SetClock(1_000)
    tokens = Tokens(clock)
    clock.advance(1_000)
    event = nip98.build_http_auth(KeyPair(bytes(31) + b"\x01"), url="http://x", method="GET", now=2_000)
    tokens.use(event, changes=False)
    with pytest.raises(Rejected, match="used before"):
        tokens.use(event, changes=True)
    clock.advance(61)
    tokens.use(
        nip98.build_http_auth(KeyPair(bytes(31) + b"\x01"), url="http://x", method="GET", now=2_061), changes=False
    )
    assert len(tokens._used) == 1
