"""Every address of the account, taken from the router itself: none without a session, none with another's data."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import cast
from urllib.parse import quote

from aiohttp import web

from handlers.bot import Bot
from relaybot.clock import SetClock
from relaybot.nostr import nip19
from relaybot.web.account.desk import Desk
from relaybot.web.account.routes import ROUTES
from relaybot.web.addresses import address_routes
from relaybot.web.api.door import Tokens
from relaybot.web.api.problems import BASE
from relaybot.web.api.routes import OPERATIONS
from relaybot.web.app import build_app
from relaybot.web.cards import card_routes
from relaybot.web.metrics import Metrics, metrics_routes
from relaybot.web.published import PublishedAccounts
from relaybot.web.self_service import self_service_routes
from tests.account.addresses import OTHERS
from tests.account.browser import SIGN_IN, Browser, Shown, browsing
from tests.account.test_money_pages import FAST, news
from tests.flows.harness import World, world
from tests.web.conftest import SITE

OPEN = {("GET", SIGN_IN), ("POST", SIGN_IN), ("GET", "/account/link/{token}"), ("POST", "/account/link/{token}")}
PRIVATE = [route for route in ROUTES if not route.open]
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def test_every_address_has_its_entry() -> None:
    """One that is new stands in the account's table, in the API's, or in addresses.py with why it shows nobody's."""
    config = SimpleNamespace(zaps=SimpleNamespace(requests_per_minute=1))
    bot, desk = cast("Bot", SimpleNamespace(config=config, clock=SetClock(1))), Desk.__new__(Desk)
    object.__setattr__(desk, "bot", bot)
    figures = metrics_routes(cast("Metrics", None), "a token")
    more = [*address_routes(bot), *card_routes(bot, SITE), *self_service_routes(desk, Tokens(bot.clock)), *figures]
    app = build_app(PublishedAccounts("00" * 32), SITE, more=more)
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if isinstance(route.resource, web.Resource) and route.method != "HEAD"
    }
    own = {(route.method, route.path) for route in ROUTES}
    api = {(one.method, BASE + one.path) for one in OPERATIONS}
    assert served == own | api | OTHERS.keys()
    assert {(route.method, route.path) for route in ROUTES if route.open} == OPEN


def filled(path: str, values: dict[str, str]) -> str:
    """Return `path` with its placeholders filled; KeyError for one that this test does not know yet."""
    return _PLACEHOLDER.sub(lambda found: quote(values[found[1]]), path)


async def test_nothing_is_shown_or_done_without_a_session() -> None:
    values = {"id": "0" * 64, "agent": "autodev", "npub": nip19.encode_npub("1" * 64), "org": "acme", "command": "add"}
    async with world(web=FAST) as w, browsing(w) as eve:
        for route in PRIVATE:
            path = filled(route.path, values)
            if route.method == "GET":
                answer = await eve.get(path, allow_redirects=False)
                assert (answer.status, answer.headers["Location"].startswith(f"{SIGN_IN}?next=")) == (303, True), path
            else:
                assert (await eve.post(path)).status == 403, path


async def test_a_form_of_another_site_or_session_does_nothing() -> None:
    values = {"agent": "autodev", "org": "acme", "command": "add"}
    async with world(web=FAST) as w, browsing(w) as bob, browsing(w) as eve:
        await bob.sign_in(w.keys["bob"])
        await eve.sign_in(w.keys["eve"])
        mine, hers = [(await one.get("/account")).form("/account/sign-out")["csrf"] for one in (bob, eve)]
        once = "ab" * 16
        wrong: list[tuple[dict[str, str], dict[str, str]]] = [
            ({"once": once}, {"Origin": bob.url}),
            ({"csrf": "", "once": once}, {"Origin": bob.url}),
            ({"csrf": hers, "once": once}, {"Origin": bob.url}),
            ({"csrf": mine, "once": once}, {"Origin": "http://evil.example"}),
            ({"csrf": mine, "once": once}, {"Origin": "null"}),
            ({"csrf": mine, "once": once}, {}),
        ]
        before = len(await w.rows("SELECT id FROM plans"))
        for route in PRIVATE:
            for form, headers in wrong if route.method == "POST" else []:
                path = filled(route.path, values)
                async with bob.session.post(bob.url + path, data=form, headers=headers) as answer:
                    assert answer.status == 403, (path, form, headers)
        multipart = {"data": b"x", "headers": {"Origin": bob.url, "Content-Type": "multipart/form-data; boundary=x"}}
        async with bob.session.post(f"{bob.url}/account/topup", **multipart) as answer:  # type: ignore[arg-type]
            assert answer.status == 400
        assert len(await w.rows("SELECT id FROM plans")) == before
        assert (await bob.get("/account")).status == 200


async def rich(w: World, browser: Browser, name: str) -> dict[str, list[str]]:
    """Give somebody one of everything; return the ids in their addresses, and the words that are theirs alone."""
    await w.fund(name, 43_210)
    await w.node_joins()
    await browser.sign_in(w.keys[name])
    ids: list[str] = []

    def noted(shown: Shown) -> Shown:
        assert shown.status == 200, shown.words
        ids.append(shown.path.rpartition("/")[2])
        return shown

    topup = noted(await browser.fill("/account/topup", "/account/topup", sats="765"))
    onchain = await browser.fill("/account/topup", "/account/topup", sats="20000", way="onchain")
    preview = await browser.fill("/account/withdraw", "/account/withdraw", sats="987", to=f"{name}@wallets.test")
    noted(await browser.fill(preview, "/account/withdraw/confirm"))
    await browser.fill("/account/withdraw", "/account/withdraw-links", sats="654")
    await browser.fill("/account/apps", "/account/apps", name=f"{name} phone")
    await browser.fill("/account/settings", "/account/settings/payout", target=f"{name}@wallets.test")
    await browser.fill("/account/companies", "/account/companies", id="acme", name=f"{name} and sons")
    ask = "/account/jobs/ask/autodev"
    job = noted(await browser.fill(ask, ask, input=f"the plan of {name}"))
    await w.deliver(await w.assignment(), f"the result for {name}")
    while f"the result for {name}" not in (job := await browser.get(job.path)).words:
        await news(browser, job)
    await browser.get("/account/apps")
    payable = [one.html.partition('id="payable">')[2].partition("<")[0] for one in (topup, onchain)]
    words = [name, w.keys[name].pubkey, nip19.encode_npub(w.keys[name].pubkey), *payable, "43,210 sat", "987 sat"]
    words += [f"{name} and sons", f"{name} phone", f"the plan of {name}", f"the result for {name}"]
    transfers = await w.rows("SELECT id FROM transfers WHERE credit LIKE :mine", mine=f"user/{w.keys[name].pubkey}/%")
    links = await w.rows("SELECT id FROM withdraw_links")
    return {"id": [*ids, *(row["id"] for row in links)], "words": words, "entries": [row["id"] for row in transfers]}


async def test_no_page_shows_what_is_somebody_else_s() -> None:
    pages = {**FAST, "metrics_token": "a" * 32}
    async with world(web=pages, payouts={"enabled": False}) as w, browsing(w) as frank, browsing(w) as eve:
        his = await rich(w, frank, "frank")
        await eve.sign_in(w.keys["eve"])
        values = {"agent": ["autodev"], "npub": [nip19.encode_npub(w.keys["heidi"].pubkey)], "id": his["id"]}
        values |= {"org": ["acme", "nobodys"]}
        for route in [one for one in PRIVATE if one.method == "GET"]:
            names = _PLACEHOLDER.findall(route.path)
            paths = [filled(route.path, {names[0]: one}) for one in values[names[0]]] if names else [route.path]
            if route.path == "/account/why":
                paths = [f"/account/why?id={quote(one)}" for one in his["entries"]]
                assert len(paths) > 1
            for path in paths:
                if path.endswith("/live"):
                    path = f"{path}?at=another"  # noqa: PLW2901  else it waits for news
                async with asyncio.timeout(10):
                    shown = await eve.get(path)
                assert shown.status in {200, 400, 404}, path
                assert not {"id", "org"} & set(names) or shown.status == 404, path
                found = [word for word in his["words"] if word in shown.html]
                assert not found, (path, found)
        seen = "".join(shown.html for shown in frank.shown)
        assert [word for word in his["words"][3:] if word not in seen] == []  # the words are really shown, to him
        await strangers_see_nothing(w, his)
        mine = (await eve.get("/account")).form("/account/sign-out")["csrf"]
        before = await w.rows("SELECT * FROM withdraw_links ORDER BY id")
        for path, form in (
            ("/account/companies/acme/limit", {"sats": "1"}),
            ("/account/companies/acme/add", {"npub": "x"}),
            ("/account/withdraw-links/end", {"link": his["id"][-1]}),
            ("/account/apps/end", {"name": "frank phone"}),
        ):
            assert (await eve.post(path, {"csrf": mine, "once": "ab" * 16} | form)).status in {400, 404}, path
        assert await w.rows("SELECT * FROM withdraw_links ORDER BY id") == before
        await check_headers(eve)


async def strangers_see_nothing(w: World, his: dict[str, list[str]]) -> None:
    """Ask every other address for what is his, with all that is known of him."""
    words = his["words"][3:]  # his name and npub stand in what is asked
    hashes = [row["payment_hash"] for row in await w.rows("SELECT payment_hash FROM invoices")]
    async with browsing(w) as stranger:
        for (method, _), (_, paths) in OTHERS.items():
            for each in [*his["id"], *hashes] if any("{" in path for path in paths) else [""]:
                given = {"id": each, "half": each[:32], "npub": his["words"][2], "bolt11": words[0]}
                for path in paths:
                    asked = path.format(**given)
                    async with stranger.session.request(method, stranger.url + asked) as shown:
                        text = await shown.text(errors="replace")
                    assert shown.status < 500, asked
                    assert not [word for word in words if word in text], asked


async def check_headers(browser: Browser) -> None:
    """Check on whatever a browser was shown that nobody can frame it, keep it, or run a script in it."""
    assert len(browser.shown) > 20
    for shown in browser.shown:
        policy = dict(part.strip().split(" ", 1) for part in shown.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert (
            policy.get("script-src", "'self'")
            == policy.get("form-action", "'self'").replace("'none'", "'self'")
            == "'self'"
        )
        assert "unsafe" not in shown.headers["Content-Security-Policy"]
        assert shown.headers["X-Frame-Options"] == "DENY"
        assert shown.headers["X-Content-Type-Options"] == "nosniff"
        assert shown.headers["Cache-Control"] == "no-store"
