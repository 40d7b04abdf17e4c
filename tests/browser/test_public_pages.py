"""Each public page, on a phone and on a desk, light and dark, by keyboard, with and without its neighbours' help."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.browser.chromium import DESKTOP, Window
from tests.browser.looking import faults_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

YESTERDAY = f"{datetime.now(UTC).date() - timedelta(days=1)}"


@pytest.mark.parametrize(
    "path", ["/", "/accounts", f"/accounts/{YESTERDAY}", "/agents", "/agents/autodev", "/how", "/account/sign-in"]
)
async def test_a_public_page_is_read_by_everybody(stranger: Window, path: str) -> None:
    await stranger.open(path)
    assert await faults_of(stranger) == []
    stranger.size = DESKTOP
    await stranger.page.set_viewport_size(DESKTOP)
    assert await faults_of(stranger) == []
