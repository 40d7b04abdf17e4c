"""A contributor's payout as a zap, from the private message to the receipt, over real sockets."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from relaybot.demo.stage import HOST
from relaybot.nostr import nip57
from tests.flows.harness import World, world
from tests.flows.test_zaps import DOMAIN, get
from tests.payouts.provider import DOMAIN as THEIRS
from tests.payouts.provider import Provider


@asynccontextmanager
async def served(answers: list[Provider]) -> AsyncIterator[str]:
    """Serve the provider that will stand in `answers`, and return where."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(answers[0].answer(request.path, request.query))

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    try:
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_payout_as_a_zap_from_the_private_message_to_the_receipt() -> None:
    answers: list[Provider] = []
    async with served(answers) as url, world(web={"domain": DOMAIN}, outgoing={"hosts": {THEIRS: url}}) as w:
        provider = Provider(w.network)
        answers.append(provider)
        alice = await w.join("alice")
        assert await alice.ask(w.bot, "payout zaps") == "Your payouts are private."
        assert "everybody can read" in await alice.ask(w.bot, "payout zaps on")
        assert "Usage: payout" in await alice.ask(w.bot, "payout zaps never")
        assert "sent to" in await alice.ask(w.bot, f"payout alice@{THEIRS}")
        await (await w.join("bob")).pay((await get(w, "/lnurlp/autodev/callback", amount=3_100_000))["pr"])
        await w.until(lambda: _zapped(provider))
        # Whoever runs the address publishes; that the receipt is there before the money hides no waiting here.
        receipt = provider.receipt(int(time.time()))
        request = nip57.parse_zap_request(receipt.tag("description") or "")
        assert (request.sender, request.recipient) == (w.bot, alice.pubkey)
        assert f"ws://{HOST}:{w.port}" in request.relays
        await (await w.join("eve")).send(receipt)
        await w.until(lambda: _paid(w))
        await w.tamper("UPDATE zap_payouts SET next_at = 0 WHERE receipt = ''")  # nobody waits for the next look
        await w.until(lambda: _seen(w))
        assert "(a zap; its receipt was seen)" in await alice.ask(w.bot, "payout")
        assert provider.plain == 0
        await w.sound()


async def _zapped(provider: Provider) -> bool:
    return bool(provider.zapped)


async def _paid(w: World) -> bool:
    return bool(await w.rows("SELECT 1 FROM payouts WHERE state = 'paid'"))


async def _seen(w: World) -> bool:
    return bool(await w.rows("SELECT 1 FROM zap_payouts WHERE receipt <> ''"))
