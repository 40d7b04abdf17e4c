"""Chromium of the machine, with nothing of its own on the network, and windows that note what goes wrong."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
    async_playwright,
    expect,
)

from tests.browser.extension import Extension

PHONE, DESKTOP = ViewportSize(width=390, height=844), ViewportSize(width=1280, height=800)
Scheme = Literal["light", "dark"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NO_CHROMIUM = "there is no chromium on the PATH (Debian's package chromium)"
PATIENCE_MS = 30_000  # on a machine that has other things to do
_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing else is found, whatever asks
)


expect.set_options(timeout=PATIENCE_MS)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start it without a window, in an empty directory of its own."""
    assert CHROMIUM is not None, NO_CHROMIUM
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False, args=_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass  # without slots: playwright marks whom it calls
class Window:
    """One person's window: a page, and all that must not be heard of it."""

    context: BrowserContext
    page: Page
    origin: str
    hosts: frozenset[str]  # besides our own
    size: ViewportSize
    wrong: list[str] = field(default_factory=list)

    async def open(self, path: str) -> Page:
        """Go to a page of ours."""
        await self.page.goto(self.origin + path)
        return self.page

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.wrong.append(f"{self.page.url}: {message.text}")

    def _on_request(self, request: Request) -> None:
        where = urlsplit(request.url)
        if where.scheme not in {"http", "data"} or where.netloc not in {urlsplit(self.origin).netloc, *self.hosts}:
            self.wrong.append(f"{self.page.url} asks {request.url}")


@asynccontextmanager
async def window(
    browser: Browser,
    origin: str,
    extension: Extension | None = None,
    *,
    size: ViewportSize = PHONE,
    scheme: Scheme = "light",
    hosts: frozenset[str] = frozenset(),
    script: bool = True,
    scale: float = 1,
) -> AsyncIterator[Window]:
    """Open a window with cookies of its own; whatever went wrong in it fails the test at its end."""
    context = await browser.new_context(
        viewport=size, color_scheme=scheme, java_script_enabled=script, device_scale_factor=scale,
        reduced_motion="reduce", accept_downloads=True, locale="en-GB", timezone_id="UTC",
    )  # fmt: skip
    context.set_default_timeout(PATIENCE_MS)
    try:
        if extension is not None:
            await extension.install(context)
        made = Window(context, await context.new_page(), origin, hosts, size)
        made.page.on("console", made._on_console)
        made.page.on("pageerror", lambda error: made.wrong.append(str(error)))
        context.on("request", made._on_request)
        yield made
        assert made.wrong == []
    finally:
        await context.close()
