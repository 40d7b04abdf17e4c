"""`relaybot demo` as a user starts it: what it prints, what it leaves running, how it fails."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relaybot.demo.stage import HOST
from relaybot.nostr.event import is_hex
from tests.environment import inherited, untraced

EARNED = {"alice": 2_000, "carol": 1_000, "dave": 500, "eve": 120, "frank": 120, "grace": 300, "heidi": 300}
ROLES = {
    "alice": "algorithm",
    "carol": "compute",
    "dave": "api",
    "eve": "referrer",
    "frank": "referrer",
    "grace": "model",
    "heidi": "data",
}
SECONDS_MAX = 240  # on a machine that does much else at the same time

pytestmark = pytest.mark.timeout(SECONDS_MAX + 30)


@asynccontextmanager
async def demo(*options: str, traced: bool = False) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the command; end it if the test does not. All its processes pay for being traced: once is enough."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "relaybot",
        "demo",
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=inherited() if traced else untraced(),
    )
    try:
        async with asyncio.timeout(SECONDS_MAX):
            yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def ended(*options: str, traced: bool = False) -> tuple[int | None, str, str]:
    """Run the command to its end; return exit code, what it printed, and what it complained of."""
    async with demo(*options, traced=traced) as process:
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()


async def printed(process: asyncio.subprocess.Process, until: str) -> str:
    """Return what the command prints up to the line with this text."""
    assert process.stdout is not None
    text = ""
    while until not in text:
        line = (await process.stdout.readline()).decode()
        assert line, f"it ended; it had printed:\n{text}"
        text += line
    return text


async def test_once_with_json_prints_one_object_with_every_figure() -> None:
    code, out, err = await ended("--once", "--json", "--port", "0")
    assert (code, err) == (0, "")
    told: dict[str, Any] = json.loads(out)
    assert told["ok"] is True
    assert told["platform_revenue_msat"] == 7_660_000
    assert {one["name"]: one["earned_msat"] for one in told["people"]} == {
        name: sat * 1_000 for name, sat in EARNED.items()
    }
    for one in told["people"]:
        assert set(one) == {
            "name",
            "pubkey",
            "role",
            "earned_msat",
            "paid_out_msat",
            "payout_fee_msat",
            "payout_state",
        }
        assert one["role"] == ROLES[one["name"]]
        assert one["payout_state"] == "paid"
        assert 0 < one["paid_out_msat"] < one["paid_out_msat"] + one["payout_fee_msat"] <= one["earned_msat"]
        assert is_hex(one["pubkey"], 64)
    balances = [(job["balance_before_msat"], job["balance_after_msat"]) for job in told["customer"]]
    assert balances == [(0, 0), (24_000_000, 12_000_000), (12_000_000, 12_000_000)]
    ids = [told["request"], *told["feedbacks"], told["result"], told["summary"]]
    assert len(told["feedbacks"]) >= 3
    assert all(is_hex(one, 64) for one in ids)
    assert len(set(ids)) == len(ids)


async def test_without_once_the_story_is_told_and_everything_stays_up(tmp_path: Path) -> None:
    data = tmp_path / "kept"
    async with demo("--port", "0", "--data", str(data), traced=True) as process:
        text = await printed(process, "Press Ctrl-C")
        assert " 1  A simulated Lightning network runs" in text
        assert "12  All balances sum to zero, all escrows are empty, the node's books agree with ours" in text
        assert "7,660" in text
        page = next(line.split()[1] for line in text.splitlines() if line.strip().startswith("page"))
        printed_addresses = [
            line.split()[-1] for line in text.partition("keeps running")[2].splitlines() if "http:" in line
        ]
        assert len(printed_addresses) == 7
        async with aiohttp.ClientSession() as http:
            for address in printed_addresses:
                async with http.get(address) as answer:
                    assert answer.status == 200, address
                    words = await answer.text()
                if address == page or "/accounts/" in address:  # it opens with the accounts of the story's day
                    assert "24,000" in words, address
        hint = next(line for line in text.splitlines() if line.strip().startswith("books"))
        assert hint.endswith("config.yaml")  # whole in its line, however long it is: it is there to be pasted
        process.send_signal(signal.SIGINT)
        assert (await process.communicate())[0].decode().splitlines()[-1:] == ["stopped"]
        assert process.returncode == 0
        async with aiohttp.ClientSession() as http:
            assert not await answers(http, page)  # nothing is left running
    assert (data / "book.sqlite3").exists()
    code, out, err = await ended("--data", str(data), "--port", "0")
    assert (code, out) == (1, "")
    assert "a new or empty directory" in err


async def answers(http: aiohttp.ClientSession, url: str) -> bool:
    """Tell whether anybody answers at `url`."""
    try:
        async with http.get(url):
            return True
    except aiohttp.ClientConnectionError:
        return False


async def test_told_to_end_in_the_middle_it_takes_all_processes_with_it(tmp_path: Path) -> None:
    async with demo("--port", "0", "--data", str(tmp_path)) as process:
        told = await printed(process, "The service runs")
        page = told.split("page ")[1].split()[0]
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 130
        async with aiohttp.ClientSession() as http:
            assert not await answers(http, page)


async def test_a_port_that_is_taken_is_refused_before_anything_is_started() -> None:
    with socket.create_server((HOST, 0)) as taken:
        code, out, err = await ended("--once", "--json", "--port", str(taken.getsockname()[1]))
    assert (code, out) == (1, "")
    assert "a port that nobody listens on" in err


async def test_a_story_that_breaks_says_why_and_exits_1(tmp_path: Path) -> None:
    data = str(tmp_path / ("too-long-for-the-nodes-socket-" * 4))
    code, out, err = await ended("--once", "--json", "--port", "0", "--data", data)
    assert (code, err) == (1, "")
    told = json.loads(out)
    assert told["ok"] is False
    (problem,) = told["problems"]
    assert problem.startswith("the node ended at once")


async def test_a_story_that_breaks_shows_the_logs(tmp_path: Path) -> None:
    data = str(tmp_path / ("too-long-for-the-nodes-socket-" * 4))
    code, out, _ = await ended("--once", "--port", "0", "--data", data, traced=True)
    assert code == 1
    assert "The story broke" in out
    assert "node.log" in out
    assert "socket" in out.partition("node.log\n")[2]
