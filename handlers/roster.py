"""The compute nodes that are there, kept in memory: who waited longest stands first.

The book's rows are the truth. Each look reads only those that changed since the last one,
and once a second compares all versions, for a clock of another process may differ from ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from handlers.bot import Bot
from handlers.nodes import Node, capacity
from handlers.workers import record_of, said_of
from relaybot.db.database import Row

OVERLAP_SECONDS = 1  # rows of the second in which we looked may have changed after it

_OPEN = "SELECT worker, COUNT(*) AS open FROM jobs WHERE due_at IS NOT NULL AND worker > '' GROUP BY worker"


class Roster:
    """All nodes that were ever known, and those of them that may get jobs now."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._rules = bot.node_rules
        self._rows: dict[str, Row] = {}
        self._versions = 0  # the sum of those of `_rows`
        self._nodes: dict[str, Node] = {}  # that are there
        self._lines: dict[int, dict[str, Node]] = {}  # the same by the kinds they do, who waited longest first
        self._busy: set[str] = set()  # who had open jobs at the last look
        self._looked_at = self._compared_at = -1

    async def look(self) -> Mapping[int, Mapping[str, Node]]:
        """Return the nodes that are there and admitted, by kind of job and pubkey, each with the number of its jobs.

        What is returned moves on: `given` changes it.
        """
        now = self._bot.clock.now()
        changed = await self._read(now)
        ids = {row["id"] for row in changed}
        for row in self._rows.values() if now != self._looked_at else changed:
            self._place(row, now, is_new=row["id"] in ids)
        self._looked_at = now
        open_jobs = {row["worker"]: row["open"] for row in await self._bot.book.database.fetch(_OPEN)}
        for pubkey in self._busy | open_jobs.keys():
            if pubkey in self._nodes:
                self._nodes[pubkey].open_jobs = open_jobs.get(pubkey, 0)
        self._busy = set(open_jobs)
        return self._lines

    def given(self, node: Node, now: int) -> None:
        """Note that a node was given a job: it goes to the end of the line."""
        node.open_jobs += 1
        node.assigned_at = now
        self._busy.add(node.pubkey)
        for kind in node.kinds:
            self._lines[kind][node.pubkey] = self._lines[kind].pop(node.pubkey)

    async def _read(self, now: int) -> Sequence[Row]:
        """Read what has changed, and return it."""
        database = self._bot.book.database
        rows = await database.fetch(
            "SELECT * FROM workers WHERE changed_at >= :since", since=self._looked_at - OVERLAP_SECONDS
        )
        changed = self._keep(rows)
        if now != self._compared_at:
            self._compared_at = now
            total = (await database.fetch("SELECT COALESCE(SUM(version), 0) AS versions FROM workers"))[0]["versions"]
            if total != self._versions:
                changed += self._keep(await database.fetch("SELECT * FROM workers"))
        return changed

    def _keep(self, rows: Sequence[Row]) -> list[Row]:
        """Keep the rows that are newer than ours, and return them."""
        changed = []
        for row in rows:
            known = self._rows.get(row["id"])
            version = known["version"] if known is not None else 0
            if row["version"] > version:
                self._versions += row["version"] - version
                self._rows[row["id"]] = row
                changed.append(row)
        return changed

    def _place(self, row: Row, now: int, *, is_new: bool) -> None:
        """Give a node its place in the lines, or take it out; who is new waits from now on."""
        pubkey, before = row["id"], self._nodes.get(row["id"])
        if not self._is_there(row, now):
            self._nodes.pop(pubkey, None)
            self._leave(pubkey, before.kinds if before is not None else frozenset())
        elif before is None or is_new:
            node = self._node(row, assigned_at=now if before is None else before.assigned_at)
            node.open_jobs = 0 if before is None else before.open_jobs
            self._leave(pubkey, before.kinds - node.kinds if before is not None else frozenset())
            self._nodes[pubkey] = node
            for kind in node.kinds:
                self._lines.setdefault(kind, {})[pubkey] = node  # where it stood, if it did

    def _leave(self, pubkey: str, kinds: frozenset[int]) -> None:
        for kind in kinds:
            del self._lines[kind][pubkey]

    def _is_there(self, row: Row, now: int) -> bool:
        oldest = now - self._bot.config.workers.heartbeat_seconds_max
        is_alive = row["announced_until"] > now and row["beat_until"] > now and row["beat_at"] >= oldest
        return is_alive and self._rules.admits(row["id"], said_of(row))

    def _node(self, row: Row, *, assigned_at: int) -> Node:
        record = record_of(row)
        is_newcomer = not self._rules.trusts(row["id"], said_of(row)) and record.done < self._rules.probation_jobs
        return Node(
            pubkey=row["id"],
            kinds=frozenset(json.loads(row["kinds"])),
            models=frozenset(json.loads(row["models"])),
            least_msat=row["least_msat"],
            schemes=frozenset(json.loads(row["schemes"])),
            capacity=capacity(self._rules, row["concurrency"], is_newcomer=is_newcomer),
            is_idle=row["status"] == "idle",
            is_newcomer=is_newcomer,
            record=record,
            assigned_at=assigned_at,
        )
