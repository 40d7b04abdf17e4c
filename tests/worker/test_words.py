"""What the service says to a node: an assignment is taken back, the node is admitted or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from tests.connection.conftest import until
from tests.worker.conftest import Office, assignment


async def test_work_that_is_taken_back_ends_and_the_next_is_begun(office: Office) -> None:
    office.works.release.clear()
    first, second, third = (assignment(text) for text in ("issue 1", "issue 2", "issue 3"))
    async with office.open(concurrency=1):
        await office.give(first, second, third)
        await until(lambda: office.works.running == 1)
        for child in (second, first):  # in the queue, and under way
            await office.say(5, [["e", child.id]])
        await until(lambda: office.works.begun == ["issue 1", "issue 3"])
        office.works.release.set()
        await office.hear(6050)
        await office.hear(7000, 3)
    assert office.works.done == ["issue 3"]
    assert len(office.said(6050)) == 1
    assert office.errors() == []


async def test_the_node_says_whether_it_is_admitted_and_the_newest_word_counts(office: Office) -> None:
    with structlog.testing.capture_logs() as logs:
        async with office.open():
            await office.hear(31990)
            office.clock.advance(5)
            await office.say(7000, [["status", "error", "this node waits"]])
            await until(lambda: bool(words(logs)))
            await office.say(7000, [["status", "processing", "admitted"]], later=10)
            await until(lambda: len(words(logs)) == 2)
            await office.say(7000, [["status", "error", "of long ago"]], later=1)
            await office.say(5, [["e"]])
            await office.say(7000, [["status", "processing", "admitted"]], later=20)
            await until(lambda: len(words(logs)) == 3)
    assert words(logs) == ["not_admitted", "admitted", "admitted"]
    assert [one["reason"] for one in logs if one["event"] == "not_admitted"] == ["this node waits"]


def words(logs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [one["event"] for one in logs if one["event"] in {"admitted", "not_admitted"}]
