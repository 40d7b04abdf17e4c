"""@getalby/sdk and @getalby/lightning-tools against the whole service: wallet connect, Lightning Addresses, zaps."""

from __future__ import annotations

import json
from typing import Any

from relaybot.demo.stage import HOST
from tests.flows.harness import World, world
from tests.npm.node import needs_node, seen_by
from wallet.money import from_sat

pytestmark = needs_node
DOMAIN = "bots.test"
METHODS = [
    "pay_invoice",
    "make_invoice",
    "lookup_invoice",
    "list_transactions",
    "get_balance",
    "get_info",
    "get_budget",
]


async def play(w: World, part: str, **more: str) -> Any:
    """Let a part of `wallets.mjs` be played in this world; return what it saw."""
    relay = f"{HOST}:{w.port}"
    where = {
        "relay": f"ws://{relay}",
        "http": f"http://{relay}",
        "domain": DOMAIN,
        "wallets": w.network.running.url,
    }
    return await seen_by("wallets.mjs", part, json.dumps({**where, **more}))


async def connection(w: World, budget: str) -> str:
    """Return the URI of an app that Bob connected; he has 10,000 sat."""
    await w.fund("bob", 10_000)
    bob = await w.join("bob")
    await bob.ask(w.bot, "name bob")
    answer = await bob.ask(w.bot, f"connect alby {budget}")
    return answer.splitlines()[-1]


async def test_alby_sdk_uses_a_balance_by_wallet_connect() -> None:
    async with world(web={"domain": DOMAIN}, payouts={"enabled": False}) as w:
        await w.join("alice")
        uri = await connection(w, "2000/day")
        inside = (await (await w.join("alice")).ask(w.bot, "topup 500")).split()[-1]
        seen = await play(
            w,
            "wallet-connect",
            uri=uri,
            bolt11=w.network.people.invoice("alice", from_sat(1_000)),
            inside=inside,
            expensive=w.network.people.invoice("alice", from_sat(3_000)),
        )
        assert seen == {
            "encryptions": ["nip44_v2", "nip04"],
            "capabilities": [*METHODS, "notifications"],
            "notifications": ["payment_received", "payment_sent"],
            "network": "regtest",
            "methods": METHODS,
            "lud16": f"bob@{DOMAIN}",
            "before": 10_000_000,
            "open": ["pending", 21_000, "for Bob"],
            "received": ["settled", True],
            "heard": [
                ["payment_received", "incoming", 21_000],
                ["payment_sent", "outgoing", 1_000_000],
                ["payment_sent", "outgoing", 500_000],
            ],
            "proved": [True, True],
            "same": [True, True],
            "listed": [["incoming", 10_000_000], ["incoming", 21_000], ["outgoing", 1_000_000], ["outgoing", 500_000]],
            "pages": [1_000_000, 500_000],
            "left": True,
            "refused": ["NOT_IMPLEMENTED", "NOT_IMPLEMENTED", "NOT_FOUND", "OTHER", "QUOTA_EXCEEDED"],
        }
        assert await w.balance("alice") == 500_000
        await w.sound()


async def test_alby_lightning_tools_fetch_an_address_zap_it_and_verify() -> None:
    async with world(web={"domain": DOMAIN}, payouts={"enabled": False}) as w:
        seen = await play(w, "zaps", uri=await connection(w, "1000/day"))
        good = {"signed": True, "request": None, "sender": True, "proof": True}
        assert seen == {
            "identifier": f"autodev@{DOMAIN}",
            "allowsNostr": True,
            "relays": [f"ws://{HOST}:{w.port}"],
            "unpaid": False,
            "receipt": {**good, "amount": 3_100},
            "comment": None,
            "inside": {**good, "amount": 31},
        }
        assert await w.balance("alice") == 2_000_000 + 200_000 + 20_000
        assert await w.balance("bob") == 10_000_000 - 31_000
        await w.sound()
