"""A company in two windows: its owner's, and that of a member who is invited, and asks for more than the limit."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page, expect

from relaybot.nostr import nip19
from tests.browser.chromium import PHONE, Window, window
from tests.browser.extension import Extension
from tests.browser.looking import faults_of
from tests.flows.harness import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def founded(bob: Window, org: str, npub: str) -> Page:
    """Let Bob make a company on its pages, and invite somebody."""
    page = await bob.open("/account/companies")
    assert await faults_of(bob) == []
    await page.get_by_label("Id").fill(org)
    await page.get_by_label("Name", exact=True).fill("Acme & Sons")
    await page.get_by_role("button", name="Make a company").click()
    await expect(page.locator("h1")).to_have_text("Acme & Sons")
    await page.locator("#add-npub").fill(npub)
    await page.locator("#add-sats").fill("20000")
    await page.get_by_role("button", name="Invite").click()
    await expect(page.get_by_role("row", name=npub)).to_contain_text("20,000 sat")
    return page


async def test_a_bulk_top_up_of_a_company_shows_its_bonus_before_it_is_paid_and_then_has_it(
    bot: World, bob: Window
) -> None:
    org = f"acme-{bob.size['width']}"
    page = await founded(bob, org, nip19.encode_npub(bot.keys["frank"].pubkey))
    await expect(page.get_by_text("From 100,000 sat on 5 % more, for our own part of jobs.")).to_be_visible()
    assert await faults_of(bob) == []
    await page.get_by_label("How many sats", exact=True).fill("100000")
    await page.get_by_role("button", name="Go on").click()
    await expect(page.get_by_text("It brings 5,000 sat more")).to_be_visible()
    await (await bot.join("bob")).pay(await page.locator("#payable").inner_text())
    await expect(page.locator("h1")).to_have_text("Paid")
    await page.get_by_role("link", name=org).click()
    await expect(page.locator(".facts")).to_contain_text("100,000 sat")
    await expect(page.locator(".facts")).to_contain_text("5,000 sat")


async def test_a_member_accepts_an_invitation_and_a_job_above_the_limit_waits_for_the_owner(
    bot: World, browser: Browser, bob_signed_in: Window
) -> None:
    carol = await bot.join("carol")
    given = sum(5000 <= event.kind < 6000 for event in carol.seen())
    office = await founded(bob_signed_in, "office", nip19.encode_npub(bot.keys["grace"].pubkey))
    limit = office.locator("form[action$='/limit']")
    await limit.get_by_label("Above how many sats").fill("5000")
    await limit.get_by_role("button", name="Change").click()
    await expect(office.locator(".facts")).to_contain_text("above 5,000 sat")
    owner = await bot.join("bob")
    await owner.pay((await owner.ask(bot.bot, "org topup office 50000")).split()[-1])
    async with window(browser, bob_signed_in.origin, Extension(bot.keys["grace"]), size=PHONE) as grace:
        page = await grace.open("/account/companies")
        await page.get_by_role("button", name="Sign in with your extension").click()
        await page.get_by_role("link", name="Acme & Sons").click()
        await expect(page.get_by_text("asks you to join. It would pay for your jobs.")).to_be_visible()
        assert await faults_of(grace) == []
        await page.get_by_role("button", name="Join").click()
        await expect(page.get_by_text("You have used 0 sat of 20,000 sat this month.")).to_be_visible()
        assert await faults_of(grace) == []
        page = await grace.open("/account/jobs/ask/autodev")
        await page.get_by_label("repository").fill("acme/site")
        await page.get_by_label("Who pays").select_option(label="Acme & Sons")
        await page.get_by_label("What shall be done").fill("Fix the footer")
        await page.get_by_role("button", name="Ask for 12,000 sat").click()
        await expect(page.get_by_text("Waits for the word of the company's owner.")).to_be_visible()
        assert await faults_of(grace) == []
        await bob_signed_in.open("/account/companies/office")
        await expect(office.get_by_role("heading", name="Waits for you")).to_be_visible()
        assert await faults_of(bob_signed_in) == []
        await office.get_by_role("button", name="Approve").click()
        await expect(office.get_by_role("heading", name="Waits for you")).to_have_count(0)
        await bot.deliver(await bot.assignment(after=given), "The footer is fixed.")
        await expect(page.locator(".result").first).to_have_text("The footer is fixed.")
    await bob_signed_in.open("/account/companies/office")
    await expect(office.get_by_role("row", name=nip19.encode_npub(bot.keys["grace"].pubkey))).to_contain_text(
        "12,000 sat"
    )
