"""nostr-tools and NDK, as clients of this relay: publishing, reading, new events, COUNT, AUTH for one's gift wraps."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import ours

CLIENTS = Path(__file__).with_name("clients.mjs")
INSTALLED = Path(__file__).parents[2] / "build" / "npm"  # by `make test`, where there is Node

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on the PATH"),
    pytest.mark.skipif(not (INSTALLED / ".installed").exists(), reason="npm did not install nostr-tools and NDK"),
]


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with ours(tmp_path / "events.db") as address:
        yield address


async def seen_by(library: str, url: str) -> Any:
    """Let a library play its part against the relay at `url`; return what it saw."""
    pipe = asyncio.subprocess.PIPE
    arguments = ("--input-type=module", "-", library, url)
    node = await asyncio.create_subprocess_exec("node", *arguments, cwd=INSTALLED, stdin=pipe, stdout=pipe, stderr=pipe)
    told, wrong = await node.communicate(CLIENTS.read_bytes())
    assert node.returncode == 0, wrong.decode()
    return json.loads(told)


async def test_nostr_tools_publishes_reads_counts_and_authenticates(url: str) -> None:
    assert await seen_by("nostr-tools", url) == {
        "stored": ['one ü "\\\n', "two"],
        "live": True,
        "counted": 2,
        "before": "auth-required: gift wraps are for their recipients; answer the AUTH challenge with their key",
        "after": True,
        "refused": "Error: invalid: id does not match the event",
    }


async def test_ndk_publishes_reads_and_gets_its_gift_wraps(url: str) -> None:
    assert await seen_by("ndk", url) == {"taken": 1, "fetched": ["from NDK ü"], "live": "+", "sealed": "sealed"}
