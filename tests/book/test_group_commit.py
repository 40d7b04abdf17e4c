"""Plans that share a commit: how many commits, who hears what, and what a cancellation or a failing disk does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from relaybot.clock import SetClock
from relaybot.errors import Unavailable
from tests.book.stores import NOW, Bordered, Store, broken, connected, contents, mark, opened, payment, sats_of, top_up
from wallet.book import BATCH_MAX, Book, running
from wallet.ledger import Answer, Verdict

ALICE, BOB = sats_of("alice"), sats_of("bob")
DONE = Answer(Verdict.APPLIED)


@pytest.mark.parametrize(("plans", "commits"), [(1, 1), (128, 1), (BATCH_MAX, 1), (BATCH_MAX + 1, 2), (1_300, 3)])
async def test_plans_that_arrive_together_share_a_commit(store: Store, plans: int, commits: int) -> None:
    borders: list[str] = []
    async with opened(store, borders.append) as book:
        answers = await asyncio.gather(*(book.apply(top_up("bob", 1, str(number))) for number in range(plans)))
        assert answers == [DONE] * plans
        assert borders == ["commit:before", "commit:after"] * commits
        assert await book.balance(BOB) == 1_000 * plans
        assert await broken(book) == []


async def test_callers_that_come_during_a_commit_share_the_next_one(store: Store) -> None:
    borders: list[str] = []
    late: list[asyncio.Task[Answer]] = []
    soon = asyncio.get_running_loop().call_soon_threadsafe  # a probe may be told on the writer's thread

    def come() -> None:
        if not late:
            late.extend(asyncio.ensure_future(book.apply(top_up("bob", 1, str(number)))) for number in range(50))

    def probe(border: str) -> None:
        borders.append(border)
        soon(come)

    async with opened(store, probe) as book:
        assert await book.apply(top_up("bob", 1)) == DONE
        assert await asyncio.gather(*late) == [Answer(Verdict.ALREADY) if n == 1 else DONE for n in range(50)]
    assert borders.count("commit:before") == 2


async def test_a_caller_hears_only_after_the_commit(store: Store) -> None:
    heard: list[str] = []
    async with opened(store, heard.append) as book:
        asking = asyncio.ensure_future(book.apply(top_up("bob", 1)))
        asking.add_done_callback(lambda _: heard.append("heard"))
        await asking
        await asyncio.sleep(0)
    assert heard == ["commit:before", "commit:after", "heard"]


async def test_a_caller_that_is_cancelled_does_not_stop_its_neighbours(store: Store) -> None:
    callers: list[asyncio.Task[Answer]] = []
    soon = asyncio.get_running_loop().call_soon_threadsafe

    def probe(border: str) -> None:
        if border == "commit:before":
            soon(callers[1].cancel)

    async with opened(store, probe) as book:
        callers += [asyncio.ensure_future(book.apply(top_up("bob", 1, str(number)))) for number in range(3)]
        callers[2].cancel()  # this one before it was even asked
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert answers[0] == DONE
        assert [type(answer) for answer in answers[1:]] == [asyncio.CancelledError] * 2
        assert await book.apply(top_up("bob", 1, "later")) == DONE
        assert (await book.apply(top_up("bob", 1, "1"))).verdict is Verdict.ALREADY  # it was under way
        assert await broken(book) == []


async def _borders_of_one_commit(store: Store) -> int:
    borders: list[str] = []
    async with (
        connected(store, borders.append) as database,
        running(Book(Bordered(database, borders.append), SetClock(NOW))) as book,
    ):
        await book.apply(top_up("counted", 1))
    return len(borders)


async def _apply_cancelled_at(store: Store, number: int) -> list[Answer]:
    """Return what two callers hear if `run` is cancelled at border `number` of their commit."""
    seen: list[str] = []
    soon = asyncio.get_running_loop().call_soon_threadsafe

    def probe(border: str) -> None:
        seen.append(border)
        if len(seen) == number + 1:
            soon(committing.cancel)

    async with connected(store, probe) as database:
        book = Book(Bordered(database, probe), SetClock(NOW))
        committing = asyncio.create_task(book.run())
        answers = await asyncio.gather(*(book.apply(top_up("bob", 1, f"{number}/{n}")) for n in range(2)))
        with pytest.raises(asyncio.CancelledError):
            await committing
        return answers


async def test_a_run_that_is_cancelled_at_any_point_of_a_commit_finishes_it(store: Store) -> None:
    count = await _borders_of_one_commit(store)
    assert count >= 6
    for number in range(count):
        assert await _apply_cancelled_at(store, number) == [DONE] * 2
    async with opened(store) as book:
        assert await book.balance(BOB) == 2_000 * count
        assert await broken(book) == []


async def test_what_still_waited_when_a_run_was_cancelled_is_done_by_the_next_one(store: Store) -> None:
    soon = asyncio.get_running_loop().call_soon_threadsafe

    def probe(_border: str) -> None:
        soon(committing.cancel)

    async with connected(store, probe) as database:
        book = Book(database, SetClock(NOW))
        committing = asyncio.create_task(book.run())
        callers = [asyncio.ensure_future(book.apply(mark(f"m/{n}"))) for n in range(BATCH_MAX + 1)]
        with pytest.raises(asyncio.CancelledError):
            await committing
        assert [caller.done() for caller in callers] == [True] * BATCH_MAX + [False]
        async with asyncio.timeout(20), running(book):
            assert await asyncio.gather(*callers) == [DONE] * (BATCH_MAX + 1)


# A database that fails


class Failing:
    """A database that raises `error` at the border named `at`, as long as it is told to."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        self.error = error
        self.at = ""

    def __call__(self, border: str) -> None:
        """Be the probe that fails."""
        if border == self.at:
            raise self.error()


BORDERS = ["change:before", "decide:before", "decide:after", "commit:before"]


@pytest.mark.parametrize("border", BORDERS)
async def test_a_database_that_fails_is_unavailable_to_all_callers_and_nothing_changed(
    store: Store, border: str
) -> None:
    failing = Failing(lambda: Unavailable("disk"))
    async with opened(store, failing, every_statement=True) as book:
        await book.apply(top_up("bob", 1))
        before = await contents(book.database)
        failing.at = border
        plans = [*(payment(f"spend/{n}", debit=BOB, credit=ALICE, msat=100) for n in range(5)), mark("mark")]
        answers = await asyncio.gather(*(book.apply(plan) for plan in plans), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["disk"] * 6
        assert {type(answer) for answer in answers} == {Unavailable}
        assert len({id(answer) for answer in answers}) == 6  # each its own: a traceback is no common ground
        assert await contents(book.database) == before
        failing.at = ""
        assert await asyncio.gather(*(book.apply(plan) for plan in plans)) == [DONE] * 6
        assert await broken(book) == []


async def test_a_database_that_fails_by_our_fault_fails_every_caller_and_the_book_goes_on(store: Store) -> None:
    failing = Failing(lambda: ZeroDivisionError("ours"))
    async with opened(store, failing) as book:
        failing.at = "commit:before"
        answers = await asyncio.gather(*(book.apply(mark(f"m/{n}")) for n in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [ZeroDivisionError] * 3
        failing.at = ""
        assert await book.apply(mark("m/0")) == DONE


async def test_a_caller_that_left_before_the_failure_is_not_called_back(store: Store) -> None:
    for error in (Unavailable("disk"), ZeroDivisionError("ours")):
        failing = Failing(lambda error=error: error)  # type: ignore[misc]  # mypy knows no type of a lambda's default
        async with opened(store, failing) as book:
            failing.at = "commit:before"
            leaving = asyncio.ensure_future(book.apply(mark("m")))
            await asyncio.sleep(0)
            leaving.cancel()
            staying = await asyncio.gather(leaving, book.apply(mark("n")), return_exceptions=True)
            assert isinstance(staying[0], asyncio.CancelledError)
            assert isinstance(staying[1], type(error))
