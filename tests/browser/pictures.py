"""Make the pictures of docs/pictures: `python -m tests.browser.pictures`. The figures are drawn by lot, from a seed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from playwright.async_api import ViewportSize

from tests.browser.chromium import CHROMIUM, NO_CHROMIUM, PHONE, Scheme, chromium, window
from tests.browser.extension import Extension
from tests.browser.town import town

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
PAPER = ViewportSize(width=1280, height=940)
BYTES_MAX = 150_000


async def make() -> None:
    """Photograph the accounts, an agent, somebody's own account, and how the money flows on a phone."""
    PICTURES.mkdir(exist_ok=True)
    shots: tuple[tuple[str, str, ViewportSize, Scheme], ...] = (
        ("accounts", "/", PAPER, "light"),
        ("agent", "/agents/autodev", PAPER, "light"),
        ("how-phone", "/how", PHONE, "dark"),
    )
    async with town() as bot, chromium() as browser:
        origin = f"http://127.0.0.1:{bot.port}"
        for name, path, size, scheme in shots:
            async with window(browser, origin, size=size, scheme=scheme) as opened:
                await (await opened.open(path)).screenshot(path=PICTURES / f"{name}.png")
        await bot.request("bob", "Fix issue 42")  # whose price is held when the picture is made
        await bot.assignment(after=1)
        async with window(browser, origin, Extension(bot.keys["bob"]), size=PAPER) as bob:
            page = await bob.open("/account")
            await page.get_by_role("button", name="Sign in with your extension").click()
            await page.wait_for_url("**/account")
            await page.screenshot(path=PICTURES / "account.png")


def main() -> None:
    """Make them, and say how large they are."""
    if CHROMIUM is None:
        sys.exit(NO_CHROMIUM)
    asyncio.run(make())
    for picture in sorted(PICTURES.glob("*.png")):
        size = picture.stat().st_size
        print(f"{picture.name}: {size:,} bytes")  # noqa: T201  what the command says
        assert size < BYTES_MAX, f"{picture.name} is too large for a repository"


if __name__ == "__main__":
    main()
