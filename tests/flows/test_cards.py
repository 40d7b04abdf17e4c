"""A top-up by card through the whole service: message, page, the simulated company, its webhook, the balance."""

from __future__ import annotations

import aiohttp

from relaybot.demo.stage import free_port
from tests.flows.harness import world


async def test_somebody_without_bitcoin_buys_balance_by_card() -> None:
    port = free_port()
    card = {"provider": "simulated", "simulator_port": port}
    async with world(card=card, rates={"bitcoin": "95000 EUR"}) as w, aiohttp.ClientSession() as http:
        bob = await w.join("bob")
        page = (await bob.ask(w.bot, "topup 20000 card")).split()[-1]
        async with http.get(page) as answer:
            assert "19.76 EUR" in await answer.text()
        async with http.post(page, allow_redirects=False) as answer:
            assert answer.status == 303
            where = answer.headers["Location"]
        assert where.startswith(f"http://127.0.0.1:{port}/pay/")
        given = {"card": "4242424242424242", "challenge": "passed"}
        async with http.post(where, data=given, allow_redirects=False) as answer:
            back = answer.headers["Location"]
        account = f"user/{w.keys['bob'].pubkey}/card"

        async def is_credited() -> bool:
            return await w.account(account) == 20_000_000

        await w.until(is_credited)
        async with http.get(back) as answer:
            assert "It is on your balance" in await answer.text()
        assert "bought by card: for jobs only" in await bob.ask(w.bot, "balance")
        await w.sound()
