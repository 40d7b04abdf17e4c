"""Who gets in: by a signed challenge or a link, once; and who does not."""

from __future__ import annotations

import re
import secrets

import pytest

from relaybot.nostr.keys import KeyPair
from tests.account.browser import SIGN_IN, Browser, browsing, signed
from tests.flows.harness import World, world

LINK = re.compile(r"http://[^/]+(/account/link/[0-9a-f]{64})")


async def link_of(w: World, name: str) -> str:
    """Return the path of a link that somebody has asked for."""
    found = LINK.search(await (await w.join(name)).ask(w.bot, "login"))
    assert found is not None
    return found[1]


async def test_an_extension_signs_in_and_a_session_ends_when_it_is_told_to() -> None:
    async with world() as w, browsing(w) as bob, browsing(w) as thief:
        assert (await bob.get("/account")).path == f"{SIGN_IN}?next=/account"
        shown = await bob.sign_in(w.keys["bob"])
        assert (shown.status, shown.path) == (200, "/account")
        assert "0 sat" in shown.words
        [cookie] = [one for one in bob.session.cookie_jar if one.key == "relaybot"]
        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"
        assert not cookie["domain"].startswith(".")
        assert [row["id"] for row in await w.rows("SELECT id FROM sessions")] != [cookie.value]
        thief.take_cookie(cookie.value)
        await bob.fill("/account", "/account/sign-out")
        for browser in (bob, thief):  # the cookie is worth nothing any more
            assert (await browser.get("/account")).path.startswith(SIGN_IN)


async def test_a_session_runs_out_by_itself_and_another_sign_in_ends_the_one_before() -> None:
    async with world(web={"session_seconds": 60}) as w, browsing(w) as bob, browsing(w) as old:
        await bob.sign_in(w.keys["bob"])
        before = bob.cookie
        old.take_cookie(before)
        await bob.sign_in(w.keys["bob"])
        assert (await old.get("/account")).path.startswith(SIGN_IN)
        assert bob.cookie not in {"", before}  # nobody is signed in by a token that was there before
        w.clock.advance(60)
        assert (await bob.get("/account")).path.startswith(SIGN_IN)


async def test_a_token_that_a_stranger_has_chosen_opens_nothing_and_is_replaced() -> None:
    async with world() as w, browsing(w) as bob:
        fixed = "0f" * 32
        bob.take_cookie(fixed)
        assert (await bob.get("/account")).path.startswith(SIGN_IN)
        await bob.sign_in(w.keys["bob"])
        assert bob.cookie not in {"", fixed}


@pytest.fixture
async def shared() -> object:
    """One service for many refusals."""
    async with world(web={"requests_per_minute": 10_000}) as w, browsing(w) as browser:
        yield w, browser


async def test_a_challenge_counts_once_for_us_now_and_signed(shared: tuple[World, Browser]) -> None:
    w, browser = shared
    key, url = w.keys["bob"], f"{browser.url}{SIGN_IN}"

    async def refused(event: str, why: str) -> None:
        answer = await browser.post(SIGN_IN, {"event": event})
        assert (answer.status in {400, 403}, why in answer.words) == (True, True), answer.words
        assert (await browser.get("/account")).path.startswith(SIGN_IN)

    page = await browser.get(SIGN_IN)
    await refused(signed(key, page, url=f"http://evil.example{SIGN_IN}"), "another address")
    await refused(signed(key, page, url=url, method="GET"), "another method")
    await refused(signed(key, page, url=url, now=1_000), "our clock")
    await refused(signed(key, page, url=url, challenge="9999999999-00-00"), "not one of ours")
    await refused(signed(key, page, url=url, challenge=""), "not one of ours")
    await refused(signed(key, page, url=url, forged={"sig": "0" * 128}), "signature")
    await refused(signed(key, page, url=url, forged={"pubkey": w.keys["eve"].pubkey}), "id")
    await refused("{}", "")
    await refused("nonsense", "")
    event = signed(key, page, url=url)
    assert (await browser.post(SIGN_IN, {"event": event})).path == "/account"
    async with browsing(w) as eve:
        assert "used before" in (await eve.post(SIGN_IN, {"event": event})).words
        old = await eve.get(SIGN_IN)
        w.clock.advance(301)
        late = signed(key, old, url=url, now=w.clock.now())
        assert "run out" in (await eve.post(SIGN_IN, {"event": late})).words


async def test_a_link_shows_whose_it_is_and_signs_in_once() -> None:
    async with world() as w, browsing(w) as bob, browsing(w) as eve:
        path = await link_of(w, "bob")
        await bob.get(path)  # looking at it uses nothing up
        page = await bob.get(path)
        assert page.status == 200
        assert "npub1" in page.words
        assert (await eve.post(path, origin="http://evil.example")).status == 403
        assert (await bob.fill(page, path)).path == "/account"
        assert "was used" in (await eve.post(path)).words
        assert "was used" in (await eve.get(path)).words
        late = await link_of(w, "bob")
        w.clock.advance(601)
        assert (await eve.post(late)).status == 403
        assert (await eve.post(f"/account/link/{secrets.token_hex(32)}")).status == 403
        assert not [row for row in await w.rows("SELECT id FROM login_links") if row["id"] in path]


async def test_after_signing_in_one_is_led_to_our_own_pages_only() -> None:
    async with world() as w, browsing(w) as bob:
        for wanted, led in (
            ("/account/history?class=sats", True),
            ("//evil.example", False),
            ("https://evil.example", False),
        ):
            page = await bob.get(SIGN_IN)
            event = signed(w.keys["bob"], page, url=f"{bob.url}{SIGN_IN}")
            answer = await bob.post(SIGN_IN, {"event": event, "next": wanted}, allow_redirects=False)
            assert answer.status == 303
            assert (answer.headers["Location"] == wanted) is led
            assert answer.headers["Location"].startswith("/account")


async def test_a_page_of_another_name_is_not_ours() -> None:
    async with world() as w, browsing(w) as bob:
        answer = await bob.get("/account", headers={"Host": "evil.example"})
        assert answer.status == 421
        assert f"http://127.0.0.1:{w.port}" in answer.words
        assert (await bob.get(SIGN_IN, headers={"Host": f"localhost:{w.port}"})).status == 200


async def test_behind_tls_the_cookie_is_for_tls_and_for_us_alone() -> None:
    async with world(web={"url": "https://bot.example.com"}) as w, browsing(w) as bob:
        host = {"Host": "bot.example.com"}
        page = await bob.get(SIGN_IN, headers=host)
        event = signed(KeyPair(secrets.token_bytes(32)), page, url=f"https://bot.example.com{SIGN_IN}")
        async with bob.session.post(
            bob.url + SIGN_IN,
            data={"event": event},
            headers=host | {"Origin": "https://bot.example.com"},
            allow_redirects=False,
        ) as answer:
            set_cookie = answer.headers["Set-Cookie"]
        assert set_cookie.startswith("__Host-relaybot=")
        assert {"HttpOnly", "Path=/", "SameSite=Lax", "Secure"} <= set(set_cookie.split("; "))
        assert (await bob.get(SIGN_IN)).status == 421  # with an address of its own, this machine's names are not it


async def test_who_asks_too_fast_waits() -> None:
    async with world(web={"requests_per_minute": 3}) as w, browsing(w) as eve:
        assert [(await eve.get(SIGN_IN)).status for _ in range(4)] == [200, 200, 200, 429]
