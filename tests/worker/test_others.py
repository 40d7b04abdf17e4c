"""Compute nodes that know nothing of relaybot: the one that docs/worker.md shows, and one in nostr-tools."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.flows.harness import World, world
from tests.npm.test_clients import pytestmark as where_npm_is

ROOT = Path(__file__).parents[2]
SHOWN = re.compile(r"^```python\n(import asyncio.*?)^```$", re.MULTILINE | re.DOTALL)
TOOLS = ROOT / "tests" / "npm" / "node.mjs"


@asynccontextmanager
async def node(*words: str, text: str, cwd: Path, **environment: str) -> AsyncIterator[None]:
    """Run a program that is given on stdin, for as long as the block."""
    process = await asyncio.create_subprocess_exec(
        *words, cwd=cwd, env={**os.environ, **environment}, stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(text.encode())
    process.stdin.close()
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def does_two_jobs(w: World) -> None:
    """Let Bob have two jobs done by whoever is there: the same node, paid for both."""
    await w.fund("bob", 24_000)
    for text in ("one", "two"):
        request = await w.request("bob", text)
        await w.feedback("bob", request, "success")
        assert (await w.result("bob", request)).content == text.upper()
    assert await w.balance("carol") == 2_000_000
    await w.sound()


async def test_the_node_of_the_document_does_jobs_and_is_paid(tmp_path: Path) -> None:
    (text,) = SHOWN.findall((ROOT / "docs" / "worker.md").read_text(encoding="utf-8"))
    async with world(payouts={"enabled": False}) as w:
        secret, relay = w.keys["carol"]._secret.hex(), f"ws://127.0.0.1:{w.port}"
        async with node(sys.executable, "-", text=text, cwd=tmp_path, NSEC=secret, SERVICE=w.bot, RELAY=relay):
            await does_two_jobs(w)


@where_npm_is[0]
@where_npm_is[1]
async def test_a_node_in_nostr_tools_does_jobs_and_is_paid() -> None:
    async with world(payouts={"enabled": False}) as w:
        words = ("node", "--input-type=module", "-", f"ws://127.0.0.1:{w.port}", w.bot, w.keys["carol"]._secret.hex())
        async with node(*words, text=TOOLS.read_text(encoding="utf-8"), cwd=ROOT / "build" / "npm"):
            await does_two_jobs(w)
