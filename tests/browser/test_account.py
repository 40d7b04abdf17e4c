"""What an account does beside money: signing in, jobs, earnings, settings, apps and companies, in real windows."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.browser.chromium import DESKTOP, Window, window
from tests.browser.extension import Extension
from tests.browser.looking import faults_of
from tests.flows.harness import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = "The default branch is called main; rename it"  # what Bob asks, for nobody else's eyes


async def test_who_signs_in_is_asked_for_one_signature_and_may_say_no(bot: World, browser: Browser) -> None:
    extension = Extension(bot.keys["eve"], refuses=True)
    async with window(browser, f"http://127.0.0.1:{bot.port}", extension, size=DESKTOP) as eve:
        page = await eve.open("/account/withdraw")
        button = page.get_by_role("button", name="Sign in with your extension")
        await button.click()
        await expect(page.get_by_role("alert")).to_have_text("The extension did not sign: User rejected")
        assert await faults_of(eve) == []
        extension.refuses = False
        extension.decided.clear()
        await button.dblclick()
        await expect(page.get_by_text("Your extension is asked to sign.")).to_be_visible()
        extension.decided.set()
        await page.wait_for_url(f"{eve.origin}/account/withdraw")
        (event,) = extension.signed
        assert (event["kind"], event["content"]) == (27235, "")
        assert ["u", f"{eve.origin}/account/sign-in"] in event["tags"]
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url("**/account/sign-in")
        assert await eve.context.cookies() == []


async def test_without_an_extension_the_page_says_so_and_shows_the_other_way(stranger: Window) -> None:
    await stranger.page.clock.install()
    page = await stranger.open("/account/sign-in")
    await page.clock.run_for(4_000)  # extensions are given a while to arrive
    await expect(page.get_by_role("status")).to_have_text("There is no Nostr extension in this browser.")
    await expect(page.get_by_role("button", name="Sign in with your extension")).to_be_hidden()
    await expect(page.get_by_role("heading", name="With a private message")).to_be_visible()


async def test_without_scripts_the_page_shows_the_way_that_needs_none(bot: World, browser: Browser) -> None:
    async with window(browser, f"http://127.0.0.1:{bot.port}", size=DESKTOP, script=False) as plain:
        page = await plain.open("/account/sign-in")
        await expect(page.get_by_role("heading", name="With a private message")).to_be_visible()
        await expect(page.get_by_role("button")).to_have_count(0)


async def test_a_job_is_encrypted_in_the_browser_and_its_result_comes_by_itself(bot: World, bob: Window) -> None:
    carol = await bot.join("carol")
    given = sum(5000 <= event.kind < 6000 for event in carol.seen())
    page = await bob.open("/account/jobs")
    assert await faults_of(bob) == []
    await page.get_by_role("link", name="Ask AutoDev").click()
    await page.get_by_label("repository").fill("acme/site")
    await page.get_by_label("What shall be done").fill(SECRET)
    assert await faults_of(bob) == []
    await page.get_by_role("button", name="Ask for 12,000 sat").click()
    await page.wait_for_url("**/account/jobs/*")
    request = await bot.rows("SELECT event FROM inbox WHERE id = :id", id=page.url.rpartition("/")[2])
    assert '["encrypted"]' in request[0]["event"]
    assert SECRET not in request[0]["event"]
    assignment = await bot.assignment(after=given)
    await expect(page.get_by_text("Given to a compute node")).to_be_visible()
    await bot.deliver(assignment, "Done: <b>main</b> is now called trunk.")
    await expect(page.locator(".result").first).to_have_text("Done: <b>main</b> is now called trunk.")
    await expect(page.get_by_role("heading", name="What you asked, in private")).to_be_visible()
    assert await faults_of(bob) == []
    # The same result went out as an event, which Bob's own extension can read and nobody else.
    published = await (await bot.join("bob")).wait_for(
        "the result", lambda event: event.kind == 6050 and event.tag("e") == page.url.rpartition("/")[2]
    )
    read = await page.evaluate(
        "([agent, text]) => window.nostr.nip44.decrypt(agent, text)", [bot.agent, published.content]
    )
    assert read == "Done: <b>main</b> is now called trunk."
    assert "trunk" not in published.content


async def test_who_contributes_sees_each_sum_with_its_reason_and_says_where_it_goes(
    bot: World, browser: Browser
) -> None:
    async with window(browser, f"http://127.0.0.1:{bot.port}", Extension(bot.keys["alice"])) as alice:
        page = await alice.open("/account/earnings")
        await page.get_by_role("button", name="Sign in with your extension").click()
        await expect(page.get_by_text("You have earned")).to_be_visible()
        assert await faults_of(alice) == []
        await page.get_by_role("link", name="why").first.click()
        await expect(page.get_by_text("The share of algorithm is a fixed 2,000 sat")).to_be_visible()
        assert await faults_of(alice) == []
        page = await alice.open("/account/settings")
        assert await faults_of(alice) == []
        await page.get_by_label("Where to").fill("alice@wallets.test")
        await page.get_by_role("button", name="Change").first.click()
        await expect(page.get_by_text("What you earn is sent to alice@wallets.test")).to_be_visible()
        await page.get_by_label("Where to").fill("nonsense")
        await page.get_by_role("button", name="Change").first.click()
        await expect(page.get_by_role("alert")).to_be_visible()
        alice.wrong.clear()  # the browser notes that the answer was 400


async def test_an_app_is_connected_and_cut_off_again(bob: Window) -> None:
    page = await bob.open("/account/apps")
    await page.get_by_label("Name").fill("My phone")
    await page.get_by_label("Budget in sats").fill("1000")
    await page.get_by_role("button", name="Connect").click()
    await expect(page.get_by_role("img", name="The connection as a QR code")).to_be_visible()
    assert (await page.locator("#payable").inner_text()).startswith("nostr+walletconnect://")
    assert await faults_of(bob) == []
    await page.get_by_role("link", name="Back to your apps").click()
    await expect(page.get_by_text("0 sat of 1,000 sat used this day")).to_be_visible()
    assert await faults_of(bob) == []
    await page.get_by_role("button", name="Disconnect My phone").click()
    await expect(page.get_by_text("No app is connected.")).to_be_visible()
