"""nostr-tools and NDK, as clients of this relay: publishing, reading, new events, COUNT, AUTH for one's gift wraps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.conftest import ours
from tests.npm.node import needs_node, seen_by

pytestmark = needs_node
CLIENTS = "clients.mjs"


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with ours(tmp_path / "events.db") as address:
        yield address


async def test_nostr_tools_publishes_reads_counts_and_authenticates(url: str) -> None:
    assert await seen_by(CLIENTS, "nostr-tools", url) == {
        "stored": ['one ü "\\\n', "two"],
        "live": True,
        "counted": 2,
        "before": "auth-required: gift wraps are for their recipients; answer the AUTH challenge with their key",
        "after": True,
        "refused": "Error: invalid: id does not match the event",
    }


async def test_ndk_publishes_reads_and_gets_its_gift_wraps(url: str) -> None:
    assert await seen_by(CLIENTS, "ndk", url) == {
        "taken": 1,
        "fetched": ["from NDK ü"],
        "live": "+",
        "sealed": "sealed",
    }
