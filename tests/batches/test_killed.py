"""The process dies after every outside call and every commit of a batch's life: one payment, right books."""

from __future__ import annotations

from tests.batches.conftest import SEGWIT, Branch, Counter
from tests.payouts.desk import Killed


class Borders:
    """Notes every border that is passed, and kills at one of them."""

    def __init__(self, deadly: int | None = None) -> None:
        self.passed: list[str] = []
        self.deadly = deadly

    def __call__(self, border: str) -> None:
        self.passed.append(border)
        if len(self.passed) - 1 == self.deadly:
            raise Killed(border)


async def withdrawing(counter: Counter, number: int) -> None:
    await counter.say(f"withdraw 20000 {SEGWIT}", number=number)
    await counter.finish()


async def test_c7_e5_killed_at_any_border_a_withdrawal_is_paid_once(branch: Branch) -> None:
    undisturbed = Borders()
    async with branch.counter() as counter:
        await counter.grant(9_000_000)
    async with branch.counter(undisturbed) as counter:
        undisturbed.passed.clear()  # opening the database passes some, too
        await withdrawing(counter, 0)
    assert {"prepare:after", "send:before", "send:after", "heights:after"} <= set(undisturbed.passed)
    deadly = interesting(undisturbed.passed)
    assert len(deadly) > 10
    for number, at in enumerate(deadly, start=1):
        borders = Borders()
        async with branch.counter(borders) as counter:
            borders.passed.clear()
            borders.deadly = at
            assert await counter.until_killed(withdrawing(counter, number)), undisturbed.passed[at]
        async with branch.counter() as counter:
            await withdrawing(counter, number)
            await counter.sound()
            assert counter.received() == 20_000 * (number + 1), undisturbed.passed[at]
    async with branch.counter() as counter:
        states = await counter.book.database.fetch("SELECT state, COUNT(*) AS n FROM payouts GROUP BY state")
        assert [(row["state"], row["n"]) for row in states] == [("paid", len(deadly) + 1)]


def interesting(passed: list[str]) -> list[int]:
    """Return what comes after each commit, and after each call that changes something; of mere looks the first."""
    seen: set[str] = set()
    found: list[int] = []
    for at, border in enumerate(passed):
        name = border.split(" ", maxsplit=1)[0]
        if name.endswith(":after") and (name.startswith(("commit", "prepare", "send")) or name not in seen):
            found.append(at)
        seen.add(name)
    return found


async def test_an_answer_that_is_lost_after_broadcasting_changes_nothing(branch: Branch) -> None:
    async with branch.counter() as counter:
        await counter.grant(100_000)
        branch.network.lose_answers("service", 5)
        await withdrawing(counter, 1)
        assert counter.received() == 20_000
        await counter.sound()


async def test_a_node_that_has_forgotten_what_it_prepared_sends_it_all_the_same(branch: Branch) -> None:
    async with branch.counter() as counter:
        await counter.grant(100_000)
        await counter.say(f"withdraw 20000 {SEGWIT}")
        await counter.batches.step()
        await counter.batches.step()
        branch.network.nodes["service"].wallet.spending._prepared.clear()
        await counter.finish()
        rows = await counter.book.database.fetch("SELECT state FROM batches")
        assert [row["state"] for row in rows] == ["confirmed"]
        assert counter.received() == 20_000
        await counter.sound()


async def test_two_processes_that_gather_at_once_pay_once(branch: Branch) -> None:
    async with branch.counter() as one, branch.counter() as other:
        await one.grant(100_000)
        await one.say(f"withdraw 20000 {SEGWIT}")
        for _ in range(12):
            await one.batches.step()
            await other.batches.step()
        await one.finish()
        assert one.received() == 20_000
        await one.sound()
