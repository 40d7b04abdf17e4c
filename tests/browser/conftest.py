"""One service, one browser and one window of Bob's for all tests of this directory: starting them costs most."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.chromium import CHROMIUM, DESKTOP, NO_CHROMIUM, PHONE, Window, chromium, window
from tests.browser.extension import Extension
from tests.browser.town import town
from tests.flows.harness import World


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bot() -> AsyncIterator[World]:
    """The service, in a task of its own: its tasks end where they began."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    up: asyncio.Future[World] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def run() -> None:
        async with town() as made:
            up.set_result(made)
            await over.wait()

    faults = list[str]()

    def note(record: logging.LogRecord) -> bool:
        faults.append(record.getMessage())
        return True

    logging.getLogger("aiohttp.server").addFilter(note)
    async with asyncio.TaskGroup() as tasks:  # a service that does not come up ends the wait
        tasks.create_task(run())
        yield await up
        over.set()
    assert faults == [], "what browsers do, such as leaving a page, is no fault of the server's"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(bot: World) -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def stranger(bot: World, browser: Browser) -> AsyncIterator[Window]:
    """The window of somebody who is not signed in and has no extension."""
    async with window(browser, f"http://127.0.0.1:{bot.port}") as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bob_signed_in(bot: World, browser: Browser) -> AsyncIterator[Window]:
    extension = Extension(bot.keys["bob"])
    cards = frozenset({f"127.0.0.1:{bot.config.card.simulator_port}"})
    async with window(browser, f"http://127.0.0.1:{bot.port}", extension, hosts=cards) as opened:
        await opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = await opened.open("/account/sign-in")
        await page.get_by_role("button", name="Sign in with your extension").click()
        await page.wait_for_url("**/account")
        yield opened


@pytest_asyncio.fixture(loop_scope="session", params=[PHONE, DESKTOP], ids=["phone", "desk"])
async def bob(bob_signed_in: Window, request: pytest.FixtureRequest) -> AsyncIterator[Window]:
    """Bob's window, small and large; what goes wrong in it is told by the test in which it did."""
    bob_signed_in.size = request.param
    await bob_signed_in.page.set_viewport_size(request.param)
    yield bob_signed_in
    wrong, bob_signed_in.wrong[:] = list(bob_signed_in.wrong), []
    assert wrong == []
