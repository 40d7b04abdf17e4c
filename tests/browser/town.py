"""A whole service with a month of published accounts, and people who have a history with it: what browsers look at."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

from relaybot.demo.stage import AGENTS, free_port
from relaybot.keyring import open_keyring
from relaybot.nostr.flow_of_funds import CELLS, CellName, DaySummary, build_summary, day_period
from tests.flows.harness import World, world

DAYS = 30  # of published accounts
_ROUND = 500_000  # msat
_SHARES = {"platform": 642, "algorithm": 167, "compute": 83, "api": 42, "model": 25, "data": 25, "referrer": 16}
_PARAMS = {
    "repository": {"about": "where the issue is: owner/name"},
    "language": {"about": "of the pull request", "values": ["en", "de"]},
}
_SCRIBE = {
    "name": "Scribe",
    "about": "Turns a recording into text, with who speaks when",
    "kinds": [5000],
    "price": "800 sat",
    "skills": ["resolve-github-pr"],
}


@asynccontextmanager
async def town(**more: Any) -> AsyncIterator[World]:
    """Start it on loopback, with every way to pay, and play its past."""
    settings: dict[str, Any] = {
        "agents": {"autodev": {**AGENTS["autodev"], "params": _PARAMS}},
        "card": {"provider": "simulated", "simulator_port": free_port(), "quote_seconds": 3_600},
        "rates": {"bitcoin": "95000 EUR"},
        "companies": {"bulk": [{"from": "100000 sat", "bonus": "5%"}]},
        "onchain": {"poll_seconds": 1, "confirmations": [[0, 2]]},
        "web": {"requests_per_minute": 10_000},
        "payouts": {"retry_seconds": 1, "poll_seconds": 1, "confirm_seconds": 1},
    } | more
    async with world(**settings) as made:
        await asyncio.gather(publish_month(made), _play_past(made))
        yield made


async def _play_past(town: World) -> None:
    """Bob has topped up, and paid for a job by which Alice has earned."""
    await town.fund("bob", 160_000)
    await town.node_joins()
    request = await town.request("bob", "Fix issue 41")
    await town.deliver(await town.assignment(), "Pull request 77 fixes it.")
    await town.result("bob", request)


async def publish_month(town: World) -> None:
    """Sign the days with the key of the books, as the service does each night."""
    books = open_keyring(town.config.keys.file, {}, b"").key("books")
    today, chance = datetime.now(UTC).date(), random.Random(8)
    person = await town.join("frank")
    for back in range(DAYS, 0, -1):
        day = today - timedelta(days=back)
        period = day_period(day.isoformat())
        summary = DaySummary(period, 5, 80, _ROUND, figures_of(day, chance))
        await person.send(build_summary(books, summary, min(period.end + 3_600, int(time.time()))))


def figures_of(day: date, chance: random.Random) -> dict[CellName, int | None]:
    """Return the figures of a day: weekends are quiet, and here and there one is withheld."""
    jobs = chance.randrange(14, 30) if day.isoweekday() < 6 else chance.randrange(5, 12)
    charged = jobs * 12_000_000
    cells: dict[CellName, int | None] = dict.fromkeys(CELLS)
    cells |= {("earned", role): charged * share // 1_000 for role, share in _SHARES.items()}
    if jobs < 8:  # too few people of one role
        cells["earned", "other"] = sum(cells.pop(("earned", role)) or 0 for role in ("model", "data", "referrer"))
        cells |= {("earned", role): None for role in ("model", "data", "referrer")}
    cells["in", "lightning"] = charged * 7 // 10
    cells["in", "card"] = charged * 2 // 10 if jobs > 9 else None
    cells["in", "onchain"] = chance.randrange(100_000, 900_000) * 1_000 if day.day % 6 == 0 else None
    cells["out", "lightning"] = charged * 3 // 10 if jobs > 6 else None
    cells["jobs", "count"], cells["jobs", "charged"] = jobs, charged
    cells["fees", "routing"] = charged // 400
    return {cell: _rounded(cell, figure) for cell, figure in cells.items()}


def _rounded(cell: CellName, figure: int | None) -> int | None:
    return figure if figure is None or cell == ("jobs", "count") else figure // _ROUND * _ROUND or None
