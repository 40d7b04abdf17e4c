"""Money on the pages: what comes in and goes out does so by the commands, once, and is shown as it is."""

from __future__ import annotations

import asyncio
import csv
import io
import re

import bech32

from relaybot.nostr import nip19
from relaybot.web.html import el
from tests.account.browser import Browser, Shown, browsing
from tests.flows.harness import PRICE, World, world

FAST = {"requests_per_minute": 10_000}


async def invoice(w: World, name: str, sats: int) -> str:
    """Have somebody's wallet make an invoice."""
    person = await w.join(name)
    found = await person._wallet("GET", f"/lnurlp/{name}/callback?amount={sats * 1_000}", None)
    return str(found["pr"])


async def news(browser: Browser, shown: Shown) -> str:
    """Listen as the page's script does, and return the event that comes."""
    found = re.search(r'data-live="([^"]+)"', shown.html)
    assert found is not None
    async with asyncio.timeout(20), browser.session.get(browser.url + found[1]) as answer:
        assert answer.content_type == "text/event-stream"
        text = await answer.text()
    return text.rpartition("event: ")[2].partition("\n")[0]


async def test_a_topup_is_paid_seen_at_once_and_made_once() -> None:
    async with world(web=FAST) as w, browsing(w) as bob:
        await bob.sign_in(w.keys["bob"])
        form = await bob.get("/account/topup")
        page = await bob.fill(form, "/account/topup", sats="5000")
        bolt11 = page.html.partition('id="payable">')[2].partition("<")[0]
        assert bolt11.startswith("lnbcrt50u")
        assert el("meta", http_equiv="refresh", content=5) in page.html
        assert 'role="img"' in page.html
        again = await bob.fill(form, "/account/topup", sats="5000")
        assert again.path == page.path
        assert "used before for something else" in (await bob.fill(form, "/account/topup", sats="6000")).words
        assert len(await w.rows("SELECT id FROM invoices")) == 1
        waiting = asyncio.create_task(news(bob, page))
        await (await w.join("bob")).pay(bolt11)
        assert await waiting == "changed"
        paid = await bob.get(page.path)
        assert "5,000 sat arrived" in paid.words
        assert "http-equiv" not in paid.html
        assert "data-live" not in paid.html
        assert "5,000 sat is what you can use" in (await bob.get("/account")).words
        refused = await bob.fill("/account/topup", "/account/topup", sats="0")
        assert (refused.status, "a top-up is" in refused.words) == (400, True)
        later = await bob.fill("/account/topup", "/account/topup", sats="7")
        w.clock.advance(3_601)
        assert "has run out" in (await bob.get(later.path)).words


async def test_on_the_chain_an_address_shows_what_arrives_and_how_deep_it_lies() -> None:
    async with world(onchain={"poll_seconds": 1, "confirmations": [[0, 2]]}, web=FAST) as w, browsing(w) as bob:
        await bob.sign_in(w.keys["bob"])
        page = await bob.fill("/account/topup", "/account/topup", sats="20000", way="onchain")
        address = page.html.partition('id="payable">')[2].partition("<")[0]
        assert f"bitcoin:{address}?amount=0.00020000" in page.html
        waiting = asyncio.create_task(news(bob, page))
        w.network.chain.send(address, 20_000_000)
        w.network.chain.mine()
        assert await waiting == "changed"
        shown = await bob.get("/account/onchain")
        assert "arriving: 1 of 2 confirmations" in shown.words
        waiting = asyncio.create_task(news(bob, shown))
        w.network.chain.mine()
        await waiting
        await w.until(lambda: has(w, "bob", 20_000_000))
        assert "credited" in (await bob.get("/account/onchain")).words


async def has(w: World, name: str, msat: int) -> bool:
    return await w.balance(name) == msat


async def test_a_withdrawal_is_shown_first_confirmed_and_sent_once() -> None:
    async with world(web=FAST) as w, browsing(w) as bob:
        await w.fund("bob", 10_000)
        await bob.sign_in(w.keys["bob"])
        asked = await bob.fill("/account/withdraw", "/account/withdraw", sats="4000", to="bob@wallets.test")
        assert "Nothing is sent yet" in asked.words
        assert "Arrives 4,000 sat Kept ready for the way 40 sat Taken from your balance 4,040 sat" in asked.words
        assert await w.rows("SELECT id FROM payouts") == []
        sent = await bob.fill(asked, "/account/withdraw/confirm")
        assert sent.path.startswith("/account/withdrawals/")
        assert (await bob.fill(asked, "/account/withdraw/confirm")).path == sent.path  # sent twice, done once
        while el("td", "paid") not in (shown := await bob.get(sent.path)).html:
            await news(bob, shown)
        assert len(await w.rows("SELECT id FROM payouts")) == 1
        assert await (await w.join("bob")).received_msat() == 4_000_000
        bolt11 = await invoice(w, "alice", 1_000)
        whole = await bob.fill("/account/withdraw", "/account/withdraw", to=bolt11)
        assert "Arrives 1,000 sat" in whole.words
        for wrong, why in (({"sats": "99999", "to": "bob@wallets.test"}, "can be sent"), ({"to": "nowhere"}, "")):
            refused = await bob.fill("/account/withdraw", "/account/withdraw", **wrong)
            assert (refused.status, why in refused.words) == (400, True)
            assert 'role="alert"' in refused.html
        await w.sound()


async def test_a_link_that_withdraws_is_taken_by_one_wallet_once() -> None:
    """A6: the link is used up in the step that makes the hold."""
    async with world(web=FAST) as w, browsing(w) as bob, browsing(w) as wallet:
        await w.fund("bob", 10_000)
        await bob.sign_in(w.keys["bob"])
        form = await bob.get("/account/withdraw")
        made = await bob.fill(form, "/account/withdraw-links", sats="3000")
        assert "LNURL1" in made.html
        assert "shown once" in (await bob.fill(form, "/account/withdraw-links", sats="3000")).words
        lnurl = made.html.partition('id="payable">')[2].partition("<")[0]
        url = decoded(lnurl)
        k1 = url.rpartition("/")[2]
        assert k1 not in str(await w.rows("SELECT * FROM withdraw_links"))

        async def ask(address: str) -> dict[str, object]:
            async with wallet.session.get(address) as answer:
                found: dict[str, object] = await answer.json()
                return found

        first = await ask(url)
        assert (first["tag"], first["k1"], first["minWithdrawable"], first["maxWithdrawable"]) == (
            "withdrawRequest", k1, 3_000_000, 3_000_000,
        )  # fmt: skip
        invoices = [await invoice(w, name, 3_000) for name in ("eve", "frank", "grace")]
        callback = f"{first['callback']}?k1={k1}&pr="
        assert "exactly 3,000 sat" in str(await ask(callback + await invoice(w, "eve", 2_999)))
        assert "another one" in str(await ask(f"{first['callback']}?k1={'0' * 64}&pr={invoices[0]}"))
        answers = await asyncio.gather(*(ask(callback + one) for one in invoices))
        assert [one["status"] for one in answers].count("OK") == 1
        winner = invoices[[one["status"] for one in answers].index("OK")]
        assert await ask(callback + winner) == {"status": "OK"}  # the same wallet, which did not hear us
        assert "was used" in str(await ask(url))
        assert len(await w.rows("SELECT id FROM payouts")) == 1
        async with asyncio.timeout(20):
            while not await w.rows("SELECT id FROM payouts WHERE state = 'paid'"):  # noqa: ASYNC110  another loop pays
                await asyncio.sleep(0)
        assert 6_970_000 <= await w.balance("bob") < 7_000_000
        other = await bob.fill("/account/withdraw", "/account/withdraw-links", sats="100")
        gone = decoded(other.html.partition('id="payable">')[2].partition("<")[0])
        await bob.fill("/account/withdraw", "/account/withdraw-links/end")
        assert "was used" in str(await ask(gone))
        late = await bob.fill("/account/withdraw", "/account/withdraw-links", sats="100")
        w.clock.advance(3_600)
        assert "has run out" in str(await ask(decoded(late.html.partition('id="payable">')[2].partition("<")[0])))
        await w.sound()


def decoded(lnurl: str) -> str:
    _, data = bech32.bech32_decode(lnurl.lower()) if len(lnurl) <= 90 else long_bech32(lnurl)
    return bytes(bech32.convertbits(data or [], 5, 8, False) or []).decode()


def long_bech32(text: str) -> tuple[str, list[int]]:
    """Read what is longer than an address (LUD-01); its checksum is the encoder's own matter."""
    letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    hrp, _, data = text.lower().rpartition("1")
    return hrp, [letters.index(one) for one in data[:-6]]


async def test_history_and_earnings_say_why_and_come_as_a_table() -> None:
    async with world(payouts={"enabled": False}, web=FAST) as w, browsing(w) as bob, browsing(w) as alice:
        await w.fund("bob", 24_000)
        await w.node_joins()
        for number in range(2):
            request = await w.request("bob", f"Fix {number}")
            await w.deliver(await w.assignment(after=number))
            await w.result("bob", request)
        await bob.sign_in(w.keys["bob"])
        await alice.sign_in(w.keys["alice"])
        shown = await bob.get("/account/history")
        assert "top-up" in shown.words
        assert shown.words.count("-12,000 sat") == 2
        assert "top-up" not in (await bob.get("/account/history?way=out")).words.partition("Newest first")[2]
        assert (await bob.get("/account/history?class=card")).words.count("Nothing has moved") == 1
        assert (await bob.get("/account/history?class=x")).status == 400
        table = list(csv.DictReader(io.StringIO((await bob.get("/account/history.csv")).html)))
        assert sum(int(row["amount_msat"]) for row in table) == await w.balance("bob") == 24_000_000 - 2 * PRICE
        earned = await alice.get("/account/earnings")
        assert "You have earned 4,000 sat in 2 parts" in earned.words
        assert "autodev algorithm 2 4,000 sat" in earned.words
        link = re.search(r'href="(/account/why[^"]+)"', earned.html)
        assert link is not None
        why = await alice.get(link[1])
        assert "The share of algorithm is a fixed 2,000 sat" in why.words
        assert "12,000 sat were charged" in why.words
        assert nip19.encode_npub(w.keys["bob"].pubkey) not in why.html
        assert (await bob.get(link[1])).status == 400  # hers, not his
        assert "You have earned nothing" in (await bob.get("/account/earnings")).words


async def test_an_app_is_connected_within_a_budget_and_its_secret_is_shown_once() -> None:
    async with world(web=FAST) as w, browsing(w) as bob:
        await bob.sign_in(w.keys["bob"])
        form = await bob.get("/account/apps")
        made = await bob.fill(form, "/account/apps", name="My phone", sats="1000", period="week")
        uri = re.search(r"nostr\+walletconnect://\S+secret=([0-9a-f]{64})", made.html)
        assert uri is not None
        again = await bob.fill(form, "/account/apps", name="My phone", sats="1000", period="week")
        assert "shown once" in again.words
        assert uri[1] not in str(await w.rows("SELECT * FROM web_requests")) + again.html
        listed = await bob.get("/account/apps")
        assert "0 sat of 1,000 sat used this week" in listed.words
        await bob.fill(listed, "/account/apps/end")
        assert "No app is connected" in (await bob.get("/account/apps")).words
        assert (await bob.fill("/account/apps", "/account/apps", name="<b>")).status == 400


async def test_settings_are_said_by_the_commands() -> None:
    async with world(web={"domain": "pay.example.com", "requests_per_minute": 10_000}) as w, browsing(w) as bob:
        await w.fund("bob", 100)
        await bob.sign_in(w.keys["bob"])
        page = "/account/settings"
        await bob.fill(page, f"{page}/payout", target="bob@wallets.test")
        await bob.fill(page, f"{page}/threshold", sats="2500")
        await bob.fill(page, f"{page}/name", name="bob")
        shown = await bob.get(page)
        assert "is sent to bob@wallets.test, when your balance reaches 2,500 sat" in shown.words
        assert "bob@pay.example.com" in shown.words
        assert "taken" not in (await bob.fill(page, f"{page}/name", name="bob")).words
        assert (await bob.fill(page, f"{page}/payout", target="nonsense")).status == 400
        async with browsing(w) as frank:
            link = re.search(r"(/account/refer/npub1\w+)", shown.html)
            assert link is not None
            await frank.sign_in(w.keys["frank"])
            asked = await frank.get(link[1])
            assert "You were referred by" in (await frank.fill(asked, "/account/refer")).words
            assert (await w.rows("SELECT referrer FROM users WHERE id = :id", id=w.keys["frank"].pubkey))[0][
                "referrer"
            ] == w.keys["bob"].pubkey
            assert (await frank.get("/account/refer/nobody")).status == 400
        async with browsing(w) as other:
            await other.sign_in(w.keys["bob"])
            await bob.fill(await bob.get(page), "/account/sign-out", everywhere="yes")
            assert (await other.get("/account")).path.startswith("/account/sign-in")
