"""Money in and out by hand, in Bob's window: each page on the way is looked at, and what is awaited comes by itself."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import aiohttp
import bech32
import pytest
from playwright.async_api import expect

from tests.browser.chromium import Window
from tests.browser.looking import faults_of
from tests.flows.harness import World
from wallet.money import format_sat

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAYABLE = "#payable"


def decode_lnurl(code: str) -> str:
    """Return the address that a wallet reads in a code (LUD-01)."""
    _, data = bech32.bech32_decode(code)
    return bytes(bech32.convertbits(data or [], 5, 8, False) or []).decode()


async def test_a_topup_by_lightning_is_seen_the_moment_it_is_paid(bot: World, bob: Window) -> None:
    page = await bob.open("/account")
    assert await faults_of(bob) == []
    await page.get_by_role("link", name="Top up").first.click()
    await page.get_by_label("How many sats").fill("5000")
    assert await faults_of(bob) == []
    await page.get_by_role("button", name="Go on").click()
    await expect(page.get_by_role("img", name="The invoice as a QR code")).to_be_visible()
    assert await faults_of(bob) == []
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    await (await bot.join("bob")).pay(await page.evaluate("navigator.clipboard.readText()"))
    await expect(page.get_by_role("status")).to_have_text("They are added to your balance.")
    await expect(page.locator("h1")).to_have_text("Paid")


async def test_on_the_chain_an_address_shows_how_deep_a_deposit_lies(bot: World, bob: Window) -> None:
    page = await bob.open("/account/topup")
    await page.get_by_label("How many sats").fill("20000")
    await page.get_by_label("By which way").select_option(label="On-chain: after confirmations")
    await page.get_by_role("button", name="Go on").click()
    address = await page.locator(PAYABLE).inner_text()
    link = page.get_by_role("link", name="Open in your wallet")
    await expect(link).to_have_attribute("href", f"bitcoin:{address}?amount=0.00020000")
    bot.network.chain.send(address, 20_000_000)
    bot.network.chain.mine()
    await expect(page.get_by_text("arriving: 1 of 2 confirmations")).to_be_visible()
    bot.network.chain.mine()
    await expect(page.get_by_role("cell", name="credited")).to_be_visible()
    assert await faults_of(bob) == []


async def test_by_card_terms_are_taken_and_the_bank_asks_who_pays(bot: World, bob: Window) -> None:
    before = await bot.account(f"user/{bot.keys['bob'].pubkey}/card")
    page = await bob.open("/account/topup")
    await page.get_by_label("How many sats").fill("20000")
    await page.get_by_label("By which way").select_option(label="Card: for jobs only")
    await page.get_by_role("button", name="Go on").click()
    await expect(page.get_by_text("19.76 EUR")).to_be_visible()
    assert await faults_of(bob) == []
    await page.get_by_role("button", name="I accept these terms, go on to pay").click()
    await page.get_by_label("asks who you are (3-D Secure)").check()
    assert await faults_of(bob) == []
    await page.get_by_role("button", name="Pay 19.76 EUR").click()
    await expect(page.get_by_text("Your bank wants to know")).to_be_visible()
    assert await faults_of(bob) == []
    await page.get_by_role("button", name="It is me").click()
    await expect(page.get_by_role("heading", name="It is on your balance")).to_be_visible()
    page = await bob.open("/account")
    await expect(page.get_by_role("row", name="Card money")).to_contain_text(format_sat(before + 20_000_000))


async def test_a_withdrawal_is_shown_first_then_sent_and_its_end_comes_by_itself(bot: World, bob: Window) -> None:
    page = await bob.open("/account/withdraw")
    assert await faults_of(bob) == []
    await page.get_by_label("How many sats").first.fill("4000")
    await page.get_by_label("Where to").fill("bob@wallets.test")
    await page.get_by_role("button", name="Show what it costs").click()
    await expect(page.locator("h1")).to_have_text("Send this?")
    assert await faults_of(bob) == []
    await page.get_by_role("button", name="Send it").click()
    await page.wait_for_url("**/account/withdrawals/*")
    await expect(page.get_by_role("cell", name="paid", exact=True)).to_be_visible()
    assert await faults_of(bob) == []


async def test_a_wallet_that_scans_takes_what_the_code_says(bot: World, bob: Window) -> None:
    page = await bob.open("/account/withdraw")
    await page.get_by_label("How many sats, exactly").fill("300")
    await page.get_by_role("button", name="Make a QR code").click()
    await expect(page.get_by_role("img", name="The link as a QR code")).to_be_visible()
    code = await page.locator(PAYABLE).inner_text()
    assert await faults_of(bob) == []
    page = await bob.open("/account/withdraw")
    await expect(page.get_by_text("300 sat, for")).to_be_visible()
    async with aiohttp.ClientSession() as wallet:
        async with wallet.get(decode_lnurl(code)) as answer:
            link = await answer.json()
        async with wallet.get(f"{bot.network.running.url}/lnurlp/bob/callback?amount=300000") as answer:
            bolt11 = (await answer.json())["pr"]
        async with wallet.get(link["callback"], params={"k1": link["k1"], "pr": bolt11}) as answer:
            assert await answer.json() == {"status": "OK"}
    await page.reload()
    await expect(page.get_by_text("300 sat, for")).to_have_count(0)
    await expect(page.get_by_role("row", name="300 sat").first).to_be_visible()


async def test_the_history_tells_every_change_and_goes_home_as_a_table(bob: Window, tmp_path: Path) -> None:
    page = await bob.open("/account/history")
    assert await faults_of(bob) == []
    await page.get_by_label("Way").select_option("out")
    await page.get_by_role("button", name="Show").click()
    await page.wait_for_url(re.compile("way=out"))
    await expect(page.get_by_role("cell", name="top-up")).to_have_count(0)
    async with page.expect_download() as waited:
        await page.get_by_role("link", name="Download as CSV").click()
    await (await waited.value).save_as(tmp_path / "history.csv")
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert rows
    assert all(int(row["amount_msat"]) < 0 for row in rows)
    await page.locator("tbody").get_by_role("link").first.click()
    await expect(page.locator("h1")).to_have_text("Why this sum")
    assert await faults_of(bob) == []
