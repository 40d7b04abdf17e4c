"""What every page must have: nothing wider than a phone, nothing axe-core finds, every control in reach of a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import Page, ViewportSize

from tests.browser.chromium import DESKTOP, PHONE, Window
from tests.npm.node import INSTALLED

AXE = INSTALLED / "node_modules" / "axe-core" / "axe.min.js"  # by `make test`, where there is Node
NARROWEST = ViewportSize(width=320, height=844)  # WCAG 2.2, 1.4.10 Reflow

_SCRIPT = Path(__file__).with_name("looking.js").read_text(encoding="utf-8")
_TABS_MAX = 60  # of a long table the first rows stand for all


async def faults_of(window: Window) -> list[str]:
    """Return what is wrong with the page that a window shows: on a phone everything is tried, on a desk its layout."""
    page, found = window.page, list[str]()
    await page.evaluate(_SCRIPT)
    if window.size == DESKTOP:
        return await page.evaluate("looking.tooWide()")  # type: ignore[no-any-return]
    for size in (NARROWEST, PHONE):
        await page.set_viewport_size(size)
        found += await page.evaluate("looking.tooWide()")
    found += await _unreached(page)
    found += await _findings(page, [])
    await page.emulate_media(color_scheme="dark")
    found += await _findings(page, ["color-contrast"])
    await page.emulate_media(color_scheme="light")
    return [f"{page.url}: {fault}" for fault in found]


async def _findings(page: Page, rules: list[str]) -> list[str]:
    """Return what axe-core calls serious or critical; `rules` empty: by all of its rules."""
    if not AXE.exists():
        return []
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text(encoding="utf-8"))
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = rules
    found: list[str] = await page.evaluate("options => looking.findings(options)", options)
    return found


async def _unreached(page: Page) -> list[str]:
    """Return the controls that the Tab key does not come to, or whose focus is not seen."""
    left, found = await page.evaluate("looking.controls()"), []
    for _ in range(min(left, _TABS_MAX)):
        await page.keyboard.press("Tab")
        found += await page.evaluate("looking.focused()")
    return found + (await page.evaluate("looking.missed()") if left < _TABS_MAX else [])
