"""The journals that are told in words (`tests/book/journals.py`), each played on a book of its own."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relaybot.db.database import Row
from tests.book.journals import JOURNALS
from tests.book.scenario import Scenario
from tests.book.stores import SqliteStore, opened, person

PEOPLE = {person(name): name for name in ("alice", "bob", "carol", "dave", "eve", "frank", "grace", "heidi", "mallory")}


@dataclass(frozen=True, slots=True)
class Played:
    """What one story in words left: its lines but those that only look, all transfers, the balances they left."""

    lines: Sequence[str]
    transfers: Sequence[Row]
    balances: dict[str, int]


def play_all() -> dict[str, Played]:
    """Play every story."""
    return asyncio.run(_play_all())


async def _play_all() -> dict[str, Played]:
    with tempfile.TemporaryDirectory(prefix="rb-") as directory:
        return {name: await _play(Path(directory) / f"{name}.db", story) for name, story in JOURNALS.items()}


async def _play(path: Path, story: str) -> Played:
    async with opened(SqliteStore(path)) as book:
        await Scenario(book).play(story)
        rows = await book.database.fetch("SELECT * FROM transfers ORDER BY seq")
    balances: dict[str, int] = {}
    for row in rows:
        balances |= {row["debit"]: row["debit_after"], row["credit"]: row["credit_after"]}
    lines = [line.strip() for line in re.split(r"[/\n]", story) if line.strip()]
    return Played([line for line in lines if not line.startswith("expect")], rows, balances)
